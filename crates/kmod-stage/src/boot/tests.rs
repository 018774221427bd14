#![allow(clippy::unwrap_used)]
use oci_assemble::testing::elf::{Dynamic, dynamic};
use oci_assemble::testing::memory::{Memory, add, add_file};

use super::*;

const DIR: &str = "usr/lib/modules/6.1";

/// A tree that can be booted, as far as that can be seen without doing it.
fn tree() -> FileTree {
    let mut tree = FileTree::new();
    let program = |needed| dynamic(&Dynamic { needed, ..Dynamic::default() });
    for name in ["modprobe", "mount", "mkdir", "chroot"] {
        add_file(&mut tree, &format!("usr/bin/{name}"), 0o755, program(&[]));
    }
    add_file(&mut tree, "usr/bin/dash", 0o755, program(&["libc.so.6"]));
    add(&mut tree, "usr/bin/sh", Inode::symlink("dash", 0));
    add_file(&mut tree, "usr/lib/libc.so.6", 0o755, program(&[]));
    add_file(&mut tree, &format!("{DIR}/vmlinuz"), 0o644, "kernel");
    add_file(&mut tree, &format!("{DIR}/modules.dep"), 0o644, "kernel/erofs.ko: kernel/libcrc32c.ko\n");
    add_file(&mut tree, &format!("{DIR}/modules.builtin"), 0o644, "k/virtio_pci.ko\nk/virtio_blk.ko\nk/overlay.ko\n");
    for name in ["erofs", "libcrc32c", "other"] {
        add_file(&mut tree, &format!("{DIR}/kernel/{name}.ko"), 0o644, "module");
    }
    tree
}

fn plan(tree: &FileTree, options: BootOptions) -> Result<BootPlan, String> {
    BootPlan::new(tree, &Memory::default(), "amd64", options).map_err(|error| error.to_string())
}

/// Names and modes of an archive, by the headers that [`cpio::Cpio`] writes.
fn entries(archive: &[u8]) -> Vec<String> {
    let mut entries = Vec::new();
    let mut at = 0;
    let field = |at: usize, number: usize| {
        let start = at + 6 + number * 8;
        usize::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
    };
    while at < archive.len() {
        let (mode, size, name) = (field(at, 1), field(at, 6), field(at, 11));
        let text = String::from_utf8(archive[at + 110..at + 109 + name].to_vec()).unwrap();
        entries.push(format!("{mode:o} {text}"));
        at = (at + 110 + name).next_multiple_of(4) + size.next_multiple_of(4);
    }
    entries
}

#[test]
fn the_first_root_has_what_it_takes_and_no_more() {
    let options = BootOptions { command: Some(b"true".to_vec()), ..BootOptions::default() };
    let plan = plan(&tree(), options).unwrap();
    assert_eq!(
        entries(&plan.initramfs).join("\n"),
        "40755 usr\n40755 usr/bin\n100755 usr/bin/chroot\n100755 usr/bin/dash\n100755 usr/bin/mkdir\n\
         100755 usr/bin/modprobe\n100755 usr/bin/mount\n120777 usr/bin/sh\n40755 usr/lib\n\
         100755 usr/lib/libc.so.6\n40755 usr/lib/modules\n40755 usr/lib/modules/6.1\n\
         40755 usr/lib/modules/6.1/kernel\n100644 usr/lib/modules/6.1/kernel/erofs.ko\n\
         100644 usr/lib/modules/6.1/kernel/libcrc32c.ko\n100644 usr/lib/modules/6.1/modules.builtin\n\
         100644 usr/lib/modules/6.1/modules.dep\n40755 assemble\n40755 dev\n40755 proc\n40755 sys\n40755 sysroot\n\
         40755 upper\n20600 dev/console\n100755 init\n100644 assemble/check\n100644 assemble/drivers\n\
         100644 assemble/port\n100644 assemble/modules\n100644 assemble/command\n0 TRAILER!!!"
    );
    assert_eq!((plan.kernel().as_str(), plan.machine().program), ("6.1", "qemu-system-x86_64"));
}

#[test]
fn what_cannot_boot_is_said_before() {
    type Change = fn(&mut FileTree, &mut BootOptions);
    let remove = |tree: &mut FileTree, path: &str| tree.remove(&TreePath::new(path).unwrap());
    let cases: [(Change, &str); 8] = [
        (|tree, _| tree.remove(&path_of("usr/lib/modules")), "the image has 0 kernels: exactly one can be booted"),
        (
            |tree, _| add_file(tree, "usr/lib/modules/6.2/vmlinuz", 0o644, "kernel"),
            "the image has 2 kernels: exactly one can be booted",
        ),
        (|tree, _| tree.remove(&path_of("usr/bin/dash")), "the image has no program sh"),
        (
            |tree, _| tree.remove(&path_of("usr/lib/libc.so.6")),
            "the image's /usr/bin/dash needs libc.so.6, which the image does not have",
        ),
        (
            |tree, _| add_file(tree, &format!("{DIR}/modules.dep"), 0o644, ""),
            "kernel 6.1 has no driver erofs, which the root disk takes",
        ),
        (
            |tree, _| tree.remove(&path_of("usr/lib/modules/6.1/modules.dep")),
            "/usr/lib/modules/6.1/modules.dep is not a regular file of the tree",
        ),
        (|_, options| options.modules = vec!["-r".into()], "\"-r\" is no name of a module"),
        (|_, options| options.disks = vec![1; 25], "25 scratch disks are more than 24"),
    ];
    for (change, expected) in cases {
        let (mut tree, mut options) = (tree(), BootOptions::default());
        change(&mut tree, &mut options);
        assert_eq!(plan(&tree, options).unwrap_err(), expected);
    }
    let mut tree = tree();
    remove(&mut tree, "usr/lib/libc.so.6");
    let error = BootPlan::new(&tree, &Memory::default(), "s390x", BootOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "images for s390x cannot be booted: only amd64 and arm64");
}
