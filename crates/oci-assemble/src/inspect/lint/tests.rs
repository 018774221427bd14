#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use super::*;
use crate::layer::{Rule, Violation};
use crate::testing::elf::{Dynamic, dynamic, module_for};
use crate::testing::memory::{Memory, add_file};
use crate::tree::TreeDelta;

mod files;
mod places;
mod reads;

const KERNEL: &str = "usr/lib/modules/6.12.0-160.el10.x86_64";

/// A tree that no lint has anything against.
const CLEAN: &str = "\
/boot dir 0755 0:0 0
/dev dir 0755 0:0 0
/etc dir 0755 0:0 0
/ostree symlink 0777 0:0 0 to=sysroot/ostree
/proc dir 0755 0:0 0
/run dir 0755 0:0 0
/sys dir 0755 0:0 0
/sysroot dir 0755 0:0 0
/tmp dir 1777 0:0 0
/usr dir 0755 0:0 0
/usr/include dir 0755 0:0 0
/usr/src dir 0755 0:0 0
/var dir 0755 0:0 0
/var/lib dir 0755 0:0 0
/var/lib/app dir 0755 0:0 0
/var/run symlink 0777 0:0 0 to=../run
/usr/lib/modules/6.12.0-160.el10.x86_64/build symlink 0777 0:0 0 to=/usr/src/kernels/6.12.0-160.el10.x86_64
";

fn clean() -> FileTree {
    let mut tree = FileTree::parse(CLEAN).unwrap();
    for (path, bytes) in [
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:900:900::/:/sbin/nologin\n"),
        ("etc/group", "root:x:0:\napp:x:900:\n"),
        (
            "usr/lib/sysusers.d/basic.conf",
            "u! root 0 \"Super User\" /root\ng root 0\n# comment\nu app 900 \"An app\" -\n",
        ),
        ("usr/lib/tmpfiles.d/app.conf", "d %S/app 0700 app app - -\nL /var/run - - - - ../run\n"),
        ("usr/lib/ostree/prepare-root.conf", "[composefs]\nenabled = yes\n"),
        ("usr/lib/bootc/kargs.d/10-kmods.toml", "kargs = [\"assemble.kmods=0123456789ab\"]\n"),
        (&format!("{KERNEL}/vmlinuz"), "kernel"),
        (&format!("{KERNEL}/initramfs.img"), "initramfs"),
        (&format!("{KERNEL}/modules.dep"), "extra/zfs.ko: kernel/spl.ko\nkernel/spl.ko:\n"),
        (&format!("{KERNEL}/modules.dep.bin"), "x"),
        (&format!("{KERNEL}/modules.alias"), "#"),
        (&format!("{KERNEL}/modules.alias.bin"), "x"),
        (&format!("{KERNEL}/modules.symbols"), "#"),
        (&format!("{KERNEL}/modules.symbols.bin"), "x"),
        ("etc/debian_version", "13\n"),
        ("usr/lib/dpkg/status", "Package: bash\nStatus: install ok installed\nVersion: 5\nArchitecture: amd64\n"),
    ] {
        add_file(&mut tree, path, 0o644, bytes);
    }
    let release = "6.12.0-160.el10.x86_64";
    add_file(&mut tree, &format!("{KERNEL}/extra/zfs.ko"), 0o644, module_for("zfs", release));
    add_file(&mut tree, &format!("{KERNEL}/kernel/spl.ko"), 0o644, module_for("spl", release));
    let loader = Some("/lib64/ld-linux-x86-64.so.2");
    add_file(&mut tree, "lib64/ld-linux-x86-64.so.2", 0o755, dynamic(&Dynamic::default()));
    add_file(&mut tree, "usr/lib64/libzfs.so.4", 0o755, dynamic(&Dynamic::default()));
    let tool = Dynamic { interpreter: loader, needed: &["libzfs.so.4"], ..Dynamic::default() };
    add_file(&mut tree, "usr/bin/zfs", 0o755, dynamic(&tool));
    tree
}

fn image() -> ImageFacts {
    let labels = [("containers.bootc", "1"), ("org.opencontainers.image.version", "10.20261120")];
    ImageFacts {
        architecture: "amd64".into(),
        os: "linux".into(),
        created: Some("2026-11-20T00:00:00Z".into()),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        annotations: BTreeMap::new(),
    }
}

fn layer(name: &str, ours: bool) -> LayerFacts {
    LayerFacts {
        digest: Digest::of(name.as_bytes()),
        diff_id: Digest::of(format!("{name} plain").as_bytes()),
        media_type: "application/vnd.oci.image.layer.v1.tar+zstd".into(),
        violations: Violations::default(),
        ours,
    }
}

fn paths(list: &[&str]) -> BTreeSet<TreePath> {
    list.iter().map(|path| TreePath::new(path).unwrap()).collect()
}

/// An image to be linted, with what is to be changed for a case.
struct Case {
    tree: FileTree,
    image: ImageFacts,
    layers: Vec<LayerFacts>,
    added: Option<BTreeSet<TreePath>>,
    forbid: Forbid,
}

impl Case {
    fn clean() -> Self {
        let added = paths(&["usr/bin/zfs", "usr/lib64/libzfs.so.4", &format!("{KERNEL}/extra/zfs.ko")]);
        Self {
            tree: clean(),
            image: image(),
            layers: vec![layer("base", false), layer("zfs", true)],
            added: Some(added),
            forbid: Forbid::default(),
        }
    }

    /// Lines of a delta dump laid over the tree, counted as added.
    fn laid(mut self, delta: &str) -> Self {
        let delta = TreeDelta::parse(delta).unwrap();
        self.added.iter_mut().for_each(|added| added.extend(delta.entries().keys().cloned()));
        self.tree = self.tree.apply(&delta).unwrap();
        self
    }

    fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        add_file(&mut self.tree, path, 0o755, bytes);
        self.added.iter_mut().for_each(|added| added.extend(paths(&[path])));
        self
    }

    fn base_file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        add_file(&mut self.tree, path, 0o755, bytes);
        self
    }

    fn report(&self, options: &LintOptions) -> Result<LintReport, LintError> {
        let contents = Memory::default();
        let input = LintInput {
            tree: &self.tree,
            contents: &contents,
            image: &self.image,
            layers: &self.layers,
            added: self.added.as_ref(),
            packages: None,
            forbid: &self.forbid,
        };
        lint(&input, options)
    }

    /// `severity path: value` of the findings of one lint.
    fn found(&self, lint: &str) -> Vec<String> {
        let report = self.report(&LintOptions::default()).unwrap();
        assert!(LINTS.iter().any(|known| known.name == lint), "{lint}");
        let findings = report.findings.into_iter().filter(|finding| finding.lint == lint);
        findings
            .map(|finding| {
                let path = finding.path.map(|path| format!("{path}: ")).unwrap_or_default();
                format!("{} {path}{}", finding.severity, finding.value)
            })
            .collect()
    }
}

#[test]
fn a_clean_image_has_no_findings() {
    let mut case = Case::clean();
    let text = "29 lints run: 0 fatal, 0 warnings, 0 skipped\n";
    assert_eq!(case.report(&LintOptions::default()).unwrap().to_string(), text);
    case.added = None;
    assert_eq!(case.report(&LintOptions::default()).unwrap().to_string(), text, "with all files looked at");
}

#[test]
fn what_a_base_may_have_is_only_held_against_additions() {
    let header = "usr/include/stdio.h";
    assert!(Case::clean().base_file(header, "x").found("forbidden-files").is_empty());
    let shadow = Case::clean().base_file("etc/ostree/prepare-root.conf", "[composefs]\nenabled=yes\n");
    assert_eq!(
        shadow.found("prepare-root-shadowed"),
        ["warning /etc/ostree/prepare-root.conf: shadows /usr/lib/ostree/prepare-root.conf"]
    );
    let gcc = Case::clean().base_file("usr/bin/gcc", "x");
    let reason = "a compiler: code is built elsewhere, not on the host";
    assert_eq!(gcc.found("forbidden-files"), [format!("fatal /usr/bin/gcc: {reason}")]);
    // A library of the base that needs something is the base's affair; when all is looked at, it is not.
    let plugin = dynamic(&Dynamic { needed: &["libgone.so"], ..Dynamic::default() });
    let mut base = Case::clean().base_file("usr/lib64/base.so", plugin);
    assert!(base.found("needed-libraries").is_empty());
    base.added = None;
    assert_eq!(
        base.found("needed-libraries"),
        ["warning /usr/lib64/base.so: needs libgone.so, which is not in the image"]
    );
}

#[test]
fn libraries_found_on_behalf_of_a_program_count_as_found() {
    let program = Dynamic {
        interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
        needed: &["libshared.so"],
        rpath: Some("/usr/lib/private"),
        ..Dynamic::default()
    };
    let case = Case::clean()
        .file("usr/lib/private/libshared.so", dynamic(&Dynamic { needed: &["libdeep.so"], ..Dynamic::default() }))
        .file("usr/lib/private/libdeep.so", dynamic(&Dynamic::default()));
    assert_eq!(
        case.found("needed-libraries"),
        [concat!(
            "warning /usr/lib/private/libshared.so: needs libdeep.so, which is at /usr/lib/private/libdeep.so, ",
            "where it is not looked for"
        )]
    );
    assert!(case.file("usr/bin/program", dynamic(&program)).found("needed-libraries").is_empty());
}

#[test]
fn libraries_that_a_program_loads_itself_serve_its_other_libraries() {
    // As systemd does: the search path of the program does not count for what its libraries need.
    let program = |needed| Dynamic {
        interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
        needed,
        runpath: Some("/usr/lib/private"),
        ..Dynamic::default()
    };
    let core = Dynamic { needed: &["libshared.so"], ..Dynamic::default() };
    let case = Case::clean()
        .file("usr/lib/private/libcore.so", dynamic(&core))
        .file("usr/lib/private/libshared.so", dynamic(&Dynamic::default()));
    let complete = program(&["libcore.so", "libshared.so"]);
    assert!(case.file("usr/bin/program", dynamic(&complete)).found("needed-libraries").is_empty());
    let case = Case::clean()
        .file("usr/lib/private/libcore.so", dynamic(&core))
        .file("usr/lib/private/libshared.so", dynamic(&Dynamic::default()));
    let incomplete = program(&["libcore.so"]);
    assert_eq!(
        case.file("usr/bin/program", dynamic(&incomplete)).found("needed-libraries"),
        [concat!(
            "warning /usr/lib/private/libcore.so: needs libshared.so, which is at /usr/lib/private/libshared.so, ",
            "where it is not looked for"
        )]
    );
}

#[test]
fn packages_are_held_against_the_list() {
    let status = |names: &[&str]| -> String {
        let stanza = |name: &&str| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: 1-2\nArchitecture: amd64\n\n")
        };
        names.iter().map(stanza).collect()
    };
    let mut case = Case::clean().base_file(
        "usr/lib/dpkg/status",
        status(&["gcc-12", "gcc-12-base", "make", "telnet", "linux-headers-6.12.0-amd64", "bash"]),
    );
    case.forbid.packages.push("telnet*".into());
    case.forbid.paths.push("/usr/bin/zfs".into());
    assert_eq!(
        case.found("forbidden-packages"),
        [
            "fatal gcc-12-1-2.amd64 is installed: a compiler: code is built elsewhere, not on the host",
            "fatal linux-headers-6.12.0-amd64-1-2.amd64 is installed: kernel headers: left over from building modules",
            "fatal telnet-1-2.amd64 is installed: forbidden by the recipe",
            "warning make-1-2.amd64 is installed: a build tool: code is built elsewhere",
        ]
    );
    assert_eq!(case.found("forbidden-files"), ["fatal /usr/bin/zfs: forbidden by the recipe"]);
    let none = Case::clean().laid("/usr/lib/dpkg/status whiteout\n");
    assert_eq!(
        none.found("forbidden-packages"),
        ["warning no package database: packages cannot be checked, only files"]
    );
}

#[test]
fn layers_and_labels_are_judged() {
    let mut case = Case::clean();
    let violation = |rule| Violation { rule, offset: 512, path: b"usr/x".to_vec() };
    case.layers[0].violations.record(violation(Rule::Duplicate));
    case.layers[1].violations.record(violation(Rule::ImplicitParent));
    case.layers[1].media_type = "application/x-tar".into();
    case.layers.push(LayerFacts { digest: Digest::of(b"third"), ..layer("base", true) });
    assert_eq!(
        case.found("layer-encoding"),
        [
            "fatal a parent directory is not listed before its entry (implicit-parent), byte 512 of usr/x",
            "fatal media type \"application/x-tar\", which clients do not unpack",
            "fatal in the image twice",
            "warning a path appears twice (duplicate), byte 512 of usr/x",
        ]
    );
    case.image = ImageFacts { created: Some("yesterday".into()), os: "plan9".into(), ..ImageFacts::default() };
    assert_eq!(
        case.found("required-labels"),
        [
            "fatal created \"yesterday\" is no date of RFC 3339",
            "fatal neither label containers.bootc=1 nor ostree.bootable: clients refuse to deploy it",
            "fatal no architecture",
            "fatal no label org.opencontainers.image.version: clients show the base's version, or none",
            "fatal os \"plan9\", not \"linux\"",
        ]
    );
    for date in ["2026-11-20T00:00:00.123456789Z", "2026-11-20T00:00:00+00:00"] {
        case.image = ImageFacts { created: Some(date.into()), ..image() };
        assert!(case.found("required-labels").is_empty(), "{date}");
    }
    let mut stale = Case::clean().base_file("sysroot/ostree/repo/objects/ab/cd.file", "x");
    assert_eq!(
        stale.found("ostree-labels"),
        ["fatal /sysroot/ostree/repo/objects: objects of an ostree commit, but no label ostree.final-diffid"]
    );
    stale.image.labels.insert("ostree.final-diffid".into(), layer("base", false).diff_id.to_string());
    assert!(stale.found("ostree-labels").is_empty());
    stale.layers.remove(0);
    assert_eq!(stale.found("ostree-labels").len(), 1);
    assert!(stale.found("ostree-labels")[0].ends_with("which is no layer of the image"));
}

fn skip(name: &str, reason: &str) -> LintOptions {
    LintOptions { skip: [(name.to_owned(), reason.to_owned())].into(), fatal_warnings: false }
}

#[test]
fn skipping_takes_a_name_and_a_reason() {
    let case = Case::clean().laid("/boot whiteout\n");
    let error = |options| case.report(&options).unwrap_err().to_string();
    assert_eq!(error(skip("nonempty-bot", "x")), "there is no lint \"nonempty-bot\", did you mean \"nonempty-boot\"?");
    assert_eq!(error(skip("zzz", "x")), "there is no lint \"zzz\"");
    assert_eq!(error(skip("nonempty-boot", " ")), "lint \"nonempty-boot\" is skipped without a reason");
    let strict = LintOptions { fatal_warnings: true, ..skip("sysusers", "x") };
    assert!(case.report(&LintOptions::default()).unwrap().passed && !case.report(&strict).unwrap().passed);
    let report = case.report(&skip("nonempty-boot", "made by the installer")).unwrap();
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        concat!(
            r#"{"schema":"assemble.lint/1","passed":true,"findings":[],"#,
            r#""skipped":[{"lint":"nonempty-boot","reason":"made by the installer"}],"run":28}"#
        )
    );
}

#[test]
fn a_bad_image_reads_like_this() {
    let mut case = Case::clean()
        .laid("/run whiteout\n/usr/lib/modules/5.14.0 dir 0755 0:0 0\n")
        .file("usr/bin/gcc", "x")
        .file("var/log/build.log", "x");
    case.layers[1].violations.record(Violation { rule: Rule::GzipMembers, offset: 0, path: Vec::new() });
    case.image.labels.clear();
    let report = case.report(&skip("sysusers", "users come from the directory service")).unwrap();
    assert!(!report.passed);
    assert_eq!(report.to_string(), include_str!("tests/bad.txt"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["findings"][0],
        serde_json::json!({
            "severity": "fatal", "lint": "api-base-directories", "path": "/run", "value": "missing mount point"
        })
    );
}

#[test]
fn many_findings_are_counted() {
    let mut case = Case::clean();
    for number in 0..60 {
        case = case.file(&format!("{KERNEL}/extra/m{number:02}.ko"), "x");
    }
    let found = case.found("kernel-modules-match");
    assert_eq!((found.len(), found[0].as_str()), (51, "fatal and 10 more"));
}

#[test]
fn an_unreadable_package_database_can_be_skipped() {
    let case = Case::clean().laid("/usr/lib/dpkg/status whiteout\n").base_file("usr/share/rpm/Packages", "bdb");
    let error = case.report(&LintOptions::default()).unwrap_err().to_string();
    assert_eq!(error, "/usr/share/rpm/Packages is an rpm database of the kind rpm bdb, which is not read");
    assert!(case.report(&skip("forbidden-packages", "an old base")).unwrap().passed);
}
