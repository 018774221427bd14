//! What a build would write, and what a client of the image before would download: layers are made as a build makes them
//! and thrown away.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use super::assemble::AssembleError;
use crate::image::{Digest, Image};
use crate::layer::{Contents, LayerDraft, SealOptions, Sealer};
use crate::tree::TreePath;

/// The layers that a build appends to a base, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// The new layers, lowest first.
    pub layers: Vec<ForecastLayer>,
    /// Bytes of all layers, those of the base among them, compressed.
    pub size: u64,
    /// Bytes of the layers that the image before does not have, compressed: what its clients download. All of them where
    /// there is no image before.
    pub download: u64,
    /// Layers of the base that the image before does not have.
    pub base_layers: usize,
}

/// Paths that are told of a layer.
const EXAMPLES: usize = 3;

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastLayer {
    /// Its name.
    pub name: String,
    /// Digest of its blob.
    pub digest: Digest,
    /// Digest of its tar.
    pub diff_id: Digest,
    /// Bytes of its blob.
    pub size: u64,
    /// Bytes of its tar.
    pub uncompressed: u64,
    /// Paths that it brings or removes, without the directories around them.
    pub paths: usize,
    /// Some of those that it brings, or else removes, in their order.
    pub examples: Vec<String>,
    /// Whether the image before has its blob.
    pub kept: bool,
}

impl Forecast {
    /// The forecast of `drafts` upon `base`, for clients that have `previous`. Costs what writing the layers costs, but
    /// for the writing.
    ///
    /// Law: the layers have the digests that [`seal_layer`](super::assemble::seal_layer) gives them with these options.
    pub fn new(
        base: &Image,
        drafts: &[LayerDraft],
        contents: &dyn Contents,
        previous: Option<&Image>,
        options: SealOptions,
    ) -> Result<Self, AssembleError> {
        let there: BTreeSet<Digest> =
            previous.iter().flat_map(|image| image.layers()).map(|(descriptor, _)| descriptor.digest).collect();
        let of_base = base.layers().map(|(descriptor, _)| descriptor);
        let missing: Vec<u64> =
            of_base.filter(|layer| !there.contains(&layer.digest)).map(|layer| layer.size).collect();
        let mut forecast = Self {
            layers: Vec::with_capacity(drafts.len()),
            size: base.layers().map(|(descriptor, _)| descriptor.size).sum(),
            download: missing.iter().sum(),
            base_layers: missing.len(),
        };
        let writer = Sealer::new(options);
        for draft in drafts {
            let name = draft.name().to_owned();
            let write = |source| AssembleError::Write { layer: name.clone(), source };
            let (sealed, _) = writer.seal(draft, contents, io::sink()).map_err(write)?;
            let kept = there.contains(&sealed.digest);
            forecast.size += sealed.size;
            forecast.download += if kept { 0 } else { sealed.size };
            let delta = draft.delta();
            let brought = delta.entries().iter().filter(|(_, inode)| !inode.is_directory()).map(|(path, _)| path);
            let named: Vec<&TreePath> = brought.chain(delta.whiteouts()).chain(delta.opaques()).collect();
            forecast.layers.push(ForecastLayer {
                name,
                digest: sealed.digest,
                diff_id: sealed.diff_id,
                size: sealed.size,
                uncompressed: sealed.uncompressed,
                paths: named.len(),
                examples: named.into_iter().take(EXAMPLES).map(ToString::to_string).collect(),
                kept,
            });
        }
        Ok(forecast)
    }

    /// The forecast for people. `previous` is what the image before is called, `size` writes a number of bytes.
    pub fn render(&self, previous: Option<&str>, size: fn(u64) -> String) -> String {
        let mut text = String::new();
        // A String takes everything.
        for layer in &self.layers {
            let ForecastLayer { name, size: bytes, uncompressed, paths, examples, kept, .. } = layer;
            let fate = if *kept { "kept" } else { "new" };
            let (bytes, uncompressed) = (size(*bytes), size(*uncompressed));
            let _ = writeln!(text, "  {fate:4}  {name:<24} {bytes:>12}  ({uncompressed} unpacked, {paths} paths)");
            if !examples.is_empty() {
                let more = if *paths > examples.len() { " …" } else { "" };
                let _ = writeln!(text, "        {}{more}", examples.join(" "));
            }
        }
        if self.base_layers > 0 && previous.is_some() {
            let _ = writeln!(text, "  new   layers of the base: {}", self.base_layers);
        }
        let (download, all) = (size(self.download), size(self.size));
        let _ = match previous {
            Some(previous) => writeln!(text, "expected download: {download} of {all} for who has {previous}"),
            None => writeln!(text, "expected download: {all}, as there is no image before"),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZero;

    use super::super::assemble::{LayerSink, seal_layer};
    use super::*;
    use crate::layer::{Compression, Sealed};
    use crate::testing::image::image;
    use crate::testing::memory::{Memory, add_file};
    use crate::tree::{Content, FileTree, Inode, Meta, TreeDelta};

    const OPTIONS: SealOptions = SealOptions { compression: Compression::DEFAULT, threads: NonZero::<usize>::MIN };

    struct Nowhere;

    impl io::Write for Nowhere {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl LayerSink for Nowhere {
        fn publish(self: Box<Self>, _: &Sealed) -> io::Result<()> {
            Ok(())
        }
    }

    fn draft(name: &str, text: &str) -> LayerDraft {
        let mut delta = TreeDelta::new();
        let file = Inode::file(Meta::root_owned(0o644, 7), Content::of(text));
        delta.insert(TreePath::new(format!("etc/{name}")).unwrap(), file);
        delta.whiteout(TreePath::new("etc/gone").unwrap());
        let mut base = FileTree::new();
        add_file(&mut base, "etc/gone", 0o644, "x");
        LayerDraft::new(name, &delta, &base, 7).unwrap()
    }

    #[test]
    fn clients_have_what_the_image_before_has() {
        let contents = Memory::default();
        let base = image(&["one", "two"]);
        let [same, other] = [draft("same", "text"), draft("other", "new")];
        let written = |draft| seal_layer(draft, &contents, Box::new(Nowhere), &Sealer::new(OPTIONS)).unwrap();
        let before = image(&["one", "zero"]).append(written(&same)).unwrap();
        let forecast = Forecast::new(&base, &[same.clone(), other.clone()], &contents, Some(&before), OPTIONS).unwrap();
        let found: Vec<_> =
            forecast.layers.iter().map(|layer| (layer.name.as_str(), layer.digest, layer.kept)).collect();
        let digest = |draft| written(draft).descriptor.digest;
        assert_eq!(found, [("same", digest(&same), true), ("other", digest(&other), false)]);
        assert!(forecast.layers.iter().all(|layer| layer.paths == 2), "{forecast:?}");
        assert_eq!(forecast.layers[1].examples, ["/etc/other", "/etc/gone"]);
        let two = base.layers().nth(1).unwrap().0.size;
        assert_eq!((forecast.base_layers, forecast.download), (1, two + written(&other).descriptor.size));
        let text = forecast.render(Some("oci:before"), |bytes| format!("{bytes} B"));
        assert!(text.contains("\n        /etc/other /etc/gone\n"), "{text}");
        assert!(text.contains("  kept  same ") && text.contains("  new   layers of the base: 1"), "{text}");
        let first = Forecast::new(&base, &[same], &contents, None, OPTIONS).unwrap();
        assert_eq!((first.download, first.base_layers), (first.size, 2));
    }
}
