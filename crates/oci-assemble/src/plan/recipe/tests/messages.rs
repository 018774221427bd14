//! What people are told about their mistakes.

use std::fmt::Write as _;

use super::*;

/// Lines added to [`HELLO`], which has eight, and the message for them.
const MISTAKES: &[(&str, &str)] = &[
    // Keys.
    ("[kernal]\npin = \"base\"", "9:2: kernal: unknown key, did you mean kernel?"),
    ("[packages]\ninstal = [\"a\"]", "10:1: packages.instal: unknown key, did you mean install?"),
    ("[packages]\n  zzz = 1", "10:3: packages.zzz: unknown key"),
    ("[kargs]\nenable = [\"a.service\"]", "10:1: kargs.enable: unknown key, enable belongs to [services]"),
    ("[layers]\nschema = 1", "10:1: layers.schema: unknown key, schema stands before the first table"),
    ("[[user]]\nname = \"a\"\ngecos = \"A\"", "11:1: user[0].gecos: unknown key, did you mean description?"),
    (
        "[[stage]]\nname = \"a\"\nkind = \"files\"\nsource = \"a\"\nbranch = \"2.2\"",
        "13:1: stage[0].branch: unknown key, branch belongs to stages of kind \"zfs\"",
    ),
    ("[publish]\nsign = [{ keyles = true }]", "10:11: publish.sign[0].keyles: unknown key, did you mean keyless?"),
    // Types.
    ("[layers]\nmax = \"64\"", "10:7: layers.max: expected integer, found a string"),
    ("[packages]\ninstall = \"vim\"", "10:11: packages.install: expected array of strings, found a string"),
    ("[packages]\ninstall = [\"vim\", 1]", "10:19: packages.install[1]: expected package name, found an integer"),
    ("[user]\nname = \"a\"", "9:1: user: expected array of tables, found a table"),
    ("[layers]\nmax = 1.5", "10:7: layers.max: expected integer, found a float"),
    ("[publish]\nsign = [{ keyless = false }]", "10:21: publish.sign[0].keyless: expected true, found a boolean"),
    ("[[services]]\nenable = []", "9:1: services: expected table, found an array"),
    // Keys that are not there, or too many.
    ("[[user]]\nhome = \"/x\"", "9:1: user[0]: the key name is missing"),
    ("[[stage]]\nname = \"a\"", "9:1: stage[0]: the key kind is missing"),
    ("[[stage]]\nkind = \"zfs\"\nname = \"a\"", "9:1: stage[a]: the key branch is missing"),
    ("[[file]]\npath = \"/etc/a\"", "9:1: file[/etc/a]: exactly one of content, source must be given, found 0"),
    (
        "[[file]]\npath = \"/etc/a\"\ncontent = \"\"\nsource = \"a\"",
        "9:1: file[/etc/a]: exactly one of content, source must be given, found 2",
    ),
    ("[publish]\ntags = [\"a\"]", "9:2: publish: the key to is missing"),
    ("[lint]\nskip = [{ name = \"a\" }]", "10:9: lint.skip[a]: the key reason is missing"),
    // Twice, and contradictions.
    ("[[file]]\npath = \"/etc//motd\"\ncontent = \"\"", "9:1: file[/etc/motd]: given twice, first at hello.toml:6:1"),
    (
        "[[symlink]]\npath = \"/etc/motd\"\ntarget = \"x\"",
        "9:1: symlink[/etc/motd]: contradicts file[/etc/motd] at hello.toml:6:1",
    ),
    (
        "[[file]]\npath = \"/etc/motd/a\"\ncontent = \"\"",
        "9:1: file[/etc/motd/a]: contradicts file[/etc/motd] at hello.toml:6:1",
    ),
    (
        "[services]\nenable = [\"a.service\"]\nmask = [\"a.service\"]",
        "10:11: services.enable[0]: contradicts services.mask[0] at hello.toml:11:9",
    ),
    (
        "[layers]\nlevel = \"fast\"\n[compression]\nlevel = \"max\"",
        "12:1: compression.level: contradicts layers.level at hello.toml:10:9",
    ),
    // Values.
    (
        "[[file]]\npath = \"etc/a\"\ncontent = \"\"",
        "10:8: file[1].path: \"etc/a\" is no absolute path for content of the image: it must begin with /",
    ),
    (
        "[[file]]\npath = \"/etc/../a\"\ncontent = \"\"",
        "10:8: file[1].path: \"/etc/../a\" is no absolute path for content of the image: it climbs with ..",
    ),
    (
        "[[file]]\npath = \"/run/a\"\ncontent = \"\"",
        "10:8: file[1].path: \"/run/a\" is no absolute path for content of the image: \
         an image carries nothing at or below /run",
    ),
    (
        "[[symlink]]\npath = \"/var/lib/a\"\ntarget = \"b\"",
        "10:8: symlink[0].path: \"/var/lib/a\" is no absolute path for content of the image: \
         content of /var would be seen by the first installation only, use [[tmpfile]]",
    ),
    (
        "[[remove]]\npath = \"/\"",
        "10:8: remove[0].path: \"/\" is no absolute path in the image: it is the root directory",
    ),
    (
        "[[file]]\npath = \"/etc/a\"\nsource = \"../a\"",
        "11:10: file[1].source: \"../a\" is no path relative to the recipe: it leaves the recipe root",
    ),
    (
        "[[user]]\nname = \"a b\"",
        "10:8: user[0].name: \"a b\" is no user or group name: only A-Z, a-z, 0-9, _ and - are accepted",
    ),
    (
        "[[user]]\nname = \"0a\"",
        "10:8: user[0].name: \"0a\" is no user or group name: it must begin with a letter or _",
    ),
    (
        "[[group]]\nname = \"a\"\ngid = -1",
        "11:7: group[0].gid: -1 is no accepted integer: it must lie between 0 and 4294967294",
    ),
    (
        "[services]\nenable = [\"sshd\"]",
        "10:11: services.enable[0]: \"sshd\" is no systemd unit name: it must end in one of \
         .service, .socket, .target, .mount, .automount, .swap, .timer, .path, .slice",
    ),
    (
        "[kargs]\nappend = [\"a b\"]",
        "10:11: kargs.append[0]: \"a b\" is no kernel argument: \
         one argument has no blanks outside closed double quotes",
    ),
    (
        "[kargs]\nappend = [\"a\\nb\"]",
        "10:11: kargs.append[0]: \"a\\nb\" is no kernel argument: it contains a control character",
    ),
    (
        "[layers]\nmode = \"apend\"",
        "10:8: layers.mode: \"apend\" is no known word: known are append, full; did you mean append?",
    ),
    ("[layers]\nmax = 0", "10:7: layers.max: 0 is no accepted integer: it must lie between 1 and 500"),
    (
        "[output]\nimage = \"out:latest\"",
        "10:9: output.image: \"out:latest\" is no image reference: \
         expected oci:, oci-archive:, docker:// or containers-storage: in front",
    ),
    (
        "[publish]\nto = \"docker://h.example/a\"\ntags = [\"{time}\"]",
        "11:9: publish.tags[0]: \"{time}\" is no tag: known placeholders are {kernel}, {date}, {version}",
    ),
    (
        "[publish]\nto = \"docker://h.example/a:latest\"",
        "10:6: publish.to: \"docker://h.example/a:latest\" is no repository of a registry: \
         it must have the form docker://HOST/PATH, without tag",
    ),
    (
        "[[tmpfile]]\nline = \"y /var/a\"",
        "10:8: tmpfile[0].line: \"y /var/a\" is no line of tmpfiles.d: \"y\" is no type of tmpfiles.d(5)",
    ),
    (
        "[kernel]\npin = \"6.12\"",
        "10:7: kernel.pin: \"6.12\" is no kernel pin: \
         it must have the form base, devel or =RELEASE",
    ),
    (
        "[builder]\narguments = [\"--privileged\"]",
        "10:14: builder.arguments[0]: \"--privileged\" is no podman argument: it must have the form --OPTION=VALUE",
    ),
    (
        "[builder]\narguments = [\"--volume=/:/host\"]",
        "10:14: builder.arguments[0]: \"--volume=/:/host\" is no podman argument: known are --add-host, --cgroups, \
         --cpus, --dns, --memory, --network, --pids-limit, --shm-size, --ulimit",
    ),
    (
        "[image.annotations]\n\"a b\" = \"c\"",
        "10:1: image.annotations.a b: \"a b\" is no label key: only visible ASCII characters are accepted",
    ),
    // Not TOML.
    ("[packages\ninstall = []", "9:10: not TOML: unclosed table, expected `]`"),
];

#[test]
fn mistakes_are_explained() {
    let mut wrong = String::new();
    for (lines, message) in MISTAKES {
        let text = format!("{HELLO}{lines}\n");
        let found = match Recipe::parse(&text, "hello.toml") {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        if found != format!("hello.toml:{message}") {
            let _ = writeln!(wrong, "{lines}\n  expected {message}\n  found    {found}");
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn whole_recipes_are_checked() {
    let without_base = "schema = 1\nimage.name = \"a\"\n";
    let later = HELLO.replace("schema = 1", "schema = 2");
    for (text, message) in [
        ("", "r.toml:1:1: the key schema is missing"),
        ("schema = 1\n", "r.toml:1:1: image: the key name is missing"),
        ("schema = 1\n[image]\ntitle = \"a\"\n", "r.toml:2:2: image: the key name is missing"),
        (without_base, "r.toml:1:1: base: the key image is missing"),
        (&later, "r.toml:1:10: schema: 2 is no accepted integer: it must be 1"),
        ("extends = \"a.toml\"\n", "r.toml:1:11: extends: the recipe extends a.toml, which has to be read as well"),
    ] {
        assert_eq!(Recipe::parse(text, "r.toml").unwrap_err().to_string(), message);
    }
}
