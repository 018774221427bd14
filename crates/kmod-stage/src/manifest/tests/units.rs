//! Which units are enabled.

use super::*;

fn units(files: &[(&str, &str)], presets_of: &[(&str, &str)]) -> Presets {
    let mut tree = system();
    for (name, text) in files {
        add_file(&mut tree, &format!("usr/lib/systemd/system/{name}"), 0o644, *text);
    }
    for (at, text) in presets_of {
        match *text {
            "" => add(&mut tree, at, Inode::symlink("/dev/null", 0)),
            text => add_file(&mut tree, at, 0o644, text),
        }
    }
    let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    presets(Root { tree: &tree, contents: &Memory::default() }, &names, Epoch::new(1000).unwrap()).unwrap()
}

const WANTED: &str = "[Install]\nWantedBy=multi-user.target\n";

#[test]
fn the_first_line_counts() {
    let found = units(
        &[
            ("a.service", WANTED),
            ("b.service", WANTED),
            ("c.service", WANTED),
            ("d.service", "[Service]\n"),
            ("e@.service", WANTED),
            ("f.service", "[Install]\nAlias=multi-user.target.service\n"),
        ],
        &[
            ("usr/lib/systemd/system-preset/90-pack.preset", "# all\nenable [Install]\nenable a.service\nenable d*\n"),
            ("usr/lib/systemd/system-preset/10-masked.preset", "disable a.service\n"),
            ("etc/systemd/system-preset/10-masked.preset", ""),
            (
                "usr/lib/systemd/system-preset/50-base.preset",
                "disable b.service\nenable b.service\nenable e@.service x y\n",
            ),
        ],
    );
    assert_eq!(
        found.links.dump().lines().collect::<Vec<_>>(),
        [
            "/etc/systemd/system/multi-user.target.wants/a.service symlink 0777 0:0 1000 to=/usr/lib/systemd/system/a.service",
            "/etc/systemd/system/multi-user.target.wants/e@x.service symlink 0777 0:0 1000 to=/usr/lib/systemd/system/e@.service",
            "/etc/systemd/system/multi-user.target.wants/e@y.service symlink 0777 0:0 1000 to=/usr/lib/systemd/system/e@.service",
        ]
    );
    assert_eq!(
        found.notes(),
        [
            "b.service is not enabled: /usr/lib/systemd/system-preset/50-base.preset:1",
            "c.service is not enabled: no preset names it",
            "f.service is not enabled: no preset names it"
        ]
    );
    assert_eq!(found.units[3], ("d.service".to_owned(), Outcome::Static));
}

#[test]
fn what_cannot_be_enabled_is_a_note() {
    let preset = [("usr/lib/systemd/system-preset/1.preset", "enable *\n")];
    let found = units(&[("bad.service", "[Install]\nWantedBy=%Z.target\n")], &preset);
    assert_eq!(
        found.notes(),
        [
            "bad.service is not enabled, though /usr/lib/systemd/system-preset/1.preset:1 says so: unit bad.service says \
          WantedBy=%Z.target, which it cannot"
        ]
    );
    assert!(found.links.is_empty());
}

#[test]
fn links_are_part_of_what_is_made() {
    let mut builder = system();
    add_file(&mut builder, "usr/lib/systemd/system/a.service", 0o644, WANTED);
    add_file(&mut builder, "usr/lib/systemd/system-preset/50-a.preset", 0o644, "enable a.service\n");
    add_file(&mut builder, "etc/init.d/a.sh", 0o755, "");
    add_file(&mut builder, "etc/rc.d/rc3.d/S01a", 0o755, "");
    record(
        &mut builder,
        &[(
            "a",
            &[
                "/lib/systemd/system/a.service",
                "/usr/lib/systemd/system-preset/50-a.preset",
                "/etc/init.d/a.sh",
                "/etc/rc.d/rc3.d/S01a",
            ],
        )],
    );
    let selected = select(&builder, &system(), &options(&["a"])).unwrap();
    assert!(selected.generated.entries().contains_key(&path("etc/systemd/system/multi-user.target.wants/a.service")));
    assert_eq!(selected.manifest.counts(), BTreeMap::from([("sysv-script", 2)]));
    assert!(selected.notes.is_empty(), "{:?}", selected.notes);
}
