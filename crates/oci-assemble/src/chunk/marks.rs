//! What layers take away of those below them, for a delta: a layer can be another for its whiteouts alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::delta::{EXAMPLES, ImageSide};
use crate::image::Digest;
use crate::layer::LayerIndex;
use crate::tree::{TreeDelta, TreePath};

/// Paths that are taken away. All that is in a directory is written `/DIRECTORY/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MarkedPaths {
    /// How many.
    pub paths: usize,
    /// Some of them, sorted.
    pub examples: Vec<String>,
}

impl MarkedPaths {
    /// Nothing where there are no paths.
    fn of(marks: &BTreeSet<Mark<'_>>) -> Option<Self> {
        let told = |mark: &Mark<'_>| match mark {
            (path, false) => path.to_string(),
            (path, true) if path.is_root() => "/*".to_owned(),
            (path, true) => format!("{path}/*"),
        };
        let examples = marks.iter().take(EXAMPLES).map(told).collect();
        (!marks.is_empty()).then_some(Self { paths: marks.len(), examples })
    }
}

/// A path that a layer takes away, and whether it is only what is in that directory.
type Mark<'a> = (&'a TreePath, bool);

fn marks(delta: &TreeDelta) -> impl Iterator<Item = Mark<'_>> {
    let whiteouts = delta.whiteouts().iter().map(|path| (path, false));
    whiteouts.chain(delta.opaques().iter().map(|path| (path, true)))
}

/// Whether one of `marks` takes away what `mark` does.
fn covers(marks: &BTreeSet<Mark<'_>>, (path, opaque): Mark<'_>) -> bool {
    let root = TreePath::root();
    let above = |above: TreePath| marks.contains(&(&above, false)) || marks.contains(&(&above, true));
    marks.contains(&(path, false))
        || (opaque && marks.contains(&(path, true)))
        || (!path.is_root() && marks.contains(&(&root, true)))
        || path.ancestors().any(above)
}

/// What the layers of an image take away that those of another do not.
pub(super) struct Marks<'a> {
    before: BTreeSet<Mark<'a>>,
    /// What is taken away no more, by the number of the layer that stands for the one which did.
    restored: BTreeMap<usize, BTreeSet<Mark<'a>>>,
}

impl<'a> Marks<'a> {
    /// `blobs` are those of `from`.
    pub(super) fn new(from: ImageSide<'a>, to: ImageSide<'_>, blobs: &BTreeSet<Digest>) -> Self {
        let before = from.layers.iter().flat_map(|(_, index)| marks(&index.delta)).collect();
        let after: BTreeSet<Mark<'_>> = to.layers.iter().flat_map(|(_, index)| marks(&index.delta)).collect();
        let mut restored: BTreeMap<usize, BTreeSet<Mark<'a>>> = BTreeMap::new();
        for (_, index) in from.layers {
            let gone: Vec<Mark<'a>> = marks(&index.delta).filter(|mark| !covers(&after, *mark)).collect();
            if !gone.is_empty()
                && let Some(number) = heir(index, to, blobs)
            {
                restored.entry(number).or_default().extend(gone);
            }
        }
        Self { before, restored }
    }

    /// What the layer takes away that no layer of the other image does, and what it takes away no more.
    pub(super) fn of(&self, number: usize, index: &LayerIndex) -> [Option<MarkedPaths>; 2] {
        let removed = marks(&index.delta).filter(|mark| !covers(&self.before, *mark)).collect();
        [MarkedPaths::of(&removed), self.restored.get(&number).and_then(MarkedPaths::of)]
    }
}

/// The new layer that has most of what `before` has. Directories do not count: every layer lists some.
fn heir(before: &LayerIndex, to: ImageSide<'_>, blobs: &BTreeSet<Digest>) -> Option<usize> {
    let says = |delta: &TreeDelta, path: &TreePath, opaque: bool| match (opaque, delta.entries().get(path)) {
        (false, Some(inode)) => !inode.is_directory(),
        (false, None) => delta.whiteouts().contains(path),
        (true, _) => delta.opaques().contains(path),
    };
    let common = |index: &LayerIndex| {
        let files = index.delta.entries().iter().filter(|(_, inode)| !inode.is_directory());
        let all = files.map(|(path, _)| (path, false)).chain(marks(&index.delta));
        all.filter(|(path, opaque)| says(&before.delta, path, *opaque)).count()
    };
    let new = to.layers.iter().enumerate().filter(|(_, (blob, _))| !blobs.contains(&blob.digest));
    let common = new.map(|(number, (_, index))| (common(index), number)).filter(|(common, _)| *common > 0);
    common.max_by_key(|(common, number)| (*common, usize::MAX - number)).map(|(_, number)| number)
}
