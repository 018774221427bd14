//! Stages of kind `files`: a directory or a tar file of this machine, as it is.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use cap_std::fs::Dir;

use super::step::{Pinned, Produced, Stage, StageError, View};
use crate::elf::is_module_name;
use crate::image::{Epoch, Hasher};
use crate::store::dir::{DirError, HostContents, file, scan, scan_tar};
use crate::tree::{Content, FileTree, HostFile, Inode, Kind, Meta, Resolved, TreeDelta, TreePath};

/// Where kernels have their modules.
const MODULES: &[u8] = b"usr/lib/modules/";

/// Which of its files a stage brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All.
    Whole,
    /// Kernel modules, which share a layer with their indexes.
    Modules,
    /// All but those.
    Rest,
}

/// A directory or tar file below the recipe's root.
#[derive(Debug)]
pub struct FilesStage {
    name: String,
    root: Dir,
    source: PathBuf,
    into: TreePath,
    part: Part,
    /// The entries, dated 0: listed once, used by all steps and parts.
    entries: Arc<OnceLock<TreeDelta>>,
    /// What they pin: all parts pin the whole.
    pinned: Arc<OnceLock<Pinned>>,
}

impl FilesStage {
    /// The stage `name`, which puts `source` (relative to `root`) at `into`.
    pub fn new(name: &str, root: Dir, source: PathBuf, into: TreePath) -> Self {
        Self {
            name: name.to_owned(),
            root,
            source,
            into,
            part: Part::Whole,
            entries: Arc::default(),
            pinned: Arc::default(),
        }
    }

    /// Whether there may be kernel modules among the files; known of a directory, not of a tar file that was not read.
    /// An error of the listing is for [`Stage::resolve`] to report.
    pub fn may_bring_modules(&self) -> bool {
        match self.listing() {
            Ok(Some(listed)) => listed.entries().keys().any(|path| is_module_name(path.name())),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// The same files as two stages: kernel modules below the base's `/usr/lib/modules`, and the rest.
    pub fn split(self) -> io::Result<[Self; 2]> {
        let (name, source, into) = (self.name.clone(), self.source.clone(), self.into.clone());
        let (root, entries, pinned) = (self.root.try_clone()?, Arc::clone(&self.entries), Arc::clone(&self.pinned));
        let modules = Self { name, root, source, into, part: Part::Modules, entries, pinned };
        Ok([modules, Self { part: Part::Rest, ..self }])
    }

    fn is_directory(&self) -> Result<bool, DirError> {
        let metadata = self.root.metadata(&self.source);
        let metadata = metadata.map_err(|source| DirError::Read { path: self.source.clone(), source })?;
        Ok(metadata.is_dir())
    }

    /// The entries of a directory, dated 0; `None` for a tar file, which is read only when it is needed.
    fn listing(&self) -> Result<Option<&TreeDelta>, DirError> {
        if self.entries.get().is_none() {
            if !self.is_directory()? {
                return Ok(None);
            }
            let listed = scan(&self.root, &self.source, &self.into, 0)?;
            return Ok(Some(self.entries.get_or_init(|| listed)));
        }
        Ok(self.entries.get())
    }

    /// The entries of this part, dated `epoch`, for an image with this base.
    fn delta(&self, base: &FileTree, epoch: i64) -> Result<TreeDelta, DirError> {
        let entries = if let Some(listed) = self.listing()? {
            listed
        } else {
            let read = scan_tar(&self.root, &self.source, &self.into, 0)?;
            self.entries.get_or_init(|| read)
        };
        let wanted = |path: &TreePath| match self.part {
            Part::Whole => true,
            Part::Modules => is_module(base, path),
            Part::Rest => !is_module(base, path),
        };
        let mut delta = TreeDelta::new();
        for (path, inode) in entries.entries().iter().filter(|(path, _)| wanted(path)) {
            let mut inode = inode.clone();
            inode.meta.mtime = epoch;
            delta.insert(path.clone(), inode);
        }
        if self.part != Part::Modules {
            entries.whiteouts().iter().for_each(|path| delta.whiteout(path.clone()));
            entries.opaques().iter().for_each(|path| delta.opaque(path.clone()));
        }
        Ok(delta)
    }
}

/// Whether a kernel of an image with this base finds a module at `path`.
fn is_module(base: &FileTree, path: &TreePath) -> bool {
    is_module_name(path.name())
        && match base.resolve_parent(path.as_bytes()) {
            Resolved::Found(place) | Resolved::Missing(place) => place.as_bytes().starts_with(MODULES),
            Resolved::Blocked(_) => false,
        }
}

impl Stage for FilesStage {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "files"
    }

    fn resolve(&self) -> Result<Pinned, StageError> {
        let failed = |error: DirError| self.failed(error);
        if let Some(listed) = self.listing().map_err(failed)? {
            return Ok(self.pinned.get_or_init(|| pin(listed)).clone());
        }
        let whole = file(&self.root, &self.source).map_err(failed)?;
        let mut delta = TreeDelta::new();
        delta.insert(self.into.clone(), Inode::file(Meta::default(), Content::OnDisk(whole)));
        Ok(pin(&delta))
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let failed = |error: DirError| self.failed(error);
        let delta = self.delta(view.base, Epoch::UNDATED.seconds()).map_err(failed)?;
        let root = self.root.try_clone();
        let root = root.map_err(|source| failed(DirError::Read { path: self.source.clone(), source }))?;
        Ok(Produced { delta, contents: Some(Box::new(HostContents::new(root))), ..Produced::default() })
    }
}

/// Pins files of this machine by their state, without reading them.
pub fn pin(delta: &TreeDelta) -> Pinned {
    let (mut files, mut bytes, mut youngest) = (0_u64, 0_u64, 0);
    // Everything of one entry behind its length, so that no two lists of entries read the same.
    let (mut hasher, mut entry) = (Hasher::default(), Vec::new());
    for (path, inode) in delta.entries() {
        entry.clear();
        let Meta { mode, uid, gid, mtime, xattrs } = &inode.meta;
        field(&mut entry, path.as_bytes());
        field(&mut entry, inode.kind.name().as_bytes());
        for number in [u64::from(*mode), *uid, *gid, mtime.cast_unsigned()] {
            entry.extend(number.to_le_bytes());
        }
        for (name, value) in xattrs {
            field(&mut entry, name);
            field(&mut entry, value);
        }
        match &inode.kind {
            Kind::File(Content::OnDisk(HostFile { path, offset, size, stamp })) => {
                field(&mut entry, path.as_os_str().as_encoded_bytes());
                for number in [*offset, *size, stamp.dev, stamp.ino, stamp.size] {
                    entry.extend(number.to_le_bytes());
                }
                entry.extend(stamp.mtime.to_le_bytes());
                entry.extend(stamp.ctime.to_le_bytes());
                youngest = youngest.max(stamp.mtime).max(stamp.ctime);
                (files, bytes) = (files + 1, bytes + size);
            }
            Kind::File(content) => {
                let digest = content.digest().map(|digest| digest.to_string());
                field(&mut entry, digest.unwrap_or_default().as_bytes());
            }
            Kind::Symlink(target) => field(&mut entry, target),
            Kind::Hardlink(target) => field(&mut entry, target.as_bytes()),
            _ => {}
        }
        hasher.update(&(entry.len() as u64).to_le_bytes());
        hasher.update(&entry);
    }
    let inputs = BTreeMap::from([("bytes".into(), bytes.to_string()), ("files".into(), files.to_string())]);
    Pinned { inputs, stamp: hasher.finish(), commands: Vec::new(), youngest }
}

fn field(entry: &mut Vec<u8>, bytes: &[u8]) {
    entry.extend((bytes.len() as u64).to_le_bytes());
    entry.extend_from_slice(bytes);
}
