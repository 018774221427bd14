//! depmod on trees whose image is this machine: its depmod, its libraries, and small modules made on the spot.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod host;
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use host::{Image, KERNEL, on_disk};
use kmod_stage::depmod::{DepmodError, DepmodOptions, DepmodProgram, Indexed, index_modules};
use kmod_stage::kernel::KernelRelease;
use kmod_stage::module::Fault;
use kmod_stage::sandbox::{Rung, SandboxError, SandboxPolicy};
use oci_assemble::tree::{Kind, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn options(workspace: &Path, policy: SandboxPolicy) -> DepmodOptions {
    DepmodOptions { policy, ..DepmodOptions::new(workspace.to_owned(), 7) }
}

fn index(image: &Image, policy: SandboxPolicy) -> Result<Indexed, DepmodError> {
    let workspace = tempfile::tempdir().unwrap();
    let indexed = index_modules(&image.tree, image, &kernel(), &options(workspace.path(), policy));
    assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0, "something is left in the workspace");
    indexed
}

fn kernel() -> KernelRelease {
    KernelRelease::new(KERNEL).unwrap()
}

/// The index files of a delta by name.
fn files(indexed: &Indexed) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (path, inode) in indexed.delta.entries() {
        let Kind::File(oci_assemble::tree::Content::Bytes(bytes)) = &inode.kind else { panic!("{path}: {inode:?}") };
        assert_eq!((inode.meta.mode, inode.meta.uid, inode.meta.gid, inode.meta.mtime), (0o644, 0, 0, 7));
        let name = path.to_str().unwrap().strip_prefix(&format!("usr/lib/modules/{KERNEL}/")).unwrap();
        files.insert(name.to_owned(), bytes.to_vec());
    }
    files
}

/// What plain depmod writes on the whole tree, unpacked.
fn plain(image: &Image) -> BTreeMap<String, Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    on_disk(&image.tree, image, directory.path());
    host::plain_depmod(directory.path(), KERNEL)
}

#[test]
fn both_rungs_give_what_plain_depmod_gives() {
    let image = Image::of_this_machine();
    let expected = plain(&image);
    assert!(expected.contains_key("modules.dep.bin") && expected.contains_key("modules.symbols"));
    let dependencies = String::from_utf8(expected["modules.dep"].clone()).unwrap();
    assert!(dependencies.contains("kernel/b.ko.xz: kernel/a.ko"), "{dependencies}");

    let own = index(&image, SandboxPolicy::Require).unwrap();
    assert_eq!(files(&own), expected);
    assert_eq!(own.report.confinement.rung, Rung::Namespaces);
    assert!(matches!(own.report.program, DepmodProgram::Image(_)), "{:?}", own.report);
    assert!(own.report.unavailable.is_empty());
    assert_eq!(own.report.modules.len(), 3);
    assert_eq!(own.report.modules[&path("updates/c-c.ko.zst")].name, "c_c");
    let stale: Vec<_> = own.delta.whiteouts().iter().map(ToString::to_string).collect();
    assert_eq!(stale, [format!("/usr/lib/modules/{KERNEL}/modules.weakdep")]);

    let host = index(&image.without_depmod(), SandboxPolicy::Auto).unwrap();
    assert_eq!(files(&host), expected);
    assert_eq!(host.report.confinement.rung, Rung::Landlock);
    assert!(matches!(host.report.program, DepmodProgram::Host(_)));
    assert!(matches!(host.report.unavailable[..], [(Rung::Namespaces, DepmodError::NoImageDepmod)]));
}

#[test]
fn configuration_of_the_image_counts_on_both_rungs() {
    let mut image = Image::of_this_machine();
    image.module("kernel/dup.ko", "dup", KERNEL, "", &[]);
    image.module("extra/dup.ko", "dup", KERNEL, "", &[]);
    let dep = |image: &Image, policy| {
        let indexed = index(image, policy).unwrap();
        assert_eq!(indexed.report.duplicates, [vec![path("extra/dup.ko"), path("kernel/dup.ko")]]);
        let text = String::from_utf8(files(&indexed)["modules.dep"].clone()).unwrap();
        text.lines().filter(|line| line.contains("dup")).collect::<Vec<_>>().join(",")
    };
    for (search, chosen) in [("extra built-in", "extra/dup.ko:"), ("built-in extra", "kernel/dup.ko:")] {
        image.file("usr/lib/depmod.d/dist.conf", format!("search {search}\n"));
        assert_eq!(dep(&image, SandboxPolicy::Require), chosen);
        assert_eq!(dep(&image.without_depmod(), SandboxPolicy::Auto), chosen);
    }
}

#[test]
fn unresolved_symbols_are_reported() {
    let mut image = Image::of_this_machine();
    image.module("kernel/u.ko", "u", KERNEL, "", &["-DUSES=nobody_exports_this"]);
    let before = files(&index(&image, SandboxPolicy::Require).unwrap());
    image.file(&format!("usr/lib/modules/{KERNEL}/System.map"), "ffffffff81000000 T __ksymtab_printk\n");
    for image in [&image, &image.without_depmod()] {
        let indexed = index(image, SandboxPolicy::Auto).unwrap();
        let stderr = &indexed.report.stderr;
        assert!(
            stderr.contains(&format!("/modules/{KERNEL}/kernel/u.ko needs unknown symbol nobody_exports_this")),
            "{stderr}"
        );
        assert!(!stderr.contains(".depmod-"), "a path of the workspace: {stderr}");
        assert_eq!(files(&indexed), before);
    }
}

#[test]
fn a_foreign_image_gets_the_depmod_of_this_machine() {
    let mut image = Image::of_this_machine();
    let program = image.depmod_path();
    let mut bytes = image.bytes(&program);
    bytes[18..20].copy_from_slice(&[0x34, 0x34]); // e_machine, in either byte order
    image.file(program.to_str().unwrap(), bytes);
    let indexed = index(&image, SandboxPolicy::Auto).unwrap();
    assert_eq!(indexed.report.confinement.rung, Rung::Landlock);
    assert!(matches!(indexed.report.unavailable[..], [(Rung::Namespaces, DepmodError::ForeignMachine { .. })]));
    match index(&image, SandboxPolicy::Require) {
        Err(error @ DepmodError::NoSandbox { .. }) => {
            assert_eq!(error.to_string(), "depmod cannot be run: namespaces: the image's depmod is for machine 13364");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_libraries_are_named() {
    let mut image = Image::of_this_machine();
    image.remove_libraries("libc.so.6");
    match index(&image, SandboxPolicy::Require) {
        Err(DepmodError::NoSandbox { tried }) => match &tried[..] {
            [(Rung::Namespaces, DepmodError::Libraries { missing, .. })] => assert_eq!(*missing, ["libc.so.6"]),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_was_tried_is_told() {
    let workspace = tempfile::tempdir().unwrap();
    let mut options = options(workspace.path(), SandboxPolicy::Auto);
    options.host_depmod = Some("/nowhere/depmod".into());
    let image = Image::of_this_machine().without_depmod();
    let error = index_modules(&image.tree, &image, &kernel(), &options).unwrap_err().to_string();
    assert!(error.starts_with("depmod cannot be run: namespaces: the image has no depmod; landlock: "), "{error}");
    assert!(error.contains("/nowhere/depmod"), "{error}");
}

#[test]
fn an_evil_depmod_is_found_out() {
    type Expected = fn(&DepmodError) -> bool;
    let cases: [Expected; 7] = [
        |error| matches!(error, DepmodError::NoIndex { name: "modules.dep", source: None }),
        |error| matches!(error, DepmodError::Failed { code: 4, .. }),
        |error| matches!(error, DepmodError::Complained { .. }),
        |error| matches!(error, DepmodError::NotIndexed { .. }),
        // Landlock refuses the directory; without it, the harvest does.
        |error| {
            matches!(
                error,
                DepmodError::Failed { code: libc::EACCES, .. }
                    | DepmodError::NoIndex { name: "modules.dep", source: Some(_) }
            )
        },
        |error| matches!(error, DepmodError::Sandbox(SandboxError::TimedOut { .. })),
        |error| matches!(error, DepmodError::Invented { .. }),
    ];
    for (mode, expected) in cases.iter().enumerate() {
        let image = Image::of_this_machine().with_evil_depmod(mode);
        let workspace = tempfile::tempdir().unwrap();
        let mut options = options(workspace.path(), SandboxPolicy::Auto);
        options.limits.wall_time = Duration::from_secs(if mode == 5 { 1 } else { 60 });
        let error = index_modules(&image.tree, &image, &kernel(), &options).unwrap_err();
        assert!(expected(&error), "mode {mode}: {error:?}");
    }
    let indexed = index(&Image::of_this_machine().with_evil_depmod(7), SandboxPolicy::Auto).unwrap();
    assert_eq!(files(&indexed).into_keys().collect::<Vec<_>>(), ["modules.dep", "modules.dep.bin"]);
}

#[test]
fn modules_that_do_not_fit_are_named_before_depmod_runs() {
    let mut image = Image::of_this_machine();
    image.module("extra/old.ko", "old", "0.1", "nowhere,a", &[]);
    match index(&image, SandboxPolicy::Auto) {
        Err(DepmodError::Faults { faults, .. }) => assert_eq!(
            faults,
            [
                Fault::OtherKernel { path: path("extra/old.ko"), found: "0.1".into(), expected: kernel() },
                Fault::MissingDependency { path: path("extra/old.ko"), needs: "nowhere".into() },
            ]
        ),
        other => panic!("{other:?}"),
    }
    for garbage in [&b"garbage"[..], b"", b"\x7fELF", b"\xfd7zXZ\0broken", b"\x28\xb5\x2f\xfd"] {
        let mut image = Image::of_this_machine();
        image.file(&format!("usr/lib/modules/{KERNEL}/kernel/bad.ko"), garbage);
        match index(&image, SandboxPolicy::Auto) {
            Err(DepmodError::Module { path: found, .. }) => assert_eq!(found, path("kernel/bad.ko")),
            other => panic!("{other:?}"),
        }
    }
    let mut image = Image::of_this_machine();
    let (name, size) = (format!("usr/lib/modules/{KERNEL}/kernel/lost.ko"), 9);
    let digest = oci_assemble::image::Digest::of(b"lost");
    image.content(&name, oci_assemble::tree::Content::Stored { digest, size });
    let lost = index(&image, SandboxPolicy::Auto);
    assert!(matches!(lost, Err(DepmodError::Read { .. })), "{lost:?}");
}

/// Runs again below under other file creation masks.
#[test]
fn nothing_depends_on_threads_or_places() {
    let mut image = Image::of_this_machine();
    for number in 0..20 {
        image.module(&format!("extra/m{number}.ko"), &format!("m{number}"), KERNEL, "a", &["-DUSES=a_symbol"]);
    }
    let expected = plain(&image);
    for jobs in [1, 2, 7] {
        let workspace = tempfile::Builder::new().prefix("other place ").tempdir().unwrap();
        let mut options = options(workspace.path(), SandboxPolicy::Auto);
        options.jobs = NonZeroUsize::new(jobs).unwrap();
        let indexed = index_modules(&image.tree, &image, &kernel(), &options).unwrap();
        assert_eq!(files(&indexed), expected);
    }
    image.file(&format!("usr/lib/modules/{KERNEL}/extra/m7.ko"), "bad");
    image.file(&format!("usr/lib/modules/{KERNEL}/extra/m8.ko"), "bad");
    for jobs in [1, 2, 7] {
        let workspace = tempfile::tempdir().unwrap();
        let mut options = options(workspace.path(), SandboxPolicy::Auto);
        options.jobs = NonZeroUsize::new(jobs).unwrap();
        match index_modules(&image.tree, &image, &kernel(), &options) {
            Err(DepmodError::Module { path: found, .. }) => assert_eq!(found, path("extra/m7.ko")),
            other => panic!("{other:?}"),
        }
    }
}

/// Runs a test of this file again as `sh -c script` sets the scene.
fn again(caller: &[&str], script: &str, name: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("tests");
    program::copy(std::env::current_exe().unwrap(), &copy);
    let shell = ["sh", "-c", script, "sh"];
    let words: Vec<&str> = caller.iter().copied().chain(shell).collect();
    let output = Command::new(words[0]).args(&words[1..]).arg(&copy).args(["--exact", name]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{words:?} {name}: {text}{stderr}");
}

const NAMESPACE: &[&str] = &["unshare", "--user", "--map-root-user", "--mount", "--"];

#[test]
fn nothing_depends_on_the_umask() {
    for mask in ["0000", "0177", "0777"] {
        again(&[], &format!("umask {mask} && exec \"$@\""), "umask_of_the_caller");
    }
}

#[test]
fn an_unprivileged_user_gets_the_same() {
    let nobody: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let caller = if rustix::process::geteuid().is_root() { nobody } else { &[] };
    again(caller, "cd / && exec \"$@\"", "both_rungs_give_what_plain_depmod_gives");
}

#[test]
fn landlock_steps_in_where_namespaces_cannot_work() {
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    again(NAMESPACE, forbid, "what_this_caller_gets");
    let noexec = "mount -t tmpfs -o noexec none /mnt && TMPDIR=/mnt exec \"$@\"";
    again(NAMESPACE, noexec, "what_this_caller_gets");
}

/// Runs in scenes of the test above, too.
#[test]
fn what_this_caller_gets() {
    let image = Image::of_this_machine();
    let forbidden = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap().trim() == "0";
    let mount = rustix::fs::statvfs(std::env::temp_dir()).unwrap().f_flag;
    let noexec = mount.contains(rustix::fs::StatVfsMountFlags::NOEXEC);
    let indexed = index(&image, SandboxPolicy::Auto).unwrap();
    assert_eq!(files(&indexed), plain(&image));
    let expected = if forbidden || noexec { Rung::Landlock } else { Rung::Namespaces };
    assert_eq!(indexed.report.confinement.rung, expected);
    match &indexed.report.unavailable[..] {
        [] => assert!(!forbidden && !noexec),
        [(Rung::Namespaces, DepmodError::Sandbox(SandboxError::Unavailable { step, .. }))] => {
            assert!(forbidden, "{step}");
        }
        [(Rung::Namespaces, DepmodError::Sandbox(SandboxError::Exec { .. }))] => assert!(noexec),
        other => panic!("{other:?}"),
    }
    if forbidden || noexec {
        let refused = index(&image, SandboxPolicy::Require);
        assert!(matches!(refused, Err(DepmodError::NoSandbox { .. })), "{refused:?}");
    }
}

#[test]
fn umask_of_the_caller() {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let image = Image::of_this_machine();
    let expected = plain(&image);
    let workspace = tempfile::tempdir().unwrap();
    let options = options(workspace.path(), SandboxPolicy::Auto);
    // Only the call itself runs with the caller's mask: what the test unpacks must stay readable.
    rustix::process::umask(mask);
    let indexed = index_modules(&image.tree, &image, &kernel(), &options);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    assert_eq!(files(&indexed.unwrap()), expected);
}
