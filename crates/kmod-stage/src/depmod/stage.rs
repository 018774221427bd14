//! Writes a planned sparse root, and reads what the modules say of themselves on the way.
//!
//! All bytes come in one visit of the image's contents, in the order that suits them: opening thousands of modules one
//! by one would inflate their layer as often. The visiting thread inflates; workers decompress, parse and write.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci_assemble::elf::{self, ELF_MAX, Modinfo};
use oci_assemble::layer::Contents;
use oci_assemble::tree::{Content, FileTree, TreePath};

use super::links::{Linked, Links};
use super::plan::{CONFIGURATION, SYSTEM_MAP};
use super::program::{self, ImageDepmod, Prefetched};
use super::workspace::Workspace;
use super::{DepmodError, Placed, SparseRoot};
use crate::module::{Candidate, Module, Modules, builtins};

/// The largest module file or list that is copied, as it is stored.
const FILE_MAX: u64 = elf::MODULE_MAX;

/// What was found while staging.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) modules: Modules,
    pub(super) builtins: BTreeSet<String>,
    /// Whether the symbols that the kernel itself exports are known.
    pub(super) kernel_symbols: bool,
    /// Bytes that finding the image's depmod will ask for.
    pub(super) prefetched: BTreeMap<Content, Vec<u8>>,
    /// What was read of the symbols of modules.
    pub(super) linked: Linked,
    /// What went wrong, by path: all of it, so that the first does not depend on threads.
    failed: BTreeMap<TreePath, DepmodError>,
}

/// A file to write.
struct Target {
    placed: Placed,
    /// For a module, its path relative to the modules directory.
    module: Option<TreePath>,
}

/// The bytes of one content, and the files that have it.
type Parcel<'a> = (&'a [Target], Vec<u8>);

/// Writes modules, lists and configuration.
pub(super) fn stage(
    tree: &FileTree,
    plan: &SparseRoot,
    contents: &dyn Contents,
    workspace: &Workspace,
    links: &Links<'_>,
    jobs: NonZeroUsize,
) -> Result<Staged, DepmodError> {
    let targets = targets(plan)?;
    make_directories(plan, &targets, workspace)?;
    let staged = Mutex::new(Staged::default());
    let mut likely = program::likely(tree, contents);
    likely.extend(links.list.iter().map(|(_, content)| content.clone()).filter(|content| contents.has(content)));
    let (sender, receiver) = sync_channel::<Parcel>(jobs.get());
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for _ in 0..jobs.get() {
            scope.spawn(|| work(&receiver, workspace, links, &staged));
        }
        let result = visit(contents, (&plan.modules, &targets), &likely, &staged, |parcel| {
            // Workers end only when the sender is gone.
            sender.send(parcel).map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
        drop(sender);
        result
    })?;
    let mut staged = staged.into_inner().unwrap_or_else(PoisonError::into_inner);
    match staged.failed.pop_first() {
        Some((_, error)) => Err(error),
        None => Ok(staged),
    }
}

fn targets(plan: &SparseRoot) -> Result<BTreeMap<Content, Vec<Target>>, DepmodError> {
    let mut targets: BTreeMap<Content, Vec<Target>> = BTreeMap::new();
    let mut add = |target: Target| targets.entry(target.placed.content.clone()).or_default().push(target);
    for (path, content) in &plan.files {
        add(Target { placed: plan.placed(path, content)?, module: Some(path.clone()) });
    }
    for placed in plan.others()? {
        add(Target { placed, module: None });
    }
    Ok(targets)
}

fn make_directories(
    plan: &SparseRoot,
    targets: &BTreeMap<Content, Vec<Target>>,
    workspace: &Workspace,
) -> Result<(), DepmodError> {
    // All of depmod.d exists, so that the depmod of this machine never falls back on its own.
    let mut directories = CONFIGURATION.iter().map(TreePath::new).collect::<Result<BTreeSet<_>, _>>()?;
    directories.extend(plan.directories()?);
    for target in targets.values().flatten() {
        directories.extend(target.placed.path.parent());
        directories.extend(target.placed.also.as_ref().and_then(TreePath::parent));
    }
    directories.iter().try_for_each(|directory| workspace.directory(directory))
}

/// Reads every content once, and hands on those of `targets`. What fails outside of a file is said of `modules`.
fn visit<'a>(
    contents: &dyn Contents,
    (modules, targets): (&TreePath, &'a BTreeMap<Content, Vec<Target>>),
    likely: &BTreeSet<Content>,
    staged: &Mutex<Staged>,
    mut hand_on: impl FnMut(Parcel<'a>) -> io::Result<()>,
) -> Result<(), DepmodError> {
    let mut wanted = likely.clone();
    for (content, targets) in targets {
        let path = || targets.first().map(|target| target.placed.path.clone()).unwrap_or_default();
        if content.size() > FILE_MAX {
            return Err(DepmodError::TooLarge { path: path(), limit: FILE_MAX });
        }
        if let Content::Bytes(bytes) = content {
            let handed = hand_on((targets, bytes.to_vec()));
            handed.map_err(|source| DepmodError::Read { path: path(), source })?;
        } else if contents.has(content) {
            wanted.insert(content.clone());
        } else {
            return Err(DepmodError::Read { path: path(), source: io::ErrorKind::NotFound.into() });
        }
    }
    let mut at = None;
    let result = contents.visit(&wanted, &mut |content, reader| {
        let targets = targets.get(content);
        at = targets.and_then(|targets| targets.first()).map(|target| target.placed.path.clone());
        let bytes = exactly(content, reader)?;
        at = None;
        if likely.contains(content) {
            lock(staged).prefetched.insert(content.clone(), bytes.clone());
        }
        targets.map_or(Ok(()), |targets| hand_on((targets, bytes)))
    });
    result.map_err(|source| DepmodError::Read { path: at.unwrap_or_else(|| modules.clone()), source })
}

/// Takes parcels until there are no more.
fn work(receiver: &Mutex<Receiver<Parcel>>, workspace: &Workspace, links: &Links<'_>, staged: &Mutex<Staged>) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((targets, bytes)) = next else { return };
        for target in targets {
            if let Err(error) = unpack(target, &bytes, workspace, links, staged) {
                lock(staged).failed.insert(target.placed.path.clone(), error);
            }
        }
    }
}

fn unpack(
    target: &Target,
    bytes: &[u8],
    workspace: &Workspace,
    links: &Links<'_>,
    staged: &Mutex<Staged>,
) -> Result<(), DepmodError> {
    let name = target.placed.path.name();
    if let Some(path) = &target.module {
        let linked = links.need(path).then(|| Candidate::parse(bytes));
        let module = match &linked {
            Some(Ok(candidate)) => candidate.module.clone(),
            _ => Modinfo::parse(bytes)
                .map(|info| Module::from(&info))
                .map_err(|source| DepmodError::Module { path: path.clone(), source })?,
        };
        let mut staged = lock(staged);
        staged.modules.insert(path.clone(), module);
        if let Some(linked) = linked {
            links.take(&mut staged.linked, path, linked);
        }
    } else if name == b"modules.builtin" {
        lock(staged).builtins = builtins(bytes);
    } else if name == SYSTEM_MAP.as_bytes() {
        lock(staged).kernel_symbols = names_exports(bytes);
    }
    place(workspace, &target.placed, bytes)
}

/// Whether a `System.map` is one: distributions ship a line of prose under that name.
fn names_exports(map: &[u8]) -> bool {
    const EXPORT: &[u8] = b" __ksymtab_";
    map.windows(EXPORT.len()).any(|window| window == EXPORT)
}

/// Writes the image's depmod and its libraries; where it is.
pub(super) fn stage_program(
    tree: &FileTree,
    contents: &dyn Contents,
    prefetched: &BTreeMap<Content, Vec<u8>>,
    workspace: &Workspace,
) -> Result<TreePath, DepmodError> {
    let contents = Prefetched::new(contents, prefetched);
    let program = ImageDepmod::plan(tree, &contents, program::this_machine())?;
    let mut written: BTreeMap<&Content, &TreePath> = BTreeMap::new();
    for file in &program.files {
        if let Some(parent) = file.path.parent() {
            workspace.directory(&parent)?;
        }
        if let Some(first) = written.get(&file.content) {
            workspace.link(first, &file.path)?;
        } else {
            let failed = |source| DepmodError::Read { path: file.path.clone(), source };
            if file.content.size() > ELF_MAX {
                return Err(DepmodError::TooLarge { path: file.path.clone(), limit: ELF_MAX });
            }
            let mut reader = contents.open(&file.content).map_err(failed)?;
            let bytes = exactly(&file.content, &mut reader).map_err(failed)?;
            place(workspace, file, &bytes)?;
            written.insert(&file.content, &file.path);
        }
    }
    Ok(program.path)
}

fn place(workspace: &Workspace, file: &Placed, bytes: &[u8]) -> Result<(), DepmodError> {
    workspace.file(&file.path, bytes, file.mode)?;
    match &file.also {
        Some(also) => workspace.link(&file.path, also),
        None => Ok(()),
    }
}

/// All bytes of `content`, which must be as many as it says.
fn exactly(content: &Content, reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(content.size().saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == content.size() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn lock(staged: &Mutex<Staged>) -> MutexGuard<'_, Staged> {
    staged.lock().unwrap_or_else(PoisonError::into_inner)
}
