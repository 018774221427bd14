//! The boot check with programs in QEMU's place, which say what a guest would: how it is watched, ended and judged.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use oci_assemble::testing::elf::{Dynamic, dynamic};
use oci_assemble::testing::memory::add_file;
use serde_json::{Value, json};

use crate::base::{self, KERNEL};
use crate::scene::{Run, Scene};

/// A scene whose image `base` can be booted, as far as that can be seen without doing it, and `qemu`, a shell script.
fn scene(qemu: &str) -> Scene {
    let scene = Scene::new();
    let mut tree = base::image_tree();
    for name in ["sh", "modprobe", "mount", "mkdir", "chroot"] {
        add_file(&mut tree, &format!("usr/bin/{name}"), 0o755, dynamic(&Dynamic::default()));
    }
    let builtin = "k/virtio_pci.ko\nk/virtio_blk.ko\nk/erofs.ko\nk/overlay.ko\n";
    add_file(&mut tree, &format!("usr/lib/modules/{KERNEL}/modules.builtin"), 0o644, builtin);
    fs::remove_dir_all(scene.path("base")).unwrap();
    fs::create_dir(scene.path("base")).unwrap();
    base::write(&scene.path("base"), &tree, |image| image);
    fs::create_dir(scene.path("tmp")).unwrap();
    scene.program("qemu", &format!("#!/bin/sh\n{qemu}\n"));
    scene
}

fn command(scene: &Scene, more: &[&str]) -> std::process::Command {
    let words: Vec<&str> = ["boot", "oci:base", "--qemu", "./qemu"].iter().chain(more).copied().collect();
    let mut command = scene.command(&words);
    command.env("TMPDIR", scene.path("tmp"));
    command
}

fn boot(scene: &Scene, more: &[&str]) -> Run {
    let run = Run::of(&mut command(scene, more));
    assert_eq!(fs::read_dir(scene.path("tmp")).unwrap().count(), 0, "nothing is left: {run:?}");
    run
}

const GOOD: &str = "echo \"[0.1] Linux\"; printf 'kernel 6.9.0-e2e\\r\\nmodule b\\r\\nloaded a\\r\\nloaded b\\r\\nmodprobe 0\\r\\n\
                    log [1.0] b: \\033[31mhello\\r\\ncommand\\r\\nout hi\\r\\nexit 0\\r\\nend\\r\\n' >report";

#[test]
fn a_good_boot() {
    let scene = scene(&format!("ls -s --block-size=1 root.erofs initramfs vmlinuz disk0 >&2; {GOOD}"));
    let more = ["--module", "b", "--run", "echo hi", "--disk", "1M", "--log", "log"];
    let run = boot(&scene, &more);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (
            0,
            "kernel 6.9.0-e2e runs (tcg)\nmodprobe b exited with 0, loaded a b\n  [1.0] b: [31mhello\ncommand exited with 0\n  hi\n"
        ),
        "{run:?}"
    );
    assert_eq!(fs::read_to_string(scene.path("log")).unwrap(), "[0.1] Linux\n");
    let run = boot(&scene, &[&more[..], &["--json", "--quiet"]].concat());
    let (schema, value) = run.json();
    assert_eq!((schema.as_str(), run.stderr.as_str()), ("assemble.boot/1", ""));
    assert_eq!(value["modules"][0]["loaded"], json!(["a", "b"]));
    assert_eq!((&value["command"], &value["passed"]), (&json!({ "exit": 0, "output": ["hi"] }), &Value::Bool(true)));
    let verbose = boot(&scene, &[&more[..], &["--verbose"]].concat());
    assert!(verbose.stderr.contains("\n[0.1] Linux\n"), "{verbose:?}");
}

#[test]
fn bad_boots() {
    for (qemu, more, code, expected) in [
        (
            "echo 'assemble: the root disk cannot be mounted'",
            &[][..],
            1,
            "the guest ended during the boot: the root disk cannot be mounted",
        ),
        (
            "echo '[2.0] Kernel panic - not syncing: x'",
            &[],
            1,
            "the guest ended during the boot: Kernel panic - not syncing: x",
        ),
        (
            "printf 'module b\\nmodprobe 0\\nend\\n' >report",
            &["--module", "b"],
            1,
            "modprobe b succeeded, but b is not loaded",
        ),
        ("printf 'command\\nexit 3\\nend\\n' >report", &["--run", "exit 3"], 1, "the command exited with 3"),
        (
            "echo command >report; exec sleep 1000",
            &["--run", "x", "--timeout", "1"],
            1,
            "the command did not end within 1 s",
        ),
        ("echo command >report; yes out x >>report", &["--run", "yes"], 1, "the command wrote more than 4096 KiB"),
        ("echo cannot allocate memory >&2; exit 1", &[], 69, "QEMU failed (exit status: 1): cannot allocate memory"),
    ] {
        let run = boot(&scene(qemu), more);
        assert!(run.code == code && run.stderr.contains(expected), "{qemu}: {run:?}");
    }
}

#[test]
fn a_layer_that_was_damaged_since_its_index_was_made() {
    let scene = scene(GOOD);
    assert_eq!(boot(&scene, &[]).code, 0);
    let (layer, _) = scene.image("base").layers().next().map(|(descriptor, id)| (descriptor.clone(), *id)).unwrap();
    let path = scene.path("base/blobs/sha256").join(layer.digest.hex());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let run = boot(&scene, &[]);
    assert!(run.code == 65 && run.stderr.contains("cannot read the image's files"), "{run:?}");
}

#[test]
fn kvm_that_does_not_work_is_replaced_when_that_is_allowed() {
    let scene = scene(&format!("case \"$*\" in *kvm*) echo no kvm >&2; exit 1;; esac; {GOOD}"));
    let run = boot(&scene, &["--kvm", "auto"]);
    assert!(run.code == 0 && run.stdout.contains("(tcg)"), "{run:?}");
    let run = boot(&scene, &["--kvm", "require"]);
    assert!(run.code == 69 && run.stderr.contains("no kvm"), "{run:?}");
}

#[test]
fn the_guest_ends_with_the_program() {
    let scene = scene("echo $$ >../../pid; exec sleep 1000");
    let mut running = command(&scene, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    let guest = loop {
        let text = fs::read_to_string(scene.path("pid")).unwrap_or_default();
        if text.ends_with('\n') {
            break format!("/proc/{}", text.trim());
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "QEMU was never started");
        std::thread::sleep(Duration::from_millis(20));
    };
    running.kill().unwrap();
    running.wait().unwrap();
    // A process that nobody waited for yet has no memory any more.
    let gone = || fs::read_to_string(format!("{guest}/statm")).map_or(true, |text| text.starts_with("0 "));
    while !gone() {
        assert!(begin.elapsed() < Duration::from_mins(1), "QEMU is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.program("qemu", &format!("#!/bin/sh\n{GOOD}\n"));
    assert_eq!(boot(&scene, &[]).code, 0, "and the next run removes what it left");
}
