//! A container of ours, from its creation to its removal.

use std::io::Read;

use super::stream::TarStream;
use super::{Cancel, Finished, Podman, RuntimeError};
use crate::builder::{
    ContainerSpec, ImageId, LocalImage, commit_arguments, copy_arguments, export_arguments, remove_arguments,
};

/// A container that podman has; removed when dropped.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) podman: &'a Podman,
    pub(super) spec: ContainerSpec,
    pub(super) cancel: Cancel,
    removed: bool,
}

impl<'a> Container<'a> {
    /// Stands for a container from before its creation: a call that is cut short may have made it.
    pub(super) fn new(podman: &'a Podman, spec: &ContainerSpec, cancel: &Cancel) -> Self {
        cancel.watch(&podman.settings, &spec.name);
        Self { podman, spec: spec.clone(), cancel: cancel.clone(), removed: false }
    }

    /// Ends and removes it.
    pub(super) fn remove_now(&mut self) -> Result<(), RuntimeError> {
        self.podman.plain(remove_arguments(&self.podman.settings, &self.spec.name)).output()?;
        self.removed = true;
        self.cancel.forget(&self.spec.name);
        Ok(())
    }

    fn stream(&self, words: Vec<String>) -> Result<Box<dyn Read + Send + '_>, RuntimeError> {
        Ok(Box::new(TarStream::start(self.podman.plain(words), &self.cancel)?))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !self.removed {
            // A lock of podman's may be held by a call that was just killed: once more.
            let _ = self.remove_now().or_else(|_| self.remove_now());
        }
    }
}

impl Finished for Container<'_> {
    fn export(&self) -> Result<Box<dyn Read + Send + '_>, RuntimeError> {
        self.stream(export_arguments(&self.podman.settings, &self.spec.name))
    }

    fn copy_out(&self, path: &str) -> Result<Box<dyn Read + Send + '_>, RuntimeError> {
        self.stream(copy_arguments(&self.podman.settings, &self.spec.name, path))
    }

    fn commit(&self, name: &LocalImage) -> Result<ImageId, RuntimeError> {
        let call = self.podman.plain(commit_arguments(&self.podman.settings, &self.spec, name)).until(&self.cancel);
        call.parse(&call.output()?)
    }

    fn remove(mut self: Box<Self>) -> Result<(), RuntimeError> {
        self.remove_now()
    }
}
