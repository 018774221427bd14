#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::plan::kernel::Direction;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn digests(names: &[&str]) -> BTreeMap<String, Digest> {
    names.iter().map(|name| ((*name).to_owned(), digest(name))).collect()
}

fn pin(image: &str) -> ImagePin {
    ImagePin { image: image.parse().unwrap(), digest: digest(image), index: None }
}

fn package(line: &str) -> Package {
    format!("{line} {}", digest(line)).parse().unwrap()
}

fn lock() -> Lock {
    let zfs = StageLock {
        kind: "zfs".into(),
        request: digest("request"),
        key: digest("key"),
        packages: [package("zfs-dkms 2.1.11-1+deb12u1 all"), package("cpp 4:12.2.0-3 amd64")].into(),
    };
    let amd64 = PlatformLock {
        base: pin("docker://registry.example.com/base:12"),
        builder: Some(pin("oci:builder:latest")),
        kernel: Some(KernelChoice {
            pin: "devel".into(),
            release: "6.1.0-9-amd64".into(),
            direction: Direction::Downgrade,
            reason: "kernel 6.1.0-10-amd64 is downgraded".into(),
            install: vec!["linux-image-6.1.0-9-amd64=6.1.9-1".into()],
            remove: vec!["linux-image-6.1.0-10-amd64=6.1.10-1".into()],
        }),
        epoch: Epoch::new(1_735_689_600).unwrap(),
        stages: [("zfs".to_owned(), zfs)].into(),
    };
    let arm64 = PlatformLock {
        base: ImagePin { digest: digest("arm"), index: Some(digest("index")), ..amd64.base.clone() },
        builder: None,
        kernel: None,
        stages: BTreeMap::new(),
        ..amd64.clone()
    };
    Lock {
        recipes: digests(&["base.toml", "zfs.toml"]),
        sources: digests(&["../files/a \"b\"", "repos/openzfs.repo"]),
        compression: "zstd:1.5.7:level=3".into(),
        platforms: [("linux/amd64".to_owned(), amd64), ("linux/arm64".to_owned(), arm64)].into(),
    }
}

fn facts() -> Facts {
    let lock = lock();
    let amd64 = &lock.platforms["linux/amd64"];
    let stages = amd64.stages.iter();
    let stages = stages
        .map(|(name, stage)| (name.clone(), StageFacts { kind: stage.kind.clone(), request: stage.request }))
        .collect();
    Facts {
        platform: PlatformFacts {
            base: amd64.base.image.clone(),
            builder: amd64.builder.as_ref().map(|pin| pin.image.clone()),
            kernel: "devel".into(),
            stages,
        },
        recipes: lock.recipes,
        compression: lock.compression,
        platforms: ["linux/amd64".to_owned()].into(),
        epoch: None,
    }
}

fn lines(found: &[Drift]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn the_text_has_one_thing_a_line() {
    // Digests take room and say nothing here.
    let text = lock().render();
    let short = text.split("sha256:").enumerate().map(|(number, part)| match number {
        0 => part.to_owned(),
        _ => format!("…{}", &part[64..]),
    });
    assert_eq!(
        short.collect::<String>(),
        r#"# Made by `assemble lock`, not to be edited: `assemble lock --recipe FILE --update` renews what is pinned here.
schema = 1
recipe = "…"
compression = "zstd:1.5.7:level=3"

[recipes]
"base.toml" = "…"
"zfs.toml" = "…"

[sources]
"../files/a \"b\"" = "…"
"repos/openzfs.repo" = "…"

[platform."linux/amd64"]
epoch = 1735689600

[platform."linux/amd64".kernel]
pin = "devel"
release = "6.1.0-9-amd64"
direction = "downgrade"
reason = "kernel 6.1.0-10-amd64 is downgraded"
install = ["linux-image-6.1.0-9-amd64=6.1.9-1"]
remove = ["linux-image-6.1.0-10-amd64=6.1.10-1"]

[platform."linux/amd64".base]
image = "docker://registry.example.com/base:12"
digest = "…"

[platform."linux/amd64".builder]
image = "oci:builder:latest"
digest = "…"

[platform."linux/amd64".stage."zfs"]
kind = "zfs"
request = "…"
key = "…"
packages = [
    "cpp 4:12.2.0-3 amd64 …",
    "zfs-dkms 2.1.11-1+deb12u1 all …",
]

[platform."linux/arm64"]
epoch = 1735689600

[platform."linux/arm64".base]
image = "docker://registry.example.com/base:12"
digest = "…"
index = "…"
"#
    );
    assert_eq!(Lock::parse(&text), Ok(lock()));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let text = lock().render();
    let fault = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Lock::parse(&text.replacen(from, to, 1)).unwrap_err().to_string()
    };
    for (from, to, expected) in [
        ("schema = 1", "schema = 2", "line 2: this is a lock of schema 2; this version reads schema 1"),
        ("schema = 1\n", "", "line 1: missing field `schema`"),
        ("schema = 1", "schema = 1\nmore = 1", "line 3: unknown field `more`"),
        ("epoch = ", "epochs = ", "line 15: unknown field `epochs`"),
        ("release = ", "releases = ", "line 19: unknown field `releases`"),
        ("\"downgrade\"", "\"sideways\"", "line 20: unknown variant `sideways`"),
        ("\"linux/arm64\"", "\"arm64\"", "line 42: \"arm64\" is no platform"),
        // Of an array, the line it begins at.
        ("cpp 4", "cpp  4", "line 37: \"cpp  4:12.2.0-3 amd64 sha256:"),
        ("docker://registry", "registry", "line 26: invalid image reference"),
        ("\"base.toml\"", "\"vase.toml\"", "line 3: the digest of the recipe is not that of the files below [recipes]"),
        ("[sources]", "[sources", "line 10: "),
        ("<<<", "", ""),
    ] {
        if from == "<<<" {
            let conflict = Lock::parse(&format!("<<<<<<< ours\n{text}")).unwrap_err();
            assert_eq!(conflict.line, 1, "{conflict}");
            continue;
        }
        let found = fault(from, to);
        assert!(found.starts_with(expected), "{from} → {to}: {found}");
    }
    let large = Lock::parse(&" ".repeat(LOCK_MAX + 1)).unwrap_err();
    assert_eq!(large.fault, LockFault::TooLarge { limit: LOCK_MAX });
}

#[test]
fn drift_is_named() {
    let lock = lock();
    assert_eq!(lock.drift(&facts()), []);
    assert_eq!(lock.source_drift(&lock.sources), []);
    let after = |change: fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        lines(&lock.drift(&facts))
    };
    assert_eq!(after(|facts| facts.epoch = Some(Epoch::new(1_735_689_600).unwrap())), [""; 0], "the date it has");
    assert_eq!(
        after(|facts| {
            facts.recipes = digests(&["new.toml", "zfs.toml"]);
            facts.compression = "gzip".into();
            facts.platforms.insert("linux/s390x".into());
            facts.platform.base = "oci:base:latest".parse().unwrap();
            facts.platform.builder = None;
            facts.platform.kernel = "=6.1.0-10".into();
            facts.platform.stages.insert("x".into(), StageFacts { kind: "dkms".into(), request: digest("x") });
            facts.epoch = Some(Epoch::new(0).unwrap());
        }),
        [
            "recipe base.toml is locked and no longer used",
            "recipe new.toml is not locked",
            "compressor zstd:1.5.7:level=3 is locked, gzip would be used",
            "base of linux/amd64: docker://registry.example.com/base:12 is locked, the recipe names oci:base:latest",
            "image for builders of linux/amd64 has changed in the recipe",
            "kernel of linux/amd64: pin devel is locked, the recipe says =6.1.0-10",
            "date of linux/amd64: 2025-01-01T00:00:00Z is locked, SOURCE_DATE_EPOCH is 1970-01-01T00:00:00Z",
            "stage x of linux/amd64 is not locked",
            "platform linux/s390x is not locked",
        ]
    );
    // An image without a kernel has nothing that a pin could be about.
    let mut without = facts();
    without.platforms = ["linux/arm64".to_owned()].into();
    let of_kernel =
        |lines: Vec<String>| lines.into_iter().filter(|line| line.starts_with("kernel")).collect::<Vec<_>>();
    let pinned = of_kernel(lines(&lock.drift(&without)));
    assert_eq!(pinned, ["kernel of linux/arm64: pin base is locked, the recipe says devel"]);
    without.platform.kernel = "base".into();
    assert_eq!(of_kernel(lines(&lock.drift(&without))), [""; 0]);
    let request = |facts: &mut Facts| {
        facts.platform.stages.get_mut("zfs").unwrap().request = digest("other");
    };
    assert_eq!(after(request), ["stage zfs of linux/amd64 has changed"]);
    assert_eq!(after(|facts| facts.platform.stages.clear()), ["stage zfs of linux/amd64 is locked and no longer used"]);
    let mut sources = lock.sources.clone();
    sources.insert("repos/openzfs.repo".into(), digest("other"));
    sources.insert("motd".into(), digest("motd"));
    assert_eq!(
        lines(&lock.source_drift(&sources)),
        ["source motd is not locked", "source repos/openzfs.repo has changed"]
    );
}

#[test]
fn the_digest_of_a_recipe_is_that_of_its_files() {
    let lock = lock();
    let mut other = lock.clone();
    other.sources.clear();
    assert_eq!(lock.recipe(), other.recipe());
    other.recipes.insert("base.toml".into(), digest("other"));
    assert_ne!(lock.recipe(), other.recipe());
}

fn any_digests() -> impl Strategy<Value = BTreeMap<String, Digest>> {
    // Everything a path of a recipe may have: all but control characters.
    proptest::collection::btree_map("[^\\p{C}]{1,12}", "[a-z]*".prop_map(|text| digest(&text)), 0..4)
}

fn any_stage() -> impl Strategy<Value = StageLock> {
    let package = ("[!-~]{1,8}", "[!-~]{1,8}", "[!-~]{1,5}", "[a-z]*")
        .prop_map(|(name, version, arch, text)| Package { name, version, arch, checksum: digest(&text) });
    ("[a-z-]{1,8}", "[a-z]*", proptest::collection::btree_set(package, 0..4)).prop_map(|(kind, text, packages)| {
        StageLock { kind, request: digest(&text), key: digest(&format!("{text} key")), packages }
    })
}

fn any_platform() -> impl Strategy<Value = PlatformLock> {
    let image = prop_oneof![Just("oci:a:b"), Just("docker://localhost:5000/a/b"), Just("oci-archive:\"x\" é\\:t")];
    let direction = prop_oneof![Just(Direction::Keep), Just(Direction::Upgrade), Just(Direction::Downgrade)];
    let names = || proptest::collection::vec("[^\\p{C}]{1,9}", 0..3);
    let kernel = ("[^\\p{C}]{1,9}", "[^\\p{C}]{1,9}", direction, "[^\\p{C}]{0,20}", names(), names());
    let kernel = kernel.prop_map(|(pin, release, direction, reason, install, remove)| KernelChoice {
        pin,
        release,
        direction,
        reason,
        install,
        remove,
    });
    let kernel = proptest::option::of(kernel);
    let stages = proptest::collection::btree_map("[a-z0-9.\"\\\\-]{1,9}", any_stage(), 0..3);
    (image, any::<bool>(), kernel, 0_i64..4_000_000_000, stages).prop_map(|(image, builder, kernel, epoch, stages)| {
        let builder = builder.then(|| pin("oci:builder"));
        PlatformLock { base: pin(image), builder, kernel, epoch: Epoch::new(epoch).unwrap(), stages }
    })
}

proptest! {
    #[test]
    fn a_lock_reads_back(
        recipes in any_digests(),
        sources in any_digests(),
        compression in "\\PC{0,20}",
        platforms in proptest::collection::btree_map("linux/(amd64|arm64|arm/v7)", any_platform(), 0..3),
    ) {
        let lock = Lock { recipes, sources, compression, platforms };
        prop_assert_eq!(Lock::parse(&lock.render()), Ok(lock));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = Lock::parse(&text);
    }
}
