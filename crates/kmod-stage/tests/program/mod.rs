//! Programs that tests copy and run.

use std::path::Path;
use std::process::Command;

/// Copies a program, in a process of its own: a file that this process has open for writing is still open in whatever
/// another test starts at that moment, and cannot be run while it is.
pub(crate) fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(status.is_ok_and(|status| status.success()), "cp {} failed", from.as_ref().display());
}
