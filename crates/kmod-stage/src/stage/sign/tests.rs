#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use super::*;

const BASE: &str = "\
/lib symlink 0777 0:0 0 to=usr/lib
/usr dir 0755 0:0 0
/usr/lib dir 0755 0:0 0
/usr/lib/m dir 0755 0:0 0
/usr/lib/m/base.ko.xz file 0644 0:0 0 size=0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
";

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn file(text: &str) -> Inode {
    Inode::file(Meta::root_owned(0o644, 7), Content::Bytes(text.as_bytes().into()))
}

fn link(target: &str) -> Inode {
    Inode { meta: Meta::root_owned(0o644, 7), kind: Kind::Hardlink(path(target)) }
}

/// What becomes of entries when all files among them are signed: a line each, removals first.
fn after(entries: &[(&str, Inode)]) -> Result<Vec<String>, String> {
    let (mut before, mut files, mut renamed) = (TreeDelta::new(), BTreeMap::new(), BTreeMap::new());
    for (place, inode) in entries {
        before.insert(path(place), inode.clone());
        if matches!(inode.kind, Kind::File(_)) && is_module_name(path(place).name()) {
            files.insert(path(place), file("signed"));
            renamed.insert(path(place), plain_path(&path(place)).unwrap());
        }
    }
    let delta = replaced(&before, &files, &renamed, &FileTree::parse(BASE).unwrap());
    let delta = delta.map_err(|error| error.to_string())?;
    let shown = delta.entries().iter().map(|(path, inode)| match &inode.kind {
        Kind::File(content) => format!("{path} {}", content.size()),
        Kind::Hardlink(target) => format!("{path} = {target}"),
        Kind::Symlink(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
        other => format!("{path} {}", other.name()),
    });
    Ok(delta.whiteouts().iter().map(|path| format!("- {path}")).chain(shown).collect())
}

#[test]
fn signed_modules_lose_the_suffix_and_links_follow() {
    let symlink = |target: &str| Inode::symlink(target, 7);
    for (entries, expected) in [
        (vec![("usr/lib/m/a.ko", file("a"))], vec!["/usr/lib/m/a.ko 6"]),
        (vec![("usr/lib/m/a.ko.zst", file("a")), ("usr/x.xz", file("xz"))], vec!["/usr/lib/m/a.ko 6", "/usr/x.xz 2"]),
        (vec![("usr/lib/m/base.ko.xz", file("a"))], vec!["- /usr/lib/m/base.ko.xz", "/usr/lib/m/base.ko 6"]),
        (vec![("lib/m/base.ko.xz", file("a"))], vec!["- /lib/m/base.ko.xz", "/lib/m/base.ko 6"]),
        (
            vec![("usr/a.ko.xz", file("a")), ("usr/b.ko.gz", link("usr/a.ko.xz")), ("usr/c.xz", link("usr/a.ko.xz"))],
            vec!["/usr/a.ko 6", "/usr/b.ko = /usr/a.ko", "/usr/c.xz = /usr/a.ko"],
        ),
        (
            vec![("usr/a/a.ko.xz", file("a")), ("usr/b/b.ko.xz", symlink("../a/./a.ko.xz"))],
            vec!["/usr/a/a.ko 6", "/usr/b/b.ko -> ../a/./a.ko"],
        ),
        (
            vec![("usr/b.ko.xz", symlink("lib/m/base.ko.xz")), ("usr/c.ko.xz", symlink("/lib/m/base.ko.xz"))],
            vec!["/usr/b.ko.xz -> lib/m/base.ko.xz", "/usr/c.ko.xz -> /lib/m/base.ko.xz"],
        ),
        (
            vec![
                ("usr/a.ko.xz", file("a")),
                ("usr/b.ko.xz", symlink("a.ko.xz")),
                ("usr/c.ko.xz", link("usr/b.ko.xz")),
                ("usr/d", link("usr/b.ko.xz")),
            ],
            vec!["/usr/a.ko 6", "/usr/b.ko -> a.ko", "/usr/c.ko -> a.ko", "/usr/d -> a.ko.xz"],
        ),
        (
            vec![("usr/b.ko", symlink("nowhere")), ("usr/c.ko", link("usr/b.ko"))],
            vec!["/usr/b.ko -> nowhere", "/usr/c.ko = /usr/b.ko"],
        ),
        (vec![("usr/b.ko", symlink("nowhere"))], vec!["/usr/b.ko -> nowhere"]),
    ] {
        assert_eq!(after(&entries).unwrap(), expected);
    }
    for (entries, expected) in [
        (vec![("usr/a.ko", file("a")), ("usr/a.ko.xz", file("a"))], "two modules of the stage would become /usr/a.ko,"),
        (vec![("usr/a.ko.gz", file("a")), ("usr/a.ko.xz", file("a"))], "two modules of the stage would become"),
        (
            vec![("usr/b.ko.xz", symlink("a.ko.xz"))],
            "/usr/b.ko.xz is a symlink to a compressed module that is not there",
        ),
        (vec![("usr/b.ko.xz", symlink("../../../a.ko.xz"))], "/usr/b.ko.xz is a symlink to a compressed module"),
    ] {
        let error = after(&entries).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_kept_comes_back_beside_all_else() {
    let temp = tempfile::tempdir().unwrap();
    let (mut inner, mut outer) = (Kept::new(temp.path()).unwrap(), Kept::new(temp.path()).unwrap());
    let rest = inner.keep(b"rest").unwrap();
    let ours = [&b"first"[..], b"", b"second", b"first"].map(|bytes| outer.keep(bytes).unwrap());
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "the file has no name");
    let foreign = Content::Stored { digest: Digest::of(b"foreign"), size: 7 };
    assert!(!outer.has(&rest));
    let outer = outer.beside(Some(Box::new(inner)));
    let text = |content: &Content| std::io::read_to_string(outer.open(content).unwrap()).unwrap();
    assert_eq!([text(&ours[0]), text(&ours[1]), text(&ours[2]), text(&rest)], ["first", "", "second", "rest"]);
    assert!(outer.has(&ours[2]) && outer.has(&rest) && !outer.has(&foreign));
    assert!(outer.open(&foreign).is_err());
    let mut visited = BTreeMap::new();
    let wanted: BTreeSet<Content> = ours.iter().chain([&rest]).cloned().collect();
    let each = &mut |content: &Content, bytes: &mut dyn Read| {
        visited.insert(content.size(), std::io::read_to_string(bytes)?);
        Ok(())
    };
    outer.visit(&wanted, each).unwrap();
    assert_eq!(visited.into_values().collect::<Vec<_>>(), ["", "rest", "first", "second"]);
}
