//! A layer described: a delta made complete and lawful for the image it goes on.
//!
//! The rules are those that every client of bootc images agrees on: every parent directory is listed with the base's own
//! mode, owner and attributes (a later change of an existing directory's mode is ignored by some), names go through the
//! base's symlinks first (`lib/x` would replace the `/lib` link and destroy usrmerge), only regular files, directories,
//! symlinks and hardlinks inside the layer, nothing in the places that the running system owns.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{FileTree, Inode, Kind, Meta, Resolved, TreeDelta, TreePath};

/// Directories whose content belongs to the running system or to ostree: files there vanish or are refused by clients.
const SYSTEM_PLACES: [&str; 8] = ["dev", "proc", "sys", "run", "tmp", "boot", "sysroot", "usr/etc"];

/// A complete description of one layer, ready to be sealed.
///
/// Made by [`LayerDraft::new`], so that it satisfies the rules of the module, or by [`LayerDraft::part`] of a whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDraft {
    pub(super) name: String,
    pub(super) delta: TreeDelta,
    pub(super) epoch: i64,
    pub(super) annotations: BTreeMap<String, String>,
}

/// A rule that a delta breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The delta says nothing; empty layers confuse clients that pair layers with history.
    #[error("layer {layer:?} would be empty")]
    Empty {
        /// Name of the layer.
        layer: String,
    },
    /// A path in a place the running system owns.
    #[error("layer {layer:?}: {path} is below /{place}, which images must leave alone")]
    SystemPlace {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
        /// The place.
        place: &'static str,
    },
    /// A name or symlink target that is not UTF-8, which ostree refuses.
    #[error("layer {layer:?}: the name or target of {path} is not UTF-8")]
    NotUtf8 {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
    },
    /// A name that clients take for a whiteout (image-spec layer.md, "Whiteouts").
    #[error("layer {layer:?}: {path} has a name that starts with .wh., which clients take for a removal")]
    WhiteoutName {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
    },
    /// A device, pipe or socket.
    #[error("layer {layer:?}: {path} is a {kind}; layers carry only files, directories and links")]
    Kind {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
        /// Its kind.
        kind: &'static str,
    },
    /// A directory takes the place of something else, or the other way round.
    #[error("layer {layer:?}: {path} is a {found} in the base and cannot become a {given}")]
    CrossesTypes {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
        /// What the base has there.
        found: &'static str,
        /// What the layer has there.
        given: &'static str,
    },
    /// The path runs into a file of the base.
    #[error("layer {layer:?}: {path} lies below {blocker}, which is not a directory")]
    Blocked {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
        /// What is in the way.
        blocker: TreePath,
    },
    /// Two paths of the delta become one behind the base's symlinks.
    #[error("layer {layer:?}: two entries lead to {path} through the base's symlinks")]
    Twice {
        /// Name of the layer.
        layer: String,
        /// Where both lead.
        path: TreePath,
    },
    /// A hardlink out of the layer.
    #[error("layer {layer:?}: hardlink {path} points at {target}, which is not in the layer")]
    LinkLeaves {
        /// Name of the layer.
        layer: String,
        /// The link.
        path: TreePath,
        /// Its target.
        target: TreePath,
    },
    /// An extended attribute that images must not carry.
    #[error(
        "layer {layer:?}: {path} carries the attribute {attribute}; only security.capability and user.* (not user.overlay.*) may be shipped"
    )]
    Attribute {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
        /// Its name.
        attribute: String,
    },
    /// A whiteout of something that is not there.
    #[error("layer {layer:?} removes {path}, which the base does not have")]
    NothingToRemove {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
    },
    /// An owner or time outside what a tar header can say to every client.
    #[error("layer {layer:?}: {path} has an owner or a time out of range")]
    Range {
        /// Name of the layer.
        layer: String,
        /// The path.
        path: TreePath,
    },
}

impl LayerDraft {
    /// Completes `delta` for the merged tree `base` that the layer goes on. `epoch` (seconds since 1970) dates its
    /// history entry. Directories have the time 0, as ostree gives them on every host: with that of the base, a layer would
    /// be another whenever a build of the base touched a directory above it.
    pub fn new(name: &str, delta: &TreeDelta, base: &FileTree, epoch: i64) -> Result<Self, DraftError> {
        let layer = || name.to_owned();
        let mut whole = TreeDelta::new();
        let marks = Marks::of(name, delta, base)?;
        for path in marks.whiteouts.iter().chain(&marks.opaques) {
            add_parents(&mut whole, path, base);
        }
        for path in &marks.opaques {
            if let Some(inode) = base.get(path) {
                whole.insert(path.clone(), repeated(inode));
            }
        }
        let mut moved = BTreeMap::new();
        let (links, others): (Vec<_>, Vec<_>) = delta.entries().iter().partition(|(_, inode)| inode.kind.is_hardlink());
        for (path, inode) in others.into_iter().chain(links) {
            let place = add_entry(name, &mut whole, path, inode, base, &moved)?;
            moved.insert(path.clone(), place);
        }
        marks.set(&mut whole);
        if whole.is_empty() {
            return Err(DraftError::Empty { layer: layer() });
        }
        Ok(Self { name: layer(), delta: whole, epoch, annotations: BTreeMap::new() })
    }

    /// With one more annotation on the layer's descriptor.
    #[must_use]
    pub fn with_annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The layer's name, for its history entry and for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The completed delta.
    pub fn delta(&self) -> &TreeDelta {
        &self.delta
    }

    /// Seconds since 1970.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Annotations of the descriptor.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }
}

/// The whiteouts and opaque marks of a draft, behind the symlinks of the base; none is below another.
struct Marks {
    whiteouts: BTreeSet<TreePath>,
    opaques: BTreeSet<TreePath>,
}

impl Marks {
    fn of(layer: &str, delta: &TreeDelta, base: &FileTree) -> Result<Self, DraftError> {
        let none = TreeDelta::new();
        let mut whiteouts = BTreeSet::new();
        for path in delta.whiteouts() {
            let place = place(layer, path, base, &none)?;
            if base.get(&place).is_none() {
                return Err(DraftError::NothingToRemove { layer: layer.to_owned(), path: path.clone() });
            }
            check_place(layer, &place)?;
            whiteouts.insert(place);
        }
        let mut opaques = BTreeSet::new();
        for path in delta.opaques() {
            let place = place(layer, path, base, &none)?;
            check_place(layer, &place)?;
            // There is nothing to hide in anything else.
            if !whiteouts.contains(&place) && (place.is_root() || base.get(&place).is_some_and(Inode::is_directory)) {
                opaques.insert(place);
            }
        }
        // What is below a mark is gone with it, and naming it would bring its parents back.
        let hidden = |path: &TreePath| {
            (opaques.contains(&TreePath::root()) && !path.is_root())
                || path.ancestors().any(|above| whiteouts.contains(&above) || opaques.contains(&above))
        };
        let shown = |marks: &BTreeSet<TreePath>| marks.iter().filter(|path| !hidden(path)).cloned().collect();
        Ok(Self { whiteouts: shown(&whiteouts), opaques: shown(&opaques) })
    }

    /// Sets the marks beside the entries. Clients disagree about a path and its whiteout in one layer, so a directory
    /// in the place of a whiteout is opaque instead, and anything else takes the place by itself.
    fn set(self, whole: &mut TreeDelta) {
        for path in self.opaques {
            whole.opaque(path);
        }
        for path in self.whiteouts {
            match whole.entries().get(&path).map(Inode::is_directory) {
                Some(true) => whole.opaque(path),
                Some(false) => {}
                None => whole.whiteout(path),
            }
        }
    }
}

/// Where `path` lands behind the symlinks of the base.
fn place(layer: &str, path: &TreePath, base: &FileTree, whole: &TreeDelta) -> Result<TreePath, DraftError> {
    if path.parent().is_some_and(|parent| whole.entries().get(&parent).is_some_and(Inode::is_directory)) {
        return Ok(path.clone()); // a parent written before is a real directory
    }
    match base.resolve_parent(path.as_bytes()) {
        Resolved::Found(place) | Resolved::Missing(place) => Ok(place),
        Resolved::Blocked(blocker) => Err(DraftError::Blocked { layer: layer.to_owned(), path: path.clone(), blocker }),
    }
}

fn check_place(layer: &str, path: &TreePath) -> Result<(), DraftError> {
    for place in SYSTEM_PLACES {
        if path.as_bytes().strip_prefix(place.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/')) {
            return Err(DraftError::SystemPlace { layer: layer.to_owned(), path: path.clone(), place });
        }
    }
    if path.components().any(|name| name.starts_with(b".wh.")) {
        return Err(DraftError::WhiteoutName { layer: layer.to_owned(), path: path.clone() });
    }
    Ok(())
}

fn add_parents(whole: &mut TreeDelta, path: &TreePath, base: &FileTree) {
    if path.parent().is_some_and(|parent| whole.entries().contains_key(&parent)) {
        return; // and with it all above
    }
    for above in path.ancestors() {
        if !whole.entries().contains_key(&above) {
            let inode = match base.get(&above) {
                Some(inode) if inode.is_directory() => repeated(inode),
                _ => Inode::directory(Meta::root_owned(0o755, 0)),
            };
            whole.insert(above, inode);
        }
    }
}

/// A directory of the base as a layer repeats it. Labels come from the merged tree's policy, signatures and overlay marks
/// are of the machine that wrote them; the rest, such as ACLs, would be lost on clients that take the last entry.
fn repeated(inode: &Inode) -> Inode {
    let mut inode = inode.clone();
    inode.meta.mtime = 0;
    inode.meta.xattrs.retain(|name, _| {
        let machine = matches!(&**name, b"security.selinux" | b"security.ima" | b"security.evm");
        !machine && !is_overlay(name) && is_writable(name)
    });
    inode
}

/// What new content may carry.
fn is_shippable(attribute: &[u8]) -> bool {
    let known = attribute == b"security.capability" || attribute.starts_with(b"user.");
    known && !is_overlay(attribute) && is_writable(attribute)
}

fn is_overlay(attribute: &[u8]) -> bool {
    attribute.starts_with(b"trusted.overlay.") || attribute.starts_with(b"user.overlay.")
}

/// A PAX key ends at the first equals sign, so a name with one cannot be written.
fn is_writable(attribute: &[u8]) -> bool {
    !attribute.contains(&b'=')
}

fn add_entry(
    layer: &str,
    whole: &mut TreeDelta,
    path: &TreePath,
    inode: &Inode,
    base: &FileTree,
    moved: &BTreeMap<TreePath, TreePath>,
) -> Result<TreePath, DraftError> {
    let name = || layer.to_owned();
    check_inode(layer, path, inode)?;
    // A directory over a symlink to a directory means the directory it leads to.
    let leads = inode.is_directory().then(|| base.resolve(path.as_bytes()));
    let place = match leads {
        Some(Resolved::Found(target)) if base.get(&target).is_none_or(Inode::is_directory) => target,
        _ => place(layer, path, base, whole)?,
    };
    check_place(layer, &place)?;
    let mut inode = inode.clone();
    if inode.is_directory() {
        inode.meta.mtime = 0;
    }
    if let Some(found) = base.get(&place) {
        if found.is_directory() != inode.is_directory() {
            let (found, given) = (base.linked(found).kind.name(), inode.kind.name());
            return Err(DraftError::CrossesTypes { layer: name(), path: place, found, given });
        }
        if inode.is_directory() {
            inode = repeated(found); // the base's own metadata stands
        }
    }
    if let Some(known) = whole.entries().get(&place)
        && !(known.is_directory() && inode.is_directory())
    {
        return Err(DraftError::Twice { layer: name(), path: place });
    }
    if let Kind::Hardlink(target) = &mut inode.kind {
        let Some(new) = moved.get(target) else {
            return Err(DraftError::LinkLeaves { layer: name(), path: path.clone(), target: target.clone() });
        };
        *target = new.clone();
    }
    add_parents(whole, &place, base);
    if !place.is_root() || inode.is_directory() {
        whole.insert(place.clone(), inode);
    }
    Ok(place)
}

fn check_inode(layer: &str, path: &TreePath, inode: &Inode) -> Result<(), DraftError> {
    let name = || layer.to_owned();
    let target = match &inode.kind {
        Kind::Symlink(target) => std::str::from_utf8(target).is_ok(),
        Kind::Directory | Kind::File(_) | Kind::Hardlink(_) => true,
        other => return Err(DraftError::Kind { layer: name(), path: path.clone(), kind: other.name() }),
    };
    if !target || path.to_str().is_none() {
        return Err(DraftError::NotUtf8 { layer: name(), path: path.clone() });
    }
    for attribute in inode.meta.xattrs.keys() {
        if !is_shippable(attribute) {
            let attribute = String::from_utf8_lossy(attribute).into_owned();
            return Err(DraftError::Attribute { layer: name(), path: path.clone(), attribute });
        }
    }
    let owners = u64::from(u32::MAX);
    if inode.meta.uid > owners || inode.meta.gid > owners || !(0..=MTIME_MAX).contains(&inode.meta.mtime) {
        return Err(DraftError::Range { layer: name(), path: path.clone() });
    }
    Ok(())
}

/// The last second that the octal digits of a tar header hold (the year 2242).
pub(super) const MTIME_MAX: i64 = 0o777_7777_7777;
