//! A readable text form of trees and deltas: one line an inode, in path order.
//!
//! ```text
//! / dir 0755 0:0 0
//! /usr/bin/ls file 0755 0:0 1700000000 size=1234 sha256:…
//! /usr/bin/dir hardlink 0755 0:0 1700000000 to=/usr/bin/ls
//! /usr/bin/ping file 0755 0:0 0 size=9 sha256:… security.capability=\x01\x00
//! /usr/old whiteout
//! ```
//! Names, targets and attributes are escaped as [`Escaped`] says. Law: `parse(dump(x)) == x` when every content is
//! [`Content::Stored`]; other contents are dumped by their digest or, when that is not known, by their place on disk.

use std::fmt::Write;

use super::delta::TreeDelta;
use super::inode::{Content, Inode, Kind, Meta};
use super::merge::FileTree;
use super::path::{Escaped, TreePath, unescape};

/// A line of a dump that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of a tree dump has no valid {field}")]
pub struct DumpError {
    /// Line number, from 1.
    pub line: usize,
    /// The field that is missing or wrong.
    pub field: &'static str,
}

impl FileTree {
    /// The tree as text.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (path, inode) in self.iter() {
            write_inode(&mut text, path, inode);
        }
        text
    }

    /// Reads what [`FileTree::dump`] wrote. Empty lines and lines that start with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, DumpError> {
        let delta = TreeDelta::parse(text)?;
        let mut tree = Self::new();
        for (path, inode) in delta.entries() {
            tree.insert(path.clone(), inode.clone());
        }
        Ok(tree)
    }
}

impl TreeDelta {
    /// The delta as text: whiteouts and opaque marks first, then entries.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (marks, word) in [(self.whiteouts(), "whiteout"), (self.opaques(), "opaque")] {
            for path in marks {
                let _ = writeln!(text, "{path} {word}");
            }
        }
        for (path, inode) in self.entries() {
            write_inode(&mut text, path, inode);
        }
        text
    }

    /// Reads what [`TreeDelta::dump`] wrote. Empty lines and lines that start with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, DumpError> {
        let mut delta = Self::new();
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        for (index, line) in lines {
            read_line(&mut delta, line).map_err(|field| DumpError { line: index + 1, field })?;
        }
        Ok(delta)
    }
}

// Writing to a String cannot fail.
fn write_inode(text: &mut String, path: &TreePath, inode: &Inode) {
    let Meta { mode, uid, gid, mtime, xattrs } = &inode.meta;
    let _ = write!(text, "{path} {} {mode:04o} {uid}:{gid} {mtime}", inode.kind.name());
    let _ = match &inode.kind {
        Kind::Directory | Kind::Fifo => Ok(()),
        Kind::File(Content::OnDisk(file)) => {
            let path = file.path.as_os_str().as_encoded_bytes();
            write!(text, " size={} disk={}@{}", file.size, Escaped(path), file.offset)
        }
        Kind::File(content) => match content.digest() {
            Some(digest) => write!(text, " size={} {digest}", content.size()),
            None => Ok(()),
        },
        Kind::Symlink(target) => write!(text, " to={}", Escaped(target)),
        Kind::Hardlink(target) => write!(text, " to={target}"),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => write!(text, " {major},{minor}"),
    };
    for (name, value) in xattrs {
        let _ = write!(text, " {}={}", Escaped(name).to_string().replace('=', "\\x3d"), Escaped(value));
    }
    text.push('\n');
}

fn read_line(delta: &mut TreeDelta, line: &str) -> Result<(), &'static str> {
    let mut words = line.split(' ');
    let path = read_path(words.next())?;
    let kind = words.next().ok_or("kind")?;
    match kind {
        "whiteout" => {
            delta.whiteout(path);
            return Ok(());
        }
        "opaque" => {
            delta.opaque(path);
            return Ok(());
        }
        _ => {}
    }
    let mut meta = Meta {
        mode: words.next().and_then(|word| u32::from_str_radix(word, 8).ok()).ok_or("mode")?,
        ..Meta::default()
    };
    let (uid, gid) = words.next().and_then(|word| word.split_once(':')).ok_or("owner")?;
    meta.uid = uid.parse().map_err(|_| "owner")?;
    meta.gid = gid.parse().map_err(|_| "owner")?;
    meta.mtime = words.next().and_then(|word| word.parse().ok()).ok_or("time")?;
    let kind = read_kind(kind, &mut words)?;
    for word in words {
        let (name, value) = word.split_once('=').ok_or("attribute")?;
        let name = unescape(name).ok_or("attribute")?;
        meta.xattrs.insert(name.into(), unescape(value).ok_or("attribute")?.into());
    }
    delta.insert(path, Inode { meta, kind });
    Ok(())
}

fn read_kind<'a>(kind: &str, words: &mut impl Iterator<Item = &'a str>) -> Result<Kind, &'static str> {
    let mut next = || words.next();
    match kind {
        "dir" => Ok(Kind::Directory),
        "fifo" => Ok(Kind::Fifo),
        "file" => {
            let size = next().and_then(|word| word.strip_prefix("size=")?.parse().ok()).ok_or("size")?;
            let digest = next().and_then(|word| word.parse().ok()).ok_or("digest")?;
            Ok(Kind::File(Content::Stored { digest, size }))
        }
        "symlink" => {
            let target = next().and_then(|word| unescape(word.strip_prefix("to=")?)).ok_or("target")?;
            Ok(Kind::Symlink(target.into()))
        }
        "hardlink" => Ok(Kind::Hardlink(read_path(next().and_then(|word| word.strip_prefix("to=")))?)),
        "char" | "block" => {
            let (major, minor) = next().and_then(|word| word.split_once(',')).ok_or("device")?;
            let (major, minor) = (major.parse().map_err(|_| "device")?, minor.parse().map_err(|_| "device")?);
            Ok(if kind == "char" { Kind::CharDevice { major, minor } } else { Kind::BlockDevice { major, minor } })
        }
        _ => Err("kind"),
    }
}

fn read_path(word: Option<&str>) -> Result<TreePath, &'static str> {
    let bytes = word.and_then(|word| word.strip_prefix('/')).and_then(unescape).ok_or("path")?;
    TreePath::new(bytes).map_err(|_| "path")
}
