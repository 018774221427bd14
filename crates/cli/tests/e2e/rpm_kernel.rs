//! The kernel of an image with rpm, moved to where a recipe pins it, and modules compiled for it.

use oci_assemble::tree::TreePath;

use crate::bed::{Server, bed};
use crate::rpm::{failed, paths, recipe, tree};
use crate::scene::Scene;

const OLD: &str = "6.12.0-150.el10.x86_64";
const BASE: &str = "6.12.0-155.el10.x86_64";
const NEW: &str = "6.12.0-160.el10.x86_64";
const KERNELS: &str = "repositories = [\"old.repo\", \"new.repo\"]\n";

/// Only one kernel is there, whole, and rpm agrees.
fn has_one_kernel(scene: &Scene, bed: &crate::bed::Bed, output: &str, release: &str) {
    let (tree, read) = tree(scene, output);
    let modules = TreePath::new("usr/lib/modules").unwrap();
    let kernels: Vec<String> = tree.children(&modules).map(|(path, _)| path.to_string()).collect();
    assert_eq!(kernels, [format!("/usr/lib/modules/{release}")], "nothing of another kernel");
    let file = |name: &str| String::from_utf8(read(&format!("usr/lib/modules/{release}/{name}"))).unwrap();
    assert!(file("initramfs.img").contains(&format!("usr/lib/modules/{release}\0")));
    assert!(file("modules.dep").contains("kernel/drivers/virtio/virtio.ko.xz:"));
    let version = release.strip_suffix(".x86_64").unwrap();
    let said =
        bed.inside(&scene.path(output), "rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\\n' 'kernel*' | sort; rpm -Va");
    let names = ["kernel", "kernel-core", "kernel-modules", "kernel-modules-core"];
    assert_eq!(said, names.map(|name| format!("{name} {version}\n")).concat());
    assert!(!paths(&tree).iter().any(|path| path.starts_with("/boot/") || path.contains(BASE)));
}

#[test]
fn the_kernel_follows_kernel_devel() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    recipe(&scene, "base", &format!("[kernel]\npin = \"devel\"\n{KERNELS}"));
    let run = bed.build(&scene, "out", &[]);
    let first = run.digest();
    let why = format!(
        "packages: kernel {BASE} is upgraded to {NEW}: it is the newest that kernel-devel is there for; \
         kernel-devel comes from new\n"
    );
    assert!(run.stderr.contains(&why), "{run:?}");
    has_one_kernel(&scene, &bed, "out", NEW);
    assert_eq!(bed.build(&scene, "again", &["--rebuild"]).digest(), first, "a second build gives the same");
    // Where it is there already, nothing is to be done.
    recipe(&scene, "out", &format!("[kernel]\npin = \"devel\"\n{KERNELS}"));
    let run = bed.build(&scene, "same", &[]);
    run.digest();
    assert!(run.stderr.contains("the newest that kernel-devel is there for, and the base's kernel"), "{run:?}");
    assert!(!run.stderr.contains("layer packages"), "{run:?}");
}

#[test]
fn modules_are_compiled_for_the_kernel_of_the_pin() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let stage = |name: &str| {
        format!(
            "[[stage]]\nname = \"{name}\"\nkind = \"dkms\"\npackages = [\"{name}-dkms\"]\nrepositories = [\"extras.repo\"]\n"
        )
    };
    let tables = format!(
        "[kernel]\npin = \"=6.12.0-150.el10\"\n{KERNELS}[packages]\ninstall = [\"tree\"]\n\
         repositories = [\"extras.repo\"]\n{}{}",
        stage("probe"),
        stage("zfs")
    );
    recipe(&scene, "base", &tables);
    let run = bed.build(&scene, "out", &[]);
    let first = run.digest();
    assert!(run.stderr.contains(&format!("kernel {BASE} is downgraded to {OLD}: the recipe names it")), "{run:?}");
    let (tree, _) = tree(&scene, "out");
    let extra = TreePath::new(format!("usr/lib/modules/{OLD}/extra")).unwrap();
    let modules: Vec<_> =
        tree.children(&extra).map(|(path, _)| String::from_utf8_lossy(path.name()).into_owned()).collect();
    assert_eq!(modules, ["probe.ko", "probe_core.ko", "spl.ko", "zfs.ko"]);
    // Nothing that it takes to compile is in the image.
    let left = paths(&tree).into_iter().filter(|path| path.starts_with("/usr/src/") || path.starts_with("/var/lib/"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    let script = format!(
        "tree; modinfo -k {OLD} -F vermagic probe zfs; modinfo -k {OLD} -F depends zfs; \
         modprobe -S {OLD} -D probe | grep -c insmod; rpm -qa 'dkms*' 'gcc*' 'kernel-devel*'"
    );
    let magic = format!("{OLD} SMP preempt mod_unload modversions \n");
    assert_eq!(bed.inside(&scene.path("out"), &script), format!("tree v2.1.0\n{magic}{magic}spl\n3\n"));
    assert_eq!(bed.build(&scene, "again", &["--rebuild"]).digest(), first, "a second build gives the same");
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    recipe(&scene, "base", &format!("[kernel]\npin = \"=6.12.0-170.el10\"\n{KERNELS}"));
    failed(
        &bed.build(&scene, "out", &[]),
        &["of kernel 6.12.0-170.el10 neither kernel nor kernel-devel is in the repositories", NEW, OLD],
    );
    // The base's kernel stays without a pin, and nobody has what modules for it are compiled with.
    recipe(
        &scene,
        "base",
        &format!(
            "[kernel]\n{KERNELS}[[stage]]\nname = \"probe\"\nkind = \"dkms\"\npackages = [\"probe-dkms\"]\n\
             repositories = [\"extras.repo\"]\n"
        ),
    );
    failed(&bed.build(&scene, "out", &[]), &["Unable to find a match: kernel-devel-6.12.0-155.el10"]);
    let plan = scene.run(&["plan", "--recipe", "recipe.toml"]);
    assert_ne!(plan.code, 0, "a plan needs to know where the image goes: {plan:?}");
    recipe(&scene, "base", &format!("[kernel]\npin = \"devel\"\n{KERNELS}[output]\nimage = \"oci:out:latest\"\n"));
    let plan = scene.run(&["plan", "--recipe", "recipe.toml"]);
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(plan.stdout.contains("devel: chosen by what repositories have"), "{plan:?}");
}

#[test]
fn a_lock_holds_the_kernel_while_repositories_move_on() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let link = scene.path("repositories/current");
    std::fs::create_dir(scene.path("repositories")).unwrap();
    let server = Server::start(&scene.path("repositories"));
    bed.point(&link, "old");
    scene.file("current.repo", format!("[current]\nbaseurl={}current\ngpgcheck=0\n", server.url));
    let stage = "[[stage]]\nname = \"probe\"\nkind = \"dkms\"\npackages = [\"probe-dkms\"]\nrepositories = [\"extras.repo\"]\n\
                 [output]\nimage = \"oci:out:latest\"\n";
    let tables = |pin: &str| format!("[kernel]\npin = \"{pin}\"\nrepositories = [\"current.repo\"]\n{stage}");
    recipe(&scene, "base", &tables("devel"));
    let lock = |more: &[&str]| {
        let words: Vec<&str> = ["lock", "--recipe", "recipe.toml"].iter().chain(more).copied().collect();
        let run = bed.run(&scene, &words);
        assert_eq!(run.code, 0, "{run:?}");
        run.stderr.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lock(&[]), ["written"]);
    let text = std::fs::read_to_string(scene.path("recipe.lock")).unwrap();
    let why = format!(
        "kernel {BASE} is downgraded to {OLD}: it is the newest that kernel-devel is there for; kernel-devel comes from current"
    );
    for line in [
        "pin = \"devel\"".to_owned(),
        format!("release = \"{OLD}\""),
        "direction = \"downgrade\"".to_owned(),
        format!("reason = \"{why}\""),
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }
    // The same with and without the lock, while repositories are as they were.
    let first = bed.build(&scene, "out", &["--locked"]).digest();
    std::fs::rename(scene.path("recipe.lock"), scene.path("kept.lock")).unwrap();
    assert_eq!(bed.build(&scene, "open", &["--no-cache"]).digest(), first);
    std::fs::rename(scene.path("kept.lock"), scene.path("recipe.lock")).unwrap();
    bed.point(&link, "new");
    assert_eq!(bed.build(&scene, "later", &["--locked"]).digest(), first, "what is kept is what is locked");
    assert_eq!(lock(&[]), ["unchanged"], "pins stay until they are renewed");
    let plan = scene.run(&["plan", "--recipe", "recipe.toml"]);
    assert!(
        plan.stdout.contains(&format!("kernel    {OLD}\n          pin devel, downgrade: as locked, {why}\n")),
        "{plan:?}"
    );
    // Without what is kept, what is locked cannot be had any more.
    failed(&bed.build(&scene, "gone", &["--locked", "--no-cache"]), &["kernel-core-6.12.0-150.el10"]);
    let said = lock(&["--update", "kernel"]);
    assert!(
        said[0].starts_with(&format!("linux/amd64: kernel {OLD} -> {NEW} (kernel {BASE} is upgraded to {NEW}: ")),
        "{said:?}"
    );
    assert!(said.iter().any(|line| line.starts_with("linux/amd64: probe + kernel-devel 6.12.0-160.el10 ")), "{said:?}");
    let moved = bed.build(&scene, "moved", &["--locked"]).digest();
    assert_ne!(moved, first);
    has_one_kernel(&scene, &bed, "moved", NEW);
    // Another pin is another decision, and what was compiled for the old one does not fit.
    recipe(&scene, "base", &tables("=6.12.0-160.el10"));
    let drift = "kernel of linux/amd64: pin devel is locked, the recipe says =6.12.0-160.el10";
    failed(&bed.build(&scene, "out", &["--locked"]), &[drift]);
    let check = bed.run(&scene, &["lock", "--recipe", "recipe.toml", "--check"]);
    assert!(check.code == 1 && check.stdout.lines().any(|line| line == drift), "{check:?}");
}

#[test]
fn packages_whose_files_are_taken_are_entered_into_the_database() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    let tables = format!(
        "[kernel]\npin = \"devel\"\n{KERNELS}[packages]\ninstall = [\"tree\"]\nrepositories = [\"extras.repo\"]\n\
         [[stage]]\nname = \"zfs\"\nkind = \"zfs\"\nbranch = \"2.3\"\nrepositories = [\"extras.repo\"]\nrecord = \"justdb\"\n"
    );
    recipe(&scene, "base", &tables);
    let first = bed.build(&scene, "out", &[]).digest();
    let script = "rpm -qa 'zfs*' 'libzfs*' 'tree*' 'dkms*' 'gcc*' 'kernel-devel*' | sort
        rpm -qf /usr/sbin/zfs /etc/zfs/zed.d/zed.rc
        rpm -q --whatprovides 'libzfs.so.6()(64bit)'
        rpm -V libzfs6 tree || :
        rpm -V --nodeps zfs | grep -v ' d ' || :";
    // Of what a machine makes in /var and of documentation, images have nothing.
    let expected = "libzfs6-2.3.9-1.el10.x86_64\ntree-2.1.0-1.el10.x86_64\nzfs-2.3.9-1.el10.x86_64\n\
                    zfs-2.3.9-1.el10.x86_64\nzfs-2.3.9-1.el10.x86_64\nlibzfs6-2.3.9-1.el10.x86_64\n\
                    missing     /var/lib/tree\nmissing     /usr/share/doc/zfs-2.3.9\nmissing     /var/lib/zfs\n";
    assert_eq!(bed.inside(&scene.path("out"), script), expected);
    assert_eq!(bed.build(&scene, "again", &["--rebuild"]).digest(), first, "a second build gives the same");
    // Other packages beside it: the result of the builder is kept, the database is another.
    recipe(&scene, "base", &tables.replace("install = [\"tree\"]", "install = [\"tree-colors\"]"));
    bed.build(&scene, "other", &[]).digest();
    let said = bed.inside(&scene.path("other"), "rpm -qa 'zfs*' 'tree-colors*' | sort");
    assert_eq!(said, "tree-colors-2.1.0-1.el10.noarch\nzfs-2.3.9-1.el10.x86_64\n");
}
