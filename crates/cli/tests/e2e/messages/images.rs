//! Images that are checked, shown and booted.

use super::*;

pub(super) const LINTS: &[Case] = &[
    (
        "compiler left behind",
        |scene| scene.recipe("recipe.toml", "[[file]]\npath = \"/usr/bin/gcc\"\ncontent = \"\\n\"\nmode = 0o755\n"),
        BUILD,
    ),
    (
        "lint skipped with a reason",
        |scene| {
            scene.recipe(
                "recipe.toml",
                "[[file]]\npath = \"/usr/bin/gcc\"\ncontent = \"\\n\"\n[lint]\nskip = [{ name = \"forbidden-files\", \
                 reason = \"a wrapper\" }]\n",
            );
        },
        &["--recipe", "recipe.toml", "--output", "oci:out:latest", "--verbose"],
    ),
    (
        "unknown lint skipped",
        |scene| scene.recipe("recipe.toml", "[lint]\nskip = [{ name = \"gcc\", reason = \"wanted\" }]\n"),
        BUILD,
    ),
    ("lint of a good image", |_| {}, &["lint", "oci:base:latest"]),
    ("lint with fatal warnings", |_| {}, &["lint", "oci:base:latest", "--fatal-warnings"]),
    ("lint of a bad image", |scene| other_base(scene, spoil), &["lint", "oci:base"]),
    ("unknown lint on the command line", |_| {}, &["lint", "oci:base", "--skip", "gcc"]),
    ("lint of nothing", |_| {}, &["lint"]),
    ("lint of no image", |_| {}, &["lint", "oci:nowhere"]),
];

fn spoil(tree: &mut oci_assemble::tree::FileTree) {
    add_file(tree, "usr/bin/gcc-12", 0o755, "#!");
    add_file(tree, "usr/lib/bootc/kargs.d/x.toml", 0o644, "kargs = [\"a\"]\ncolour = \"red\"\n");
    add_file(tree, "var/log/build.log", 0o644, "text");
    add(tree, "usr/lib/libx.so", Inode::symlink("nowhere", 0));
}

pub(super) const INSPECTION: &[Case] = &[
    ("layer that is not there", |_| {}, &["inspect", "oci:base", "--layer", "9"]),
    ("tree and layer", |_| {}, &["inspect", "oci:base", "--layer", "0", "--tree"]),
    (
        "one layer",
        |scene| {
            other_base(scene, |_| {});
            raw(scene, |_| {});
        },
        &["inspect", "oci:base", "--layer", "2"],
    ),
    ("image that is not there", |_| {}, &["inspect", "oci:base:none"]),
    ("reference that is none", |_| {}, &["inspect", "base"]),
    ("fsck of a sound layout", |_| {}, &["fsck", "base"]),
    ("fsck of a damaged layout", |scene| damaged(scene, |bytes| *bytes.last_mut().unwrap() ^= 1), &["fsck", "base"]),
    ("fsck of nothing", |_| {}, &["fsck", "nowhere"]),
    ("gc of a clean layout", |_| {}, &["gc", "base"]),
    ("gc of nothing", |_| {}, &["gc", "nowhere"]),
    ("unknown shell", |_| {}, &["completions", "tcsh"]),
];

pub(super) const BOOTS: &[Case] = &[
    ("boot of nothing", |_| {}, &["boot"]),
    ("boot of no image", |_| {}, &["boot", "oci:nowhere"]),
    (
        "boot without kernel",
        |scene| other_base(scene, |tree| tree.remove(&TreePath::new("usr/lib/modules").unwrap())),
        &["boot", "oci:base", "--qemu", "/bin/true"],
    ),
    (
        "boot with two kernels",
        |scene| other_base(scene, |tree| add_file(tree, "usr/lib/modules/1.0/vmlinuz", 0o644, "kernel")),
        &["boot", "oci:base", "--qemu", "/bin/true"],
    ),
    ("boot without a shell", |_| {}, &["boot", "oci:base", "--qemu", "/bin/true"]),
    (
        "boot of a corrupt layout",
        |scene| damaged(scene, |bytes| *bytes.last_mut().unwrap() ^= 1),
        &["boot", "oci:base", "--qemu", "/bin/true"],
    ),
    ("boot without QEMU", |_| {}, &["boot", "oci:base", "--qemu", "no-qemu"]),
    ("boot with a bad module", |_| {}, &["boot", "oci:base", "--module", "a b", "--qemu", "/bin/true"]),
    ("boot with a bad disk", |_| {}, &["boot", "oci:base", "--disk", "1T"]),
    ("boot with a missing script", |_| {}, &["boot", "oci:base", "--script", "none.sh"]),
    ("boot with command and script", |_| {}, &["boot", "oci:base", "--script", "a", "--run", "b"]),
];
