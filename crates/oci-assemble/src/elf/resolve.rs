//! Finds the libraries of a program in a tree, as `ld.so` would when the tree was booted.
//!
//! The order of ld.so(8): a name with a slash is a path; else `DT_RPATH` of the object and of those that led to it
//! (unless they have `DT_RUNPATH`), `DT_RUNPATH` of the object, the directories of `/etc/ld.so.conf`, and those built
//! in. A library for another machine is passed over. A library that is loaded already satisfies its name and soname
//! for all that come later, wherever they would look.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::needed::{Identity, Needed, identity};
use super::{ELF_MAX, ElfError, search};
use crate::layer::{Contents, start, whole};
use crate::tree::{FileTree, TreePath};

/// Enough of a file to know its machine.
const IDENTITY_BYTES: u64 = 64;

/// Where one library of a program is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resolution {
    /// The name as it is asked for: `DT_NEEDED`, or the path of the dynamic linker.
    pub name: Vec<u8>,
    /// The first object that asks for it.
    pub by: TreePath,
    /// The file, symlinks followed; `None` when no directory has it.
    pub found: Option<TreePath>,
}

/// The libraries that the program or library at `path` is loaded with: all of them, in the order of loading.
/// For many programs of one tree use [`Libraries`].
pub fn resolve(tree: &FileTree, contents: &dyn Contents, path: &TreePath) -> Result<Vec<Resolution>, ElfError> {
    Libraries::new(tree, contents)?.resolve(path)
}

/// The libraries of a tree. Each file is read once, however many programs need it.
pub struct Libraries<'a> {
    tree: &'a FileTree,
    contents: &'a dyn Contents,
    /// When given, the needs of other files are not looked into.
    inspected: Option<&'a BTreeSet<TreePath>>,
    configured: Vec<Vec<u8>>,
    read: RefCell<BTreeMap<TreePath, Option<Needed>>>,
    identities: RefCell<BTreeMap<TreePath, Option<Identity>>>,
}

impl std::fmt::Debug for Libraries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Libraries").field("configured", &self.configured.len()).finish_non_exhaustive()
    }
}

/// An object on its way into the address space.
struct Loaded {
    path: TreePath,
    /// The directory it was found in, for `$ORIGIN`.
    origin: TreePath,
    needed: Needed,
    /// The object that first asked for it.
    loader: Option<usize>,
}

impl<'a> Libraries<'a> {
    /// Reads the linker's configuration of the tree.
    pub fn new(tree: &'a FileTree, contents: &'a dyn Contents) -> Result<Self, ElfError> {
        Ok(Self {
            tree,
            contents,
            inspected: None,
            configured: search::configured(tree, contents)?,
            read: RefCell::default(),
            identities: RefCell::default(),
        })
    }

    /// Looks only into the needs of `paths`: of any other library just the first 64 bytes are read, and it is
    /// taken as complete. For a base image that is known to work.
    #[must_use]
    pub fn inspecting(mut self, paths: &'a BTreeSet<TreePath>) -> Self {
        self.inspected = Some(paths);
        self
    }

    /// Tells what was read of a file elsewhere, so that it is not read again: its machine (`None` when it is no ELF
    /// file), and what it needs when it is one to be inspected.
    pub fn learn(&mut self, path: TreePath, identity: Option<Identity>, needed: Option<Needed>) {
        if needed.is_some() {
            self.read.borrow_mut().insert(path.clone(), needed);
        }
        self.identities.borrow_mut().insert(path, identity);
    }

    /// What the dynamic section of the file at `path` says.
    pub fn needed(&self, path: &TreePath) -> Result<Needed, ElfError> {
        if let Some(Some(known)) = self.read.borrow().get(path) {
            return Ok(known.clone());
        }
        Needed::parse(&whole(self.tree, self.contents, path, ELF_MAX)?)
    }

    /// The libraries that the program or library at `path` is loaded with, in the order of loading, its dynamic
    /// linker first.
    pub fn resolve(&self, path: &TreePath) -> Result<Vec<Resolution>, ElfError> {
        let needed = self.needed(path)?;
        let main = needed.identity;
        let mut resolutions = Vec::new();
        if let Some(interpreter) = &needed.interpreter {
            let found = self.fitting(interpreter, main)?;
            resolutions.push(Resolution { name: interpreter.clone(), by: path.clone(), found });
        }
        let mut known: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut objects =
            vec![Loaded { path: path.clone(), origin: path.parent().unwrap_or_default(), needed, loader: None }];
        let mut queue = VecDeque::from([0]);
        while let Some(index) = queue.pop_front() {
            for name in objects.get(index).map(|object| object.needed.needed.clone()).unwrap_or_default() {
                if !known.insert(name.clone()) {
                    continue;
                }
                let place = self.find(&objects, index, &name, main)?;
                let by = objects.get(index).map(|object| object.path.clone()).unwrap_or_default();
                resolutions.push(Resolution { name, by, found: place.as_ref().map(|(found, _)| found.clone()) });
                if let Some((found, origin)) = place
                    && objects.iter().all(|object| object.path != found)
                    && let Some(needed) = self.library(&found)?
                {
                    known.extend(needed.soname.clone());
                    queue.push_back(objects.len());
                    objects.push(Loaded { path: found, origin, needed, loader: Some(index) });
                }
            }
        }
        Ok(resolutions)
    }

    /// The file that `name` means to object `index`, and the directory it is found in.
    fn find(
        &self,
        objects: &[Loaded],
        index: usize,
        name: &[u8],
        main: Identity,
    ) -> Result<Option<(TreePath, TreePath)>, ElfError> {
        let Some(object) = objects.get(index) else { return Ok(None) };
        if name.contains(&b'/') {
            for path in expand(name, object, main) {
                if let Some(found) = self.fitting(&path, main)? {
                    let origin = found.parent().unwrap_or_default();
                    return Ok(Some((found, origin)));
                }
            }
            return Ok(None);
        }
        for directory in self.directories(objects, index, main) {
            let path = [directory.as_slice(), b"/", name].concat();
            if let Some(found) = self.fitting(&path, main)? {
                let origin = self.tree.lookup(&directory).map(|(origin, _)| origin).unwrap_or_default();
                return Ok(Some((found, origin)));
            }
        }
        Ok(None)
    }

    fn directories(&self, objects: &[Loaded], index: usize, main: Identity) -> Vec<Vec<u8>> {
        let mut directories = Vec::new();
        let object = objects.get(index);
        if object.is_some_and(|object| object.needed.runpath.is_empty()) {
            let mut next = Some(index);
            let mut chain = Vec::new();
            while let Some(at) = next {
                chain.push(at);
                next = objects.get(at).and_then(|object| object.loader);
            }
            for object in chain.into_iter().filter_map(|at| objects.get(at)) {
                if object.needed.runpath.is_empty() {
                    directories.extend(object.needed.rpath.iter().flat_map(|path| expand(path, object, main)));
                }
            }
        }
        if let Some(object) = object {
            directories.extend(object.needed.runpath.iter().flat_map(|path| expand(path, object, main)));
        }
        directories.extend(self.configured.iter().cloned());
        directories.extend(search::built_in(main));
        directories
    }

    /// The regular file that an absolute `path` leads to, when it is for the machine.
    fn fitting(&self, path: &[u8], main: Identity) -> Result<Option<TreePath>, ElfError> {
        let Some((found, _)) = self.tree.lookup(path) else { return Ok(None) };
        if !path.starts_with(b"/") || self.tree.content(&found).is_none() {
            return Ok(None);
        }
        let known = self.identities.borrow().get(&found).copied();
        let identity = if let Some(known) = known {
            known
        } else {
            let bytes = start(self.tree, self.contents, &found, IDENTITY_BYTES)?;
            let identity = bytes.as_deref().and_then(identity);
            self.identities.borrow_mut().insert(found.clone(), identity);
            identity
        };
        Ok((identity == Some(main)).then_some(found))
    }

    /// What the library at `path` needs; `None` when it is not to be looked into, or is too damaged to say.
    fn library(&self, path: &TreePath) -> Result<Option<Needed>, ElfError> {
        if self.inspected.is_some_and(|paths| !paths.contains(path)) {
            return Ok(None);
        }
        if let Some(known) = self.read.borrow().get(path) {
            return Ok(known.clone());
        }
        let needed = match self.needed(path) {
            Ok(needed) => Some(needed),
            Err(ElfError::Read(error)) => return Err(ElfError::Read(error)),
            Err(_) => None,
        };
        self.read.borrow_mut().insert(path.clone(), needed.clone());
        Ok(needed)
    }
}

/// `path` with `$ORIGIN`, `$LIB` and `$PLATFORM` replaced. `$LIB` depends on the distribution: all its values are tried.
fn expand(path: &[u8], object: &Loaded, main: Identity) -> Vec<Vec<u8>> {
    let origin = [b"/".as_slice(), object.origin.as_bytes()].concat();
    let platform = main.machine.platform().as_bytes();
    let libs = if replace(path, b"LIB", b"x") == path { vec![Vec::new()] } else { search::lib(main) };
    libs.iter()
        .map(|lib| {
            let path = replace(path, b"ORIGIN", &origin);
            replace(&replace(&path, b"PLATFORM", platform), b"LIB", lib)
        })
        .collect()
}

/// Replaces `$NAME` and `${NAME}`.
fn replace(text: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let braced = [b"${".as_slice(), name, b"}"].concat();
    let plain = [b"$".as_slice(), name].concat();
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(braced.as_slice()) {
            result.extend_from_slice(value);
            rest = after;
        } else if let Some(after) = rest.strip_prefix(plain.as_slice())
            && !after.first().is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_')
        {
            result.extend_from_slice(value);
            rest = after;
        } else {
            result.push(*first);
            rest = tail;
        }
    }
    result
}
