//! A runtime that runs nothing.

use std::io::Write;

use super::{Cancel, ContainerRuntime, Finished, ImageSource, RuntimeError};
use crate::builder::{ContainerSpec, ImageId, LocalImage};

/// A runtime for plans: nothing is imported, and nothing runs ([`RuntimeError::Withheld`]). What is kept can be used.
#[derive(Clone, Copy, Debug)]
pub struct Withheld;

impl ContainerRuntime for Withheld {
    fn import(&self, _: &ImageSource, _: &Cancel) -> Result<ImageId, RuntimeError> {
        Err(RuntimeError::Withheld)
    }

    fn find(&self, _: &LocalImage) -> Result<Option<ImageId>, RuntimeError> {
        Ok(None)
    }

    fn run<'a>(
        &'a self,
        _: &ContainerSpec,
        _: &mut dyn Write,
        _: &Cancel,
    ) -> Result<Box<dyn Finished + 'a>, RuntimeError> {
        Err(RuntimeError::Withheld)
    }

    fn remove(&self, _: &LocalImage) -> Result<(), RuntimeError> {
        Ok(())
    }
}
