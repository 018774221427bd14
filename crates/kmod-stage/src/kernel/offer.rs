//! Kernels that repositories offer, told by the names of their packages.
//!
//! rpm: `kernel-core` and `kernel-devel` of one version belong to the release `VERSION-RELEASE.ARCHITECTURE`; packages of
//! a variant are `kernel-rt-core`, its release ends with `+rt`. Debian: the release is in the name,
//! `linux-image-RELEASE` and `linux-headers-RELEASE`; packages like `linux-image-amd64` only depend on the newest.

use oci_assemble::image::Digest;

use super::KernelRelease;
use crate::repository::Package;
use crate::version::{Family, PackageVersion};

/// Variants of rpm kernels; their names are combined, as in `kernel-rt-debug-core`.
const VARIANTS: [&str; 6] = ["16k", "64k", "automotive", "debug", "rt", "zfcpdump"];
/// Beside image and devel, packages of rpm kernels that are installed with the kernel and must have its version.
const PARTS: [&str; 5] = ["", "modules", "modules-core", "modules-extra", "modules-internal"];
/// What Debian's kernel packages begin with.
const DEBIAN: [&str; 2] = ["linux-image-", "linux-headers-"];

/// What a package is for its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Image,
    Devel,
    Part,
}

/// A package of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPackage {
    /// Name of the package.
    pub name: String,
    /// The kernel it is of.
    pub release: KernelRelease,
    /// Version of the package.
    pub version: PackageVersion,
    /// Architecture as the family calls it.
    pub architecture: String,
    /// Name of the repository.
    pub repository: String,
    /// Digest of the package file.
    pub digest: Digest,
    /// Path of the package file below the repository.
    pub location: String,
}

/// What repositories offer for kernels of one architecture; the order of repositories is that of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers {
    /// As the family calls it: `x86_64`, `amd64`.
    architecture: String,
    /// Packages with a kernel.
    pub images: Vec<KernelPackage>,
    /// Packages to build modules with.
    pub devel: Vec<KernelPackage>,
    /// Other packages that a kernel is made of. rpm only.
    pub parts: Vec<KernelPackage>,
}

impl Offers {
    /// Nothing, for kernels of `architecture`.
    pub fn new(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), images: Vec::new(), devel: Vec::new(), parts: Vec::new() }
    }

    /// Architecture as the family calls it.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Whether a package of this name may be one of a kernel: what to ask readers of metadata for.
    pub fn wanted(name: &str) -> bool {
        rpm_role(name).is_some() || DEBIAN.iter().any(|begin| name.starts_with(begin))
    }

    /// Adds what a repository offers. Packages of other architectures and other things are left out.
    pub fn add(&mut self, repository: &str, packages: &[Package]) {
        for package in packages.iter().filter(|package| package.architecture == self.architecture) {
            let Some((role, release)) = classify(package) else { continue };
            let list = match role {
                Role::Image => &mut self.images,
                Role::Devel => &mut self.devel,
                Role::Part => &mut self.parts,
            };
            list.push(KernelPackage {
                name: package.name.clone(),
                release,
                version: package.version.clone(),
                architecture: package.architecture.clone(),
                repository: repository.to_owned(),
                digest: package.digest,
                location: package.location.clone(),
            });
        }
    }
}

fn classify(package: &Package) -> Option<(Role, KernelRelease)> {
    match &package.version {
        PackageVersion::Rpm(version) => {
            let (role, variant) = rpm_role(&package.name)?;
            let plus = if variant.is_empty() { "" } else { "+" };
            let (version, release) = (version.version(), version.release()?);
            let text = format!("{version}-{release}.{}{plus}{variant}", package.architecture);
            Some((role, KernelRelease::new(&text).ok()?))
        }
        PackageVersion::Debian(_) => {
            let (role, rest) = match package.name.strip_prefix("linux-image-") {
                Some(rest) => (Role::Image, rest),
                None => (Role::Devel, package.name.strip_prefix("linux-headers-")?),
            };
            // Packages for the newest kernel have no version in their name, or that of a series; "unsigned" are twins of signed kernels,
            // "common" is the part of headers that all flavours share.
            let begins = rest.starts_with(|c: char| c.is_ascii_digit()) && !is_series(rest);
            let other = ["-unsigned", "-dbg", "-common", "-common-rt", "-all"].iter().any(|end| rest.ends_with(end));
            let all = rest.split('-').any(|word| word == "all");
            (begins && !other && !all).then(|| KernelRelease::new(rest).ok()).flatten().map(|release| (role, release))
        }
    }
}

/// Whether a name is that of a series, `6.12-amd64`, whose package depends on its newest kernel: kernels have three
/// numbers, or are candidates.
fn is_series(rest: &str) -> bool {
    let mut words = rest.split('-');
    let numbers = words.next().unwrap_or_default().split('.').count();
    numbers < 3 && !words.next().is_some_and(|word| word.starts_with("rc"))
}

/// Role and variant of `kernel[-VARIANT…][-PART]`.
fn rpm_role(name: &str) -> Option<(Role, String)> {
    let rest = name.strip_prefix("kernel")?;
    let words: Vec<&str> = match rest.strip_prefix('-') {
        Some(words) => words.split('-').collect(),
        None if rest.is_empty() => Vec::new(),
        None => return None,
    };
    let variants = words.iter().take_while(|word| VARIANTS.contains(word)).count();
    let (variant, part) = words.split_at(variants);
    let role = match part.join("-").as_str() {
        "core" => Role::Image,
        "devel" => Role::Devel,
        part if PARTS.contains(&part) => Role::Part,
        _ => return None,
    };
    Some((role, variant.join("-")))
}

/// Which of the kernels built from one source a release is: `` or `rt` (rpm), `amd64`, `cloud-amd64` (Debian).
pub(super) fn flavour(release: &KernelRelease, family: Family) -> String {
    let text = release.as_str();
    match family {
        // Versions of rpm kernels have no plus sign; local builds may.
        Family::Rpm => text.split_once('+').map_or("", |(_, variant)| variant).to_owned(),
        Family::Debian => {
            let number = |word: &str| word.strip_prefix("rc").unwrap_or(word).starts_with(|c: char| c.is_ascii_digit());
            text.split('-').skip_while(|word| number(word)).collect::<Vec<_>>().join("-")
        }
    }
}
