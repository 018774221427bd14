//! A directory with a base and recipes, and the program run in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use oci_assemble::image::{Digest, Image};
use oci_assemble::store::{Layout, resolve};
use tempfile::TempDir;

use crate::base;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_assemble");

/// A directory of its own; `base` in it is the layout of [`base::shared`].
pub(crate) struct Scene {
    dir: TempDir,
    /// Kept for its blobs, and so that tests at the same time share it.
    shared: Arc<TempDir>,
}

/// What a run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The beginning of every recipe here.
pub(crate) const HEAD: &str = "schema = 1\n[image]\nname = \"e2e\"\n[base]\nimage = \"oci:base:latest\"\n";

impl Scene {
    pub(crate) fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap(), shared: base::shared() };
        scene.link_base("base");
        scene
    }

    /// Links the shared base to `name`: its blobs are the same files, its index is a copy.
    pub(crate) fn link_base(&self, name: &str) {
        let to = self.path(name);
        fs::create_dir_all(to.join("blobs/sha256")).unwrap();
        for file in ["index.json", "oci-layout"] {
            fs::copy(self.shared.path().join(file), to.join(file)).unwrap();
        }
        for blob in fs::read_dir(self.shared.path().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap()) {
            fs::hard_link(blob.path(), to.join("blobs/sha256").join(blob.file_name())).unwrap();
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, with directories above it.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a program. Not by this process: what it has open for writing, a process that another test starts has too, for a
    /// moment in which nobody can run it.
    pub(crate) fn program(&self, name: &str, text: &str) -> PathBuf {
        let (source, path) = (self.file(&format!("{name}.text"), text), self.path(name));
        assert!(Command::new("install").args([&source, &path]).status().unwrap().success());
        path
    }

    /// Writes a recipe that begins as all do and ends with `tables`.
    pub(crate) fn recipe(&self, name: &str, tables: &str) {
        self.file(name, format!("{HEAD}{tables}"));
    }

    /// The program in this directory, with nothing of the environment of the tests but the search path.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        self.wrapped(&[], arguments)
    }

    /// As [`Scene::command`], behind the words of another program.
    pub(crate) fn wrapped<A: AsRef<OsStr>>(&self, before: &[&str], arguments: &[A]) -> Command {
        let words: Vec<&OsStr> = before.iter().map(OsStr::new).chain([OsStr::new(PROGRAM)]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments).current_dir(self.root()).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("XDG_CACHE_HOME", self.path("cache")).env("TMPDIR", std::env::temp_dir());
        // Builders have tests of their own; here no container may run by accident.
        command.env("ASSEMBLE_PODMAN", "/nowhere/podman");
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Builds `recipe` into the layout `output`, which must work; the digest it prints.
    pub(crate) fn build(&self, recipe: &str, output: &str) -> Digest {
        self.run(&["--recipe", recipe, "--output", &format!("oci:{output}:latest")]).digest()
    }

    /// A copy of the program where every user can run it, and read what is in this directory.
    pub(crate) fn program_for_all(&self) -> PathBuf {
        fs::set_permissions(self.root(), PermissionsExt::from_mode(0o755)).unwrap();
        let program = self.path("program");
        // Not by this process, as in `Scene::program`.
        let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap();
        assert!(copied.success());
        program
    }

    /// The image `latest` of a layout.
    pub(crate) fn image(&self, layout: &str) -> Image {
        image(&self.path(layout))
    }
}

/// The only image of a layout.
pub(crate) fn image(layout: &Path) -> Image {
    let layout = self::layout(layout);
    resolve(&layout, &layout.find(None, None).unwrap(), None).unwrap().image
}

pub(crate) fn layout(path: &Path) -> Layout {
    Layout::open(cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority()).unwrap()).unwrap()
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// The digest on standard output of a run that worked.
    pub(crate) fn digest(&self) -> Digest {
        assert_eq!(self.code, 0, "{self:?}");
        let line = self.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("{self:?}"));
        line.parse().unwrap_or_else(|_| panic!("one digest and nothing else: {self:?}"))
    }

    /// The one JSON document on standard output, with its schema.
    pub(crate) fn json(&self) -> (String, serde_json::Value) {
        let value: serde_json::Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{self:?}"));
        (value["schema"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned(), value)
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        // Killed by a signal is no exit code; shells add 128 to the signal, and so does this.
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or(0);
        Self {
            code: output.status.code().unwrap_or(128 + signal),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
