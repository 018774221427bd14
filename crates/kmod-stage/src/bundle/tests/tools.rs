use std::process::Command;

use super::*;

/// Whether a test must be left out because a program is not installed, which it says. Where everything has to be
/// installed (`CI=true`) that is an error.
fn lacks(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let Some(missing) = programs.iter().find(|program| !installed(program)) else { return false };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing} is not installed");
    eprintln!("left out: {missing} is not installed");
    true
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_programs_take_a_bundle_for_an_artifact() {
    if lacks(&["skopeo", "umoci"]) {
        return;
    }
    let (temp, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = keep(&temp, "6.1", Some("log")).bundle;
    let tag = key("6.1").tag();
    let at = |temp: &tempfile::TempDir| format!("oci:{}:{tag}", temp.path().display());

    let raw = run("skopeo", &["inspect", "--raw", &at(&temp)]);
    assert_eq!(Digest::of(raw.as_bytes()), kept.manifest().digest);
    let manifest: serde_json::Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(manifest["artifactType"], ARTIFACT_TYPE);

    // A copy has the same bytes, and is a bundle; so it is after another program collected garbage.
    run("skopeo", &["copy", "--quiet", &at(&temp), &at(&copy)]);
    let layout = copy.path().to_str().unwrap();
    assert_eq!(run("umoci", &["ls", "--layout", layout]).trim(), tag);
    for collected in [false, true] {
        if collected {
            run("umoci", &["gc", "--layout", layout]);
        }
        let copied = hit(&copy, "6.1");
        assert_eq!((copied.manifest(), copied.config()), (kept.manifest(), kept.config()));
        assert_eq!(copied.delta(), kept.delta());
        assert!(copied.log().unwrap().is_some());
    }
}
