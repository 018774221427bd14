//! Builder containers, run by the podman of this machine.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, missing_docs)]

#[path = "podman/image.rs"]
mod image;
#[path = "podman/machine.rs"]
mod machine;
#[path = "podman/registry.rs"]
mod registry;

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use kmod_stage::builder::{ContainerSpec, LocalImage, Mount, Network, PodmanSettings};
use kmod_stage::podman::{Cancel, ContainerRuntime, ImageSource, Podman, RuntimeError, Version};
use oci_assemble::image::{Digest, ImageReference, StorageImage};
use oci_assemble::layer::{Gate, IndexOptions, Limits, index};

use machine::{Machine, machine};

/// Runs a script to its end and gives its output.
fn output(machine: &Machine, spec: &ContainerSpec) -> String {
    let mut log = Vec::new();
    machine.podman.run(spec, &mut log, &Cancel::new()).unwrap().remove().unwrap();
    String::from_utf8(log).unwrap()
}

fn failure(machine: &Machine, spec: &ContainerSpec, cancel: &Cancel) -> RuntimeError {
    let error = machine.podman.run(spec, &mut io::sink(), cancel).unwrap_err();
    assert!(!machine.has_container(spec), "a container is left");
    error
}

#[test]
fn a_container_sees_its_specification_and_nothing_else() {
    let Some(machine) = machine() else { return };
    let patches = tempfile::tempdir().unwrap();
    fs::write(patches.path().join("a.patch"), "patch\n").unwrap();
    let script = "env; hostname; id; pwd; cat /run/patches/a.patch; ls -A /sys/class/net; \
                  echo x 2>/dev/null >/run/patches/x || echo read-only; ls /etc/hosts /etc/resolv.conf 2>&1; exit 0";
    let spec = |name: &str| {
        let mut spec = machine.spec(name, script);
        spec.mounts = vec![Mount::new(patches.path(), "/run/patches").unwrap()];
        spec.workdir = "/srv".into();
        spec
    };
    let lines = output(&machine, &spec("first"));
    let mut sorted: Vec<&str> = lines.lines().collect();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            "/srv",
            "HOME=/root",
            "HOSTNAME=builder",
            "LC_ALL=C",
            "PATH=/usr/bin:/bin",
            "PWD=/srv",
            "builder",
            "lo",
            "ls: cannot access '/etc/hosts': No such file or directory",
            "ls: cannot access '/etc/resolv.conf': No such file or directory",
            "patch",
            "read-only",
            "uid=0(root) gid=0(root) groups=0(root)",
        ]
    );
    assert_eq!(output(&machine, &spec("second")), lines, "and so does one of another name");
    assert!(!machine.has_container(&spec("first")) && !machine.has_container(&spec("second")));
}

#[test]
fn fetching_has_what_the_machine_gives_and_the_proxies() {
    let Some(machine) = machine() else { return };
    let mut spec = machine.spec("fetch", "echo $https_proxy; ls -A /sys/class/net");
    spec.network = Network::Fetch { environment: [("https_proxy".into(), "http://proxy:3128".into())].into() };
    let lines = output(&machine, &spec);
    assert!(lines.starts_with("http://proxy:3128\n"), "{lines}");
    assert!(lines.lines().count() > 2, "an interface beside loopback: {lines}");
}

#[test]
fn a_failure_has_its_code_and_the_last_lines() {
    let Some(machine) = machine() else { return };
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done; echo error: no symvers >&2; exit 3";
    let spec = machine.spec("failing", script);
    let mut log = Vec::new();
    let error = machine.podman.run(&spec, &mut log, &Cancel::new()).unwrap_err();
    assert!(!machine.has_container(&spec));
    assert_eq!(error.to_string(), "the container ended with code 3: error: no symvers");
    let RuntimeError::Exit { code: 3, out_of_memory: false, tail } = error else { panic!("{error:?}") };
    assert_eq!((tail.len(), tail[0].as_str(), tail[39].as_str()), (40, "line 62", "error: no symvers"));
    assert_eq!(String::from_utf8(log).unwrap().lines().count(), 101, "the log is whole");
}

#[test]
fn codes_of_podman_itself_are_codes_of_the_container_when_it_ran() {
    let Some(machine) = machine() else { return };
    for code in [125, 126, 127] {
        let error = failure(&machine, &machine.spec(&format!("code{code}"), &format!("exit {code}")), &Cancel::new());
        assert!(matches!(error, RuntimeError::Exit { code: found, .. } if found == code), "{error:?}");
    }
    let mut spec = machine.spec("killed", "sh -c 'kill -KILL $$'");
    let error = failure(&machine, &spec, &Cancel::new());
    assert!(matches!(error, RuntimeError::Exit { code: 137, .. }), "{error:?}");
    spec.command = vec!["/nonexistent".into()];
    let error = failure(&machine, &spec, &Cancel::new());
    assert!(matches!(&error, RuntimeError::Failed { call, .. } if call == "start"), "{error:?}");
    assert!(error.to_string().contains("/nonexistent"), "{error}");
}

#[test]
fn time_ends_a_container() {
    let Some(machine) = machine() else { return };
    let mut spec = machine.spec("slow", "echo begun; sleep 600");
    spec.timeout = Duration::from_secs(2);
    let begin = Instant::now();
    let error = failure(&machine, &spec, &Cancel::new());
    assert!(begin.elapsed() < Duration::from_mins(1));
    assert_eq!(error.to_string(), "the container was ended after 2 s: begun");
}

/// Cancels at the first byte.
struct Canceller(Cancel);

impl Write for Canceller {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.cancel();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn cancelling_ends_a_container() {
    let Some(machine) = machine() else { return };
    let spec = machine.spec("cancelled", "echo begun; sleep 600");
    let cancel = Cancel::new();
    let begin = Instant::now();
    let error = machine.podman.run(&spec, &mut Canceller(cancel.clone()), &cancel).unwrap_err();
    assert!(matches!(error, RuntimeError::Cancelled), "{error:?}");
    assert!(!machine.has_container(&spec));
    assert!(begin.elapsed() < Duration::from_mins(1));
    let error = failure(&machine, &spec, &cancel);
    assert!(matches!(error, RuntimeError::Cancelled), "before it is made: {error:?}");
}

#[test]
fn a_log_that_cannot_be_written_ends_a_container() {
    let Some(machine) = machine() else { return };
    let spec = machine.spec("logged", "echo begun; sleep 600");
    let error = machine.podman.run(&spec, &mut &mut [0_u8; 2][..], &Cancel::new()).unwrap_err();
    assert!(matches!(error, RuntimeError::Log(_)), "{error:?}");
    assert!(!machine.has_container(&spec));
}

#[test]
fn the_container_of_another_stays() {
    let Some(machine) = machine() else { return };
    let spec = machine.spec("twice", "echo one");
    let first = machine.podman.run(&spec, &mut io::sink(), &Cancel::new()).unwrap();
    let error = machine.podman.run(&spec, &mut io::sink(), &Cancel::new()).unwrap_err();
    assert!(matches!(&error, RuntimeError::Failed { call, .. } if call == "create"), "{error:?}");
    assert!(machine.has_container(&spec));
    drop(first);
    assert!(!machine.has_container(&spec), "it goes with the value that stands for it");
}

#[test]
fn files_come_out_as_tars() {
    let Some(machine) = machine() else { return };
    let script = "umask 022; mkdir -p /out/lib; echo module > /out/lib/zfs.ko; ln -s lib/zfs.ko /out/link; \
                  chmod 600 /out/lib/zfs.ko";
    let spec = machine.spec("export", script);
    let container = machine.podman.run(&spec, &mut io::sink(), &Cancel::new()).unwrap();
    let options = || IndexOptions { gate: Gate::Record, limits: Limits::default() };
    let whole = index(BufReader::new(container.export().unwrap()), options()).unwrap();
    let upserts: Vec<String> =
        whole.delta.dump().lines().filter(|line| line.contains("out")).map(str::to_owned).collect();
    assert_eq!(upserts.len(), 4, "{upserts:?}");
    assert!(whole.delta.dump().contains("usr/bin/sh"), "with the files of the image");
    let part = index(BufReader::new(container.copy_out("/out").unwrap()), options()).unwrap();
    assert!(part.delta.dump().contains("out/lib/zfs.ko") && !part.delta.dump().contains("usr/bin/sh"));

    let mut read = Vec::new();
    let error = container.copy_out("/nonexistent").unwrap().read_to_end(&mut read).unwrap_err();
    assert!(read.is_empty() && error.to_string().contains("podman cp failed"), "{error}");
    let mut started = container.export().unwrap();
    started.read_exact(&mut [0; 512]).unwrap();
    drop(started);
    container.remove().unwrap();
    assert!(!machine.has_container(&spec));
}

#[test]
fn an_image_of_a_container_runs() {
    let Some(machine) = machine() else { return };
    let name = LocalImage::toolchain(Digest::of(b"an image of a container runs"));
    assert_eq!(machine.podman.find(&name).unwrap(), None);
    let mut spec = machine.spec("toolchain", "echo made > /made");
    spec.network = Network::Fetch { environment: [("https_proxy".into(), "http://secret@proxy".into())].into() };
    let container = machine.podman.run(&spec, &mut io::sink(), &Cancel::new()).unwrap();
    let id = container.commit(&name).unwrap();
    drop(container);
    assert_eq!(machine.podman.find(&name).unwrap(), Some(id));
    assert!(!machine.words(&["image", "inspect", &id.to_string()]).contains("secret"));
    let next = ContainerSpec { image: id, ..machine.spec("user", "cat /made; env") };
    let lines = output(&machine, &next);
    assert!(lines.starts_with("made\n") && !lines.contains("proxy"), "{lines}");
    machine.podman.remove(&name).unwrap();
    assert_eq!(machine.podman.find(&name).unwrap(), None);
    machine.podman.remove(&name).unwrap();
}

#[test]
fn an_import_is_held_to_the_digest() {
    let Some(machine) = machine() else { return };
    let layout = |directory: &Path, manifest| ImageSource::Layout { directory: directory.to_owned(), manifest };
    let import = |source: &ImageSource| machine.podman.import(source, &Cancel::new());
    let names = machine.words(&[
        "images",
        "--format={{.Repository}}:{{.Tag}}",
        "--filter=reference=localhost/assemble-builder*",
    ]);
    let name = LocalImage::builder(machine.manifest);
    assert_eq!(names.lines().collect::<Vec<_>>(), [name.to_string()], "one name, and that is ours");
    assert_eq!(import(&layout(&machine.layout(), machine.manifest)).unwrap(), machine.image, "twice is once");
    assert_eq!(machine.podman.find(&name).unwrap(), Some(machine.image));

    let error = import(&layout(&machine.layout(), Digest::of(b"other"))).unwrap_err();
    assert!(matches!(error, RuntimeError::Layout { .. }), "{error:?}");
    let error = import(&layout(&machine.layout(), machine.image.config())).unwrap_err();
    assert!(matches!(error, RuntimeError::Manifest { .. }), "{error:?}");

    // The blob says one digest, its bytes another.
    let damaged = tempfile::tempdir().unwrap();
    let blobs = damaged.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let from = machine.layout().join("blobs/sha256").join(machine.manifest.hex());
    fs::write(blobs.join(Digest::of(b"other").hex()), fs::read(from).unwrap()).unwrap();
    let error = import(&layout(damaged.path(), Digest::of(b"other"))).unwrap_err();
    assert!(matches!(error, RuntimeError::Layout { .. }), "{error:?}");

    let storage = |manifest| ImageSource::Storage { image: StorageImage::Id(machine.image.to_string()), manifest };
    assert_eq!(import(&storage(machine.manifest)).unwrap(), machine.image);
    let error = import(&storage(Digest::of(b"other"))).unwrap_err();
    assert!(matches!(error, RuntimeError::Mismatch { .. }), "{error:?}");
    let unknown = ImageSource::Storage { image: StorageImage::Id("1".repeat(64)), manifest: machine.manifest };
    let error = import(&unknown).unwrap_err();
    assert!(matches!(error, RuntimeError::NoImage { .. }), "{error:?}");
}

#[test]
fn a_pull_is_held_to_the_digest() {
    let (Some(machine), Some(registry)) = (machine(), registry::Registry::start()) else { return };
    let files = tempfile::tempdir().unwrap();
    let digestfile = files.path().join("digest");
    let name = format!("{}/builders/shell", registry.address);
    let option = format!("--digestfile={}", digestfile.display());
    machine.words(&["push", "--tls-verify=false", &option, &machine.image.to_string(), &format!("docker://{name}:1")]);
    let ImageReference::Registry(name) = format!("docker://{name}:1").parse().unwrap() else { panic!() };
    let source = |manifest| ImageSource::Registry { name: name.clone(), manifest, authfile: None, tls_verify: false };
    let import = |manifest| machine.podman.import(&source(manifest), &Cancel::new());
    let pushed: Digest = fs::read_to_string(digestfile).unwrap().trim().parse().unwrap();
    assert_eq!(import(pushed).unwrap(), machine.image);
    let error = import(Digest::of(b"other")).unwrap_err();
    assert!(matches!(&error, RuntimeError::Failed { call, .. } if call == "pull"), "{error:?}");
    drop(registry);
    assert_eq!(import(pushed).unwrap(), machine.image, "what is there already is not pulled");
}

#[test]
fn a_machine_without_podman_is_told_so() {
    let settings = PodmanSettings { program: "/nonexistent/podman".into(), ..PodmanSettings::default() };
    let error = Podman::new(settings, std::env::temp_dir()).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/podman is not installed");
    assert_eq!(error.hint(), Some("install podman 4.0 or newer"));
}

#[test]
fn an_old_podman_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (says, accepted) in
        [("podman version 3.4.4", false), ("docker version 28", false), ("podman version 5.6.0", true)]
    {
        let program = directory.path().join(says);
        machine::script(&program, &format!("echo {says}"));
        let settings = PodmanSettings { program, ..PodmanSettings::default() };
        match Podman::new(settings, directory.path().to_owned()) {
            Ok(podman) => assert!(accepted && podman.version() == &Version(5, 6, 0)),
            Err(RuntimeError::TooOld { found, .. }) => assert_eq!(found, Version(3, 4, 4)),
            Err(RuntimeError::Answer { text, .. }) => assert_eq!(text, "docker version 28\n"),
            Err(error) => panic!("{error:?}"),
        }
    }
}
