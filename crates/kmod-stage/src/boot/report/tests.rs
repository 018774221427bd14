#![allow(clippy::unwrap_used)]
use super::*;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn brings(name: &str) -> BTreeSet<String> {
    if name == "zfs" { set(&["zfs", "spl"]) } else { BTreeSet::new() }
}

fn report(text: &str, end: End) -> BootReport {
    BootReport {
        kernel: KernelRelease::new("6.1").unwrap(),
        accelerator: Accelerator::Emulation,
        end,
        told: Told::parse(text, brings),
        console: vec!["[1.0] Run /init".into(), "assemble: the root disk cannot be mounted".into()],
    }
}

fn faults(text: &str, end: End) -> Vec<String> {
    report(text, end).faults().iter().map(ToString::to_string).collect()
}

const GOOD: &str = "kernel 6.1\nloaded erofs\nmodule zfs\nloaded erofs\nloaded spl\nloaded zfs\nmodprobe 0\nlog [2.0] ZFS: Loaded\n\
                    command\nout a  b\nout \nexit 0\nend\n";
const LATE: End = End::TimedOut(Duration::from_secs(9));

#[test]
fn a_report_is_read_whole() {
    let zfs = ModuleResult {
        name: "zfs".into(),
        exit: Some(0),
        loaded: set(&["spl", "zfs"]),
        log: vec!["[2.0] ZFS: Loaded".into()],
        ..ModuleResult::default()
    };
    let expected = Told {
        release: Some("6.1".into()),
        system: None,
        modules: vec![zfs],
        command: Some(CommandResult { exit: Some(0), output: vec!["a  b".into(), String::new()] }),
        complete: true,
    };
    assert_eq!(Told::parse(GOOD, brings), expected);
    assert_eq!(faults(GOOD, End::Off), Vec::<String>::new());
    assert_eq!(faults(GOOD, LATE), Vec::<String>::new(), "it only did not switch itself off");
}

#[test]
fn every_fault_is_named() {
    for (text, end, expected) in [
        ("", End::Off, "the guest ended during the boot: the root disk cannot be mounted"),
        ("", LATE, "the boot did not end within 9 s"),
        ("kernel 6.1\nmodule zfs\n", LATE, "modprobe zfs did not end within 9 s"),
        ("kernel 6.1\ncommand\nout x\n", LATE, "the command did not end within 9 s"),
        ("command\n", End::Flooded(1 << 20), "the command wrote more than 1024 KiB"),
        ("kernel 6.2\nend\n", End::Off, "kernel 6.2 runs instead of 6.1"),
        ("module zfs\nmodprobe 0\nend", End::Off, "modprobe zfs succeeded, but spl, zfs are not loaded"),
        ("module zfs\nloaded spl\nmodprobe 0\nend", End::Off, "modprobe zfs succeeded, but zfs is not loaded"),
        (
            "module a\nsaid FATAL: none\nmodprobe 1\nend",
            End::Off,
            "module a cannot be loaded (modprobe exited with 1): FATAL: none",
        ),
        (
            "module a\nmodprobe 1\nlog [1] symbol\nend",
            End::Off,
            "module a cannot be loaded (modprobe exited with 1): [1] symbol",
        ),
        ("command\nexit 3\nend", End::Off, "the command exited with 3"),
        (
            "state degraded\nfailed a.service\nfailed b.service\nend",
            End::Off,
            "systemd says \"degraded\": a.service, b.service failed",
        ),
    ] {
        assert_eq!(faults(text, end), [expected], "{text}");
    }
}

#[test]
fn what_the_command_writes_is_never_taken_for_the_report() {
    let text = "module zfs\nmodprobe 1\ncommand\nout end\nout exit 0\nloaded spl\nkernel 7\nexit 5\nmodule x\nend";
    let told = Told::parse(text, brings);
    assert_eq!(told.command.unwrap(), CommandResult { exit: Some(5), output: vec!["end".into(), "exit 0".into()] });
    assert_eq!((told.modules.len(), told.release), (1, None));
}
