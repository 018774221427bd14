//! Versions in order: by law, by table, and as rpm and dpkg judge.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::format_collect, clippy::print_stderr)]

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

/// Real versions, each list in ascending order.
const RPM: &[&str] = &[
    "1.0~~",
    "1.0~rc1-1",
    "1.0-1",
    "1.0-1.el10",
    "1.0^20250101git1-1",
    "1.0a-1",
    "1.0.1-1",
    "1.1-1",
    "2.2.9-1.el10",
    "2.2.10-1.el10",
    "5.14.0-427.13.1.el9_4",
    "5.14.0-570.el9",
    "6.12.0-99.el10",
    "6.12.0-150.el10",
    "6.12.0-160.el10",
    "6.12.0-160.1.el10",
    "6.17.7-300.fc43",
    "6.18.0-0.rc3.20251031gitd127176862a9.30.fc44",
    "6.18.0-1.fc44",
    "7.0~rc1-1",
    "7.0-1",
    "1:0.1-1",
    "3:580.95.05-1.el10",
    "3:580.105.08-1.el10",
];
const DEBIAN: &[&str] = &[
    "0~~",
    "0~",
    "0",
    "1.0~rc1-1",
    "1.0-0",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1+deb12u1",
    "1.0a-1",
    "1.0+dfsg-1",
    "1.0.1",
    "2.1.11-1+deb12u1",
    "2.3.9-1~bpo12+1",
    "2.3.9-1",
    "6.1~rc3-1~exp1",
    "6.1.9-1",
    "6.1.106-3",
    "6.1.170-1",
    "6.1.170-3",
    "6.12.9~rc1-1",
    "6.12.94-1~bpo12+1",
    "6.12.94-1",
    "6.12.107-1",
    "550.163.01-2",
    "1:0.5",
    "2:0:1-1",
];

fn ascending<T: Ord + std::str::FromStr<Err = VersionError> + fmt::Debug>(list: &[&str]) {
    for (place, earlier) in list.iter().enumerate() {
        for (other, later) in list.iter().enumerate() {
            let versions = [earlier, later].map(|text| text.parse::<T>().unwrap());
            assert_eq!(versions[0].cmp(&versions[1]), place.cmp(&other), "{earlier} and {later}");
        }
    }
}

#[test]
fn real_versions_are_in_order() {
    ascending::<RpmVersion>(RPM);
    ascending::<DebianVersion>(DEBIAN);
}

#[test]
fn what_package_managers_take_for_equal_is_equal() {
    for (a, b) in [("1.0-1", "1.00-1"), ("0:1-1", "1-1"), ("1.0-1", "1_0-1"), ("1.-1", "1-1")] {
        assert_eq!(a.parse::<RpmVersion>().unwrap(), b.parse().unwrap(), "{a} {b}");
    }
    for (a, b) in [("1.0", "1.0-0"), ("1.0", "1.00"), ("0:1-1", "1-1"), ("1-1.", "1-1.0")] {
        assert_eq!(a.parse::<DebianVersion>().unwrap(), b.parse().unwrap(), "{a} {b}");
    }
    let version = |family| PackageVersion::parse("1.0-1", family).unwrap();
    assert_eq!(version(Family::Rpm).partial_cmp(&version(Family::Debian)), None);
    assert_ne!(version(Family::Rpm), version(Family::Debian));
}

#[test]
fn text_that_is_no_version_is_refused() {
    use VersionFault::{Character, Epoch, NoRelease, NoVersion, TooLong};
    let long = "1".repeat(256);
    for (text, rpm, debian) in [
        ("", NoVersion, NoVersion),
        ("1:", NoVersion, NoVersion),
        ("-1", NoVersion, NoVersion),
        ("1-", NoRelease, NoRelease),
        (":1", Epoch, Epoch),
        ("a:1", Epoch, Epoch),
        ("+1:1", Epoch, Epoch),
        ("2147483648:1", Epoch, Epoch),
        ("1 2", Character(' '), Character(' ')),
        ("1-2/3", Character('/'), Character('/')),
        ("1\n", Character('\n'), Character('\n')),
        ("ü", Character('ü'), Character('ü')),
        (&long, TooLong, TooLong),
    ] {
        assert_eq!(text.parse::<RpmVersion>().unwrap_err().fault, rpm, "{text:?}");
        assert_eq!(text.parse::<DebianVersion>().unwrap_err().fault, debian, "{text:?}");
    }
    assert_eq!("1-2-3".parse::<RpmVersion>().unwrap_err().fault, Character('-'));
    assert_eq!("1_2".parse::<DebianVersion>().unwrap_err().fault, Character('_'));
    assert_eq!(
        "1:2:3-4".parse::<RpmVersion>().unwrap_err().to_string(),
        "\"1:2:3-4\" is no rpm version: it contains ':'"
    );
}

/// Texts that often differ in one place only, and so are often nearly equal.
fn part(punctuation: &'static str) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["0", "1", "9", "10", "00", "01", "a", "b", "Z", "rc", "el10", "git"]),
        3 => prop::sample::select(punctuation.split_inclusive(|_| true).collect::<Vec<_>>()),
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

fn rpm() -> impl Strategy<Value = RpmVersion> {
    (0_u32..2, part("._+~^"), prop::option::of(part("._+~^")))
        .prop_map(|(epoch, version, release)| RpmVersion::new(epoch, &version, release.as_deref()).unwrap())
}

fn debian() -> impl Strategy<Value = DebianVersion> {
    let versions = (0_u32..2, 0_u32..3, part(".+~-"), prop::option::of(part(".+~")));
    versions.prop_map(|(epoch, digit, upstream, revision)| {
        let revision = revision.map(|text| format!("-{text}")).unwrap_or_default();
        let epoch = if epoch == 0 { String::new() } else { format!("{epoch}:") };
        // dpkg warns of versions that do not begin with a digit.
        let text = format!("{epoch}{digit}{}{revision}", upstream.trim_end_matches('-'));
        text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
    })
}

fn laws<T: Ord + Clone + fmt::Debug + fmt::Display + std::str::FromStr<Err = VersionError>>(a: &T, b: &T, c: &T) {
    assert_eq!(a.to_string().parse::<T>().as_ref(), Ok(a), "text and back");
    assert_eq!(a.cmp(b), b.cmp(a).reverse());
    assert_eq!(a == b, a.cmp(b).is_eq());
    let mut sorted = [a, b, c];
    sorted.sort();
    assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2], "{sorted:?}");
    if a == b {
        assert_eq!(a.cmp(c), b.cmp(c), "equal versions sort alike: {a} {b} {c}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn rpm_versions_are_totally_ordered(a in rpm(), b in rpm(), c in rpm()) {
        laws(&a, &b, &c);
    }

    #[test]
    fn debian_versions_are_totally_ordered(a in debian(), b in debian(), c in debian()) {
        laws(&a, &b, &c);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~]{0,12}") {
        let _ = text.parse::<RpmVersion>();
        let _ = text.parse::<DebianVersion>();
    }
}

/// The same pairs in every run, so that a judge's verdict can be looked at again; and all pairs of the real ones.
fn pairs<T: std::str::FromStr<Err = VersionError>>(
    strategy: &impl Strategy<Value = T>,
    count: usize,
    real: &[&str],
) -> Vec<(T, T)> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut next = || strategy.new_tree(&mut runner).unwrap().current();
    let generated: Vec<_> = (0..count).map(|_| (next(), next())).collect();
    let real = real.iter().flat_map(|a| real.iter().map(|b| (a.parse().unwrap(), b.parse().unwrap())));
    generated.into_iter().chain(real).collect()
}

/// What the command answers to lines of text; `None`, after saying so, where it is not installed.
fn ask(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    if let Err(error) = Command::new(program).arg("--version").stdout(Stdio::null()).status() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program}: {error}");
        eprintln!("left out: {program}: {error}");
        return None;
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    let arguments = arguments.iter().map(|argument| argument.replace("PAIRS", file.path().to_str().unwrap()));
    let command = if program == "dpkg" { "sh" } else { program };
    let output = Command::new(command).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn agrees_with_rpm() {
    let pairs = pairs(&rpm(), 5000, RPM);
    let input: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let script = r#"%{lua: for line in io.lines("PAIRS") do local a, b = line:match("(%S+) (%S+)")
        print(tostring(rpm.vercmp(a, b)) .. "\n") end}"#;
    let Some(answer) = ask("rpm", &["--eval", script], &input) else { return };
    let answers: Vec<i32> = answer.split_whitespace().map(|line| line.parse().unwrap()).collect();
    assert_eq!(answers.len(), pairs.len());
    for ((a, b), answer) in pairs.iter().zip(answers) {
        assert_eq!(a.cmp(b), answer.cmp(&0), "{a} {b}");
    }
}

#[test]
fn agrees_with_dpkg() {
    let pairs = pairs(&debian(), 2000, DEBIAN);
    let word = |order| match order {
        Ordering::Less => "lt",
        Ordering::Equal => "eq",
        Ordering::Greater => "gt",
    };
    let input: String = pairs.iter().map(|(a, b)| format!("{a} {} {b}\n", word(a.cmp(b)))).collect();
    let script =
        r#"while read -r a order b; do dpkg --compare-versions "$a" "$order" "$b" || echo "$a $order $b"; done <PAIRS"#;
    let Some(wrong) = ask("dpkg", &["-c", script], &input) else { return };
    assert_eq!(wrong, "", "dpkg disagrees");
}
