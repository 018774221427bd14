//! Bases, and what is in them.

use super::*;

pub(super) const BASES: &[Case] = &[
    ("no base", |scene| (motd(scene), fs::remove_dir_all(scene.path("base")).unwrap()).0, BUILD),
    ("base is no layout", |scene| (motd(scene), fs::remove_file(scene.path("base/oci-layout")).unwrap()).0, BUILD),
    ("base without index", |scene| (motd(scene), fs::remove_file(scene.path("base/index.json")).unwrap()).0, BUILD),
    ("index of the base is no index", |scene| (motd(scene), scene.file("base/index.json", "[]")).0, BUILD),
    ("no such tag", |scene| replaced(scene, "base:latest", "base:stable"), BUILD),
    ("another platform", |scene| replaced(scene, "[base]", "platforms = [\"linux/arm64\"]\n[base]"), BUILD),
    ("corrupt layer", |scene| damaged(scene, |bytes| *bytes.last_mut().unwrap() ^= 1), BUILD),
    ("corrupt beginning of a layer", |scene| damaged(scene, |bytes| bytes[0] ^= 1), BUILD),
    (
        "truncated layer",
        |scene| {
            other_base(scene, |_| {});
            raw(scene, |blob| blob.truncate(blob.len() / 2));
        },
        BUILD,
    ),
    ("missing layer", |scene| damaged(scene, Vec::clear), BUILD),
    (
        "ambiguous layer",
        |scene| {
            other_base(scene, |_| {});
            let mut tar = entry("usr/", b'5', b"");
            tar.extend(entry("usr/hidden", b'5', b"a payload that some readers take for a header"));
            tar.resize(tar.len() + 1024, 0);
            base::append_raw(&scene.path("base"), &tar);
        },
        BUILD,
    ),
    (
        "truncated tar in a layer",
        |scene| {
            other_base(scene, |_| {});
            let tar = entry("etc/motd", b'0', &[b'x'; 2000]);
            base::append_raw(&scene.path("base"), &tar[..1024]);
        },
        BUILD,
    ),
    (
        "base with a unified kernel image",
        |scene| {
            other_base(scene, |_| {});
            let names = ["boot/", "boot/EFI/", "boot/EFI/Linux/"];
            let mut tar: Vec<u8> = names.iter().flat_map(|name| entry(name, b'5', b"")).collect();
            tar.extend(entry("boot/EFI/Linux/e2e.efi", b'0', b"MZ"));
            tar.resize(tar.len() + 1024, 0);
            base::append_raw(&scene.path("base"), &tar);
        },
        BUILD,
    ),
    (
        "base with two kernels",
        |scene| other_base(scene, |tree| add_file(tree, "usr/lib/modules/1.0/vmlinuz", 0o644, "kernel")),
        BUILD,
    ),
];
