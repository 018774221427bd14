//! dpkg's database: a stanza in `status`, and files in `info` (dpkg-query(1), deb822(5)).

use oci_assemble::image::Epoch;
use oci_assemble::layer::whole;
use oci_assemble::plan::step::View;
use oci_assemble::tree::{Content, Inode, Meta, TreeDelta, TreePath};

use super::{Kept, RECORD, RecordError};
use crate::capture::Export;

/// The largest `status` that is read.
const STATUS_MAX: u64 = 256 << 20;
/// The largest list of conffiles with their MD5 that is read.
const SUMS_MAX: u64 = 16 << 20;
/// The MD5 of conffiles, which a builder notes: of packages that are only unpacked, dpkg does not know them.
pub(crate) const SUMS: &str = "var/lib/assemble/conffiles";
/// What dpkg writes in the place of those it does not know.
const UNKNOWN: &str = "newconffile";

/// The stanzas of a `status`, each without the empty line behind it.
fn stanzas(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(|stanza| stanza.trim_matches('\n')).filter(|stanza| !stanza.is_empty())
}

fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// What tells packages apart.
fn identity(stanza: &str) -> (&str, &str) {
    (field(stanza, "Package").unwrap_or_default(), field(stanza, "Architecture").unwrap_or_default())
}

pub(super) fn taken(
    packages: &[String],
    export: &Export,
    status: &TreePath,
    epoch: Epoch,
) -> Result<TreeDelta, RecordError> {
    let text = whole(&export.tree, &export.contents, status, STATUS_MAX)?;
    let text = String::from_utf8_lossy(&text);
    let sums = TreePath::new(SUMS)?;
    let sums = match export.tree.content(&sums) {
        Some(_) => whole(&export.tree, &export.contents, &sums, SUMS_MAX)?,
        None => Vec::new(),
    };
    let sums = String::from_utf8_lossy(&sums);
    let info = status.parent().unwrap_or_default().join("info")?;
    let top = TreePath::new(RECORD)?;
    let (mut delta, mut entries) = (TreeDelta::new(), String::new());
    for name in packages {
        let mut own = stanzas(&text).filter(|stanza| identity(stanza).0 == name).peekable();
        if own.peek().is_none() {
            return Err(RecordError::NoPackage { name: name.clone() });
        }
        own.for_each(|stanza| entries += &(installed(stanza, &sums) + "\n"));
        for (path, inode) in export.tree.children(&info).filter(|(path, _)| is_of(path.name(), name)) {
            // dpkg writes lists when it installs: their date is that of the builder.
            let meta = Meta { mtime: epoch.seconds(), ..inode.meta.clone() };
            delta.insert(top.join("info")?.join(path.name())?, Inode { meta, ..inode.clone() });
        }
    }
    let meta = Meta::root_owned(0o644, epoch.seconds());
    delta.insert(top.join("status")?, Inode::file(meta, Content::of(entries)));
    Ok(delta)
}

/// Whether a file of `info` is of the package: `NAME.list`, `NAME:ARCHITECTURE.list`.
fn is_of(file: &[u8], package: &str) -> bool {
    let Some((mark, rest)) = file.strip_prefix(package.as_bytes()).and_then(<[u8]>::split_first) else { return false };
    // Names have dots: `NAME.OTHER.list` is of another package.
    matches!(mark, b':') || (matches!(mark, b'.') && !rest.contains(&b'.'))
}

/// A stanza of an unpacked package as that of an installed one, with an end of line.
fn installed(stanza: &str, sums: &str) -> String {
    let sum = |path: &str| {
        sums.lines().find_map(|line| line.split_once("  ").filter(|(_, own)| *own == path)).map(|(sum, _)| sum)
    };
    let mut lines = String::new();
    for line in stanza.lines() {
        let own = match line.strip_prefix("Status:") {
            Some(_) => "Status: install ok installed".to_owned(),
            None => match line.strip_suffix(UNKNOWN).and_then(|line| line.strip_prefix(' ')) {
                Some(path) => {
                    let path = path.trim_end();
                    format!(" {path} {}", sum(path).unwrap_or(UNKNOWN))
                }
                None => line.to_owned(),
            },
        };
        lines += &(own + "\n");
    }
    lines
}

pub(super) fn entered(kept: &Kept<'_>, status: &TreePath, view: View<'_>) -> Result<TreeDelta, RecordError> {
    let damaged = |what| RecordError::Damaged { path: status.clone(), what };
    let own =
        kept.bytes("status", STATUS_MAX)?.ok_or(damaged("what a builder noted of packages is of another kind"))?;
    let own = String::from_utf8_lossy(&own);
    let before = whole(view.tree, view.contents, status, STATUS_MAX)?;
    let before = String::from_utf8(before).map_err(|_| damaged("it is no text"))?;
    let names: Vec<(&str, &str)> = stanzas(&own).map(identity).collect();
    let stays = stanzas(&before).filter(|stanza| !names.contains(&identity(stanza)));
    let all: Vec<&str> = stays.chain(stanzas(&own)).collect();
    let text = all.join("\n\n") + "\n\n";
    let mut delta = TreeDelta::new();
    let meta = view.tree.get(status).map_or_else(|| Meta::root_owned(0o644, 0), |inode| inode.meta.clone());
    let meta = Meta { mtime: Epoch::UNDATED.seconds(), ..meta };
    delta.insert(status.clone(), Inode::file(meta, Content::of(text)));
    let info = status.parent().unwrap_or_default().join("info")?;
    let top = TreePath::new(RECORD)?.join("info")?;
    for (path, inode) in kept.files.iter().filter(|(path, _)| path.is_below(&top)) {
        let meta = Meta { mtime: Epoch::UNDATED.seconds(), ..inode.meta.clone() };
        delta.insert(info.join(path.name())?, Inode { meta, ..inode.clone() });
    }
    Ok(delta)
}
