//! Stages of kind `files`: a directory or a tar file of this machine, as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use cap_std::fs::Dir;

use super::step::{Pinned, Produced, Stage, StageError, View};
use crate::image::Hasher;
use crate::store::dir::{DirError, HostContents, file, scan, scan_tar};
use crate::tree::{Content, HostFile, Inode, Kind, TreeDelta, TreePath};

/// A directory or tar file below the recipe's root.
#[derive(Debug)]
pub struct FilesStage {
    name: String,
    root: Dir,
    source: PathBuf,
    into: TreePath,
    /// A directory's entries, dated 0: listed once, used by all steps.
    listed: OnceLock<TreeDelta>,
}

impl FilesStage {
    /// The stage `name`, which puts `source` (relative to `root`) at `into`.
    pub fn new(name: &str, root: Dir, source: PathBuf, into: TreePath) -> Self {
        Self { name: name.to_owned(), root, source, into, listed: OnceLock::new() }
    }

    fn is_directory(&self) -> Result<bool, DirError> {
        let metadata = self.root.metadata(&self.source);
        let metadata = metadata.map_err(|source| DirError::read(&self.source, source))?;
        Ok(metadata.is_dir())
    }

    /// The entries of a directory, dated 0; `None` for a tar file, which is read only when it is needed.
    pub fn listing(&self) -> Result<Option<&TreeDelta>, DirError> {
        if self.listed.get().is_none() {
            if !self.is_directory()? {
                return Ok(None);
            }
            let listed = scan(&self.root, &self.source, &self.into, 0)?;
            return Ok(Some(self.listed.get_or_init(|| listed)));
        }
        Ok(self.listed.get())
    }

    /// The entries, dated `epoch`. Costs a read of a tar file.
    pub fn delta(&self, epoch: i64) -> Result<TreeDelta, DirError> {
        let Some(listed) = self.listing()? else {
            return scan_tar(&self.root, &self.source, &self.into, epoch);
        };
        let mut delta = TreeDelta::new();
        for (path, inode) in listed.entries() {
            let mut inode = inode.clone();
            inode.meta.mtime = epoch;
            delta.insert(path.clone(), inode);
        }
        Ok(delta)
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
            return Ok(pin(listed));
        }
        let whole = file(&self.root, &self.source).map_err(failed)?;
        let mut delta = TreeDelta::new();
        delta.insert(self.into.clone(), Inode::file(crate::tree::Meta::default(), Content::OnDisk(whole)));
        Ok(pin(&delta))
    }

    fn produce(&self, view: View<'_>) -> Result<Produced, StageError> {
        let failed = |error: DirError| self.failed(error);
        let delta = self.delta(view.epoch.seconds()).map_err(failed)?;
        let root = self.root.try_clone();
        let root = root.map_err(|source| failed(DirError::Read { path: self.source.clone(), source }))?;
        Ok(Produced { delta, contents: Some(Box::new(HostContents::new(root))), notes: Vec::new() })
    }
}

/// Pins files of this machine by their state, without reading them.
pub fn pin(delta: &TreeDelta) -> Pinned {
    let mut hasher = Hasher::default();
    let (mut files, mut bytes, mut youngest) = (0_u64, 0_u64, 0);
    let mut add = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    for (path, inode) in delta.entries() {
        add(path.as_bytes());
        add(format!("{} {:?}", inode.kind.name(), inode.meta).as_bytes());
        match &inode.kind {
            Kind::File(Content::OnDisk(HostFile { path, offset, size, stamp })) => {
                add(path.as_os_str().as_encoded_bytes());
                add(format!("{offset} {size} {stamp:?}").as_bytes());
                youngest = youngest.max(stamp.mtime).max(stamp.ctime);
                (files, bytes) = (files + 1, bytes + size);
            }
            Kind::File(content) => {
                let digest = content.digest().map(|digest| digest.to_string());
                add(digest.unwrap_or_default().as_bytes());
            }
            Kind::Symlink(target) => add(target),
            Kind::Hardlink(target) => add(target.as_bytes()),
            _ => {}
        }
    }
    let inputs = BTreeMap::from([("bytes".into(), bytes.to_string()), ("files".into(), files.to_string())]);
    Pinned { inputs, stamp: hasher.finish(), youngest }
}
