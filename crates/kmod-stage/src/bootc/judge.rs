//! Running an image's bootc.

use std::collections::BTreeSet;
use std::time::Duration;

use oci_assemble::image::Digest;
use oci_assemble::inspect::lint::{LINTS as NATIVE, Origin};

use super::BootcReport;
use crate::builder::{ContainerName, ContainerSpec, LocalImage, Network, SpecError};
use crate::podman::{Cancel, ContainerRuntime, Finished, ImageSource, RuntimeError};

/// Where an image carries bootc.
pub const PROGRAM: &str = "usr/bin/bootc";

/// bootc takes a tenth of a second; a tree of a million files on a slow disk takes minutes.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The lines that part the output. What they begin with stands in no message of bootc's.
pub(super) const VERSION: &str = "=== assemble: version\n";
pub(super) const LINTS: &str = "=== assemble: lints\n";
pub(super) const RESULT: &str = "=== assemble: result\n";
pub(super) const END: &str = "=== assemble: code ";

/// Why there is no verdict of bootc's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootcError {
    /// The container could not be run.
    #[error("cannot run the image's bootc")]
    Runtime(#[from] RuntimeError),
    /// The name of the container is refused.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// bootc ran, and what it said is no verdict.
    #[error("the image's bootc gives no verdict: {last:?}")]
    NoVerdict {
        /// The last line it wrote.
        last: String,
        /// All that it wrote.
        output: String,
    },
}

/// The shell script that asks bootc. Lints in `skip` that bootc has are left out.
pub fn script(skip: &BTreeSet<&str>) -> String {
    let shared = NATIVE.iter().filter(|lint| lint.origin == Origin::Bootc && skip.contains(lint.name));
    let skips = shared.fold(String::new(), |skips, lint| skips + " --skip " + lint.name);
    let mark = |mark: &str| format!("echo '{}'", mark.trim_end());
    [
        // One stream, so that the order of lines is that of time.
        "exec 2>&1".to_owned(),
        mark(VERSION),
        "bootc --version".into(),
        mark(LINTS),
        // Versions before 1.1.5 have no list.
        "bootc container lint --list || true".into(),
        mark(RESULT),
        format!("bootc container lint{skips}"),
        format!("echo \"{END}$?\""),
    ]
    .join("\n")
}

/// Asks the bootc of an image what it thinks of it. The image is in the runtime's storage only for that time, unless it
/// was there before. `suffix` makes the container's name unique on the machine.
pub fn judge(
    runtime: &dyn ContainerRuntime,
    source: &ImageSource,
    manifest: Digest,
    skip: &BTreeSet<&str>,
    suffix: &str,
    cancel: &Cancel,
) -> Result<BootcReport, BootcError> {
    let name = LocalImage::builder(manifest);
    let known = runtime.find(&name)?.is_some();
    let image = runtime.import(source, cancel)?;
    let mut output = Vec::new();
    let run = runtime.run(
        &ContainerSpec {
            name: ContainerName::new("bootc-lint", suffix)?,
            image,
            network: Network::None,
            // bootc lints nothing outside of a container, and this is how it knows (systemd, "CONTAINER_INTERFACE").
            environment: [("container", "oci"), ("LC_ALL", "C"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            mounts: Vec::new(),
            workdir: "/".into(),
            command: vec!["/bin/sh".into(), "-c".into(), script(skip)],
            timeout: TIMEOUT,
        },
        &mut output,
        cancel,
    );
    let ended = run.and_then(Finished::remove);
    if !known {
        // What stays takes room, no more.
        let _ = runtime.remove(&name);
    }
    ended?;
    let output = String::from_utf8_lossy(&output).into_owned();
    BootcReport::parse(&output).ok_or_else(|| {
        let said = output.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("==="));
        BootcError::NoVerdict { last: said.unwrap_or_default().to_owned(), output: output.clone() }
    })
}
