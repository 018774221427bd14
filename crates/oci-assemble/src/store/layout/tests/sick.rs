//! Layouts and blobs that are not what they should be.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use super::*;

#[test]
fn sick_layouts_are_refused_without_blocking() {
    type Damage = fn(&Scratch);
    let damages: [(&str, Damage, &str); 9] = [
        ("no header", |s| fs::remove_file(s.path("oci-layout")).unwrap(), "cannot open oci-layout"),
        (
            "version",
            |s| fs::write(s.path("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap(),
            "invalid oci-layout file",
        ),
        ("no version", |s| fs::write(s.path("oci-layout"), "{}").unwrap(), "invalid oci-layout file"),
        ("header pipe", |s| replace_by_pipe(s, "oci-layout"), "oci-layout is not a regular file"),
        ("index pipe", |s| replace_by_pipe(s, "index.json"), "index.json is not a regular file"),
        (
            "index link",
            |s| {
                fs::rename(s.path("index.json"), s.path("real")).unwrap();
                symlink("real", s.path("index.json")).unwrap();
            },
            "index.json is not a regular file",
        ),
        ("no index", |s| fs::remove_file(s.path("index.json")).unwrap(), "cannot open index.json"),
        ("cut index", |s| fs::write(s.path("index.json"), "{").unwrap(), "invalid image index"),
        (
            "big index",
            |s| fs::write(s.path("index.json"), vec![b' '; MAX_MANIFEST + 1]).unwrap(),
            "invalid image index",
        ),
    ];
    for (name, damage, message) in damages {
        let scratch = Scratch::with(&[("t", &["a"])]);
        damage(&scratch);
        let error = Layout::open(scratch.dir()).and_then(|layout| layout.index().map(drop)).unwrap_err();
        assert_eq!(error.to_string(), message, "{name}");
        if !name.starts_with("no ") {
            assert!(Layout::write(scratch.dir()).is_err(), "{name}: a writer refuses it before it does any work");
        }
    }
}

fn replace_by_pipe(scratch: &Scratch, name: &str) {
    fs::remove_file(scratch.path(name)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.path(name), 0o644.into()).unwrap();
}

#[test]
fn sick_blobs_are_refused_without_blocking() {
    type Damage = fn(&std::path::Path);
    let damages: [(Damage, &str); 6] = [
        (|path| fs::remove_file(path).unwrap(), "is missing"),
        (|path| fs::write(path, "goo").unwrap(), "has 3 bytes, not 4"),
        (|path| fs::write(path, "good!").unwrap(), "has 5 bytes, not 4"),
        (|path| fs::write(path, "evil").unwrap(), "has digest"),
        (
            |path| {
                fs::remove_file(path).unwrap();
                rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o644.into()).unwrap();
            },
            "is not a regular file",
        ),
        (
            |path| {
                fs::remove_file(path).unwrap();
                symlink("/dev/zero", path).unwrap();
            },
            "is not a regular file",
        ),
    ];
    for (damage, message) in damages {
        let scratch = Scratch::with(&[("t", &["good"])]);
        damage(&scratch.blob(&Digest::of(b"good")));
        let error = content(&open(&scratch), "good").unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let scratch = Scratch::with(&[("t", &["good"])]);
    let outside = tempfile::tempdir().unwrap();
    fs::remove_dir_all(scratch.path("blobs")).unwrap();
    symlink(outside.path(), scratch.path("blobs")).unwrap();
    assert!(content(&open(&scratch), "good").is_err(), "blobs do not come from outside the layout");
}
