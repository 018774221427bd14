//! Metadata as real tools write them, and as nobody should.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, clippy::format_collect)]

mod broken;
mod files;
mod tools;

use std::io::BufRead;

use super::*;

/// What was wrong, with all causes, as a person would read it.
fn message<T: std::fmt::Debug>(result: Result<T, RepositoryError>) -> String {
    let error = result.unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

fn all(_: &str) -> bool {
    true
}

fn read(mut reader: Box<dyn BufRead + '_>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map(|_| bytes)
}
