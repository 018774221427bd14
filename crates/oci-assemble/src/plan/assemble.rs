//! From groups of stages to drafts of layers, and from drafts to sealed layers.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::step::{Group, StageError, View};
use crate::chunk::{split, untagged};
use crate::image::{Descriptor, Digest, Epoch, History, Layer};
use crate::layer::{Contents, DraftError, LayerDraft, Sealed, Sealer, Sources, WriteError};
use crate::tree::{FileTree, Inode, MergeError, TreeDelta, TreePath};

/// Why an image cannot be assembled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// A stage failed.
    #[error("cannot produce the content of layer {layer:?}")]
    Stage {
        /// The layer.
        layer: String,
        /// The stage.
        #[source]
        source: StageError,
    },
    /// The stages of a layer do not fit together or on the base.
    #[error("the content of layer {layer:?} does not fit on the image")]
    Merge {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: MergeError,
    },
    /// The content breaks a rule of layers.
    #[error("the content breaks a rule of bootable images")]
    Draft(#[source] DraftError),
    /// A layer could not be written.
    #[error("cannot write layer {layer:?}")]
    Write {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// The store did not take a blob.
    #[error("cannot store layer {layer:?}")]
    Store {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Layers described, and the image they make.
pub struct Drafted {
    /// The drafts, lowest first, as they are appended: without the tags that name components.
    pub drafts: Vec<LayerDraft>,
    /// Base and drafts, merged. What stages brought has its tags, for who cuts the whole image.
    pub tree: FileTree,
    /// Paths that the drafts bring: no parents, no removals.
    pub added: BTreeSet<TreePath>,
    /// Contents that stages brought with them.
    pub contents: Vec<Box<dyn Contents + Send>>,
    /// What stages had to say, a line each.
    pub notes: Vec<String>,
    /// Whether something of this machine decided: see [`Produced::of_machine`](super::step::Produced::of_machine).
    pub of_machine: bool,
}

impl std::fmt::Debug for Drafted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drafted").field("drafts", &self.drafts).field("notes", &self.notes).finish_non_exhaustive()
    }
}

/// Runs the stages group by group. A group that changes nothing makes no layer; what is generated leaves its layer for one
/// behind it.
pub fn draft(
    groups: &[Group],
    base: &FileTree,
    contents: &[&dyn Contents],
    epoch: Epoch,
    architecture: &str,
) -> Result<Drafted, AssembleError> {
    let mut all = Drafted {
        drafts: Vec::new(),
        tree: base.clone(),
        added: BTreeSet::new(),
        contents: Vec::new(),
        notes: Vec::new(),
        of_machine: false,
    };
    for group in groups {
        let layer = || group.name.clone();
        let merge = |source| AssembleError::Merge { layer: layer(), source };
        let mut delta = TreeDelta::new();
        for stage in &group.stages {
            let tree;
            let so_far = if delta.is_empty() {
                &all.tree
            } else {
                // Through the draft, which follows the base's symlinks: as it stands, `/lib/x` would replace the link `/lib`.
                let draft = LayerDraft::new(&group.name, &delta, &all.tree, epoch.seconds());
                tree = all.tree.clone().apply(draft.map_err(AssembleError::Draft)?.delta()).map_err(merge)?;
                &tree
            };
            let mut sources: Vec<&dyn Contents> = contents.to_vec();
            sources.extend(all.contents.iter().map(|contents| &**contents as &dyn Contents));
            let sources = Sources::new(sources);
            let view = View { base, tree: so_far, contents: &sources, epoch, architecture };
            let produced = stage.produce(view).map_err(|source| AssembleError::Stage { layer: layer(), source })?;
            delta = delta.then(&produced.delta);
            all.contents.extend(produced.contents);
            all.of_machine |= produced.of_machine;
            all.notes.extend(produced.notes.into_iter().map(|note| format!("{}: {note}", stage.name())));
        }
        if delta.is_empty() {
            continue;
        }
        let draft = LayerDraft::new(&group.name, &delta, &all.tree, epoch.seconds()).map_err(AssembleError::Draft)?;
        let new = draft.delta().entries().iter().filter(|(path, inode)| {
            let known = all.tree.get(path);
            known != Some(*inode) && !(inode.is_directory() && known.is_some_and(Inode::is_directory))
        });
        all.added.extend(new.map(|(path, _)| path.clone()));
        all.tree = all.tree.apply(draft.delta()).map_err(merge)?;
        all.drafts.extend(split(untagged(draft, base), &all.tree));
    }
    Ok(all)
}

/// Takes the bytes of one layer's blob.
pub trait LayerSink: Write + Send {
    /// Keeps what was written under its digest.
    fn publish(self: Box<Self>, sealed: &Sealed) -> io::Result<()>;
}

/// A layer whose blob is written and has no name yet. Dropped, it leaves what its sink leaves, which is nothing.
pub struct Unpublished<'s> {
    /// The layer.
    pub layer: Layer,
    name: String,
    sealed: Sealed,
    sink: Box<dyn LayerSink + 's>,
}

impl std::fmt::Debug for Unpublished<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpublished").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<'s> Unpublished<'s> {
    /// Seals one draft into `sink`. The history entry is dated by the draft's epoch and names the layer.
    pub fn seal(
        draft: &LayerDraft,
        contents: &dyn Contents,
        sink: Box<dyn LayerSink + 's>,
        writer: &Sealer,
    ) -> Result<Self, AssembleError> {
        let name = draft.name().to_owned();
        let (sealed, sink) = writer
            .seal(draft, contents, sink)
            .map_err(|source| AssembleError::Write { layer: name.clone(), source })?;
        let blob = Descriptor::new(writer.compression().media_type(), sealed.digest, sealed.size);
        let layer = layer_of(draft, blob, sealed.diff_id, sealed.uncompressed);
        Ok(Self { layer, name, sealed, sink })
    }

    /// Gives the blob its name.
    pub fn publish(self) -> Result<Layer, AssembleError> {
        let Self { layer, name, sealed, sink } = self;
        sink.publish(&sealed).map_err(|source| AssembleError::Store { layer: name, source })?;
        Ok(layer)
    }
}

/// Seals one draft into `sink`, as [`Unpublished::seal`] does, and publishes it.
pub fn seal_layer(
    draft: &LayerDraft,
    contents: &dyn Contents,
    sink: Box<dyn LayerSink + '_>,
    writer: &Sealer,
) -> Result<Layer, AssembleError> {
    Unpublished::seal(draft, contents, sink, writer)?.publish()
}

/// The layer of `draft` as this blob, whose tar has the given digest and bytes.
pub fn layer_of(draft: &LayerDraft, blob: Descriptor, diff_id: Digest, uncompressed: u64) -> Layer {
    let descriptor = Descriptor { annotations: draft.annotations().clone(), ..blob };
    let created = Epoch::new(draft.epoch()).map(|epoch| epoch.to_string()).ok();
    let history = History { created, ..History::of(format!("assemble: {}", draft.name())) };
    Layer { descriptor, diff_id, uncompressed_size: Some(uncompressed), history }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::step::{Pinned, Produced, Stage};
    use super::*;
    use crate::testing::memory::{Memory, add_file};
    use crate::tree::{Content, Inode, Kind, Meta};

    struct Given(TreeDelta);

    impl Stage for Given {
        fn name(&self) -> &'static str {
            "given"
        }

        fn kind(&self) -> &'static str {
            "files"
        }

        fn resolve(&self) -> Result<Pinned, StageError> {
            unreachable!("nothing is pinned here")
        }

        fn produce(&self, _: View<'_>) -> Result<Produced, StageError> {
            Ok(Produced { delta: self.0.clone(), ..Produced::default() })
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn tagged(mut inode: Inode) -> Inode {
        inode.meta.xattrs.insert(b"user.component".as_slice().into(), b"foo".as_slice().into());
        inode.meta.xattrs.insert(b"user.other".as_slice().into(), b"stays".as_slice().into());
        inode
    }

    #[test]
    fn appended_layers_have_no_tags_of_components_but_the_tree_has() {
        let mut base = FileTree::new();
        add_file(&mut base, "opt/base/file", 0o644, "x");
        for at in ["opt/base", "opt/base/file"] {
            let inode = tagged(base.at(at).unwrap().clone());
            base.insert(path(at), inode);
        }
        let file = |text: &str| tagged(Inode::file(Meta::root_owned(0o644, 1), Content::of(text)));
        let mut first = TreeDelta::new();
        first.insert(path("opt/new"), tagged(Inode::directory(Meta::root_owned(0o755, 1))));
        first.insert(path("opt/new/a"), file("a"));
        first.insert(path("opt/new/b"), Inode { kind: Kind::Hardlink(path("opt/new/a")), ..file("a") });
        first.insert(path("opt/base/c"), file("c"));
        first.whiteout(path("opt/base/file"));
        let mut second = TreeDelta::new();
        second.insert(path("opt/new/d"), file("d"));
        let groups = [first, second].map(|delta| Group { name: "x".into(), stages: vec![Box::new(Given(delta))] });
        let drafted = draft(&groups, &base, &[&Memory::default()], Epoch::new(1).unwrap(), "amd64").unwrap();
        let with = |inodes: &mut dyn Iterator<Item = (&TreePath, &Inode)>, name: &str| -> Vec<String> {
            let found = inodes.filter(|(_, inode)| inode.meta.xattrs.contains_key(name.as_bytes()));
            found.map(|(path, _)| path.to_string()).collect()
        };
        let of = |number: usize, name: &str| with(&mut drafted.drafts[number].delta().entries().iter(), name);
        // The directory of the base is only repeated.
        assert_eq!([of(0, "user.component"), of(1, "user.component")], [vec!["/opt/base".to_owned()], vec![]]);
        assert_eq!(of(0, "user.other"), ["/opt/base", "/opt/base/c", "/opt/new", "/opt/new/a", "/opt/new/b"]);
        assert_eq!(of(1, "user.other"), ["/opt/new", "/opt/new/d"]);
        assert!(drafted.drafts[0].delta().whiteouts().contains(&path("opt/base/file")));
        assert_eq!(with(&mut drafted.tree.iter(), "user.component"), with(&mut drafted.tree.iter(), "user.other"));
    }
}
