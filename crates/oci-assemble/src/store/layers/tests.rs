#![allow(clippy::unwrap_used)]
use super::*;
use crate::layer::{Compression, LayerDraft, SealOptions, seal, seal_delta};
use crate::store::VerifiedReader;
use crate::tree::{Inode, TreeDelta, TreePath};

/// Blobs in memory that count how often they were opened.
#[derive(Default)]
struct Memory {
    blobs: BTreeMap<Digest, Vec<u8>>,
    opened: Mutex<Vec<Digest>>,
}

impl BlobSource for Memory {
    fn has(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.blobs.contains_key(&descriptor.digest))
    }

    fn open(&self, descriptor: &Descriptor) -> Result<VerifiedReader<'_>, StoreError> {
        self.opened.lock().unwrap().push(descriptor.digest);
        let blob = self.blobs.get(&descriptor.digest).ok_or(StoreError::Missing { digest: descriptor.digest })?;
        Ok(VerifiedReader::new(descriptor, &blob[..]))
    }
}

#[derive(Default)]
struct MemoryCache(Mutex<BTreeMap<(Digest, Digest), Vec<u8>>>, Mutex<BTreeMap<Digest, Vec<u8>>>);

impl IndexCache for MemoryCache {
    fn get(&self, diff_id: &Digest, blob: &Digest) -> Option<LayerIndex> {
        LayerIndex::from_bytes(self.0.lock().unwrap().get(&(*diff_id, *blob))?)
    }

    fn put(&self, blob: &Digest, index: &LayerIndex) {
        self.0.lock().unwrap().insert((index.diff_id, *blob), index.to_bytes());
    }

    fn get_merged(&self, key: &Digest) -> Option<MergedIndex> {
        MergedIndex::from_bytes(self.1.lock().unwrap().get(key)?)
    }

    fn put_merged(&self, key: &Digest, merged: &MergedIndex) {
        self.1.lock().unwrap().insert(*key, merged.to_bytes());
    }
}

fn options() -> ReadOptions {
    ReadOptions { gate: Gate::Refuse, threads: NonZero::new(3).unwrap() }
}

/// Layers with one file each, named and filled by `texts`.
fn image(texts: &[(&str, &str)]) -> (Memory, Vec<(Descriptor, Digest)>) {
    let single: Vec<_> = texts.iter().map(std::slice::from_ref).collect();
    image_of(&single)
}

/// An image with a layer for each of these lists of files.
fn image_of(lists: &[&[(&str, &str)]]) -> (Memory, Vec<(Descriptor, Digest)>) {
    let mut memory = Memory::default();
    let mut layers = Vec::new();
    for (number, texts) in lists.iter().enumerate() {
        let mut delta = TreeDelta::new();
        for (path, text) in *texts {
            let meta = crate::tree::Meta::root_owned(0o644, 1);
            delta.insert(TreePath::new(path).unwrap(), crate::tree::Inode::file(meta, Content::of(*text)));
        }
        let draft = LayerDraft::new("x", &delta, &FileTree::new(), 1).unwrap();
        let compression = [Compression::DEFAULT, Compression::GZIP_DEFAULT, Compression::None][number % 3];
        let threads = NonZero::new(1).unwrap();
        let host = crate::layer::Sources::default();
        let (sealed, blob) = seal(&draft, &host, Vec::new(), SealOptions { compression, threads }).unwrap();
        layers.push((Descriptor::new(compression.media_type(), sealed.digest, sealed.size), sealed.diff_id));
        memory.blobs.insert(sealed.digest, blob);
    }
    (memory, layers)
}

fn text(source: &dyn Contents, tree: &FileTree, path: &str) -> String {
    let mut text = String::new();
    source.open(tree.content(&TreePath::new(path).unwrap()).unwrap()).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_cached_image_reads_only_the_layers_it_needs_bytes_from() {
    let (memory, layers) = image(&[("a", "one"), ("b", "two"), ("c", "three"), ("b", "four"), ("empty", "")]);
    let cache = MemoryCache::default();
    let first = ImageLayers::open(&memory, &layers, &cache, options()).unwrap();
    assert_eq!(first.read(), 5);
    memory.opened.lock().unwrap().clear();

    let again = ImageLayers::open(&memory, &layers, &cache, options()).unwrap();
    let tree = again.tree().unwrap();
    assert_eq!((again.read(), memory.opened.lock().unwrap().len()), (0, 0));
    assert_eq!(tree, first.tree().unwrap());
    assert_eq!(text(&again, &tree, "b"), "four");
    assert_eq!(text(&again, &tree, "empty"), "");
    assert_eq!(*memory.opened.lock().unwrap(), [layers[3].0.digest]);

    memory.opened.lock().unwrap().clear();
    let wanted = tree.iter().filter_map(|(_, inode)| inode.content().cloned()).collect();
    let mut seen = Vec::new();
    again
        .visit(&wanted, &mut |_, bytes| {
            let mut text = String::new();
            bytes.read_to_string(&mut text)?;
            seen.push(text);
            Ok(())
        })
        .unwrap();
    seen.sort();
    assert_eq!(seen, ["", "four", "one", "three"]);
    assert_eq!(memory.opened.lock().unwrap().len(), 3, "one pass over each layer with wanted bytes");
}

#[test]
fn merged_layers_are_what_the_layers_merge_to() {
    let (memory, layers) = image(&[("a", "one"), ("b", "two"), ("c", "three"), ("b", "four"), ("empty", "")]);
    let cache = MemoryCache::default();
    let all = ImageLayers::open(&memory, &layers, &NoCache, options()).unwrap();
    let first = MergedLayers::open(&memory, &layers, &cache, options()).unwrap();
    memory.opened.lock().unwrap().clear();
    let again = MergedLayers::open(&memory, &layers, &cache, options()).unwrap();
    assert_eq!((first.read(), again.read(), memory.opened.lock().unwrap().len()), (5, 0, 0));
    for merged in [&first, &again] {
        assert_eq!(*merged.tree(), all.tree().unwrap());
        let pairs: Vec<_> = merged.layers().map(|(blob, diff_id, _)| (blob.clone(), *diff_id)).collect();
        assert_eq!(pairs, layers);
        assert_eq!(
            ["a", "b", "c", "empty"].map(|path| text(merged, merged.tree(), path)),
            ["one", "four", "three", ""]
        );
        assert!(!merged.has(&Content::Stored { digest: Digest::of(b"two"), size: 3 }), "hidden by a later layer");
    }
    // In another order, or with some left out, they are other layers.
    let turned: Vec<_> = layers.iter().rev().cloned().collect();
    let turned = MergedLayers::open(&memory, &turned, &cache, options()).unwrap();
    assert_eq!((turned.read(), text(&turned, turned.tree(), "b")), (0, "two".to_owned()));
}

#[test]
fn what_was_only_recorded_is_refused_also_from_the_cache() {
    let (mut memory, mut layers) = image(&[("a", "one")]);
    let mut plain = Vec::new();
    decode(&memory.blobs[&layers[0].0.digest][..], Encoding::Zstd).unwrap().read_to_end(&mut plain).unwrap();
    plain.extend([1; 512]); // something behind the end of the archive
    let digest = Digest::of(&plain);
    layers[0] = (Descriptor::new(Compression::None.media_type(), digest, plain.len() as u64), digest);
    memory.blobs.insert(digest, plain);
    let cache = MemoryCache::default();
    let record = ReadOptions { gate: Gate::Record, ..options() };
    let merged = MergedLayers::open(&memory, &layers, &cache, record).unwrap();
    assert!(merged.layers().all(|(.., violations)| !violations.is_empty()));
    assert_eq!(MergedLayers::open(&memory, &layers, &cache, record).unwrap().read(), 0);
    let error = MergedLayers::open(&memory, &layers, &cache, options()).unwrap_err();
    assert!(matches!(error.fault, LayerFault::Index(IndexError::Ambiguous(_))), "{error:?}");
}

#[test]
fn names_the_layer_that_is_not_what_the_configuration_says() {
    let (memory, mut layers) = image(&[("a", "one"), ("b", "two")]);
    layers[1].1 = layers[0].1;
    let error = ImageLayers::open(&memory, &layers, &NoCache, options()).unwrap_err();
    assert_eq!((error.position, error.digest), (1, layers[1].0.digest));
    assert!(matches!(error.fault, LayerFault::DiffId { expected, .. } if expected == layers[0].1), "{error:?}");

    let (memory, mut layers) = image(&[("a", "one")]);
    layers[0].0.media_type = MediaType::from("application/vnd.oci.image.layer.v1.tar+gzip");
    let error = ImageLayers::open(&memory, &layers, &NoCache, options()).unwrap_err();
    assert!(matches!(error.fault, LayerFault::Index(IndexError::Read { offset: 0, .. })), "{error:?}");

    layers[0].0.media_type = MediaType::ImageConfig;
    let error = ImageLayers::open(&memory, &layers, &NoCache, options()).unwrap_err();
    assert!(matches!(error.fault, LayerFault::MediaType { .. }), "{error:?}");
}

#[test]
fn a_blob_that_changed_behind_its_index_is_noticed() {
    let (mut memory, layers) = image(&[("a", "zero"), ("b", "one"), ("c", "plain")]);
    let cache = MemoryCache::default();
    let tree = ImageLayers::open(&memory, &layers, &cache, options()).unwrap().tree().unwrap();
    let blob = memory.blobs.get_mut(&layers[2].0.digest).unwrap();
    let at = blob.windows(5).position(|window| window == b"plain").unwrap();
    blob[at] = b'P';
    let source = ImageLayers::open(&memory, &layers, &cache, options()).unwrap();
    let content = tree.content(&TreePath::new("c").unwrap()).unwrap();
    let error = source.open(content).and_then(|mut bytes| bytes.read_to_end(&mut Vec::new())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let error = source.visit(&BTreeSet::from([content.clone()]), &mut |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "also when nobody reads to the end");
}

#[test]
fn sha512_diff_ids_are_verified_too() {
    let (memory, mut layers) = image(&[("a", "one")]);
    let mut plain = Vec::new();
    decode(&memory.blobs[&layers[0].0.digest][..], Encoding::Zstd).unwrap().read_to_end(&mut plain).unwrap();
    let mut hasher = Digest::Sha512([0; 64]).hasher();
    hasher.update(&plain);
    layers[0].1 = hasher.finish();
    assert_eq!(ImageLayers::open(&memory, &layers, &NoCache, options()).unwrap().tree().unwrap().len(), 1);
    layers[0].1 = Digest::Sha512([7; 64]);
    assert!(ImageLayers::open(&memory, &layers, &NoCache, options()).is_err());
}

#[test]
fn held_layers_are_what_merged_layers_are_wherever_they_are_held() {
    // No two pieces of it are alike.
    let long = (0..400_000).map(|number| number.to_string()).collect::<Vec<_>>().join(".");
    let (memory, layers) = image(&[("a", "one"), ("b", &long), ("c", "three"), ("b2", &long[7..]), ("empty", "")]);
    let cache = MemoryCache::default();
    let temp = tempfile::tempdir().unwrap();
    let dir = cap_std::fs::Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).unwrap();
    let merged = MergedLayers::open(&memory, &layers, &NoCache, options()).unwrap();
    // All in memory, some, none; and with the indexes known.
    for held in [u64::MAX, 3 << 20, 0, 0] {
        memory.opened.lock().unwrap().clear();
        let hold = HoldOptions { memory: held, entries: u64::MAX, entry: ENTRY_MEMORY, spill: &dir, name: temp.path() };
        let all = HeldLayers::open(&memory, &layers, &cache, options(), hold).unwrap();
        assert_eq!(memory.opened.lock().unwrap().len(), layers.len(), "each layer is read once");
        assert_eq!(all.tree(), merged.tree());
        assert_eq!(all.violations(), merged.layers().map(|(.., found)| found.clone()).collect::<Vec<_>>());
        for (path, expected) in [("a", "one"), ("b", &long), ("b2", &long[7..]), ("empty", "")] {
            assert!(text(&all, all.tree(), path) == expected, "{path} with {held} bytes held");
            let slices = all.held(all.tree().content(&TreePath::new(path).unwrap()).unwrap());
            assert!(slices.is_none_or(|slices| slices.concat() == expected.as_bytes()), "{path}");
        }
        let long = all.held(all.tree().at("b").and_then(Inode::content).unwrap()).map(|slices| slices.len());
        assert_eq!(long.is_some_and(|slices| slices > 2), held == u64::MAX);
        // The layer of what is in memory is that of what is read.
        let all_of_it = TreeDelta::between(&FileTree::new(), all.tree());
        for compression in [Compression::DEFAULT, Compression::GZIP_DEFAULT] {
            let options = SealOptions { compression, threads: NonZero::<usize>::MIN };
            let (expected, _) = seal_delta(&all_of_it, &merged, io::sink(), options).unwrap();
            assert_eq!(seal_delta(&all_of_it, &all, io::sink(), options).unwrap().0, expected);
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "the file has no name");
    }
    let mut wrong = layers.clone();
    wrong[1].1 = Digest::of(b"other");
    let hold = HoldOptions { memory: 0, entries: 0, entry: ENTRY_MEMORY, spill: &dir, name: temp.path() };
    let error = HeldLayers::open(&memory, &wrong, &NoCache, options(), hold).unwrap_err();
    assert!(matches!(error, LayerError { position: 1, fault: LayerFault::DiffId { .. }, .. }), "{error:?}");
}

/// What the entries of a layer take is not there for its bytes; that they come behind them makes no difference.
#[test]
fn entries_take_memory_from_what_is_held() {
    let long = "0123456789abcdef".repeat(1 << 18);
    let names: Vec<String> = (0..5000).map(|number| format!("z{number:04}")).collect();
    let mut files = vec![("a", long.as_str())];
    files.extend(names.iter().map(|name| (name.as_str(), "")));
    let (memory, layers) = image_of(&[&files]);
    let temp = tempfile::tempdir().unwrap();
    let dir = cap_std::fs::Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).unwrap();
    let in_memory = |held, entries| {
        let hold = HoldOptions { memory: held, entries, entry: ENTRY_MEMORY, spill: &dir, name: temp.path() };
        let all = HeldLayers::open(&memory, &layers, &NoCache, options(), hold).unwrap();
        assert!(text(&all, all.tree(), "a") == long);
        all.held(all.tree().at("a").and_then(Inode::content).unwrap()).is_some()
    };
    // 4 MiB of a file, 2.5 MiB of headers, and 6.3 MB for 5,000 entries.
    assert!(in_memory(7 << 20, 6000));
    assert!(!in_memory(7 << 20, 0));
    assert!(in_memory(14 << 20, 0));
}

#[test]
fn what_cannot_be_held_is_not_the_layers_fault() {
    let (memory, layers) = image(&[("a", &"long".repeat(1 << 19)), ("b", "short")]);
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("gone")).unwrap();
    let dir = cap_std::fs::Dir::open_ambient_dir(temp.path().join("gone"), cap_std::ambient_authority()).unwrap();
    std::fs::remove_dir(temp.path().join("gone")).unwrap();
    let cache = MemoryCache::default();
    for known in [false, true] {
        if known {
            ImageLayers::open(&memory, &layers, &cache, options()).unwrap();
        }
        for place in ["spill", "elsewhere"] {
            let hold = HoldOptions { memory: 0, entries: 0, entry: ENTRY_MEMORY, spill: &dir, name: place.as_ref() };
            let error = HeldLayers::open(&memory, &layers, &cache, options(), hold).unwrap_err();
            assert!(matches!(&error.fault, LayerFault::Spill { dir, .. } if dir.as_os_str() == place), "{error:?}");
        }
    }
}
