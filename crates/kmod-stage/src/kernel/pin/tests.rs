//! Repositories that are ahead of the base, behind it, or have half of what is needed.
#![allow(clippy::unwrap_used)]

use oci_assemble::image::Digest;
use proptest::prelude::*;

use super::*;
use crate::repository::Package;

/// `REPOSITORY: NAME=VERSION NAME=VERSION`, a line each; architecture x86_64 and versions of rpm, or amd64 and dpkg's.
fn offers(text: &str, family: Family) -> Offers {
    let architecture = if family == Family::Rpm { "x86_64" } else { "amd64" };
    let mut offers = Offers::new(architecture);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (repository, packages) = line.split_once(':').unwrap();
        let package = |text: &str| {
            let (name, version) = text.split_once('=').unwrap();
            assert!(Offers::wanted(name), "{name}");
            Package {
                name: name.to_owned(),
                version: PackageVersion::parse(version, family).unwrap(),
                architecture: architecture.to_owned(),
                digest: Digest::of(text.as_bytes()),
                size: 1,
                location: format!("{name}.package"),
                location_base: None,
                depends: None,
            }
        };
        let packages: Vec<Package> = packages.split_whitespace().map(package).collect();
        offers.add(repository.trim(), &packages);
    }
    offers
}

fn base(release: &str, version: &str, family: Family, packages: &[&str]) -> BaseKernel {
    BaseKernel {
        release: KernelRelease::new(release).unwrap(),
        version: PackageVersion::parse(version, family).unwrap(),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn dump(decision: Result<KernelDecision, PinError>) -> String {
    let texts = |packages: &[ExactPackage]| packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match decision {
        Ok(decision) => {
            let KernelDecision { release, direction, install, remove, devel, reason } = decision;
            assert_eq!(devel.release, release);
            assert_eq!(direction == Direction::Keep, install.is_empty() && remove.is_empty());
            let mut text = format!("{reason}\n");
            for (word, packages) in [("install", install), ("remove", remove)] {
                if !packages.is_empty() {
                    text += &format!("{word} {}\n", texts(&packages));
                }
            }
            text + &format!("build with {}={} from {}", devel.name, devel.version, devel.repository)
        }
        Err(error) => format!("error: {error}\nhint: {}", error.hint()),
    }
}

fn el10(pin: &str, text: &str) -> String {
    let packages = ["kernel", "kernel-core", "kernel-modules", "kernel-modules-core"];
    let base = base("6.12.0-155.el10.x86_64", "6.12.0-155.el10", Family::Rpm, &packages);
    dump(decide(&KernelPin::from(pin.to_owned()), &base, &offers(text, Family::Rpm)))
}

const COMPOSE: &str = "compose: kernel-core=6.12.0-155.el10 kernel=6.12.0-155.el10\n";
const AHEAD: &str = "new: kernel=6.12.0-160.el10 kernel-core=6.12.0-160.el10 kernel-modules=6.12.0-160.el10 \
    kernel-modules-core=6.12.0-160.el10 kernel-devel=6.12.0-160.el10\n";
const BEHIND: &str = "old: kernel=6.12.0-99.el10 kernel-core=6.12.0-99.el10 kernel-modules=6.12.0-99.el10 \
    kernel-modules-core=6.12.0-99.el10 kernel-devel=6.12.0-99.el10\n";
const SAME: &str = "appstream: kernel-devel=6.12.0-155.el10\n";

#[test]
fn the_base_kernel_stays_where_its_devel_is() {
    let keeps = "kernel 6.12.0-155.el10.x86_64 stays: it is the base's kernel; kernel-devel comes from appstream\n\
                 build with kernel-devel=6.12.0-155.el10 from appstream";
    for text in
        [SAME.to_owned(), [AHEAD, SAME, BEHIND].concat(), [SAME, "second: kernel-devel=6.12.0-155.el10\n"].concat()]
    {
        assert_eq!(el10("base", &text), keeps);
    }
    assert_eq!(
        el10("base", &[COMPOSE, AHEAD, BEHIND].concat()),
        "error: no repository has kernel-devel for 6.12.0-155.el10.x86_64, the kernel of the base\n\
         hint: kernel-devel is there for 6.12.0-160.el10.x86_64, 6.12.0-99.el10.x86_64; \
         pin = \"devel\" would take 6.12.0-160.el10.x86_64"
    );
    assert_eq!(
        el10("base", COMPOSE),
        "error: no repository has kernel-devel for 6.12.0-155.el10.x86_64, the kernel of the base\n\
         hint: kernel-devel is there for none; \
         add the repository that the base was composed of to kernel.repositories"
    );
}

#[test]
fn the_kernel_follows_devel_in_either_direction() {
    assert_eq!(
        el10("devel", &[COMPOSE, BEHIND, AHEAD].concat()),
        "kernel 6.12.0-155.el10.x86_64 is upgraded to 6.12.0-160.el10.x86_64: \
         it is the newest that kernel-devel is there for; kernel-devel comes from new\n\
         install kernel-6.12.0-160.el10.x86_64 kernel-core-6.12.0-160.el10.x86_64 \
         kernel-modules-6.12.0-160.el10.x86_64 kernel-modules-core-6.12.0-160.el10.x86_64\n\
         remove kernel-6.12.0-155.el10.x86_64 kernel-core-6.12.0-155.el10.x86_64 \
         kernel-modules-6.12.0-155.el10.x86_64 kernel-modules-core-6.12.0-155.el10.x86_64\n\
         build with kernel-devel=6.12.0-160.el10 from new"
    );
    assert_eq!(
        el10("devel", &[COMPOSE, BEHIND].concat()).lines().next().unwrap(),
        "kernel 6.12.0-155.el10.x86_64 is downgraded to 6.12.0-99.el10.x86_64: \
         it is the newest that kernel-devel is there for; kernel-devel comes from old"
    );
    assert_eq!(
        el10("devel", &[SAME, BEHIND].concat()).lines().next().unwrap(),
        "kernel 6.12.0-155.el10.x86_64 stays: it is the newest that kernel-devel is there for, and the base's kernel; \
         kernel-devel comes from appstream"
    );
    // Of the newest there is no kernel, or not all of it.
    for half in ["half: kernel-devel=7.0.0-1.el10", "half: kernel-devel=7.0.0-1.el10 kernel-core=7.0.0-1.el10"] {
        assert_eq!(
            el10("devel", &[AHEAD, half].concat()).lines().next().unwrap(),
            "kernel 6.12.0-155.el10.x86_64 is upgraded to 6.12.0-160.el10.x86_64: it is the newest that kernel-devel is \
             there for (there is 7.0.0-1.el10.x86_64, but no complete kernel of it); kernel-devel comes from new"
        );
    }
    // A release candidate is older than what it is a candidate of.
    let candidate = AHEAD.replace("6.12.0-160", "7.0.0~rc1-1") + &AHEAD.replace("6.12.0-160", "7.0.0-1");
    assert!(el10("devel", &candidate).contains("upgraded to 7.0.0-1.el10.x86_64"));
    let candidate = AHEAD.replace("6.12.0-160", "6.12.0~rc1-160");
    assert!(el10("devel", &candidate).contains("downgraded to 6.12.0~rc1-160.el10.x86_64"));
    assert_eq!(
        el10("devel", &[COMPOSE, "x: kernel-devel=6.12.0-160.el10 kernel-rt-devel=6.12.0-170.el10\n"].concat()),
        "error: no repository has both a kernel of the base's kind and kernel-devel for it\n\
         hint: kernels are there: 6.12.0-155.el10.x86_64; kernel-devel is there for 6.12.0-160.el10.x86_64; \
         add the repository that has the other to kernel.repositories"
    );
    assert!(el10("devel", "").starts_with("error: no repository has both"));
}

#[test]
fn an_exact_kernel_is_taken_or_missed() {
    let all = [COMPOSE, BEHIND, AHEAD, SAME].concat();
    for pin in ["=6.12.0-99.el10", "=6.12.0-99.el10.x86_64"] {
        assert_eq!(
            el10(pin, &all).lines().next().unwrap(),
            "kernel 6.12.0-155.el10.x86_64 is downgraded to 6.12.0-99.el10.x86_64: the recipe names it; \
             kernel-devel comes from old"
        );
    }
    for pin in ["=6.12.0-155.el10", "=6.12.0-155.el10.x86_64"] {
        assert_eq!(
            el10(pin, &all).lines().next().unwrap(),
            "kernel 6.12.0-155.el10.x86_64 stays: the recipe names it, and it is the base's; \
             kernel-devel comes from appstream"
        );
        assert!(el10(pin, AHEAD).starts_with("error: of kernel 6.12.0-155.el10"));
    }
    let there = "hint: kernels are there: 6.12.0-160.el10.x86_64, 6.12.0-155.el10.x86_64, 6.12.0-99.el10.x86_64; \
                 kernel-devel is there for 6.12.0-160.el10.x86_64, 6.12.0-155.el10.x86_64, 6.12.0-99.el10.x86_64";
    for pin in ["6.12.0-9.el10", "6.12.0-160.el1", "6.12.0", "6.12.0-160.el10.aarch64", "6.12.0-160.el10.x86_64+rt"] {
        let expected =
            format!("error: of kernel {pin} neither kernel nor kernel-devel is in the repositories\n{there}");
        assert_eq!(el10(&format!("={pin}"), &all), expected);
    }
    for (text, expected) in [
        ("x: kernel-core=7.0.0-1.el10", "error: of kernel 7.0.0-1.el10 no kernel-devel is in the repositories\n"),
        ("x: kernel-devel=7.0.0-1.el10", "error: of kernel 7.0.0-1.el10 kernel-devel is, but the kernel is not in the"),
        (
            "x: kernel-devel=7.0.0-1.el10 kernel-core=7.0.0-1.el10 kernel=7.0.0-1.el10",
            "error: of kernel 7.0.0-1.el10 kernel-modules is not in the repositories\n",
        ),
    ] {
        let found = el10("=7.0.0-1.el10", text);
        assert!(found.starts_with(expected), "{found}");
    }
    // Another flavour is taken when it is named, with its own packages.
    let rt = AHEAD.replace("kernel", "kernel-rt");
    assert_eq!(
        el10("=6.12.0-160.el10.x86_64+rt", &[AHEAD, &rt].concat()).lines().nth(1).unwrap(),
        "install kernel-rt-6.12.0-160.el10.x86_64 kernel-rt-core-6.12.0-160.el10.x86_64 \
         kernel-rt-modules-6.12.0-160.el10.x86_64 kernel-rt-modules-core-6.12.0-160.el10.x86_64"
    );
}

fn bookworm(pin: &str, text: &str) -> String {
    let base = base("6.1.0-50-amd64", "6.1.170-1", Family::Debian, &["linux-image-6.1.0-50-amd64"]);
    dump(decide(&KernelPin::from(pin.to_owned()), &base, &offers(text, Family::Debian)))
}

#[test]
fn debian_kernels_have_their_release_in_the_name() {
    let security = "security: linux-image-6.1-amd64=6.1.176-1 linux-headers-6.1-amd64=6.1.176-1 \
        linux-image-6.1.0-56-amd64=6.1.176-1 linux-headers-6.1.0-56-amd64=6.1.176-1 \
        linux-image-6.1.0-56-amd64-unsigned=6.1.176-1 linux-headers-6.1.0-56-common=6.1.176-1 \
        linux-image-amd64=6.1.176-1 linux-headers-6.1.0-56-cloud-amd64=6.1.199-1 \
        linux-image-6.1.0-56-cloud-amd64=6.1.199-1\n";
    let same = "main: linux-headers-6.1.0-50-amd64=6.1.170-3\nold: linux-headers-6.1.0-50-amd64=6.1.170-1\n";
    let newer = "main: linux-headers-6.1.0-50-amd64=6.1.170-2\nother: linux-headers-6.1.0-50-amd64=6.1.170-3\n";
    // That of the base's very version is better than the newest.
    assert_eq!(
        bookworm("base", &[security, same].concat()),
        "kernel 6.1.0-50-amd64 stays: it is the base's kernel; linux-headers-6.1.0-50-amd64 comes from old\n\
         build with linux-headers-6.1.0-50-amd64=6.1.170-1 from old"
    );
    assert!(bookworm("base", newer).ends_with("build with linux-headers-6.1.0-50-amd64=6.1.170-3 from other"));
    assert_eq!(
        bookworm("base", security),
        "error: no repository has kernel-devel for 6.1.0-50-amd64, the kernel of the base\n\
         hint: kernel-devel is there for 6.1.0-56-amd64; pin = \"devel\" would take 6.1.0-56-amd64"
    );
    let upgraded = "kernel 6.1.0-50-amd64 is upgraded to 6.1.0-56-amd64: it is the newest that linux-headers is there \
        for; linux-headers-6.1.0-56-amd64 comes from security\n\
        install linux-image-6.1.0-56-amd64=6.1.176-1\nremove linux-image-6.1.0-50-amd64=6.1.170-1\n\
        build with linux-headers-6.1.0-56-amd64=6.1.176-1 from security";
    assert_eq!(bookworm("devel", &[same, security].concat()), upgraded);
    for pin in ["=6.1.0-56", "=6.1.0-56-amd64"] {
        let named = "the recipe names it";
        let expected = upgraded.replace("it is the newest that linux-headers is there for", named);
        assert_eq!(bookworm(pin, security), expected);
    }
    let back = security.replace("6.1.0-56", "6.1.0-9").replace("6.1.176-1", "6.1.27-1");
    assert!(bookworm("devel", &back).starts_with("kernel 6.1.0-50-amd64 is downgraded to 6.1.0-9-amd64"));
    // Experimental: the candidate's package version has a tilde, its release a dash.
    let candidate = "exp: linux-image-6.13-rc7-amd64=6.13~rc7-1~exp1 linux-headers-6.13-rc7-amd64=6.13~rc7-1~exp1\n";
    let final_one = "sid: linux-image-6.13.1-amd64=6.13.1-1 linux-headers-6.13.1-amd64=6.13.1-1\n";
    assert!(bookworm("devel", candidate).starts_with("kernel 6.1.0-50-amd64 is upgraded to 6.13-rc7-amd64"));
    let both = [candidate, final_one].concat();
    assert!(bookworm("devel", &both).starts_with("kernel 6.1.0-50-amd64 is upgraded to 6.13.1-amd64"));
    assert!(bookworm("=6.1.0-56-cloud", security).contains("upgraded to 6.1.0-56-cloud-amd64"));
}

#[test]
fn kernels_are_told_from_their_neighbours() {
    for name in
        ["kernel-headers", "kernel-tools", "kernel-doc", "kernelshark", "kernel-abi-stablelists", "linux-libc-dev"]
    {
        assert!(!Offers::wanted(name), "{name}");
    }
    let rpm = offers(
        "r: kernel=1-1 kernel-core=1-1 kernel-modules-core=1-1 kernel-debug-core=1-1 kernel-rt-debug-devel=1-1 \
         kernel-64k-modules-extra=1-1",
        Family::Rpm,
    );
    let releases = |packages: &[KernelPackage]| -> Vec<String> {
        packages.iter().map(|package| format!("{} {}", package.name, package.release)).collect()
    };
    assert_eq!(releases(&rpm.images), ["kernel-core 1-1.x86_64", "kernel-debug-core 1-1.x86_64+debug"]);
    assert_eq!(releases(&rpm.devel), ["kernel-rt-debug-devel 1-1.x86_64+rt-debug"]);
    let parts = ["kernel 1-1.x86_64", "kernel-modules-core 1-1.x86_64", "kernel-64k-modules-extra 1-1.x86_64+64k"];
    assert_eq!(releases(&rpm.parts), parts);
    for (release, family, expected) in [
        ("6.12.0-160.el10.x86_64", Family::Rpm, ""),
        ("6.12.0-160.el10.x86_64+64k-debug", Family::Rpm, "64k-debug"),
        ("6.1.0-56-amd64", Family::Debian, "amd64"),
        ("6.12.107+deb13-cloud-amd64", Family::Debian, "cloud-amd64"),
        ("6.1.0-0.deb11.5-rt-amd64", Family::Debian, "rt-amd64"),
        ("6.13-rc7-amd64", Family::Debian, "amd64"),
        ("6.8.0-45-generic", Family::Debian, "generic"),
    ] {
        assert_eq!(flavour(&KernelRelease::new(release).unwrap(), family), expected);
    }
}

/// Random repositories of few versions, so that halves often fit together.
fn repositories() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "kernel-core",
        "kernel-devel",
        "kernel-modules",
        "kernel-rt-core",
        "kernel-rt-devel",
    ]);
    let version = prop::sample::select(vec!["1-1", "1-2", "1-10", "2~rc1-1", "2-1"]);
    let package = (prop::sample::select(vec!["a", "b"]), name, version);
    let line = package.prop_map(|(repository, name, version)| format!("{repository}: {name}={version}\n"));
    prop::collection::vec(line, 0..10).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn decisions_keep_their_laws(
        text in repositories(),
        more in repositories(),
        pin in prop::sample::select(vec!["base", "devel", "=1-10", "=2-1.x86_64", "=1-2", "=1-2.x86_64+rt"]),
    ) {
        let base = base("1-2.x86_64", "1-2", Family::Rpm, &["kernel-core", "kernel-modules"]);
        let pin = KernelPin::from(pin.to_owned());
        let (few, many) = (offers(&text, Family::Rpm), offers(&[text, more].concat(), Family::Rpm));
        if let Ok(decision) = decide(&pin, &base, &few) {
            prop_assert_eq!(&decision.devel.release, &decision.release);
            prop_assert!(few.devel.contains(&decision.devel));
            let stays = decision.release == base.release;
            prop_assert_eq!(decision.direction == Direction::Keep, stays);
            prop_assert!(stays || few.images.iter().any(|image| image.release == decision.release));
            prop_assert!(stays || pin != KernelPin::Base);
            let after = decide(&pin, &base, &many);
            prop_assert!(after.is_ok(), "{:?}", after);
            if pin == KernelPin::Devel {
                let version = |decision: &KernelDecision| decision.devel.version.clone();
                prop_assert!(version(&after.unwrap()) >= version(&decision), "more offers, older kernel");
            }
        }
    }
}
