//! Directories and tar files of this machine as deltas.
//!
//! A directory's owners, times and most permission bits are accidents of the machine (who checked it out, under which
//! umask), so only the executable bit is taken from it: files are 0755 or 0644, directories 0755, all owned by root.
//! A tar file says what it means: owners, modes and attributes are taken from it.

mod walk;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, Metadata, MetadataExt};

use crate::layer::{Contents, IndexError, IndexOptions, LayerIndex};
use crate::tree::{Content, HostFile, Inode, Kind, Meta, PathError, Stamp, TreeDelta, TreePath};

/// Why a directory or tar file cannot be taken as a delta.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirError {
    /// Reading failed.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Path relative to the recipe's root.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its path, or a symlink on the way, leads out of the root.
    #[error("{} leads out of the directory of the recipe", .path.display())]
    Outside {
        /// Path relative to the recipe's root.
        path: PathBuf,
    },
    /// A single file that is none, or a symlink.
    #[error("{} is not a regular file", .path.display())]
    NotRegular {
        /// Path relative to the recipe's root.
        path: PathBuf,
    },
    /// A device, pipe or socket.
    #[error("{} is neither a file, a directory nor a symlink", .path.display())]
    Kind {
        /// Path relative to the recipe's root.
        path: PathBuf,
    },
    /// A name that no image path can have.
    #[error("{} cannot be placed in the image", .path.display())]
    Name {
        /// Path relative to the recipe's root.
        path: PathBuf,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A tar file that cannot be read.
    #[error("cannot read the tar file {}", .path.display())]
    Tar {
        /// Path relative to the recipe's root.
        path: PathBuf,
        /// Why.
        #[source]
        source: IndexError,
    },
}

impl DirError {
    /// What reading `path` failed with.
    pub fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        // A `Dir` refuses paths that leave it with an error of its own, which has no number of the system.
        match (source.kind(), source.raw_os_error()) {
            (io::ErrorKind::PermissionDenied, None) => Self::Outside { path },
            _ => Self::Read { path, source },
        }
    }
}

/// Lists the directory `path` below `root` as entries below `into`, dated `epoch`. Symlinks are kept as they are and never
/// followed.
pub fn scan(root: &Dir, path: &Path, into: &TreePath, epoch: i64) -> Result<TreeDelta, DirError> {
    let mut delta = TreeDelta::new();
    if !into.is_root() {
        delta.insert(into.clone(), Inode::directory(Meta::root_owned(0o755, epoch)));
    }
    for (place, inode) in walk::walk(root, path, into, epoch)? {
        delta.insert(place, inode);
    }
    Ok(delta)
}

fn host_file(path: &Path, metadata: &Metadata) -> HostFile {
    HostFile { path: path.to_owned(), offset: 0, size: metadata.len(), stamp: stamp(metadata) }
}

/// The state of a file that `metadata` shows.
pub fn stamp(metadata: &Metadata) -> Stamp {
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Stamp {
        dev: metadata.dev(),
        ino: metadata.ino(),
        size: metadata.len(),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// One regular file below `root`. Symlinks on the way must stay below `root`; the file itself must not be one.
pub fn file(root: &Dir, path: &Path) -> Result<HostFile, DirError> {
    let read = |source| DirError::read(path, source);
    let metadata = root.symlink_metadata(path).map_err(read)?;
    if !metadata.is_file() {
        return Err(DirError::NotRegular { path: path.to_owned() });
    }
    Ok(host_file(path, &metadata))
}

/// Reads the plain tar file `path` below `root` as entries below `into`, through the gate for layers. Its times become
/// `epoch`, as times of a build are no property of the content.
pub fn scan_tar(root: &Dir, path: &Path, into: &TreePath, epoch: i64) -> Result<TreeDelta, DirError> {
    let read = |source| DirError::read(path, source);
    let whole = file(root, path)?;
    let tar = root.open(path).map_err(read)?;
    let LayerIndex { delta, offsets, .. } =
        crate::layer::index(io::BufReader::with_capacity(256 << 10, tar), IndexOptions::default())
            .map_err(|source| DirError::Tar { path: path.to_owned(), source })?;
    let place =
        |from: &TreePath| into.join(from.as_bytes()).map_err(|source| DirError::Name { path: path.to_owned(), source });
    let mut placed = TreeDelta::new();
    for (from, inode) in delta.entries() {
        let mut inode = inode.clone();
        inode.meta.mtime = epoch;
        match &mut inode.kind {
            Kind::File(content) => {
                let offset = content.digest().and_then(|digest| offsets.get(&digest)).copied().unwrap_or(0);
                *content = Content::OnDisk(HostFile { offset, size: content.size(), ..whole.clone() });
            }
            Kind::Hardlink(target) => *target = place(target)?,
            _ => {}
        }
        placed.insert(place(from)?, inode);
    }
    for path in delta.whiteouts() {
        placed.whiteout(place(path)?);
    }
    for path in delta.opaques() {
        placed.opaque(place(path)?);
    }
    Ok(placed)
}

/// The contents of files below one directory, and of what was made in memory.
#[derive(Debug)]
pub struct HostContents {
    root: Dir,
}

impl HostContents {
    /// Contents below `root`.
    pub fn new(root: Dir) -> Self {
        Self { root }
    }
}

impl Contents for HostContents {
    fn has(&self, content: &Content) -> bool {
        !matches!(content, Content::Stored { .. })
    }

    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        match content {
            Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
            Content::Stored { .. } => Err(io::ErrorKind::NotFound.into()),
            Content::OnDisk(host) => {
                let mut file = self.root.open(&host.path)?;
                if stamp(&file.metadata()?) != host.stamp {
                    let text = format!("{} changed while the image was built", host.path.display());
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
                }
                if host.offset == 0 && host.size == host.stamp.size {
                    return Ok(Box::new(file.into_std()));
                }
                file.seek(SeekFrom::Start(host.offset))?;
                Ok(Box::new(file.into_std().take(host.size)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use cap_std::ambient_authority;

    use super::*;
    use crate::tree::FileTree;

    fn root() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        (temp, dir)
    }

    fn read(contents: &HostContents, delta: &TreeDelta, path: &str) -> io::Result<Vec<u8>> {
        let content = delta.entries()[&TreePath::new(path).unwrap()].content().unwrap();
        let mut bytes = Vec::new();
        contents.open(content)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn takes_names_contents_and_the_executable_bit_only() {
        let (temp, dir) = root();
        fs::create_dir_all(temp.path().join("tree/bin")).unwrap();
        fs::write(temp.path().join("tree/bin/run"), "#!").unwrap();
        fs::set_permissions(temp.path().join("tree/bin/run"), PermissionsExt::from_mode(0o4771)).unwrap();
        fs::write(temp.path().join("tree/data"), "data").unwrap();
        fs::set_permissions(temp.path().join("tree/data"), PermissionsExt::from_mode(0o600)).unwrap();
        symlink("/absolute", temp.path().join("tree/link")).unwrap();
        let delta = scan(&dir, Path::new("tree"), &TreePath::new("usr").unwrap(), 7).unwrap();
        let shape: Vec<String> =
            delta.dump().lines().map(|line| line.split(" size").next().unwrap().to_owned()).collect();
        assert_eq!(
            shape,
            [
                "/usr dir 0755 0:0 7",
                "/usr/bin dir 0755 0:0 7",
                "/usr/bin/run file 0755 0:0 7",
                "/usr/data file 0644 0:0 7",
                "/usr/link symlink 0777 0:0 7 to=/absolute",
            ]
        );
        let contents = HostContents::new(dir.try_clone().unwrap());
        assert_eq!(read(&contents, &delta, "usr/data").unwrap(), b"data");
        fs::write(temp.path().join("tree/data"), "evil").unwrap();
        assert!(read(&contents, &delta, "usr/data").unwrap_err().to_string().contains("changed while"));
    }

    #[test]
    fn many_directories_are_listed_as_one_by_one() {
        let (temp, dir) = root();
        let mut expected = std::collections::BTreeMap::new();
        for number in 0..200_u32 {
            let folder = format!("tree/{}/{}/{}", number % 7, number % 40, number);
            fs::create_dir_all(temp.path().join(&folder)).unwrap();
            fs::write(temp.path().join(&folder).join("file"), number.to_string()).unwrap();
            let metadata = dir.metadata(format!("{folder}/file")).unwrap();
            expected.insert(format!("{folder}/file"), (metadata.len(), stamp(&metadata)));
        }
        let delta = scan(&dir, Path::new("tree"), &TreePath::new("tree").unwrap(), 0).unwrap();
        let found = delta.entries().iter().filter_map(|(path, inode)| match inode.content()? {
            Content::OnDisk(file) => {
                assert_eq!(file.path, Path::new(&path.to_string()[1..]));
                Some((file.path.to_str().unwrap().to_owned(), (file.size, file.stamp)))
            }
            _ => None,
        });
        assert_eq!(found.collect::<std::collections::BTreeMap<_, _>>(), expected);
        let folders = delta.entries().values().filter(|inode| matches!(inode.kind, Kind::Directory)).count();
        assert_eq!(folders, delta.entries().len() - 200);
        // Of several that are refused it is always the same that is named.
        for number in [39, 18, 5] {
            let pipe = temp.path().join(format!("tree/{}/{number}/{number}/pipe", number % 7));
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o600.into()).unwrap();
        }
        let named = || scan(&dir, Path::new("tree"), &TreePath::root(), 0).unwrap_err().to_string();
        let first = named();
        (0..20).for_each(|_| assert_eq!(named(), first));
    }

    #[test]
    fn refuses_pipes_and_what_lies_outside() {
        let (temp, dir) = root();
        fs::create_dir(temp.path().join("tree")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, temp.path().join("tree/pipe"), 0o600.into()).unwrap();
        let scanned = scan(&dir, Path::new("tree"), &TreePath::root(), 0);
        assert!(matches!(scanned, Err(DirError::Kind { path }) if path == Path::new("tree/pipe")));
        symlink("/etc", temp.path().join("out")).unwrap();
        let outside = |error: DirError| matches!(error, DirError::Outside { .. });
        assert!(outside(scan(&dir, Path::new("out"), &TreePath::root(), 0).unwrap_err()));
        assert!(outside(scan(&dir, Path::new("../"), &TreePath::root(), 0).unwrap_err()));
        assert!(outside(file(&dir, Path::new("out/passwd")).unwrap_err()));
        assert!(matches!(file(&dir, Path::new("out")), Err(DirError::NotRegular { .. })));
    }

    #[test]
    fn reads_a_tar_in_place() {
        let (temp, dir) = root();
        let tree = FileTree::parse("/etc dir 0700 1:2 9\n/etc/a fifo 0644 0:0 0\n").unwrap();
        let mut delta = TreeDelta::between(&FileTree::new(), &tree);
        delta.insert(TreePath::new("etc/a").unwrap(), Inode::file(Meta::root_owned(0o4755, 9), Content::of("hello")));
        let link = Inode { meta: Meta::default(), kind: Kind::Hardlink(TreePath::new("etc/a").unwrap()) };
        delta.insert(TreePath::new("etc/b").unwrap(), link);
        let draft = crate::layer::LayerDraft::new("x", &delta, &FileTree::new(), 9).unwrap();
        let mut tar = Vec::new();
        crate::layer::write_tar(&draft, &HostContents::new(dir.try_clone().unwrap()), &mut tar).unwrap();
        fs::write(temp.path().join("x.tar"), tar).unwrap();
        let placed = scan_tar(&dir, Path::new("x.tar"), &TreePath::new("usr").unwrap(), 5).unwrap();
        assert!(placed.dump().contains("/usr/etc dir 0700 1:2 5\n/usr/etc/a file 4755 0:0 5 size=5 disk=x.tar@"));
        assert!(placed.dump().contains("/usr/etc/b hardlink 4755 0:0 5 to=/usr/etc/a\n"));
        let contents = HostContents::new(dir);
        assert_eq!(read(&contents, &placed, "usr/etc/a").unwrap(), b"hello");
    }
}
