//! Layouts in temporary directories, for tests.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, clippy::zombie_processes)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::{BlobSource, Committed, Layout, StoreError, Transaction};
use crate::image::{Descriptor, Digest, Encoding, ImageReference, MediaType};
use crate::testing::image::image;

pub(crate) struct Scratch(pub(crate) tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn dir(&self) -> Dir {
        Dir::open_ambient_dir(self.0.path(), ambient_authority()).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// A layout with an image of these layers under each tag.
    pub(crate) fn with(images: &[(&str, &[&str])]) -> Self {
        let scratch = Self::new();
        for (tag, layers) in images {
            write(&scratch, Some(tag), layers).unwrap();
        }
        scratch
    }
}

pub(crate) fn fill(transaction: &Transaction, layers: &[&str]) -> Result<Descriptor, StoreError> {
    for name in layers {
        transaction.put_bytes(MediaType::layer(Encoding::Plain), name.as_bytes())?;
    }
    transaction.put_image(&image(layers))
}

pub(crate) fn write(scratch: &Scratch, tag: Option<&str>, layers: &[&str]) -> Result<Committed, StoreError> {
    let transaction = Layout::write(scratch.dir())?;
    let descriptor = fill(&transaction, layers)?;
    transaction.commit(tag, &descriptor)
}

pub(crate) fn open(scratch: &Scratch) -> Layout {
    Layout::open(scratch.dir()).unwrap()
}

pub(crate) fn content(layout: &Layout, name: &str) -> Result<Vec<u8>, StoreError> {
    layout.open(&Descriptor::of(MediaType::layer(Encoding::Plain), name.as_bytes()))?.read_whole()
}

/// Every file below the layout, the private directory's lock files left out.
pub(crate) fn listing(scratch: &Scratch) -> Vec<String> {
    fn walk(dir: &std::path::Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(scratch.0.path(), "", &mut found);
    found.sort();
    found
}

/// Whether a test must be left out because a program is not installed, which it says. Where everything has to be
/// installed (`CI=true`) that is an error.
pub(crate) fn lacks(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let Some(missing) = programs.iter().find(|program| !installed(program)) else { return false };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing} is not installed");
    eprintln!("left out: {missing} is not installed");
    true
}

/// A registry (distribution) on a free port, ended when dropped.
pub(crate) struct Registry {
    process: Option<Child>,
    pub(crate) files: Scratch,
    pub(crate) address: String,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::with(&Scratch::new, "")
    }

    /// Starts one with TLS, whose certificate is the file `cert.pem`.
    pub(crate) fn start_tls() -> Self {
        let made = || {
            let files = Scratch::new();
            let mut openssl = Command::new("openssl");
            openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
            openssl.args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]);
            openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
            openssl.arg("-keyout").arg(files.path("key.pem")).arg("-out").arg(files.path("cert.pem"));
            assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
            files
        };
        Self::with(&made, ", tls: {certificate: DIR/cert.pem, key: DIR/key.pem}")
    }

    fn with(files: &dyn Fn() -> Scratch, tls: &str) -> Self {
        let files = files();
        let tls = tls.replace("DIR", files.0.path().to_str().unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\nhttp: {{addr: \"{address}\"{tls}}}\n",
            files.path("data")
        );
        fs::write(files.path("config.yml"), config).unwrap();
        let mut registry = Self { process: None, files, address };
        registry.restart();
        registry
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again with what it has on disk.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.files.path("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        for _ in 0..200 {
            if TcpStream::connect(&self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no registry at {}", self.address);
    }

    pub(crate) fn reference(&self, rest: &str) -> ImageReference {
        format!("docker://{}/{rest}", self.address).parse().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}
