//! A small image made of this machine's shell.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{Descriptor, Digest, History, Image, Layer, Platform};
use oci_assemble::layer::{Compression, LayerDraft, SealOptions, seal};
use oci_assemble::store::Layout;
use oci_assemble::testing::memory::{Memory, add, add_file};
use oci_assemble::tree::{FileTree, Inode, Meta, TreeDelta};

const PROGRAMS: &[&str] = &["sh", "cat", "chmod", "env", "hostname", "id", "ln", "ls", "mkdir", "sleep"];

/// Writes it to a layout in `directory`; the digest of its manifest.
pub(crate) fn write(directory: &Path) -> Digest {
    let transaction = Layout::write(Dir::open_ambient_dir(directory, ambient_authority()).unwrap()).unwrap();
    let draft = LayerDraft::new("all", &TreeDelta::between(&FileTree::new(), &tree()), &FileTree::new(), 0).unwrap();
    let options = SealOptions { compression: Compression::Zstd(1), threads: NonZero::<usize>::MIN };
    let (sealed, sink) = seal(&draft, &Memory::default(), transaction.sink().unwrap(), options).unwrap();
    sink.publish(&sealed.digest, sealed.size).unwrap();
    let layer = Layer {
        descriptor: Descriptor::new(options.compression.media_type(), sealed.digest, sealed.size),
        diff_id: sealed.diff_id,
        uncompressed_size: Some(sealed.uncompressed),
        history: History::of("all"),
    };
    let platform = Platform::new(
        "linux",
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
    );
    let image = transaction.put_image(&Image::scratch(platform).append(layer).unwrap()).unwrap();
    // With a tag that is not the one it is imported by.
    transaction.commit(Some("latest"), &image).unwrap();
    image.digest
}

fn tree() -> FileTree {
    let mut tree = FileTree::new();
    for path in ["dev", "etc", "proc", "root", "run", "srv", "sys", "tmp", "usr/lib", "usr/lib64"] {
        add(&mut tree, path, Inode::directory(Meta::root_owned(0o755, 0)));
    }
    for path in ["bin", "lib", "lib64"] {
        add(&mut tree, path, Inode::symlink(format!("usr/{path}"), 0));
    }
    add_file(&mut tree, "etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\n");
    add_file(&mut tree, "etc/group", 0o644, "root:x:0:\n");
    for name in PROGRAMS {
        program(&mut tree, name);
    }
    tree
}

/// A program of this machine, and its libraries where the loader looks for them.
fn program(tree: &mut FileTree, name: &str) {
    let host = fs::canonicalize(Path::new("/bin").join(name)).unwrap();
    add_file(tree, &format!("usr/bin/{name}"), 0o755, fs::read(&host).unwrap());
    let libraries = String::from_utf8(Command::new("ldd").arg(&host).output().unwrap().stdout).unwrap();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let below = library.strip_prefix("/usr").unwrap_or(library);
        add_file(tree, &format!("usr{below}"), 0o755, fs::read(library).unwrap());
    }
}
