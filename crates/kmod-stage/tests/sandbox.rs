//! A program that tries to get out of the sandbox, on every rung, and under the kinds of caller
//! there are: root, an unprivileged user, root of a nested namespace, and one whom user namespaces
//! are forbidden.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]

mod program;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use kmod_stage::sandbox::{Limits, Outcome, Rung, SandboxError, SandboxSpec, Step, run};
use rustix::io::Errno;

/// The one writable directory.
const WRITABLE: &str = "lib/modules/1";

/// A sparse root with the probe, its libraries and a writable directory.
struct Jail {
    directory: tempfile::TempDir,
}

impl Jail {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let jail = Self { directory };
        fs::create_dir_all(jail.root().join(WRITABLE)).unwrap();
        fs::create_dir_all(jail.root().join("etc")).unwrap();
        fs::write(jail.root().join("etc/own"), "mine").unwrap();
        // Where the test came from may be out of reach for who runs it.
        let source = jail.directory.path().join("probe.c");
        fs::write(&source, include_str!("sandbox/probe.c")).unwrap();
        let compiler = Command::new("cc").arg("-o").arg(jail.host_program()).arg(source).arg("-pthread").status();
        assert!(compiler.unwrap().success(), "cc failed");
        fs::create_dir_all(jail.root().join("usr/bin")).unwrap();
        program::copy(jail.host_program(), jail.root().join("usr/bin/probe"));
        let libraries = Command::new("ldd").arg(jail.host_program()).output().unwrap().stdout;
        for library in String::from_utf8(libraries).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
            let copy = jail.root().join(&library[1..]);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            program::copy(library, copy);
        }
        jail
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn host_program(&self) -> PathBuf {
        self.directory.path().join("probe")
    }

    /// A path below the root, as the program of `rung` names it.
    fn path(&self, rung: Rung, below: &str) -> String {
        match rung {
            Rung::Landlock => self.root().join(below).to_str().unwrap().to_owned(),
            Rung::Namespaces | Rung::Chroot => format!("/{below}"),
        }
    }

    fn spec(&self, rung: Rung, arguments: &[&str], limits: Limits) -> SandboxSpec {
        let mut argv = vec![OsString::from("probe")];
        argv.extend(arguments.iter().map(OsString::from));
        SandboxSpec {
            root: self.root(),
            writable: vec![WRITABLE.into()],
            program: match rung {
                Rung::Landlock => self.host_program(),
                Rung::Namespaces | Rung::Chroot => "/usr/bin/probe".into(),
            },
            argv,
            limits,
        }
    }

    fn run(&self, rung: Rung, arguments: &[&str]) -> Result<Outcome, SandboxError> {
        run(&self.spec(rung, arguments, limits()), rung)
    }

    /// The exit code of the probe: an errno, or 0 where it was allowed.
    fn code(&self, rung: Rung, arguments: &[&str]) -> i32 {
        match self.run(rung, arguments) {
            Ok(outcome) => outcome.code,
            Err(error) => panic!("{rung} {arguments:?}: {error:?}"),
        }
    }

    fn text(&self, rung: Rung, arguments: &[&str]) -> String {
        String::from_utf8(self.run(rung, arguments).unwrap().stderr).unwrap()
    }
}

fn limits() -> Limits {
    Limits {
        address_space: 256 << 20,
        cpu_seconds: 20,
        file_size: 1 << 20,
        open_files: 64,
        wall_time: Duration::from_mins(1),
        stderr: 64 << 10,
    }
}

/// Whether `rung` can be had; a machine of the project's tests must have it.
fn has(jail: &Jail, rung: Rung) -> bool {
    match jail.run(rung, &["argv0"]) {
        Ok(_) => true,
        Err(error @ SandboxError::Unavailable { .. }) => skip(&format!("{error:?}")),
        Err(error) => panic!("{error:?}"),
    }
}

/// Says why a test does not run here; where nobody reads that, it is an error.
fn skip(reason: &str) -> bool {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: {reason}");
    eprintln!("skipped: {reason}");
    false
}

/// What no rung allows, and with which error.
fn escapes_are_refused(rung: Rung) {
    let jail = Jail::new();
    if !has(&jail, rung) {
        return;
    }
    let at = |below: &str| jail.path(rung, below);
    let parent = std::process::id().to_string();
    let own = at("lib/modules/1/own");
    assert_eq!(jail.code(rung, &["write", &own]), 0, "the writable directory");
    assert_eq!(fs::read(jail.root().join("lib/modules/1/own")).unwrap(), b"x");
    assert_eq!(jail.code(rung, &["read", &at("etc/own")]), 0, "its own files");
    let eperm = Errno::PERM.raw_os_error();
    let refused: &[(&[&str], i32)] = &[
        (&["socket"], eperm),
        (&["unix-socket"], eperm),
        (&["fork"], eperm),
        (&["clone"], eperm),
        (&["thread"], eperm),
        (&["kill", &parent], eperm),
        (&["kill", "-1"], eperm),
        (&["ptrace"], eperm),
        (&["mount"], eperm),
        (&["unshare"], eperm),
        (&["bpf"], eperm),
        (&["keyctl"], eperm),
        (&["io_uring"], eperm),
        (&["userfaultfd"], eperm),
        (&["perf"], eperm),
        (&["settime"], eperm),
        (&["chmod", &own], eperm),
        (&["symlink", &at("lib/modules/1/link")], eperm),
        (&["fifo", &at("lib/modules/1/fifo")], eperm),
        (&["x32-getpid"], Errno::NOSYS.raw_os_error()),
        (&["allocate", "1073741824"], Errno::NOMEM.raw_os_error()),
        (&["big-file", &at("lib/modules/1/big")], Errno::FBIG.raw_os_error()),
        (&["open-files", "100", &at("etc")], Errno::MFILE.raw_os_error()),
        (&["environment"], 0),
        (&["descriptors"], 0),
        (&["capabilities"], 0),
    ];
    let found: Vec<_> = refused.iter().map(|(what, _)| (*what, jail.code(rung, what))).collect();
    assert_eq!(found, refused);
    for (what, path) in [
        ("write", at("etc/new")),
        ("write", at("etc/own")),
        ("write", at("usr/bin/new")),
        ("write", "/escaped".to_owned()),
        ("mkdir", at("etc/new")),
        ("rename", own.clone()),
        ("read", "/etc/passwd".to_owned()),
        ("read", "/proc/self/mem".to_owned()),
        ("list", "/root".to_owned()),
        ("list", "/proc".to_owned()),
    ] {
        let code = jail.code(rung, &[what, &path]);
        let names = [Errno::ROFS, Errno::ACCESS, Errno::NOENT, Errno::XDEV];
        assert!(names.iter().any(|name| name.raw_os_error() == code), "{what} {path}: {code}");
    }
    assert!(!jail.root().join("etc/new").exists());
    assert_eq!(fs::read_to_string(jail.root().join("etc/own")).unwrap(), "mine");
    limits_hold(&jail, rung);
}

/// A program that uses up its time or its signals ends in a typed error, and quickly.
fn limits_hold(jail: &Jail, rung: Rung) {
    let with = |arguments: &[&str], change: fn(&mut Limits)| {
        let mut limits = limits();
        change(&mut limits);
        run(&jail.spec(rung, arguments, limits), rung)
    };
    for what in ["sleep", "sleep-silently"] {
        let start = Instant::now();
        let slept = with(&[what], |limits| {
            limits.wall_time = Duration::from_millis(300);
        });
        assert!(matches!(slept, Err(SandboxError::TimedOut { .. })), "{slept:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
    for what in ["spin", "spin-deaf"] {
        let spun = with(&[what], |limits| limits.cpu_seconds = 1);
        let deaf_without_supervisor = what == "spin-deaf" && rung != Rung::Namespaces;
        match spun {
            Err(SandboxError::CpuTime { limit: 1, .. }) => {}
            Err(SandboxError::Signalled { signal: libc::SIGKILL, .. }) if deaf_without_supervisor => {}
            other => panic!("{rung} {what}: {other:?}"),
        }
    }
    let crashed = jail.run(rung, &["crash"]);
    assert!(matches!(crashed, Err(SandboxError::Signalled { signal: libc::SIGSEGV, .. })), "{crashed:?}");
    let flood = with(&["flood"], |limits| limits.stderr = 100).unwrap();
    assert_eq!((flood.code, flood.stderr.len(), flood.stderr_truncated), (3, 100, true));
}

#[test]
fn escapes_are_refused_in_namespaces() {
    escapes_are_refused(Rung::Namespaces);
}

#[test]
fn escapes_are_refused_by_landlock() {
    escapes_are_refused(Rung::Landlock);
}

#[test]
fn escapes_are_refused_in_a_chroot() {
    if rustix::process::geteuid().is_root() {
        escapes_are_refused_in_chroot_as_root();
    } else {
        let refused = Jail::new().run(Rung::Chroot, &["argv0"]);
        assert!(matches!(refused, Err(SandboxError::Unavailable { step: Step::ChangeRoot, .. })), "{refused:?}");
    }
}

fn escapes_are_refused_in_chroot_as_root() {
    let jail = Jail::new();
    if has(&jail, Rung::Chroot) {
        escapes_are_refused(Rung::Chroot);
    }
}

#[test]
fn a_namespace_shows_nothing_of_the_host() {
    let jail = Jail::new();
    let rung = Rung::Namespaces;
    if !has(&jail, rung) {
        return;
    }
    assert_eq!(jail.text(rung, &["identity"]), "pid 1 host sandbox\n");
    let mut names: Vec<_> = fs::read_dir(jail.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let listed = jail.text(rung, &["list", "/"]);
    let mut seen: Vec<_> = listed.lines().map(OsString::from).collect();
    seen.sort();
    assert_eq!(seen, names);
    assert_eq!(jail.text(rung, &["argv0"]), "probe");
}

#[test]
fn a_missing_program_is_told_from_a_missing_sandbox() {
    let jail = Jail::new();
    for rung in [Rung::Namespaces, Rung::Landlock] {
        if !has(&jail, rung) {
            continue;
        }
        let mut spec = jail.spec(rung, &["argv0"], limits());
        spec.program = jail.root().join("etc/own");
        if rung == Rung::Namespaces {
            spec.program = "/usr/bin/none".into();
        }
        let error = run(&spec, rung).unwrap_err();
        assert!(matches!(error, SandboxError::Exec { .. }) && error.is_unavailable(), "{error:?}");
    }
    let mut spec = jail.spec(Rung::Namespaces, &["argv0"], limits());
    spec.writable = vec!["lib/modules/none".into()];
    let error = run(&spec, Rung::Namespaces).unwrap_err();
    assert!(matches!(error, SandboxError::Unavailable { .. }), "{error:?}");
}

#[test]
fn a_program_that_is_being_written_is_waited_for() {
    let jail = Jail::new();
    for rung in [Rung::Namespaces, Rung::Landlock] {
        if !has(&jail, rung) {
            continue;
        }
        for program in [jail.host_program(), jail.root().join("usr/bin/probe")] {
            let writer = fs::OpenOptions::new().append(true).open(program).unwrap();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(200));
                drop(writer);
            });
        }
        assert_eq!(jail.code(rung, &["argv0"]), 0, "{rung}");
    }
}

/// Runs tests of this file again under another caller.
fn again(caller: &[&str], tests: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("tests");
    program::copy(std::env::current_exe().unwrap(), &copy);
    let output = Command::new(caller[0])
        .args(&caller[1..])
        .arg(&copy)
        .args(["--exact", "--test-threads=1"])
        .args(tests)
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(&format!("{} passed", tests.len())),
        "{caller:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const ALL: &[&str] = &[
    "escapes_are_refused_in_namespaces",
    "escapes_are_refused_by_landlock",
    "escapes_are_refused_in_a_chroot",
    "a_namespace_shows_nothing_of_the_host",
];

#[test]
fn an_unprivileged_user_has_the_same_rungs() {
    if rustix::process::geteuid().is_root() {
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        again(&nobody, ALL);
    } else {
        skip("the other tests of this file already run unprivileged");
    }
}

#[test]
fn namespaces_nest() {
    if has(&Jail::new(), Rung::Namespaces) {
        again(&["unshare", "--user", "--map-root-user", "--"], ALL);
    }
}

#[test]
fn landlock_holds_where_namespaces_are_forbidden() {
    if !has(&Jail::new(), Rung::Namespaces) {
        return;
    }
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    again(&["unshare", "--user", "--map-root-user", "--", "sh", "-c", forbid, "sh"], &["landlock_is_what_is_left"]);
}

/// Runs by itself too, where both rungs may be there.
#[test]
fn landlock_is_what_is_left() {
    let jail = Jail::new();
    let forbidden = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    if forbidden.trim() == "0" {
        let refused = jail.run(Rung::Namespaces, &["argv0"]).unwrap_err();
        assert!(matches!(refused, SandboxError::Unavailable { step: Step::Unshare, .. }), "{refused:?}");
    }
    escapes_are_refused(Rung::Landlock);
}
