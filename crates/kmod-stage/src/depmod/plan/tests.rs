#![allow(clippy::unwrap_used)]

use super::*;
use oci_assemble::testing::memory::{add, add_file};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn kernel() -> KernelRelease {
    KernelRelease::new("6.1").unwrap()
}

fn names(files: &BTreeMap<TreePath, Content>) -> Vec<String> {
    files.iter().map(|(path, content)| format!("{path}={}", content.size())).collect()
}

#[test]
fn takes_what_depmod_reads_and_follows_its_links() {
    let mut tree = FileTree::new();
    let top = "usr/lib/modules/6.1";
    add(&mut tree, "lib", Inode::symlink("usr/lib", 0));
    for (name, bytes) in [
        ("kernel/a.ko", "1"),
        ("kernel/b.ko.xz", "22"),
        ("kernel/readme.txt", "no"),
        ("build/c.ko", "no"),
        ("kernel/source/d.ko", "no"),
        ("modules.order", "333"),
        ("modules.builtin", "4444"),
        ("modules.dep", "old"),
        ("vmlinuz", "no"),
    ] {
        add_file(&mut tree, &format!("{top}/{name}"), 0o644, bytes);
    }
    add_file(&mut tree, "usr/lib/modules/5.9/extra/w.ko", 0o644, "55555");
    add_file(&mut tree, "opt/drivers/sub/x.ko.zst", 0o644, "666666");
    add(&mut tree, &format!("{top}/weak-updates/w.ko"), Inode::symlink("/lib/modules/5.9/extra/w.ko", 0));
    add(&mut tree, &format!("{top}/vendor"), Inode::symlink("../../../../opt/drivers", 0));
    add(&mut tree, &format!("{top}/dangling.ko"), Inode::symlink("/nowhere.ko", 0));
    let hardlink = Kind::Hardlink(path("usr/lib/modules/6.1/kernel/a.ko"));
    add(&mut tree, &format!("{top}/updates/e.ko"), Inode { kind: hardlink, meta: oci_assemble::tree::Meta::default() });
    // A symlink leads on by each of its names.
    for (name, first) in [("kernel/more.ko", "weak-updates/w.ko"), ("also", "vendor")] {
        let hardlink = Kind::Hardlink(path(&format!("{top}/{first}")));
        add(&mut tree, &format!("{top}/{name}"), Inode { kind: hardlink, meta: oci_assemble::tree::Meta::default() });
    }
    add_file(&mut tree, "etc/depmod.d/a.conf", 0o600, "etc");
    add_file(&mut tree, "etc/depmod.d/a.conf.bak", 0o600, "no");
    add(&mut tree, "etc/depmod.d/off.conf", Inode::symlink("/dev/null", 0));
    let hardlink = Kind::Hardlink(path("etc/depmod.d/off.conf"));
    add(&mut tree, "etc/depmod.d/off2.conf", Inode { kind: hardlink, meta: oci_assemble::tree::Meta::default() });
    add_file(&mut tree, "usr/lib/depmod.d/off.conf", 0o600, "dist");

    let plan = SparseRoot::plan(&tree, &kernel()).unwrap();
    assert_eq!(plan.modules, path(top));
    assert_eq!(
        names(&plan.files),
        [
            "/also/sub/x.ko.zst=6",
            "/kernel/a.ko=1",
            "/kernel/b.ko.xz=2",
            "/kernel/more.ko=5",
            "/updates/e.ko=1",
            "/vendor/sub/x.ko.zst=6",
            "/weak-updates/w.ko=5"
        ]
    );
    assert_eq!(names(&plan.lists), ["/modules.builtin=4", "/modules.order=3"]);
    assert_eq!(
        names(&plan.configuration),
        [
            "/etc/depmod.d/a.conf=3",
            "/etc/depmod.d/off.conf=0",
            "/etc/depmod.d/off2.conf=0",
            "/lib/depmod.d/off.conf=4",
            "/usr/lib/depmod.d/off.conf=4"
        ]
    );
    let placed = plan.placed(&path("kernel/a.ko"), &Content::of("1")).unwrap();
    assert_eq!(placed.path, path("usr/lib/modules/6.1/kernel/a.ko"));
    assert_eq!(placed.also, Some(path("lib/modules/6.1/kernel/a.ko")));
}

#[test]
fn refuses_a_missing_kernel_and_circles() {
    let mut tree = FileTree::new();
    assert!(matches!(SparseRoot::plan(&tree, &kernel()), Err(DepmodError::NoKernel { .. })));
    add_file(&mut tree, "usr/lib/modules/6.1", 0o644, "a file");
    assert!(matches!(SparseRoot::plan(&tree, &kernel()), Err(DepmodError::NoKernel { .. })));
    let mut tree = FileTree::new();
    add(&mut tree, "usr/lib/modules/6.1/round", Inode::symlink(".", 0));
    assert!(matches!(SparseRoot::plan(&tree, &kernel()), Err(DepmodError::TooMany { .. })));
}
