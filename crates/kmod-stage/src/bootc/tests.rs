#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use oci_assemble::inspect::lint::{Finding, LintReport, Severity};

use super::*;

/// What the script prints when bootc says `result` and ends with `code`.
fn output(result: &str, code: i32) -> String {
    format!(
        "=== assemble: version\nbootc 1.16.9\n=== assemble: lints\n- name: kernel\n  type: fatal\n  description: Check\n- name: \
         sysusers\n  type: warning\n- name: buildah-injected\n- name: newer\n=== assemble: result\n{result}=== assemble: code \
         {code}\n"
    )
}

fn finding(severity: Severity, lint: &str, value: &str) -> BootcFinding {
    BootcFinding { severity, lint: lint.into(), value: value.into() }
}

#[test]
fn a_report_is_what_bootc_prints() {
    let lints: BTreeSet<String> = ["buildah-injected", "kernel", "newer", "sysusers"].map(str::to_owned).into();
    let content = "Checks passed: 13\nChecks skipped: 1\n";
    let warned = "Lint warning: sysusers: Found /etc/passwd entry without corresponding systemd sysusers.d:\n  alice\n  \
                  bob\n  ...and 3 more\n\nChecks passed: 12\nWarnings: 1\n";
    let failed = "Lint warning: nonempty-boot: Found non-empty /boot:\n  a\nFailed lint: var-run: Not a symlink: var/run\n\
                  Checks passed: 11\nWarnings: 1\nerror: Linting: Checks failed: 1\n";
    let broken = "error: Linting: Unexpected runtime error running lint kernel: Found multiple subdirectories in \
                  usr/lib/modules\n";
    let sysusers = "Found /etc/passwd entry without corresponding systemd sysusers.d: alice; bob; ...and 3 more";
    for (result, code, findings) in [
        (content, 0, vec![]),
        (warned, 0, vec![finding(Severity::Warning, "sysusers", sysusers)]),
        (
            failed,
            1,
            vec![
                finding(Severity::Fatal, "var-run", "Not a symlink: var/run"),
                finding(Severity::Warning, "nonempty-boot", "Found non-empty /boot: a"),
            ],
        ),
        (broken, 1, vec![finding(Severity::Fatal, "kernel", "Found multiple subdirectories in usr/lib/modules")]),
    ] {
        let report = BootcReport::parse(&output(result, code)).unwrap_or_else(|| panic!("{result}"));
        let expected = BootcReport { version: "1.16.9".into(), lints: lints.clone(), findings, passed: code == 0 };
        assert_eq!(report, expected);
    }
}

#[test]
fn what_is_no_verdict_is_none() {
    for text in [
        String::new(),
        "sh: bootc: not found\n".into(),
        // It ended without saying why, it passed what it refuses, it never counted.
        output("error: This command must be executed within a container\n", 1),
        output("Failed lint: var-run: Not a symlink\nChecks passed: 1\n", 0),
        output("", 0),
        output("Checks passed: 3\n", 1),
        output("Checks passed: 3\n", 0).replace("code 0", "code ?"),
        output("Checks passed: 3\n", 0).replace("bootc 1.16.9", "sh: bootc: not found"),
        output("Checks passed: 3\n", 0).replace("=== assemble: lints", " === assemble: lints"),
    ] {
        assert_eq!(BootcReport::parse(&text), None, "{text}");
    }
}

#[test]
fn the_script_passes_on_what_is_skipped_and_bootc_knows() {
    let skip = BTreeSet::from(["nonempty-boot", "depmod-complete", "; rm"]);
    let line = script(&skip).lines().find(|line| line.starts_with("bootc container lint ")).map(str::to_owned);
    assert_eq!(line.as_deref(), Some("bootc container lint --list || true"));
    assert!(script(&skip).contains("\nbootc container lint --skip nonempty-boot\n"));
    assert!(script(&BTreeSet::new()).contains("\nbootc container lint\n"));
}

#[test]
fn lints_of_both_are_compared_by_name() {
    let native = |names: &[&'static str]| LintReport {
        schema: "",
        passed: true,
        findings: names
            .iter()
            .map(|lint| Finding {
                severity: Severity::Warning,
                lint,
                path: Some("/boot/x".into()),
                layer: None,
                value: "is there".into(),
            })
            .collect(),
        skipped: Vec::new(),
        run: 0,
    };
    let bootc = |names: &[&str], lints: &[&str]| BootcReport {
        version: "1".into(),
        lints: lints.iter().map(ToString::to_string).collect(),
        findings: names.iter().map(|name| finding(Severity::Warning, name, "no")).collect(),
        passed: true,
    };
    let none = BTreeSet::new();
    let differing = |ours: &[&'static str], theirs: &BootcReport, skip: &BTreeSet<&str>| -> Vec<String> {
        disagreements(&native(ours), theirs, skip).iter().map(ToString::to_string).collect()
    };
    let ours = "nonempty-boot: the native lint finds what bootc does not: /boot/x: is there";
    let theirs = "sysusers: bootc finds what the native lint does not: no";
    assert_eq!(differing(&["nonempty-boot", "sysusers"], &bootc(&["nonempty-boot", "sysusers"], &[]), &none), [""; 0]);
    assert_eq!(differing(&["nonempty-boot"], &bootc(&["sysusers"], &[]), &none), [ours, theirs]);
    assert_eq!(differing(&["nonempty-boot"], &bootc(&[], &["kernel"]), &none), [""; 0], "this bootc has no such lint");
    assert_eq!(differing(&["nonempty-boot"], &bootc(&[], &[]), &BTreeSet::from(["nonempty-boot"])), [""; 0]);
    assert_eq!(differing(&["buildah-injected"], &bootc(&[], &[]), &none), [""; 0], "it does not run in a container");
    assert_eq!(differing(&["depmod-complete"], &bootc(&["newer"], &[]), &none), [""; 0], "lints of one side only");
}
