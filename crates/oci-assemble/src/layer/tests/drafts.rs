//! The rules of drafts, on a small base with a merged /usr.

use super::*;

const BASE: &str = "\
/bin symlink 0777 0:0 1 to=usr/bin
/etc dir 0755 0:0 1
/etc/motd file 0644 0:0 1 size=1 sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
/home symlink 0777 0:0 1 to=var/home
/usr dir 0755 0:0 1
/usr/bin dir 0711 3:4 1 security.selinux=label user.kept=1
/usr/bin/sh symlink 0777 0:0 1 to=dash
/var dir 0755 0:0 1
";

fn draft(delta: &str) -> Result<String, String> {
    let base = FileTree::parse(BASE).unwrap();
    let delta = TreeDelta::parse(delta).unwrap();
    LayerDraft::new("x", &delta, &base, 9).map(|draft| draft.delta().dump()).map_err(|error| error.to_string())
}

const FILE: &str = "file 0644 0:0 5 size=1 sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";

#[test]
fn completes_parents_with_the_bases_metadata_and_goes_through_its_symlinks() {
    assert_eq!(
        draft(&format!("/bin/tool {FILE}\n/opt/new/file {FILE}\n/home/x {FILE}\n/bin dir 0700 0:0 0\n")).unwrap(),
        format!(
            "/opt dir 0755 0:0 0\n/opt/new dir 0755 0:0 0\n/opt/new/file {FILE}\n\
             /usr dir 0755 0:0 0\n/usr/bin dir 0711 3:4 0 user.kept=1\n/usr/bin/tool {FILE}\n\
             /var dir 0755 0:0 0\n/var/home dir 0755 0:0 0\n/var/home/x {FILE}\n"
        )
    );
    assert_eq!(draft("/etc/motd whiteout\n").unwrap(), "/etc/motd whiteout\n/etc dir 0755 0:0 0\n");
}

#[test]
fn repeats_what_the_base_says_of_its_directories() {
    let base = FileTree::parse(
        "/old dir 0755 0:0 -2 security.capability=c security.evm=e security.ima=i security.selinux=l \
         system.posix_acl_access=a trusted.foo=t trusted.overlay.origin=o user.overlay.x=o user.y=y\n",
    )
    .unwrap();
    let delta = TreeDelta::parse(&format!("/old/x {FILE}\n")).unwrap();
    let draft = LayerDraft::new("x", &delta, &base, 9).unwrap();
    let (_, blob) = seal(&draft, &SingleBytes, Vec::new(), options(Compression::None, 1)).unwrap();
    let index = index(&blob[..], IndexOptions::default()).unwrap();
    let line = "/old dir 0755 0:0 0 security.capability=c system.posix_acl_access=a trusted.foo=t user.y=y\n";
    assert_eq!(index.delta.dump(), format!("{line}/old/x {FILE}\n"));
    assert!(index.violations.is_empty(), "{:?}", index.violations);
}

#[test]
fn a_time_before_1970_is_written_as_gnu_tar_does() {
    let delta = TreeDelta::parse("/old dir 0755 0:0 -2\n").unwrap();
    let (_, blob) = seal_delta(&delta, &SingleBytes, Vec::new(), options(Compression::None, 1)).unwrap();
    assert_eq!(index(&blob[..], IndexOptions::default()).unwrap().delta, delta);
    let mtime = [&[0xff_u8; 11][..], &[0xfe]].concat();
    assert!(blob.windows(12).any(|field| field == mtime), "base-256");
}

#[test]
fn turns_whiteouts_of_what_it_writes_into_what_every_client_applies() {
    let bin = "/usr/bin dir 0711 3:4 0 user.kept=1\n";
    for (delta, expected) in [
        (
            format!("/usr/bin whiteout\n/usr/bin dir 0700 0:0 0\n/usr/bin/x {FILE}\n"),
            format!("/usr/bin opaque\n/usr dir 0755 0:0 0\n{bin}/usr/bin/x {FILE}\n"),
        ),
        (
            format!("/usr/bin whiteout\n/usr/bin/x {FILE}\n"),
            format!("/usr/bin opaque\n/usr dir 0755 0:0 0\n{bin}/usr/bin/x {FILE}\n"),
        ),
        (format!("/etc/motd whiteout\n/etc/motd {FILE}\n"), format!("/etc dir 0755 0:0 0\n/etc/motd {FILE}\n")),
        ("/usr whiteout\n/usr/bin/sh whiteout\n/usr/bin opaque\n".into(), "/usr whiteout\n".into()),
        ("/usr opaque\n/usr/bin whiteout\n/none opaque\n".into(), "/usr opaque\n/usr dir 0755 0:0 0\n".into()),
    ] {
        assert_eq!(draft(&delta).unwrap(), expected, "{delta}");
    }
}

#[test]
fn keeps_hardlinks_in_the_layer() {
    assert_eq!(
        draft(&format!("/bin/a {FILE}\n/bin/b hardlink 0644 0:0 5 to=/bin/a\n")).unwrap(),
        format!(
            "/usr dir 0755 0:0 0\n/usr/bin dir 0711 3:4 0 user.kept=1\n/usr/bin/a {FILE}\n\
             /usr/bin/b hardlink 0644 0:0 5 to=/usr/bin/a\n"
        )
    );
}

#[test]
fn says_which_rule_a_delta_breaks() {
    for (delta, message) in [
        (String::new(), "layer \"x\" would be empty"),
        (format!("/run/x {FILE}\n"), "/run/x is below /run, which images must leave alone"),
        (format!("/usr/etc/x {FILE}\n"), "/usr/etc/x is below /usr/etc, which images must leave alone"),
        (format!("/usr/\\xff {FILE}\n"), "the name or target of /usr/\\xff is not UTF-8"),
        ("/usr/p fifo 0644 0:0 0\n".into(), "/usr/p is a fifo; layers carry only files, directories and links"),
        ("/usr/d char 0644 0:0 0 1,3\n".into(), "/usr/d is a char; layers carry only files, directories and links"),
        (format!("/usr/bin {FILE}\n"), "/usr/bin is a dir in the base and cannot become a file"),
        ("/etc/motd dir 0755 0:0 0\n".into(), "/etc/motd is a file in the base and cannot become a dir"),
        (format!("/etc/motd/x {FILE}\n"), "/etc/motd/x lies below /etc/motd, which is not a directory"),
        (format!("/bin/a {FILE}\n/usr/bin/a {FILE}\n"), "two entries lead to /usr/bin/a through the base's symlinks"),
        (
            "/usr/l hardlink 0644 0:0 0 to=/etc/motd\n".into(),
            "hardlink /usr/l points at /etc/motd, which is not in the layer",
        ),
        (
            format!("/usr/x {FILE} security.selinux=a\n"),
            "/usr/x carries the attribute security.selinux; only security.capability and user.* (not user.overlay.*) may be shipped",
        ),
        (
            format!("/usr/x {FILE} trusted.overlay.opaque=y\n"),
            "/usr/x carries the attribute trusted.overlay.opaque; only security.capability and user.* (not user.overlay.*) may be shipped",
        ),
        (
            format!("/etc/.wh.motd {FILE}\n"),
            "/etc/.wh.motd has a name that starts with .wh., which clients take for a removal",
        ),
        (
            format!("/usr/.wh.d dir 0755 0:0 0\n/usr/.wh.d/x {FILE}\n"),
            "/usr/.wh.d has a name that starts with .wh., which clients take for a removal",
        ),
        (
            format!("/usr/x {FILE} user.overlay.opaque=y\n"),
            "/usr/x carries the attribute user.overlay.opaque; only security.capability and user.* (not user.overlay.*) may be shipped",
        ),
        ("/usr/none whiteout\n".into(), "layer \"x\" removes /usr/none, which the base does not have"),
        (format!("/usr/x {}\n", FILE.replace("0:0 5", "4294967296:0 5")), "/usr/x has an owner or a time out of range"),
        (format!("/usr/x {}\n", FILE.replace("0:0 5", "0:0 -1")), "/usr/x has an owner or a time out of range"),
    ] {
        let error = draft(&delta).unwrap_err();
        assert!(error.ends_with(message), "{delta}: {error}");
    }
}

#[test]
fn goes_through_the_second_name_of_a_symlink() {
    let base = FileTree::parse(&format!("{BASE}/sbin hardlink 0777 0:0 1 to=/bin\n/usr/bin/tool {FILE}\n")).unwrap();
    let of = |delta: &str| LayerDraft::new("x", &TreeDelta::parse(delta).unwrap(), &base, 9);
    let usr = "/usr dir 0755 0:0 0\n/usr/bin dir 0711 3:4 0 user.kept=1\n";
    assert_eq!(of(&format!("/sbin/x {FILE}\n")).unwrap().delta().dump(), format!("{usr}/usr/bin/x {FILE}\n"));
    assert_eq!(of("/sbin dir 0700 0:0 0\n").unwrap().delta().dump(), usr);
    assert!(whole(&base, &SingleBytes, &crate::tree::TreePath::new("sbin/tool").unwrap(), 9).is_ok());
    let base =
        FileTree::parse("/a symlink 0777 0:0 1 to=nowhere\n/b hardlink 0777 0:0 1 to=/a\n/nowhere fifo 0644 0:0 0\n");
    let error = LayerDraft::new("x", &TreeDelta::parse("/b dir 0755 0:0 0\n").unwrap(), &base.unwrap(), 9);
    assert_eq!(error.unwrap_err().to_string(), "layer \"x\": /b is a symlink in the base and cannot become a dir");
}
