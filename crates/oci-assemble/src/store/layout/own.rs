//! A writer's own directory in a layout.

use std::io::{self, Write};

use cap_std::fs::Dir;
use rustix::fs::FlockOperation;

use super::read::{check_header, read_index};
use super::{HEADER, INDEX_LOCK, OWNER_LOCK, PRIVATE, TRANSACTION, USERS_LOCK};
use crate::store::error::{Result, io as failed};
use crate::store::file::{self, Lock};

/// The content of the file `oci-layout`.
pub(in crate::store) const HEADER_TEXT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";

/// A directory for temporary files. Removed when dropped; if its owner is killed, by the next writer.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) dir: Dir,
    /// The private directory of the layout.
    pub(super) private: Dir,
    name: String,
    _owner: Lock,
    _users: Lock,
}

impl Own {
    /// Makes `dir` a layout if it is none, removes what killed writers left, and makes a new directory.
    pub(super) fn make(dir: &Dir) -> Result<Self> {
        for path in ["blobs/sha256", PRIVATE] {
            dir.create_dir_all(path).map_err(failed("create", path))?;
        }
        let private = dir.open_dir(PRIVATE).map_err(failed("open", PRIVATE))?;
        let users = Lock::wait(&private, USERS_LOCK, FlockOperation::LockShared).map_err(failed("lock", USERS_LOCK))?;
        // Until the new directory has its owner's lock, nobody may take it for an abandoned one.
        let index = lock_index(&private)?;
        for name in abandoned(&private)? {
            private.remove_dir_all(&name).map_err(failed("remove", format!("{PRIVATE}/{name}")))?;
        }
        let (own, name, owner) = create(&private).map_err(failed("create a directory in", PRIVATE))?;
        // Dropping it takes that lock again.
        drop(index);
        let own = Self { dir: own, private, name, _owner: owner, _users: users };
        if check_header(dir)?.is_none() {
            own.write_header(dir).map_err(failed("write", HEADER))?;
        }
        // A layout that cannot be added to is found out before any work is done for it.
        read_index(dir)?;
        Ok(own)
    }

    fn write_header(&self, dir: &Dir) -> io::Result<()> {
        let mut file = file::create_new(&self.dir, HEADER)?;
        file.write_all(HEADER_TEXT.as_bytes())?;
        file.sync_all()?;
        self.dir.rename(HEADER, dir, HEADER)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Not while somebody looks whether it is abandoned. What cannot be removed now is removed by the next writer.
        let _index = lock_index(&self.private);
        let _ = self.private.remove_dir_all(&self.name);
    }
}

/// Waits for the exclusive right to change the index.
pub(in crate::store) fn lock_index(private: &Dir) -> Result<Lock> {
    Lock::wait(private, INDEX_LOCK, FlockOperation::LockExclusive).map_err(failed("lock", INDEX_LOCK))
}

/// Names of writers' directories whose owner is gone. Without the lock of the index, one that is just being made or
/// removed may be among them.
pub(in crate::store) fn abandoned(private: &Dir) -> Result<Vec<String>> {
    let failed = || failed("look for abandoned files in", PRIVATE);
    let mut names = Vec::new();
    for entry in private.entries().map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(TRANSACTION)) else { continue };
        let Ok(dir) = private.open_dir(name) else { continue };
        // Its owner may have been killed before it made the file of the lock.
        let unowned = match Lock::attempt(&dir, OWNER_LOCK) {
            Ok(lock) => lock.is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed()(error)),
        };
        if unowned {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn create(private: &Dir) -> io::Result<(Dir, String, Lock)> {
    let mut number = 0_u32;
    loop {
        let name = format!("{TRANSACTION}{number}");
        match private.create_dir(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            other => {
                other?;
                let dir = private.open_dir(&name)?;
                let owner = Lock::wait(&dir, OWNER_LOCK, FlockOperation::LockExclusive)?;
                return Ok((dir, name, owner));
            }
        }
    }
}
