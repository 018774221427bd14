//! Indexes of several layers, merged: one tree, and where the bytes of its files are.

use super::LayerIndex;
use super::bytes::{Reader, Writer};
use crate::image::Digest;
use crate::layer::gate::Violations;
use crate::tree::{Content, FileTree, Kind};

/// First bytes of the stored form.
const MAGIC: &[u8] = b"assemble merged layers 3\n";

/// Where contents start: the number of the layer, from 0, and the offset in its uncompressed stream.
///
/// Law: of several places of one content the lowest layer is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Vec<(Digest, usize, u64)>);

impl Places {
    /// The places in layers with these indexes, lowest first.
    pub fn of(indexes: &[LayerIndex]) -> Self {
        Self::among(indexes, |_| true)
    }

    fn among(indexes: &[LayerIndex], wanted: impl Fn(&Digest) -> bool) -> Self {
        let mut places = Vec::new();
        for (layer, index) in indexes.iter().enumerate() {
            let found = index.offsets.iter().filter(|(digest, _)| wanted(digest));
            places.extend(found.map(|(digest, offset)| (*digest, layer, *offset)));
        }
        places.sort_unstable();
        places.dedup_by(|next, first| next.0 == first.0);
        Self(places)
    }

    /// Where the content with this digest starts.
    pub fn get(&self, digest: &Digest) -> Option<(usize, u64)> {
        let at = self.0.binary_search_by(|(found, ..)| found.cmp(digest)).ok()?;
        self.0.get(at).map(|(_, layer, offset)| (*layer, *offset))
    }

    /// Whether the bytes of `content` are in the layers; no bytes are everywhere.
    pub fn has(&self, content: &Content) -> bool {
        match content {
            Content::Stored { digest, size } => *size == 0 || self.get(digest).is_some(),
            _ => false,
        }
    }
}

/// What the layers of an image merge to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedIndex {
    /// All layers merged; file contents are named by digest.
    pub tree: FileTree,
    /// Where the bytes of its files are.
    pub places: Places,
    /// The rules that each layer breaks.
    pub violations: Vec<Violations>,
}

impl MergedIndex {
    /// `tree` is what the layers with these indexes merge to.
    pub fn new(tree: FileTree, indexes: &[LayerIndex]) -> Self {
        let mut visible: Vec<Digest> = tree.iter().filter_map(|(_, inode)| inode.content()?.digest()).collect();
        visible.sort_unstable();
        let places = Places::among(indexes, |digest| visible.binary_search(digest).is_ok());
        Self { tree, places, violations: indexes.iter().map(|index| index.violations.clone()).collect() }
    }

    /// The value as bytes. Law: `MergedIndex::from_bytes(&merged.to_bytes()) == Some(merged)`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.number(self.violations.len() as u64);
        self.violations.iter().for_each(|layer| out.violations(layer));
        out.number(self.places.0.len() as u64);
        for (digest, layer, offset) in &self.places.0 {
            out.digest(digest);
            out.number(*layer as u64);
            out.number(*offset);
        }
        out.number(self.tree.len() as u64);
        for (path, inode) in self.tree.iter() {
            out.bytes(path.as_bytes());
            out.inode(inode);
        }
        out.finish()
    }

    /// Reads what [`MergedIndex::to_bytes`] wrote; `None` when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, MAGIC)?;
        let mut violations = Vec::new();
        for _ in 0..from.number()? {
            violations.push(from.violations()?);
        }
        let mut places = Vec::new();
        for _ in 0..from.number()? {
            places.push((from.digest()?, usize::try_from(from.number()?).ok()?, from.number()?));
        }
        let mut inodes = Vec::new();
        for _ in 0..from.number()? {
            inodes.push((from.path()?, from.inode()?));
        }
        let named = |kind: &Kind| !matches!(kind, Kind::File(Content::Bytes(_) | Content::OnDisk(_)));
        let good = from.is_empty()
            && places.is_sorted_by(|one: &(Digest, usize, u64), next| one.0 < next.0)
            && inodes.iter().all(|(_, inode)| named(&inode.kind));
        let tree = FileTree::from_sorted(inodes).filter(|_| good)?;
        Some(Self { tree, places: Places(places), violations })
    }
}
