//! The RPM test bed: an image with rpm and dnf, repositories on a server of this machine, and podman to build with.
//!
//! `tests/rpm/make-rpm.sh DIR` makes image and repositories; `ASSEMBLE_TEST_BASE` names DIR, `.work` of the workspace is
//! looked at without it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::scene::{Run, Scene};

const LIMITS: &str = "--ulimit=nofile=1024:1024 --ulimit=nproc=1000:1000";
/// Containers reach the server of this machine.
const NETWORK: &str = "--network=host";

/// What the tests that run at the same time share.
pub(crate) struct Bed {
    /// Where the test bed lies.
    work: PathBuf,
    server: Server,
    /// podman's storage.
    storage: TempDir,
    /// Options of every call, runtime, arguments of podman-create.
    podman: (String, Option<&'static str>, String),
}

/// None where the test bed or podman is missing; in continuous integration that is an error.
pub(crate) fn bed() -> Option<Arc<Bed>> {
    static SHARED: Mutex<Weak<Bed>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    if let Some(bed) = shared.upgrade() {
        return Some(bed);
    }
    match Bed::new() {
        Ok(bed) => {
            let bed = Arc::new(bed);
            *shared = Arc::downgrade(&bed);
            Some(bed)
        }
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: {reason}");
            eprintln!("skipped: {reason}");
            None
        }
    }
}

/// A web server of this machine, ended when dropped.
pub(crate) struct Server {
    process: Child,
    /// With a slash at its end.
    pub(crate) url: String,
}

impl Server {
    /// A server of a directory.
    pub(crate) fn start(directory: &Path) -> Self {
        let mut server = Command::new("python3");
        server.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(directory).arg("0");
        let mut process = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split(['(', ')']).nth(1).unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A number for each bed, as one may begin while another, which nobody uses any more, is being removed.
static BEDS: AtomicUsize = AtomicUsize::new(0);

impl Bed {
    fn new() -> Result<Self, String> {
        let work = std::env::var_os("ASSEMBLE_TEST_BASE")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.work"), PathBuf::from);
        if !work.join("rpm-base/index.json").exists() {
            return Err(format!("no RPM test bed in {}", work.display()));
        }
        // podman takes short paths only, and makes names of images of them: no capital letters.
        let name = format!("bed{}n{}", std::process::id(), BEDS.fetch_add(1, Ordering::Relaxed));
        let storage = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir_in("/tmp").unwrap();
        fs::write(storage.path().join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
        let podman = working(&work, storage.path())?;
        let server = Server::start(&work.join("rpm"));
        Ok(Self { work, server, storage, podman })
    }

    /// A scene whose `base` is the image of the test bed.
    pub(crate) fn scene(&self) -> Scene {
        let scene = Scene::new();
        fs::remove_dir_all(scene.path("base")).unwrap();
        symlink(fs::canonicalize(self.work.join("rpm-base")).unwrap(), scene.path("base")).unwrap();
        for name in ["old", "new", "extras", "updates"] {
            scene.file(&format!("{name}.repo"), self.repository(name, "gpgcheck=0\n"));
        }
        scene
    }

    /// A `.repo` file with more lines.
    pub(crate) fn repository(&self, name: &str, more: &str) -> String {
        format!("[{name}]\nname={name}\nbaseurl={}{name}\n{more}", self.server.url)
    }

    /// The URL of the server, with a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// Lets `link` in a directory that is served be the repository `name`.
    pub(crate) fn point(&self, link: &Path, name: &str) {
        let _ = fs::remove_file(link);
        symlink(fs::canonicalize(self.work.join("rpm").join(name)).unwrap(), link).unwrap();
    }

    /// Builds `recipe.toml` with more arguments, into the layout `output`.
    pub(crate) fn build(&self, scene: &Scene, output: &str, more: &[&str]) -> Run {
        let output = format!("oci:{output}:latest");
        self.run(scene, &[&["--recipe", "recipe.toml", "--output", &output], more].concat())
    }

    /// Runs the program with the podman of the test bed.
    pub(crate) fn run(&self, scene: &Scene, words: &[&str]) -> Run {
        let (options, runtime, arguments) = &self.podman;
        let mut command = scene.command(words);
        command.env("ASSEMBLE_PODMAN", "podman");
        command.env("ASSEMBLE_PODMAN_OPTIONS", options).env("ASSEMBLE_PODMAN_ARGUMENTS", arguments);
        command.envs(runtime.map(|runtime| ("ASSEMBLE_PODMAN_RUNTIME", runtime)));
        Run::of(&mut command)
    }

    /// Whether podman's storage has an image with this tag.
    pub(crate) fn has_image(&self, tag: &str) -> bool {
        let words = self.podman.0.split_whitespace().chain(["images", "--format={{.Tag}}"]);
        let output = Command::new("podman").args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().any(|line| line == tag)
    }

    /// What a shell prints in a container of the image in a layout, without a network. It must work.
    pub(crate) fn inside(&self, layout: &Path, script: &str) -> String {
        let (options, runtime, arguments) = &self.podman;
        let arguments = arguments.replace(NETWORK, "");
        inside(self.storage.path(), layout, (options, *runtime, &arguments), script).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let (options, ..) = &self.podman;
        // Layers of a rootless storage belong to users that only podman can become.
        let _ = Command::new("podman").args(options.split_whitespace()).args(["rmi", "--all", "--force"]).output();
    }
}

/// Numbers the layouts that were shown to podman.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Options that podman can run a container of the test bed with.
fn working(work: &Path, storage: &Path) -> Result<(String, Option<&'static str>, String), String> {
    let mut reasons = Vec::new();
    for driver in ["overlay", "vfs"] {
        let at = storage.display();
        let mut options =
            format!("--root={at}/{driver} --runroot={at}/run --tmpdir={at}/tmp --storage-driver={driver}");
        if driver == "overlay" {
            // Leaves no mount behind.
            options += " --storage-opt=overlay.skip_mount_home=true";
        }
        options += " --cgroup-manager=cgroupfs --events-backend=none";
        for runtime in [None, Some("runc")] {
            for limits in ["", LIMITS] {
                match inside(storage, &work.join("rpm-base"), (&options, runtime, limits), "true") {
                    Ok(_) => return Ok((options, runtime, format!("{limits} {NETWORK}"))),
                    Err(reason) => reasons.push(format!("{driver} {runtime:?} {limits}: {reason}")),
                }
            }
        }
    }
    Err(reasons.join("\n"))
}

fn inside(
    storage: &Path,
    layout: &Path,
    (options, runtime, arguments): (&str, Option<&str>, &str),
    script: &str,
) -> Result<String, String> {
    let podman = |words: &[String]| {
        let mut command = Command::new("podman");
        command.args(options.split_whitespace()).args(runtime.iter().flat_map(|name| ["--runtime", name])).args(words);
        let output = command.env("TMPDIR", storage).output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    };
    let policy = format!("--signature-policy={}/policy.json", storage.display());
    let link = storage.join(format!("layout{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    symlink(fs::canonicalize(layout).unwrap(), &link).unwrap();
    let image = podman(&["pull".into(), "--quiet".into(), policy, format!("oci:{}:latest", link.display())])?;
    let words = ["run", "--rm", "--network=none", "--tmpfs=/run"].into_iter().chain(arguments.split_whitespace());
    let words = words.chain([image.trim(), "/bin/bash", "-euc", script]).map(str::to_owned);
    podman(&words.collect::<Vec<_>>())
}
