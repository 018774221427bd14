//! A small bootc-shaped base, built by code: a kernel directory with tiny modules, and this machine's depmod.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{Descriptor, Encoding, Epoch, History, Image, Layer, MediaType};
use oci_assemble::layer::{Compression, LayerDraft, SealOptions, seal};
use oci_assemble::store::Layout;
use oci_assemble::testing::elf::{module, module_for};
use oci_assemble::testing::image::amd64;
use oci_assemble::testing::memory::{Memory, add, add_file};
use oci_assemble::tree::{FileTree, Inode, Meta, TreeDelta};
use tempfile::TempDir;

/// The release of its kernel.
pub(crate) const KERNEL: &str = "6.9.0-e2e";
/// When it was made: 2025-01-01.
pub(crate) const EPOCH: i64 = 1_735_689_600;

/// The layout with the tag `latest`, shared by the tests that run at the same time.
pub(crate) fn shared() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(tempfile::tempdir().unwrap());
        write(made.path(), &image_tree(), |image| image);
        *shared = Arc::downgrade(&made);
        made
    })
}

/// Writes `tree` as an image of two layers to a layout in `directory`: what the kernel needs, and all else.
pub(crate) fn write(directory: &Path, tree: &FileTree, dress: impl FnOnce(Image) -> Image) {
    let dir = Dir::open_ambient_dir(directory, ambient_authority()).unwrap();
    let transaction = Layout::write(dir).unwrap();
    let mut lower = tree.clone();
    for (path, _) in tree.iter().filter(|(path, _)| path.as_bytes().starts_with(b"usr/lib/modules/")) {
        lower.remove(path);
    }
    let mut image = Image::scratch(amd64());
    // Different compressors, as real bases have them; fast ones.
    let layers = [
        ("system", TreeDelta::between(&FileTree::new(), &lower), FileTree::new(), Compression::Zstd(1)),
        ("kernel", TreeDelta::between(&lower, tree), lower, Compression::Gzip(1)),
    ];
    for (name, delta, below, compression) in layers {
        if delta.is_empty() {
            continue;
        }
        let draft = LayerDraft::new(name, &delta, &below, EPOCH).unwrap();
        let options = SealOptions { compression, threads: NonZero::<usize>::MIN };
        let (sealed, sink) = seal(&draft, &Memory::default(), transaction.sink().unwrap(), options).unwrap();
        sink.publish(&sealed.digest, sealed.size).unwrap();
        let mut descriptor = Descriptor::new(compression.media_type(), sealed.digest, sealed.size);
        descriptor.annotations.insert("org.example.component".into(), name.into());
        let history = History::of(format!("base: {name}"));
        let size = Some(sealed.uncompressed);
        image = image.append(Layer { descriptor, diff_id: sealed.diff_id, uncompressed_size: size, history }).unwrap();
    }
    let image = dress(
        image
            .with_created(Epoch::new(EPOCH).unwrap())
            .with_label("containers.bootc", "1")
            .with_label("org.opencontainers.image.version", "12")
            .with_label("org.example.base", "kept")
            .with_annotation("org.example.base", "kept"),
    );
    let descriptor = transaction.put_image(&image).unwrap();
    transaction.commit(Some("latest"), &descriptor).unwrap();
}

/// A tree that passes all lints.
pub(crate) fn image_tree() -> FileTree {
    let mut tree = FileTree::new();
    let directory = || Inode::directory(Meta::root_owned(0o755, EPOCH));
    for path in ["boot", "dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "var", "usr/lib/bootc/kargs.d"] {
        add(&mut tree, path, directory());
    }
    for path in ["bin", "sbin", "lib", "lib64"] {
        add(&mut tree, &format!("usr/{path}"), directory());
        add(&mut tree, path, Inode::symlink(format!("usr/{path}"), EPOCH));
    }
    add(&mut tree, "ostree", Inode::symlink("sysroot/ostree", EPOCH));
    for (path, text) in [
        ("etc/os-release", "ID=e2e\nVERSION_ID=12\n"),
        ("etc/motd", "the base's\n"),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("usr/lib/sysusers.d/basic.conf", "u root 0 - /root\ng root 0\n"),
        ("usr/lib/ostree/prepare-root.conf", "[composefs]\nenabled = yes\n"),
        ("usr/share/doc/old/README", "to be removed\n"),
    ] {
        add_file(&mut tree, path, 0o644, text);
    }
    depmod(&mut tree);
    kernel(&mut tree);
    tree
}

/// This machine's depmod with its libraries, where the loader looks for them.
fn depmod(tree: &mut FileTree) {
    let program = fs::canonicalize("/usr/sbin/depmod").unwrap();
    add_file(tree, "usr/bin/kmod", 0o755, fs::read(&program).unwrap());
    add(tree, "usr/sbin/depmod", Inode::symlink("/bin/kmod", EPOCH));
    let libraries = Command::new("ldd").arg(&program).output().unwrap().stdout;
    for library in String::from_utf8(libraries).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
        let below = library.strip_prefix("/usr").unwrap_or(library);
        add_file(tree, &format!("usr{below}"), 0o755, fs::read(library).unwrap());
    }
}

fn kernel(tree: &mut FileTree) {
    let mut files: BTreeMap<String, Vec<u8>> = [
        ("vmlinuz", "kernel"),
        ("initramfs.img", "initramfs"),
        ("modules.order", "kernel/a.ko\nkernel/b.ko\n"),
        ("modules.builtin", "kernel/fs/inside.ko\n"),
        ("modules.builtin.modinfo", "inside.license=GPL\0"),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .collect();
    files.insert("kernel/a.ko".into(), module_for("a", KERNEL));
    files.insert("kernel/b.ko".into(), depending("b", KERNEL, "a,inside"));
    files.extend(indexes(&files));
    for (name, bytes) in files {
        add_file(tree, &format!("usr/lib/modules/{KERNEL}/{name}"), 0o644, bytes);
    }
}

/// A module that says it needs others.
pub(crate) fn depending(name: &str, release: &str, depends: &str) -> Vec<u8> {
    let vermagic = format!("{release} SMP preempt mod_unload ");
    module(&[("license", "GPL"), ("depends", depends), ("name", name), ("vermagic", &vermagic)])
}

/// What this machine's depmod writes for a directory with `files`.
fn indexes(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let root = tempfile::tempdir().unwrap();
    let modules = root.path().join("usr/lib/modules").join(KERNEL);
    fs::create_dir_all(modules.join("kernel")).unwrap();
    symlink("usr/lib", root.path().join("lib")).unwrap();
    for (name, bytes) in files {
        fs::write(modules.join(name), bytes).unwrap();
    }
    let none = root.path().join("none");
    let depmod = Command::new("depmod").arg("-b").arg(root.path()).arg("-C").arg(none).arg(KERNEL).output().unwrap();
    assert!(depmod.status.success(), "{}", String::from_utf8_lossy(&depmod.stderr));
    let mut indexes = BTreeMap::new();
    for entry in fs::read_dir(&modules).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("modules.") && !files.contains_key(&name) {
            indexes.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    indexes
}

/// Puts a layer with exactly these bytes on the image `latest` in `directory`.
pub(crate) fn append_raw(directory: &Path, tar: &[u8]) {
    let image = crate::scene::image(directory);
    let transaction = Layout::write(Dir::open_ambient_dir(directory, ambient_authority()).unwrap()).unwrap();
    let descriptor = transaction.put_bytes(MediaType::layer(Encoding::Plain), tar).unwrap();
    let diff_id = descriptor.digest;
    let layer = Layer { descriptor, diff_id, uncompressed_size: None, history: History::of("raw") };
    let descriptor = transaction.put_image(&image.append(layer).unwrap()).unwrap();
    transaction.commit(Some("latest"), &descriptor).unwrap();
}

/// One entry of a tar stream, as a header says it, and `data` behind it.
pub(crate) fn entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000755\x000000000\x000000000\0");
    put(124, format!("{:011o}\x00{:011o}\0", data.len(), EPOCH).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(data);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}
