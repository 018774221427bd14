use std::collections::BTreeSet;

use oci_assemble::store::{BlobSource, Layout, gc};
use oci_assemble::testing::tree::arbitrary_tree;
use oci_assemble::tree::FileTree;
use proptest::prelude::*;

use super::*;

/// The files of [`arbitrary_tree`]: single bytes named by their digest.
fn single_bytes() -> Memory {
    let mut memory = Memory::default();
    for byte in 0..3_u8 {
        memory.put([byte]);
    }
    memory
}

/// Without what no layer carries: devices, pipes, attributes with an equals sign.
fn carriable(tree: &FileTree) -> FileTree {
    let mut plain = FileTree::new();
    for (path, inode) in tree.iter() {
        let mut inode = inode.clone();
        inode.meta.xattrs.retain(|name, _| !name.contains(&b'='));
        if !matches!(tree.linked(&inode).kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo) {
            plain.insert(path.clone(), inode);
        }
    }
    plain
}

fn staged<'a>(key: &'a BundleKey, record: &'a BundleRecord, delta: &'a TreeDelta, contents: &'a Memory) -> Staged<'a> {
    Staged { key, record, delta, contents, log: None }
}

fn bytes_of(contents: &dyn Contents, content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_kept_is_found_again_exactly(
        (before, after) in (arbitrary_tree(), arbitrary_tree()),
        opaque in any::<bool>(),
        modules in 0..4_usize,
        threads in 2..5_usize,
    ) {
        let contents = single_bytes();
        let mut delta = TreeDelta::between(&carriable(&before), &carriable(&after));
        if opaque {
            delta.opaque(path("a"));
        }
        for number in 0..modules {
            let file = Inode::file(Meta::root_owned(0o644, 5), Content::of(module_for("m", "6.1")));
            delta.insert(path(&format!("usr/lib/modules/6.1/m{number}.ko")), file);
        }
        let (key, record) = (key("6.1"), record("6.1", &delta, &contents));
        prop_assert_eq!(record.modules.len(), modules);
        let temps = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let kept = [ONE, NonZero::new(threads).unwrap()].into_iter().zip(&temps).map(|(threads, temp)| {
            store(temp).keep(staged(&key, &record, &delta, &contents), threads).unwrap()
        });
        let kept: Vec<Kept> = kept.collect();
        prop_assert_eq!(kept[0].bundle.manifest(), kept[1].bundle.manifest());
        let found = hit(&temps[0], "6.1");
        prop_assert_eq!(found.delta().dump(), delta.dump());
        prop_assert_eq!(found.config(), kept[0].bundle.config());
        prop_assert_eq!(&found.config().record, &record);
        prop_assert_eq!(found.manifest(), kept[0].bundle.manifest());
        prop_assert!(found.log().unwrap().is_none());

        let (read, files, _) = found.open();
        let mut wanted = BTreeSet::new();
        // Forwards, backwards, and several at a time.
        for (path, inode) in read.entries().iter().chain(read.entries().iter().rev()) {
            let Some(content) = inode.content() else { continue };
            prop_assert!(files.has(content));
            prop_assert_eq!(bytes_of(&files, content), bytes_of(&contents, delta.entries()[path].content().unwrap()));
            wanted.insert(content.clone());
        }
        let again = wanted.clone();
        let mut open: Vec<_> = again.iter().map(|content| (content, files.open(content).unwrap())).collect();
        for (content, stream) in &mut open {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            prop_assert_eq!(Digest::of(&bytes), content.digest().unwrap());
        }
        let mut visited = BTreeSet::new();
        files.visit(&wanted, &mut |content, stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            assert_eq!(Digest::of(&bytes), content.digest().unwrap());
            visited.insert(content.clone());
            Ok(())
        }).unwrap();
        prop_assert_eq!(visited, wanted);
    }
}

#[test]
fn a_log_changes_the_manifest_and_nothing_else() {
    let temps: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let bundles: Vec<Bundle> = [None, Some("10:01 make\n"), Some("10:02 make\n")]
        .into_iter()
        .zip(&temps)
        .map(|(log, temp)| keep(temp, "6.1", log).bundle)
        .collect();
    assert_eq!(bundles[0].config(), bundles[1].config());
    assert_eq!(bundles[1].config(), bundles[2].config());
    // What decides about it is this program's tar alone, neither compressor nor machine.
    assert_eq!(bundles[0].config().content.diff_id.short(), "6139027ff773");
    let manifests: BTreeSet<_> = bundles.iter().map(|bundle| bundle.manifest().digest).collect();
    assert_eq!(manifests.len(), 3);
    let logs = bundles.iter().map(|bundle| {
        let mut text = String::new();
        bundle.log().unwrap().map(|mut log| log.read_to_string(&mut text).unwrap());
        text
    });
    assert_eq!(logs.collect::<Vec<_>>(), ["", "10:01 make\n", "10:02 make\n"]);
    // All their blobs but manifest and log are the same.
    for temp in &temps[1..] {
        let names = |temp: &tempfile::TempDir| -> BTreeSet<_> {
            std::fs::read_dir(temp.path().join("blobs/sha256"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect()
        };
        assert_eq!(names(temp).intersection(&names(&temps[0])).count(), 2);
    }
}

#[test]
fn what_a_layer_cannot_carry_is_an_error_and_not_kept() {
    let inode = |kind| Inode { meta: Meta::root_owned(0o644, 7), kind };
    let file = |meta| Inode { meta, kind: Kind::File(Content::of("x")) };
    let with = |name: &[u8]| Meta { xattrs: [(name.into(), b"v"[..].into())].into(), ..Meta::root_owned(0o644, 7) };
    for (name, inode, message) in [
        ("etc/fifo", inode(Kind::Fifo), "cannot write the content of the bundle: /etc/fifo is a fifo"),
        ("etc/.wh.x", file(Meta::default()), "/etc/.wh.x cannot be kept in a bundle as it is"),
        ("etc/.wh.", file(Meta::default()), "a whiteout has no name, or a reserved one"),
        ("etc/x", file(with(b"user.a=b")), "/etc/x cannot be kept in a bundle as it is"),
        ("etc/x", file(Meta { mode: 0o10_644, ..Meta::default() }), "/etc/x cannot be kept in a bundle as it is"),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let (mut delta, contents) = (delta("6.1"), Memory::default());
        let (key, record) = (key("6.1"), record("6.1", &delta, &contents));
        delta.insert(path(name), inode);
        let error = store(&temp).keep(staged(&key, &record, &delta, &contents), ONE).unwrap_err();
        assert!(chain(&error).contains(message), "{name}: {}", chain(&error));
        assert!(matches!(store(&temp).find(key.digest()), Found::Miss));
    }
}

#[test]
fn modules_are_all_stated_and_stated_rightly() {
    let (delta, contents, key) = (delta("6.1"), Memory::default(), key("6.1"));
    let whole = record("6.1", &delta, &contents);
    let names: Vec<String> = whole.modules.iter().map(|module| format!("{} {}", module.path, module.name)).collect();
    let extra = "/usr/lib/modules/6.1/extra";
    assert_eq!(names, [format!("{extra}/spl.ko spl"), format!("{extra}/zfs.ko zfs"), format!("{extra}/zzz.ko zfs")]);
    let first = whole.modules.first().unwrap().clone();
    for change in 0..3 {
        let mut record = whole.clone();
        record.modules.remove(&first);
        match change {
            0 => {}
            1 => record.modules.extend([ModuleRecord { digest: Digest::of(b"other"), ..first.clone() }]),
            _ => record.modules.extend([ModuleRecord { path: path("usr/lib/modules/6.1/none.ko"), ..first.clone() }]),
        }
        let temp = tempfile::tempdir().unwrap();
        let error = store(&temp).keep(staged(&key, &record, &delta, &contents), ONE).unwrap_err();
        assert!(chain(&error).contains("differ in module /usr/lib/modules/6.1/"), "{}", chain(&error));
    }
    let mut broken = delta.clone();
    let at = path("usr/lib/modules/6.1/extra/broken.ko");
    broken.insert(at, Inode::file(Meta::root_owned(0o644, 0), Content::of("no module")));
    let error = read_modules(&broken, &contents).unwrap_err();
    assert!(error.to_string().contains("/usr/lib/modules/6.1/extra/broken.ko"), "{}", chain(&error));
    // A name alone makes no module.
    let mut elsewhere = TreeDelta::new();
    elsewhere.insert(path("usr/share/x.ko"), Inode::file(Meta::default(), Content::of("no module")));
    assert!(read_modules(&elsewhere, &contents).unwrap().is_empty());
}

#[test]
fn an_interrupted_writer_leaves_nothing_to_be_found() {
    let temp = tempfile::tempdir().unwrap();
    let (delta, contents, key) = (delta("6.1"), Memory::default(), key("6.1"));
    let record = record("6.1", &delta, &contents);
    let transaction = Layout::write(dir(&temp)).unwrap();
    let examined = write(&transaction, staged(&key, &record, &delta, &contents), ONE).unwrap();
    assert!(transaction.has(&examined.manifest).unwrap());
    let nothing = || {
        assert!(matches!(store(&temp).find(key.digest()), Found::Miss));
        let listing = store(&temp).list().unwrap();
        assert!(listing.bundles.is_empty() && listing.damaged.is_empty());
    };
    nothing();
    drop(transaction);
    nothing();
    // The next writer uses what is there.
    keep(&temp, "6.1", None);
    assert_eq!(hit(&temp, "6.1").manifest(), &examined.manifest);
}

#[test]
fn what_is_used_is_not_collected() {
    let temp = tempfile::tempdir().unwrap();
    let bundle = keep(&temp, "6.1", Some("log")).bundle;
    let collect = || gc(dir(&temp), oci_assemble::store::GcMode::Delete);
    collect().unwrap_err();
    let (_, contents, _) = bundle.open();
    collect().unwrap_err();
    drop(contents);
    assert_eq!(collect().unwrap().kept, 4);
    hit(&temp, "6.1");
}

/// The blob of a bundle's content.
fn layer(temp: &tempfile::TempDir) -> std::path::PathBuf {
    let mut blobs = std::fs::read_dir(temp.path().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    blobs.find(|path| std::fs::read(path).unwrap().starts_with(b"\x28\xb5\x2f\xfd")).unwrap()
}

#[test]
fn files_in_the_order_of_the_layer_take_one_pass() {
    let temp = tempfile::tempdir().unwrap();
    keep(&temp, "6.1", None);
    let (delta, files, _) = hit(&temp, "6.1").open();
    let [first, rest @ ..] = &delta.entries().values().filter_map(Inode::content).collect::<Vec<_>>()[..] else {
        panic!()
    };
    bytes_of(&files, first);
    // Only a stream that is open already can go on now.
    std::fs::remove_file(layer(&temp)).unwrap();
    assert_eq!(rest.len(), 2);
    for content in rest {
        assert_eq!(Digest::of(&bytes_of(&files, content)), content.digest().unwrap());
    }
    assert_eq!(files.open(first).err().unwrap().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_blob_that_changes_behind_a_bundle_gives_errors_and_no_other_bytes() {
    let temp = tempfile::tempdir().unwrap();
    keep(&temp, "6.1", None);
    let (layer, sound) = (layer(&temp), std::fs::read(layer(&temp)).unwrap());
    let mut errors = 0;
    for at in 0..sound.len() {
        let (delta, files, _) = hit(&temp, "6.1").open();
        let mut bytes = sound.clone();
        bytes[at] ^= 0x41;
        std::fs::write(&layer, bytes).unwrap();
        for content in delta.entries().values().filter_map(Inode::content) {
            let mut read = Vec::new();
            match files.open(content).and_then(|mut file| file.read_to_end(&mut read)) {
                Ok(_) => assert_eq!(Digest::of(&read), content.digest().unwrap(), "byte {at}"),
                Err(_) => errors += 1,
            }
        }
        std::fs::write(&layer, &sound).unwrap();
    }
    assert!(errors > sound.len() / 2, "{errors} errors");
}
