//! This machine's podman, with a storage of its own, and options that work here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use kmod_stage::builder::{ContainerName, ContainerSpec, ImageId, Network, PodmanSettings};
use kmod_stage::podman::{Cancel, ContainerRuntime, ImageSource, Podman, RuntimeError};
use oci_assemble::image::Digest;
use tempfile::TempDir;

const LIMITS: &[&str] = &["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];

/// podman, and an image in its storage.
pub(crate) struct Machine {
    pub(crate) podman: Podman,
    pub(crate) image: ImageId,
    pub(crate) manifest: Digest,
    settings: PodmanSettings,
    directory: TempDir,
}

/// Shared by the tests that run at the same time; none where containers cannot be run.
pub(crate) fn machine() -> Option<Arc<Machine>> {
    static SHARED: Mutex<Weak<Machine>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    if let Some(machine) = shared.upgrade() {
        return Some(machine);
    }
    let mut reasons = Vec::new();
    for driver in ["overlay", "vfs"] {
        for runtime in [None, Some("runc")] {
            for arguments in [Vec::new(), LIMITS.to_vec(), [LIMITS, &["--network=host"]].concat()] {
                match Machine::new(driver, runtime, &arguments) {
                    Ok(machine) => {
                        let machine = Arc::new(machine);
                        *shared = Arc::downgrade(&machine);
                        return Some(machine);
                    }
                    Err(error) => reasons.push(format!("{driver} {runtime:?} {arguments:?}: {error}")),
                }
            }
        }
    }
    skip(&reasons.join("\n"));
    None
}

/// Says why a test does not run here; where nobody reads that, it is an error.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: {reason}");
    eprintln!("skipped: {reason}");
}

impl Machine {
    /// Runs a container, to see whether this works.
    fn new(driver: &str, runtime: Option<&str>, arguments: &[&str]) -> Result<Self, RuntimeError> {
        // podman takes short paths only.
        let directory = tempfile::Builder::new().prefix("pod").tempdir_in("/tmp").unwrap();
        let below = |option: &str, name: &str| format!("--{option}={}/{name}", directory.path().display());
        let mut global = vec![below("root", "root"), below("runroot", "run"), below("tmpdir", "tmp")];
        global.push(format!("--storage-driver={driver}"));
        if driver == "overlay" {
            // Leaves no mount behind.
            global.push("--storage-opt=overlay.skip_mount_home=true".into());
        }
        global.extend(["--cgroup-manager=cgroupfs".into(), "--events-backend=none".into()]);
        let settings = PodmanSettings {
            global,
            runtime: runtime.map(str::to_owned),
            arguments: arguments.iter().map(|argument| argument.parse().unwrap()).collect(),
            ..PodmanSettings::default()
        };
        let layout = directory.path().join("layout");
        fs::create_dir(&layout).unwrap();
        let podman = Podman::new(settings.clone(), directory.path().to_owned())?;
        let manifest = crate::image::write(&layout);
        let image = podman.import(&ImageSource::Layout { directory: layout, manifest }, &Cancel::new())?;
        let machine = Self { podman, image, manifest, settings, directory };
        let mut spec = machine.spec("probe", "ls /sys/class/net");
        spec.network = Network::Fetch { environment: [].into() };
        machine.podman.run(&spec, &mut io::sink(), &Cancel::new())?.remove()?;
        Ok(machine)
    }

    pub(crate) fn layout(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    /// A container without network that runs a shell script.
    pub(crate) fn spec(&self, name: &str, script: &str) -> ContainerSpec {
        let environment = [("HOME", "/root"), ("LC_ALL", "C"), ("PATH", "/usr/bin:/bin")];
        ContainerSpec {
            name: ContainerName::new(name, "1").unwrap(),
            image: self.image,
            network: Network::None,
            environment: environment.map(|(name, value)| (name.into(), value.into())).into(),
            mounts: Vec::new(),
            workdir: "/".into(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            timeout: Duration::from_mins(5),
        }
    }

    /// What a call of podman prints.
    pub(crate) fn words(&self, words: &[&str]) -> String {
        let words = self.settings.command(words.iter().map(|word| (*word).to_owned()));
        let output = Command::new("podman").args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn has_container(&self, spec: &ContainerSpec) -> bool {
        self.words(&["ps", "--all", "--format={{.Names}}"]).lines().any(|name| name == spec.name.as_str())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Layers of a rootless storage belong to users that only podman can become.
        let words = ["rmi", "--all", "--force"].map(str::to_owned);
        let _ = Command::new("podman").args(self.settings.command(words)).output();
    }
}

/// A program that is a shell script. Not written by this process: what it has open for writing, a process that another test
/// starts has too, for a moment in which nobody can run it.
pub(crate) fn script(path: &Path, text: &str) {
    let source = path.with_extension("text");
    fs::write(&source, format!("#!/bin/sh\n{text}\n")).unwrap();
    assert!(Command::new("install").args([source.as_path(), path]).status().unwrap().success());
}
