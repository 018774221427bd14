//! Services in cases that systemctl would only warn about, and what it cannot be asked.

use super::*;
use crate::plan::recipe::spec::Services;

const UNITS: &str = "usr/lib/systemd/system";

fn base() -> FileTree {
    let unit = |name: &str| format!("{UNITS}/{name}");
    tree(&[
        (&unit("plain.service"), "[Install]\nWantedBy=multi-user.target\n"),
        (&unit("static.service"), "[Unit]\nDescription=static\n"),
        (&unit("upheld.service"), "[Install]\nUpheldBy=other.service\n"),
        (&unit("tmpl@.service"), "[Install]\nWantedBy=multi-user.target\n"),
        (&unit("bad.service"), "[Install]\nWantedBy=%H.target\n"),
        (&unit("percent.service"), "[Install]\nRequiredBy=%%a.target\n"),
        (&unit("badalias.service"), "[Install]\nAlias=x.socket\n"),
        (&unit("alias.service"), "-> plain.service"),
        (&unit("taker.service"), "[Install]\nAlias=taken.service\n"),
        ("etc/systemd/system/taken.service", "-> /usr/lib/systemd/system/plain.service"),
        ("etc/systemd/system/masked.service", "-> /dev/null"),
        ("etc/systemd/system/empty.service", ""),
        ("etc/systemd/system/own.service", "[Service]\n"),
        ("etc/systemd/system/multi-user.target.wants/plain.service", "-> /usr/lib/systemd/system/plain.service"),
    ])
}

fn run(enable: &[&str], disable: &[&str], mask: &[&str]) -> Result<TreeDelta, GenerateError> {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let spec = Services { enable: list(enable), disable: list(disable), mask: list(mask) };
    let base = base();
    services(&spec, "x", &base, |path| base.content(path).and_then(text_of), epoch())
}

#[test]
fn what_cannot_be_done_is_an_error() {
    type Names<'a> = &'a [&'a str];
    let table: [(Names<'_>, Names<'_>, Names<'_>, &str); 14] = [
        (&["plan.service"], &[], &[], "the image has no unit plan.service, did you mean plain.service?"),
        (&[], &["zzz.socket"], &[], "the image has no unit zzz.socket"),
        (&[], &[], &["statics.service"], "the image has no unit statics.service, did you mean static.service?"),
        (
            &["static.service"],
            &[],
            &[],
            "unit static.service has nothing in its [Install] section, so it cannot be enabled",
        ),
        (&["tmpl@.service"], &[], &[], "unit tmpl@.service is a template, name an instance such as tmpl@NAME.service"),
        (&["masked.service"], &[], &[], "unit masked.service is masked by /etc/systemd/system/masked.service"),
        (&["empty.service"], &[], &[], "unit empty.service is masked by /etc/systemd/system/empty.service"),
        (&["alias.service"], &[], &[], "unit alias.service is an alias, name plain.service instead"),
        (&["bad.service"], &[], &[], "unit bad.service says WantedBy=%H.target, which it cannot"),
        (&["percent.service"], &[], &[], "unit percent.service says RequiredBy=%%a.target, which it cannot"),
        (&["badalias.service"], &[], &[], "unit badalias.service says Alias=x.socket, which it cannot"),
        (
            &["taker.service"],
            &[],
            &[],
            "the link /etc/systemd/system/taken.service would take the place of /usr/lib/systemd/system/plain.service",
        ),
        (&[], &[], &["own.service"], "the link /etc/systemd/system/own.service would take the place of a file"),
        (
            &[],
            &[],
            &["taken.service"],
            "the link /etc/systemd/system/taken.service would take the place of /usr/lib/systemd/system/plain.service",
        ),
    ];
    for (enable, disable, mask, message) in table {
        assert_eq!(run(enable, disable, mask).unwrap_err().to_string(), message);
    }
    let base = base();
    let spec = Services { enable: vec!["plain.service".into()], ..Services::default() };
    let path = TreePath::new("usr/lib/systemd/system/plain.service").unwrap();
    assert_eq!(services(&spec, "x", &base, |_| None, epoch()), Err(GenerateError::UnreadableUnit { path }));
}

#[test]
fn links_are_as_small_a_change_as_can_be() {
    assert!(run(&[], &[], &[]).unwrap().is_empty());
    assert_eq!(
        shown(&run(&["plain.service", "upheld.service", "tmpl@a.service"], &[], &["masked.service"]).unwrap()),
        [
            "/etc/systemd/system/multi-user.target.wants/tmpl@a.service -> /usr/lib/systemd/system/tmpl@.service",
            "/etc/systemd/system/other.service.upholds/upheld.service -> /usr/lib/systemd/system/upheld.service",
            "/usr/lib/systemd/system-preset/20-assemble-x.preset 644 0:0 \
         \"enable plain.service\\nenable upheld.service\\nenable tmpl@.service a\\ndisable masked.service\\n\"",
        ]
    );
}

#[test]
fn a_directory_that_becomes_empty_goes() {
    assert_eq!(
        shown(&run(&[], &["plain.service"], &[]).unwrap()),
        [
            "without /etc/systemd/system/multi-user.target.wants",
            "without /etc/systemd/system/taken.service",
            "/usr/lib/systemd/system-preset/20-assemble-x.preset 644 0:0 \"disable plain.service\\n\"",
        ]
    );
    let both = run(&["tmpl@a.service"], &["plain.service"], &[]).unwrap();
    let removed: Vec<String> = both.whiteouts().iter().map(ToString::to_string).collect();
    assert_eq!(
        removed,
        ["/etc/systemd/system/multi-user.target.wants/plain.service", "/etc/systemd/system/taken.service"]
    );
}

/// A drop-in of `/etc` hides the one of the same name; systemctl 252 stumbles over the link instead.
#[test]
fn a_hidden_drop_in_says_nothing() {
    let base = tree(&[
        ("usr/lib/systemd/system/a.service", "[Install]\nWantedBy=a.target\n"),
        ("usr/lib/systemd/system/a.service.d/10-b.conf", "[Install]\nWantedBy=b.target\n"),
        ("etc/systemd/system/a.service.d/10-b.conf", "-> /dev/null"),
    ]);
    let spec = Services { enable: vec!["a.service".into()], ..Services::default() };
    let delta = services(&spec, "x", &base, |path| base.content(path).and_then(text_of), epoch()).unwrap();
    let links: Vec<String> = delta.entries().keys().map(ToString::to_string).collect();
    assert_eq!(
        links,
        ["/etc/systemd/system/a.target.wants/a.service", "/usr/lib/systemd/system-preset/20-assemble-x.preset"]
    );
}

/// On an image where `/lib` is `/usr/lib`, a link to either is the same.
#[test]
fn merged_directories_are_one() {
    let base = tree(&[
        ("lib", "-> usr/lib"),
        ("usr/lib/systemd/system/a.service", "[Install]\nWantedBy=a.target\nAlias=b.service\n"),
        ("etc/systemd/system/a.target.wants/a.service", "-> /lib/systemd/system/a.service"),
        ("etc/systemd/system/b.service", "-> /lib/systemd/system/a.service"),
    ]);
    let spec = Services { enable: vec!["a.service".into()], ..Services::default() };
    let delta = services(&spec, "x", &base, |path| base.content(path).and_then(text_of), epoch()).unwrap();
    let links: Vec<String> = delta.entries().keys().map(ToString::to_string).collect();
    assert_eq!(links, ["/usr/lib/systemd/system-preset/20-assemble-x.preset"]);
}

/// What a link says counts by each of its names.
#[test]
fn links_with_several_names_are_links() {
    let mut base = base();
    let of = |text: &str| TreePath::new(text).unwrap();
    let etc = "etc/systemd/system";
    for (name, first) in [
        (format!("{etc}/void.service"), format!("{etc}/masked.service")),
        (format!("{UNITS}/byname.service"), format!("{UNITS}/alias.service")),
        (format!("{etc}/zzz.service"), format!("{etc}/taken.service")),
        (format!("{etc}/multi-user.target.wants/tmpl@a.service"), format!("{etc}/instance")),
    ] {
        base.insert(of(&format!("{etc}/instance")), Inode::symlink(format!("/{UNITS}/tmpl@.service"), 0));
        base.insert(of(&name), Inode { meta: Meta::default(), kind: Kind::Hardlink(of(&first)) });
    }
    let run = |enable: &[&str], disable: &[&str], mask: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let spec = Services { enable: list(enable), disable: list(disable), mask: list(mask) };
        let text = |path: &TreePath| base.content(path).and_then(text_of);
        services(&spec, "x", &base, text, epoch()).map(|delta| shown(&delta)).map_err(|error| error.to_string())
    };
    let error = |enable: &str| run(&[enable], &[], &[]).unwrap_err();
    assert_eq!(error("void.service"), "unit void.service is masked by /etc/systemd/system/void.service");
    assert_eq!(error("byname.service"), "unit byname.service is an alias, name plain.service instead");
    assert_eq!(
        run(&[], &[], &["zzz.service"]).unwrap_err(),
        "the link /etc/systemd/system/zzz.service would take the place of /usr/lib/systemd/system/plain.service"
    );
    let changed = |lines: Vec<String>| lines.into_iter().filter(|line| !line.contains("preset")).collect::<Vec<_>>();
    assert_eq!(changed(run(&["tmpl@a.service"], &[], &[]).unwrap()), Vec::<String>::new());
    assert!(changed(run(&[], &["plain.service"], &[]).unwrap()).contains(&format!("without /{etc}/zzz.service")));
}
