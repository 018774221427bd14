//! Writes a planned sparse root, and reads what the modules say of themselves on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci_assemble::elf::{self, ELF_MAX, Modinfo};
use oci_assemble::layer::Contents;
use oci_assemble::tree::{Content, FileTree, TreePath};

use super::plan::{CONFIGURATION, SYSTEM_MAP};
use super::workspace::Workspace;
use super::{DepmodError, ImageDepmod, Placed, SparseRoot, program};
use crate::module::{Module, Modules, builtins};

/// The largest module file or list that is copied, as it is stored.
const FILE_MAX: u64 = elf::MODULE_MAX;

/// What was found while staging.
pub(super) struct Staged {
    pub(super) modules: Modules,
    pub(super) builtins: BTreeSet<String>,
    /// Whether the symbols that the kernel itself exports are known.
    pub(super) kernel_symbols: bool,
}

/// Writes modules, lists and configuration.
pub(super) fn stage(
    plan: &SparseRoot,
    contents: &dyn Contents,
    workspace: &Workspace,
    jobs: NonZeroUsize,
) -> Result<Staged, DepmodError> {
    let mut built_in = BTreeSet::new();
    let mut kernel_symbols = false;
    for directory in CONFIGURATION {
        // All of them exist, so that the depmod of this machine never falls back on its own.
        workspace.directory(&TreePath::new(directory)?)?;
    }
    for directory in plan.directories()? {
        workspace.directory(&directory)?;
    }
    for file in plan.others()? {
        let bytes = read(contents, &file.path, &file.content, FILE_MAX)?;
        if file.path.name() == b"modules.builtin" {
            built_in = builtins(&bytes);
        }
        kernel_symbols |= file.path.name() == SYSTEM_MAP.as_bytes() && names_exports(&bytes);
        place(workspace, &file, &bytes)?;
    }
    let mut directories = BTreeSet::new();
    let files: Vec<(&TreePath, Placed)> = plan
        .files
        .iter()
        .map(|(path, content)| Ok((path, plan.placed(path, content)?)))
        .collect::<Result<_, DepmodError>>()?;
    for (_, file) in &files {
        directories.extend(file.path.parent());
        directories.extend(file.also.as_ref().and_then(TreePath::parent));
    }
    directories.iter().try_for_each(|directory| workspace.directory(directory))?;
    let modules = in_parallel(&files, jobs, |(path, file)| {
        let bytes = read(contents, path, &file.content, FILE_MAX)?;
        let info = Modinfo::parse(&bytes).map_err(|source| DepmodError::Module { path: (*path).clone(), source })?;
        place(workspace, file, &bytes)?;
        Ok(((*path).clone(), Module::from(&info)))
    })?;
    Ok(Staged { modules: modules.into_iter().collect(), builtins: built_in, kernel_symbols })
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
    workspace: &Workspace,
) -> Result<TreePath, DepmodError> {
    let program = ImageDepmod::plan(tree, contents, program::this_machine())?;
    let mut read_once: BTreeMap<&Content, &TreePath> = BTreeMap::new();
    for file in &program.files {
        if let Some(parent) = file.path.parent() {
            workspace.directory(&parent)?;
        }
        if let Some(first) = read_once.get(&file.content) {
            workspace.link(first, &file.path)?;
        } else {
            let bytes = read(contents, &file.path, &file.content, ELF_MAX)?;
            place(workspace, file, &bytes)?;
            read_once.insert(&file.content, &file.path);
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
fn read(contents: &dyn Contents, path: &TreePath, content: &Content, limit: u64) -> Result<Vec<u8>, DepmodError> {
    let failed = |source| DepmodError::Read { path: path.clone(), source };
    let size = content.size();
    if size > limit {
        return Err(DepmodError::TooLarge { path: path.clone(), limit });
    }
    let mut bytes = Vec::new();
    contents.open(content).map_err(failed)?.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(failed(std::io::ErrorKind::UnexpectedEof.into())) }
}

/// `work` on each of `items` by `jobs` threads; answers in the order of the items, or the first error in that order.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: NonZeroUsize,
    work: impl Fn(&T) -> Result<R, DepmodError> + Sync,
) -> Result<Vec<R>, DepmodError> {
    let next = AtomicUsize::new(0);
    let answers: Mutex<BTreeMap<usize, Result<R, DepmodError>>> = Mutex::new(BTreeMap::new());
    let keep = |index, answer| {
        answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(index, answer);
    };
    let worker = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let answer = work(item);
            if answer.is_err() {
                // Earlier items are all begun, so the first error is among the answers.
                next.store(items.len(), Ordering::Relaxed);
            }
            keep(index, answer);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.get().min(items.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
}
