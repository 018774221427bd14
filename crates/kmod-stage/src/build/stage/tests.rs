#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::Epoch;
use oci_assemble::layer::{Compression, LayerDraft, SealOptions, seal};
use oci_assemble::testing::memory::{Memory, add_file};
use oci_assemble::tree::FileTree;

use super::super::dkms::DkmsWork;
use super::super::kinds::ByFamily;
use super::super::packages::PackagesWork;
use super::super::script::{FETCHED, PACKAGES, Request};
use super::super::{Harvest, HarvestError, Inputs, Position, Start, Step, key};
use super::*;
use crate::builder::{ContainerSpec, ImageId, LocalImage};
use crate::bundle::{BundleRecord, BundleStore, Reuse};
use crate::capture::Export;
use crate::manifest::Accounts;
use crate::podman::{Cancel, ContainerRuntime, Finished, ImageSource, RuntimeError};

/// A runtime whose containers list one package, and which counts them.
#[derive(Debug)]
struct Fake {
    listing: String,
    runs: Arc<AtomicUsize>,
    /// The manifests that containers started from.
    started: Arc<Mutex<Vec<Digest>>>,
}

#[derive(Debug)]
struct Container(String);

fn id() -> ImageId {
    "ab".repeat(32).parse().unwrap()
}

impl ContainerRuntime for Fake {
    fn import(&self, image: &ImageSource, _: &Cancel) -> Result<ImageId, RuntimeError> {
        if let ImageSource::Layout { manifest, .. } = image {
            self.started.lock().unwrap().push(*manifest);
        }
        Ok(id())
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
        self.runs.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Container(self.listing.clone())))
    }

    fn remove(&self, _: &LocalImage) -> Result<(), RuntimeError> {
        Ok(())
    }
}

impl Finished for Container {
    fn export(&self) -> Result<Box<dyn Read + Send + '_>, RuntimeError> {
        Ok(Box::new(io::empty()))
    }

    fn copy_out(&self, path: &str) -> Result<Box<dyn Read + Send + '_>, RuntimeError> {
        assert_eq!(path, FETCHED);
        let mut tree = FileTree::new();
        add_file(&mut tree, PACKAGES, 0o644, self.0.as_str());
        let delta = TreeDelta::between(&FileTree::new(), &tree);
        let draft = LayerDraft::new("listing", &delta, &FileTree::new(), 0).unwrap();
        let options = SealOptions { compression: Compression::None, threads: NonZero::<usize>::MIN };
        let (_, tar) = seal(&draft, &Memory::default(), Vec::new(), options).unwrap();
        Ok(Box::new(io::Cursor::new(tar)))
    }

    fn commit(&self, _: &LocalImage) -> Result<ImageId, RuntimeError> {
        Ok(id())
    }

    fn remove(self: Box<Self>) -> Result<(), RuntimeError> {
        Ok(())
    }
}

fn line(name: &str) -> String {
    format!("{name} 1.0 all {} 10\n", "ab".repeat(32))
}

fn work() -> PackagesWork {
    let request = Request { install: vec!["tree".into()], ..Request::default() };
    PackagesWork { request, inputs: Inputs::default() }
}

fn start(scratch: &std::path::Path, name: &[u8]) -> Start {
    let digest = Digest::of(name);
    Start { image: ImageSource::Layout { directory: scratch.to_owned(), manifest: digest }, digest }
}

fn builder(scratch: &std::path::Path, runs: &Arc<AtomicUsize>) -> Builder {
    let store = Dir::open_ambient_dir(scratch, ambient_authority()).unwrap();
    Builder {
        runtime: Box::new(Fake { listing: line("tree"), runs: Arc::clone(runs), started: Arc::default() }),
        base: start(scratch, b"base"),
        tools: None,
        store: BundleStore::new(store, "test"),
        sources: Vec::new(),
        reuse: Reuse::Allow,
        scratch: scratch.to_owned(),
        logs: None,
        suffix: "test".into(),
        jobs: NonZero::<usize>::MIN,
        timeout: Duration::from_secs(10),
        proxies: BTreeMap::new(),
        tool: "test 1".into(),
        cancel: Cancel::new(),
        output: Mutex::new(Box::new(io::sink())),
        made: Mutex::default(),
    }
}

/// The messages of an error and its causes.
fn chain(error: &StageError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[test]
fn what_is_locked_is_built_or_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let builder = Arc::new(builder(temp.path(), &runs));
    let mut tree = FileTree::new();
    add_file(&mut tree, "var/lib/dpkg/status", 0o644, "Package: base\n");
    let contents = Memory::default();
    let epoch = Epoch::new(0).unwrap();
    let view = View { base: &tree, tree: &tree, contents: &contents, epoch, architecture: "amd64" };
    let target = BuiltStage::target(view).unwrap();
    let chosen = builder.resolve("packages", &work(), &target).unwrap();
    assert_eq!(chosen.iter().map(render).collect::<Vec<_>>(), [format!("tree 1.0 all sha256:{}", "ab".repeat(32))]);
    assert_eq!(runs.swap(0, Ordering::SeqCst), 1, "one container chooses");
    let at = Position { stage: "packages".into(), base: Digest::of(b"base"), before: Vec::new() };
    let key = |tool| *key(tool, &Digest::of(b"base"), &work(), &at, &target, &chosen).unwrap().digest();
    assert_eq!(*builder.key(&work(), &at, &target, &chosen).unwrap().digest(), key("test 1"));

    let stage = |locked| BuiltStage::new("packages", Arc::new(work()), Some(Arc::clone(&builder)), Some(locked));
    let error = stage(chosen.clone()).held_to(key("test 2")).produce(view).unwrap_err();
    let expected = format!("what goes in is not what was locked: the key is {}, not {}", key("test 1"), key("test 2"));
    assert!(chain(&error).ends_with(&expected), "{}", chain(&error));
    assert_eq!(runs.load(Ordering::SeqCst), 0, "no container runs for that");

    let other = super::super::fetched(&line("other")).unwrap();
    let error = chain(&stage(other).produce(view).unwrap_err());
    assert!(error.contains("other 1.0 all") && error.contains("is locked and was not given"), "{error}");
    assert!(error.contains("tree 1.0 all") && error.contains("is not in the lock"), "{error}");
    let pinned = stage(chosen).resolve().unwrap();
    assert_eq!(pinned.inputs["packages"], "1 locked");
}

#[test]
fn packages_are_installed_on_the_base_whatever_compiles() {
    let temp = tempfile::tempdir().unwrap();
    let started = Arc::<Mutex<Vec<Digest>>>::default();
    let runtime = Fake { listing: line("tree"), runs: Arc::default(), started: Arc::clone(&started) };
    let mut builder = builder(temp.path(), &Arc::default());
    builder.runtime = Box::new(runtime);
    builder.tools = Some(start(temp.path(), b"tools"));
    let mut tree = FileTree::new();
    add_file(&mut tree, "var/lib/dpkg/status", 0o644, "Package: base\n");
    let contents = Memory::default();
    let epoch = Epoch::new(0).unwrap();
    let view = View { base: &tree, tree: &tree, contents: &contents, epoch, architecture: "amd64" };
    let target = BuiltStage::target(view).unwrap();
    let compiles = DkmsWork {
        stage: "own".into(),
        kind: "dkms",
        packages: ByFamily::default(),
        modules: ByFamily::default(),
        userspace: ByFamily::default(),
        overrides: Vec::new(),
        accounts: Accounts::default(),
        record: false,
        inputs: Inputs::default(),
    };
    builder.resolve("packages", &work(), &target).unwrap();
    builder.resolve("own", &compiles, &target).unwrap();
    assert_eq!(*started.lock().unwrap(), [Digest::of(b"base"), Digest::of(b"tools")]);
    let at = builder.position("own", &[]).unwrap();
    let key = |work: &dyn Work| builder.key(work, &at, &target, &BTreeSet::new()).unwrap().inputs()["builder"].clone();
    assert_eq!([key(&work()), key(&compiles)], [b"base".as_slice(), b"tools"].map(|name| Digest::of(name).to_string()));
}

/// Work during whose harvest somebody loses patience.
#[derive(Debug)]
struct Interrupted(PackagesWork, Cancel);

impl Work for Interrupted {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.0.settings()
    }

    fn inputs(&self) -> &Inputs {
        self.0.inputs()
    }

    fn script(&self, step: Step<'_>, target: &Target) -> String {
        self.0.script(step, target)
    }

    fn harvest(&self, _: &Export, _: &Target, _: View<'_>) -> Result<Harvest, HarvestError> {
        self.1.cancel();
        Ok(Harvest { delta: TreeDelta::new(), record: BundleRecord::default() })
    }
}

#[test]
fn an_interruption_counts_when_no_container_runs() {
    let temp = tempfile::tempdir().unwrap();
    let builder = builder(temp.path(), &Arc::default());
    let mut tree = FileTree::new();
    add_file(&mut tree, "var/lib/dpkg/status", 0o644, "Package: base\n");
    let contents = Memory::default();
    let epoch = Epoch::new(0).unwrap();
    let view = View { base: &tree, tree: &tree, contents: &contents, epoch, architecture: "amd64" };
    let target = BuiltStage::target(view).unwrap();
    let work = Interrupted(work(), builder.cancel.clone());
    let position = builder.position("packages", &[]).unwrap();
    let error = builder.run(&position, &work, &target, view, None).unwrap_err();
    assert!(matches!(error, BuildError::Runtime(RuntimeError::Cancelled)), "{error}");
    assert!(builder.made.lock().unwrap().is_empty());
}
