//! Tables to files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod policy;
mod systemctl;
mod units;

use std::collections::BTreeMap;

use super::*;
use crate::image::Digest;
use crate::plan::recipe::spec::{Group, Kargs, Modules, Tmpfile, User};
use crate::tree::Kind;

const EPOCH: i64 = 1_700_000_000;

fn epoch() -> Epoch {
    Epoch::new(EPOCH).unwrap()
}

/// A tree of files (with their text), links (`-> target`) and directories (`/` at the end), parents included.
fn tree(entries: &[(&str, &str)]) -> FileTree {
    let mut tree = FileTree::new();
    for (path, content) in entries {
        let meta = Meta::root_owned(0o755, 0);
        let place = TreePath::new(path).unwrap();
        let directories = place.ancestors().chain(path.ends_with('/').then(|| place.clone()));
        for directory in directories.collect::<Vec<_>>() {
            if tree.get(&directory).is_none() {
                tree.insert(directory, Inode::directory(meta.clone()));
            }
        }
        match content.strip_prefix("-> ") {
            Some(target) => tree.insert(place, Inode::symlink(target, 0)),
            None if path.ends_with('/') => {}
            None => tree.insert(place, Inode::file(meta, Content::of(*content))),
        }
    }
    tree
}

fn text_of(content: &Content) -> Option<String> {
    match content {
        Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

/// A delta in lines: whiteouts, links, and files with their text but the first line.
fn shown(delta: &TreeDelta) -> Vec<String> {
    let mut lines: Vec<String> = delta.whiteouts().iter().map(|path| format!("without {path}")).collect();
    for (path, inode) in delta.entries() {
        assert_eq!(inode.meta.mtime, EPOCH);
        lines.push(match &inode.kind {
            Kind::Symlink(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
            Kind::File(content) => {
                let text = text_of(content).unwrap();
                let meta = &inode.meta;
                let owner = format!("{:o} {}:{}", meta.mode, meta.uid, meta.gid);
                format!("{path} {owner} {:?}", text.strip_prefix(HEAD).unwrap_or(&text))
            }
            kind => format!("{path} {}", kind.name()),
        });
    }
    lines
}

fn recipe(text: &str) -> Recipe {
    let text = format!("schema = 1\nimage.name = \"x\"\nbase.image = \"oci:base:latest\"\n{text}");
    Recipe::parse(&text, "x.toml").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn users_and_groups() {
    let groups = [Group { name: "media".into(), gid: Some(2000) }, Group { name: "other".into(), gid: None }];
    let users = [
        User { name: "a".into(), ..User::default() },
        User { name: "b".into(), uid: Some(7), groups: vec!["video".into(), "media".into()], ..User::default() },
        User { name: "c".into(), uid: Some(8), group: Some("media".into()), ..User::default() },
        User {
            name: "d".into(),
            description: Some("50% \"D\" \\ d".into()),
            shell: Some("/bin/sh".into()),
            ..User::default()
        },
        User { name: "e".into(), home: Some("/var/lib/e e".into()), ..User::default() },
        User { name: "f".into(), description: Some("-".into()), ..User::default() },
    ];
    let expected = [
        "g media 2000",
        "g other -",
        "u a -",
        "u b 7",
        "m b video",
        "m b media",
        "u c 8:media",
        r#"u d - "50%% \"D\" \\ d" - /bin/sh"#,
        r#"u e - - "/var/lib/e e""#,
        r#"u f - "-""#,
        "",
    ]
    .join("\n");
    let found = shown(&sysusers("x", &users, &groups, epoch()).unwrap());
    assert_eq!(found, [format!("/usr/lib/sysusers.d/50-assemble-x.conf 644 0:0 {expected:?}")]);
    assert!(sysusers("x", &[], &[], epoch()).unwrap().is_empty());
}

#[test]
fn tmpfiles_modules_and_arguments() {
    let lines = [Tmpfile { line: "d /var/lib/a 0700 a a".into() }, Tmpfile { line: "L /a - - - - b".into() }];
    assert_eq!(
        shown(&tmpfiles("x", &lines, epoch()).unwrap()),
        [r#"/usr/lib/tmpfiles.d/50-assemble-x.conf 644 0:0 "d /var/lib/a 0700 a a\nL /a - - - - b\n""#]
    );
    let spec = recipe("modules = { load = [\"a\", \"b\"], options = { a = \" x=1 \" }, blacklist = [\"c\"] }").modules;
    assert_eq!(
        shown(&modules("x", &spec, epoch()).unwrap()),
        [
            r#"/usr/lib/modprobe.d/50-assemble-x.conf 644 0:0 "options a x=1\nblacklist c\n""#,
            r#"/usr/lib/modules-load.d/50-assemble-x.conf 644 0:0 "a\nb\n""#,
        ]
    );
    assert!(modules("x", &Modules::default(), epoch()).unwrap().is_empty());
}

/// What `kargs.d` understands is two keys, and every value comes back as it was.
#[test]
fn kargs_are_what_bootc_reads() {
    let words: Vec<String> = ["quiet", "dyndbg=\"file a.c +p\"", "path=\\x"].map(Into::into).into();
    for architectures in [vec![], vec!["x86_64".to_owned()]] {
        let spec = Kargs { append: words.clone(), match_architectures: architectures.clone() };
        let delta = kargs("x", &spec, epoch()).unwrap();
        let inode = delta.entries().get(&TreePath::new("usr/lib/bootc/kargs.d/50-assemble-x.toml").unwrap()).unwrap();
        let text = text_of(inode.content().unwrap()).unwrap();
        let mut expected = toml::Table::from_iter([("kargs".to_owned(), words.clone().into())]);
        if !architectures.is_empty() {
            expected.insert("match-architectures".to_owned(), architectures.into());
        }
        assert_eq!(text.parse::<toml::Table>().unwrap(), expected);
    }
    assert!(kargs("x", &Kargs::default(), epoch()).unwrap().is_empty());
}

#[test]
fn the_module_set_is_named_by_paths_and_bytes() {
    let set = |entries: &[(&str, &[u8])]| {
        let entry = |(path, bytes): &(&str, &[u8])| (TreePath::new(path).unwrap(), Digest::of(bytes));
        module_set_karg(&entries.iter().map(entry).collect())
    };
    let one = set(&[("a.ko", b"1"), ("b.ko", b"2")]);
    assert_eq!(one, set(&[("b.ko", b"2"), ("a.ko", b"1")]));
    let digits = one.strip_prefix("assemble.kmods=").unwrap();
    assert!(digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let others = [set(&[]), set(&[("a.ko", b"1")]), set(&[("a.ko", b"2"), ("b.ko", b"1")]), set(&[("ab.ko", b"12")])];
    assert!(others.iter().all(|other| *other != one));
    let delta = module_set_delta(&BTreeMap::new(), epoch()).unwrap();
    let expected = format!("kargs = [\n  \"{}\",\n]\n", set(&[]));
    assert_eq!(shown(&delta), [format!("/usr/lib/bootc/kargs.d/50-assemble-kmods.toml 644 0:0 {expected:?}")]);
}

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/false\nbroken\n";

#[test]
fn files_links_and_removals() {
    let base = tree(&[
        ("bin", "-> usr/bin"),
        ("usr/bin/tool", "x"),
        ("usr/share/doc/kmod/copyright", "x"),
        ("etc/passwd", PASSWD),
        ("usr/lib/group", "data:x:50:\n"),
    ]);
    let recipe = recipe(
        r#"
        file = [
          { path = "/etc/a", content = "a", mode = 0o4711, owner = "www", group = "data" },
          { path = "/etc/b", source = "b", owner = 5, group = "new" },
        ]
        symlink = [{ path = "/etc/c", target = "../usr/c" }]
        remove = [{ path = "/bin/tool" }, { path = "/usr/share/doc/kmod" }]
        group = [{ name = "new", gid = 77 }]
        "#,
    );
    let sources = BTreeMap::from([(RecipePath::new("b").unwrap(), Content::of("bytes of b"))]);
    let delta = configuration(&recipe, &base, &sources, text_of, epoch()).unwrap();
    assert_eq!(
        shown(&delta),
        [
            "without /usr/bin/tool",
            "without /usr/share/doc/kmod",
            "/etc/a 4711 33:50 \"a\"",
            "/etc/b 644 5:77 \"bytes of b\"",
            "/etc/c -> ../usr/c",
            "/usr/lib/sysusers.d/50-assemble-x.conf 644 0:0 \"g new 77\\n\"",
        ]
    );
    // It depends on its arguments alone.
    assert_eq!(configuration(&recipe, &base, &sources, text_of, epoch()).unwrap(), delta);
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let base = tree(&[("usr/share/doc/kmod", "x"), ("etc/passwd", PASSWD), ("etc/group", "")]);
    for (table, message) in [
        (
            "remove = [{ path = \"/usr/share/doc/kmods\" }]",
            "cannot remove /usr/share/doc/kmods: the image does not have it, did you mean /usr/share/doc/kmod?",
        ),
        (
            "remove = [{ path = \"/usr/shares/doc/kmod\" }]",
            "cannot remove /usr/shares/doc/kmod: the image does not have it, did you mean /usr/share?",
        ),
        ("remove = [{ path = \"/opt\" }]", "cannot remove /opt: the image does not have it"),
        ("remove = [{ path = \"/etc/passwd/x\" }]", "/etc/passwd/x lies below /etc/passwd, which is no directory"),
        ("file = [{ path = \"/etc/b\", source = \"b\" }]", "the content of b was not read"),
        (
            "file = [{ path = \"/etc/b\", content = \"\", owner = \"ww\" }]",
            "/etc/b belongs to user ww, of which neither image nor recipe has the number, did you mean www?",
        ),
        (
            "user = [{ name = \"dyn\" }]\nfile = [{ path = \"/etc/b\", content = \"\", group = \"dyn\" }]",
            "/etc/b belongs to group dyn, of which neither image nor recipe has the number",
        ),
    ] {
        let error = configuration(&recipe(table), &base, &BTreeMap::new(), text_of, epoch()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

/// A unit that the recipe itself brings can be enabled.
#[test]
fn units_of_the_recipe_count() {
    let base = tree(&[("usr/lib/systemd/system/multi-user.target", "[Unit]")]);
    let recipe = recipe(
        r#"
        services.enable = ["own.service"]
        [[file]]
        path = "/usr/lib/systemd/system/own.service"
        content = "[Install]\nWantedBy=multi-user.target\n"
        "#,
    );
    let delta = configuration(&recipe, &base, &BTreeMap::new(), text_of, epoch()).unwrap();
    assert_eq!(
        shown(&delta),
        [
            "/etc/systemd/system/multi-user.target.wants/own.service -> /usr/lib/systemd/system/own.service",
            "/usr/lib/systemd/system-preset/20-assemble-x.preset 644 0:0 \"enable own.service\\n\"",
            "/usr/lib/systemd/system/own.service 644 0:0 \"[Install]\\nWantedBy=multi-user.target\\n\"",
        ]
    );
}
