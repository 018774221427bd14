//! What cannot go into an image, and what the messages say.

use super::*;

fn message(builder: &FileTree, base: &FileTree, options: &ManifestOptions) -> String {
    select(builder, base, options).unwrap_err().to_string()
}

fn one(name: &str, at: &str, inode: Inode) -> FileTree {
    let mut tree = system();
    add(&mut tree, at, inode);
    record(&mut tree, &[(name, &[&format!("/{at}")])]);
    tree
}

fn file(bytes: &str) -> Inode {
    Inode::file(Meta::root_owned(0o755, 0), Content::of(bytes))
}

#[test]
fn packages_that_are_not_there() {
    let mut builder = system();
    record(&mut builder, &[("zfsutils-linux", &[]), ("libzfs4linux", &[]), ("tool", &[])]);
    for (wanted, expected) in [
        ("tol", "package tol is not installed in the builder, did you mean tool?"),
        ("zfs", "package zfs is not installed in the builder, did you mean libzfs4linux or zfsutils-linux?"),
        ("xyz", "package xyz is not installed in the builder"),
        ("tool=2", "package tool is installed in the builder as 1-1, not 2"),
    ] {
        assert_eq!(message(&builder, &system(), &options(&[wanted])), expected);
    }
    let error = select(&FileTree::new(), &system(), &options(&[])).unwrap_err();
    assert!(matches!(error, ManifestError::NoDatabase));
    let selected = select(&builder, &system(), &options(&["tool=1-1"])).unwrap();
    assert_eq!(selected.notes, ["tool-1-1.all brings no file of its own"]);
}

#[test]
fn files_that_the_base_has_otherwise() {
    let builder = one("new", "usr/bin/a", file("new"));
    let mut base = one("old", "usr/bin/a", file("old"));
    let said = "/usr/bin/a of new-1-1.all is in the base, from old-1-1.all, with other content: name it in override to \
                replace it";
    assert_eq!(message(&builder, &base, &options(&["new"])), said);
    let mut allowed = options(&["new"]);
    allowed.overrides = vec![path("sbin"), path("bin/a")];
    let selected = select(&builder, &base, &allowed).unwrap();
    assert_eq!(selected.manifest.entries.len(), 1);
    assert!(selected.manifest.entries[0].replaces);
    assert_eq!(selected.notes, ["override of /sbin replaces nothing"]);

    add(&mut base, "usr/bin/a", Inode::directory(Meta::root_owned(0o755, 0)));
    let said = "/usr/bin/a of new-1-1.all is a file, but a dir in the base: one layer cannot replace one by the other";
    assert_eq!(message(&builder, &base, &allowed), said);
    let builder = one("new", "usr/bin/a", Inode::directory(Meta::root_owned(0o700, 0)));
    let said = "mode 0755 in place of 0700";
    assert!(message(&builder, &base, &options(&["new"])).contains(said));
    let selected = select(&builder, &base, &allowed).unwrap();
    assert!(selected.files.is_empty());
    assert_eq!(selected.notes[0], "/usr/bin/a stays as in the base: layers cannot change a directory");
}

#[test]
fn files_that_are_listed_but_not_there() {
    let mut builder = system();
    add(&mut builder, "usr/loop", Inode::symlink("loop", 0));
    record(&mut builder, &[("gone", &["/usr/bin/gone", "/usr/loop/below", "/etc/passwd/below"])]);
    assert_eq!(
        message(&builder, &system(), &options(&["gone"])),
        "/usr/loop/below of gone-1-1.all lies below something that is no directory in the builder\n\
         /etc/passwd/below of gone-1-1.all is not in the builder, though its package database lists it\n\
         /usr/bin/gone of gone-1-1.all is not in the builder, though its package database lists it"
    );
    let builder = one("deep", "etc/deep/a", file(""));
    let mut base = system();
    add_file(&mut base, "etc/deep", 0o644, "");
    assert_eq!(
        message(&builder, &base, &options(&["deep"])),
        "/etc/deep/a of deep-1-1.all lies below /etc/deep, which is no directory in the base"
    );
}

#[test]
fn paths_that_become_one() {
    let mut base = system();
    base.remove(&path("usr/sbin"));
    add(&mut base, "usr/sbin", Inode::symlink("bin", 0));
    let mut builder = system();
    add_file(&mut builder, "usr/bin/a", 0o755, "a");
    add_file(&mut builder, "usr/sbin/a", 0o755, "b");
    record(&mut builder, &[("one", &["/usr/bin/a"]), ("two", &["/usr/sbin/a"])]);
    assert_eq!(
        message(&builder, &base, &options(&["one", "two"])),
        "/usr/bin/a of one-1-1.all and /usr/sbin/a of two-1-1.all are both /usr/bin/a in the image, but differ"
    );
    add_file(&mut builder, "usr/sbin/a", 0o755, "a");
    let selected = select(&builder, &base, &options(&["one", "two"])).unwrap();
    assert_eq!(selected.manifest.counts(), BTreeMap::from([("same-path", 1)]));
    // A link between the two directories would lead to itself.
    add(&mut builder, "usr/sbin/a", Inode::symlink("../bin/a", 0));
    let selected = select(&builder, &base, &options(&["one", "two"])).unwrap();
    assert_eq!(selected.manifest.counts(), BTreeMap::from([("self-link", 1)]));
}

#[test]
fn owners_that_the_image_does_not_know() {
    let mut builder = system();
    add_file(&mut builder, "etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\nzed:x:990:990::/:/bin/sh\n");
    let meta = Meta { uid: 990, ..Meta::root_owned(0o755, 0) };
    add(&mut builder, "usr/bin/a", Inode::file(meta.clone(), Content::of("")));
    let list: &[&str] = &["/usr/bin/a", "/usr/lib/sysusers.d/zed.conf"];
    record(&mut builder, &[("zed", &list[..1])]);
    let said = "/usr/bin/a of zed-1-1.all belongs to user zed: the image must know the number, which [[user]] with name \
                and uid in the recipe gives";
    assert_eq!(message(&builder, &system(), &options(&["zed"])), said);

    add_file(&mut builder, "usr/lib/sysusers.d/zed.conf", 0o644, "u zed - \"Zed\" /\n");
    record(&mut builder, &[("zed", list)]);
    let said = "belongs to user zed, whose number differs between machines: the image";
    assert!(message(&builder, &system(), &options(&["zed"])).contains(said));

    let mut recipe = options(&["zed"]);
    recipe.accounts.user("zed", Some(77));
    let selected = select(&builder, &system(), &recipe).unwrap();
    assert_eq!(selected.files.entries()[&path("usr/bin/a")].meta.uid, 77);
    add_file(&mut builder, "usr/lib/sysusers.d/zed.conf", 0o644, "u zed 88 \"Zed\" /\n");
    let selected = select(&builder, &system(), &options(&["zed"])).unwrap();
    assert_eq!(selected.files.entries()[&path("usr/bin/a")].meta.uid, 88);

    // In /var, the name is enough.
    let mut builder = one("zed", "var/lib/zed", Inode::directory(meta));
    add_file(&mut builder, "etc/passwd", 0o644, "zed:x:990:990::/:/bin/sh\n");
    assert!(
        message(&builder, &system(), &options(&["zed"]))
            .starts_with("/var/lib/zed of zed-1-1.all belongs to user zed:")
    );
    let mut base = system();
    add_file(&mut base, "usr/lib/sysusers.d/z.conf", 0o644, "u zed -\n");
    let selected = select(&builder, &base, &options(&["zed"])).unwrap();
    assert!(
        text(&selected.generated, "usr/lib/tmpfiles.d/50-assemble.tool.conf")
            .contains("d /var/lib/zed 0755 zed root -")
    );
}
