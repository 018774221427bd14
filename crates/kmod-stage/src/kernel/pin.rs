//! Which kernel an image gets, decided before anything is built.
//!
//! Modules are built against kernel-devel (linux-headers), which repositories often have for another kernel than the
//! one in the base: they are ahead of it, or behind. Either the kernel of the base stays and its own kernel-devel must
//! be found, or the kernel moves, in whichever direction, to one that kernel-devel is there for. Moving it changes the
//! whole image, so nothing but the recipe's pin does that.

use std::cmp::Ordering;
use std::fmt;

pub use oci_assemble::plan::kernel::Direction;
use oci_assemble::plan::kernel::KernelChoice;
use oci_assemble::plan::recipe::spec::KernelPin;

use super::KernelRelease;
use super::offer::{KernelPackage, Offers, flavour};
use super::pin_error::{Lacking, PinError};
use crate::version::{Family, PackageVersion};

/// The kernel of the base image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseKernel {
    /// Its release.
    pub release: KernelRelease,
    /// Version of its package.
    pub version: PackageVersion,
    /// Names of the installed packages of that version it is made of: `kernel-core`, `kernel-modules`, …;
    /// `linux-image-RELEASE`.
    pub packages: Vec<String>,
}

/// One package in one version. Displayed as dnf and apt-get take it: `NAME-[EPOCH:]VERSION-RELEASE.ARCHITECTURE` or
/// `NAME=VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactPackage {
    /// Name.
    pub name: String,
    /// Version.
    pub version: PackageVersion,
    /// Architecture as the family calls it.
    pub architecture: String,
}

impl fmt::Display for ExactPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version.family() {
            Family::Rpm => write!(f, "{}-{}.{}", self.name, self.version, self.architecture),
            Family::Debian => write!(f, "{}={}", self.name, self.version),
        }
    }
}

/// What is to be done about the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelDecision {
    /// The kernel of the new image.
    pub release: KernelRelease,
    /// Where it moves from the base's.
    pub direction: Direction,
    /// Packages to install; none where it stays.
    pub install: Vec<ExactPackage>,
    /// Packages of the base to remove: package managers install kernels beside each other. None where it stays.
    pub remove: Vec<ExactPackage>,
    /// What modules are built with.
    pub devel: KernelPackage,
    /// Why, for people.
    pub reason: String,
}

impl KernelDecision {
    /// The decision as plans and locks say it, for a recipe with `pin`.
    pub fn choice(&self, pin: &KernelPin) -> KernelChoice {
        let words = |packages: &[ExactPackage]| packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
        KernelChoice {
            pin: String::from(pin.clone()),
            release: self.release.to_string(),
            direction: self.direction,
            reason: self.reason.clone(),
            install: words(&self.install),
            remove: words(&self.remove),
        }
    }
}

/// Decides which kernel the image gets.
///
/// Laws: with [`KernelPin::Base`] the kernel stays; the decision's kernel is the base's or one of `offers.images`, and
/// `devel` is for that kernel; more offers never turn a decision into an error.
pub fn decide(pin: &KernelPin, base: &BaseKernel, offers: &Offers) -> Result<KernelDecision, PinError> {
    let chooser = Chooser { base, offers };
    match pin {
        KernelPin::Base => chooser.keep(),
        KernelPin::Devel => chooser.follow(),
        KernelPin::Exact(text) => chooser.exact(text),
    }
}

struct Chooser<'a> {
    base: &'a BaseKernel,
    offers: &'a Offers,
}

impl<'a> Chooser<'a> {
    fn keep(&self) -> Result<KernelDecision, PinError> {
        let base = self.base;
        match self.devel(&base.release) {
            Some(devel) => Ok(self.decision(&base.release, None, devel, "it is the base's kernel")),
            None => Err(PinError::NoDevel {
                base: base.release.clone(),
                there: self.newest(&self.offers.devel),
                follow: self.follow().ok().map(|decision| decision.release),
            }),
        }
    }

    fn follow(&self) -> Result<KernelDecision, PinError> {
        let mut passed: Vec<&KernelPackage> = Vec::new();
        for candidate in self.ordered(&self.offers.devel) {
            let Some(devel) = self.devel(&candidate.release) else { continue };
            let why = |base: bool| {
                let mut why = format!("it is the newest that {} is there for", subject(&devel.name));
                if base {
                    why += ", and the base's kernel";
                }
                if let Some(first) = passed.first() {
                    why += &format!(" (there is {}, but no complete kernel of it)", first.release);
                }
                why
            };
            if candidate.release == self.base.release {
                return Ok(self.decision(&candidate.release, None, devel, &why(true)));
            }
            match self.image(&candidate.release) {
                Ok(image) => return Ok(self.decision(&candidate.release, Some(image), devel, &why(false))),
                Err(_) => passed.push(candidate),
            }
        }
        let (base, devel) = (self.base.release.clone(), self.newest(&self.offers.devel));
        Err(PinError::NothingToFollow { base, devel, images: self.newest(&self.offers.images) })
    }

    fn exact(&self, text: &str) -> Result<KernelDecision, PinError> {
        let architecture = self.offers.architecture();
        let fits = |release: &KernelRelease| {
            let suffix = release.as_str().strip_prefix(text);
            suffix.is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix(['.', '-']).is_some_and(|rest| rest == architecture)
            })
        };
        let why = "the recipe names it";
        let refuse = |lacking| PinError::NotAvailable {
            pin: text.to_owned(),
            lacking,
            images: self.newest(&self.offers.images),
            devel: self.newest(&self.offers.devel),
        };
        if fits(&self.base.release) {
            let devel = self.devel(&self.base.release).ok_or_else(|| refuse(Lacking::Devel))?;
            return Ok(self.decision(&self.base.release, None, devel, "the recipe names it, and it is the base's"));
        }
        let image = self.offers.images.iter().map(|image| &image.release).find(|release| fits(release));
        let devel = self.offers.devel.iter().map(|devel| &devel.release).find(|release| fits(release));
        match (image, devel) {
            (None, None) => Err(refuse(Lacking::Both)),
            (None, Some(_)) => Err(refuse(Lacking::Image)),
            (Some(_), None) => Err(refuse(Lacking::Devel)),
            (Some(release), Some(_)) => {
                let image = self.image(release).map_err(|part| refuse(Lacking::Part(part)))?;
                let devel = self.devel(release).ok_or_else(|| refuse(Lacking::Devel))?;
                Ok(self.decision(release, Some(image), devel, why))
            }
        }
    }

    /// The best kernel-devel for a kernel: for the base's that of its very version, where one release had several
    /// packages; else that of the image. Then the newest, then that of the first repository.
    fn devel(&self, release: &KernelRelease) -> Option<&'a KernelPackage> {
        let image = if *release == self.base.release {
            Some(&self.base.version)
        } else {
            best(&self.offers.images, release, None).map(|image| &image.version)
        };
        best(&self.offers.devel, release, image)
    }

    /// The kernel of a release, if all its packages are there; else the name of the first one that is not.
    fn image(&self, release: &KernelRelease) -> Result<&'a KernelPackage, String> {
        let name = || format!("the kernel {release}");
        let image = best(&self.offers.images, release, None).ok_or_else(name)?;
        let missing = self.needed(image).into_iter().find(|name| {
            let is_it = |part: &KernelPackage| part.name == *name && part.release == image.release;
            *name != image.name && !self.offers.parts.iter().any(is_it)
        });
        missing.map_or(Ok(image), Err)
    }

    /// Names of the packages that a new kernel is made of: those of the base's kernel, or what they are called for
    /// another flavour.
    fn needed(&self, image: &KernelPackage) -> Vec<String> {
        let mut names = vec![image.name.clone()];
        if image.version.family() == Family::Rpm {
            let [own, new] = [&self.base.release, &image.release].map(prefix);
            let rest = self.base.packages.iter().filter_map(|name| name.strip_prefix(&own));
            names.extend(rest.map(|rest| format!("{new}{rest}")));
            names.sort();
            names.dedup();
        }
        names
    }

    /// Packages of the base's flavour, newest first; of equal ones in the order of repositories.
    fn ordered(&self, packages: &'a [KernelPackage]) -> Vec<&'a KernelPackage> {
        let own = flavour(&self.base.release, self.base.version.family());
        let same = |package: &&KernelPackage| flavour(&package.release, package.version.family()) == own;
        let mut packages: Vec<_> = packages.iter().filter(same).collect();
        packages.sort_by(|a, b| order(b, a));
        packages
    }

    /// Their releases, each once.
    fn newest(&self, packages: &'a [KernelPackage]) -> Vec<KernelRelease> {
        let mut releases: Vec<KernelRelease> = Vec::new();
        for package in self.ordered(packages) {
            if !releases.contains(&package.release) {
                releases.push(package.release.clone());
            }
        }
        releases
    }

    fn decision(
        &self,
        release: &KernelRelease,
        image: Option<&KernelPackage>,
        devel: &KernelPackage,
        why: &str,
    ) -> KernelDecision {
        let direction = image.map_or(Direction::Keep, |image| {
            if image.version < self.base.version { Direction::Downgrade } else { Direction::Upgrade }
        });
        let exact = |names: Vec<String>, version: &PackageVersion| -> Vec<ExactPackage> {
            let architecture = self.offers.architecture().to_owned();
            let package = |name| ExactPackage { name, version: version.clone(), architecture: architecture.clone() };
            names.into_iter().map(package).collect()
        };
        let moves = match direction {
            Direction::Keep => format!("kernel {release} stays"),
            Direction::Upgrade => format!("kernel {} is upgraded to {release}", self.base.release),
            Direction::Downgrade => format!("kernel {} is downgraded to {release}", self.base.release),
        };
        KernelDecision {
            release: release.clone(),
            direction,
            install: image.map(|image| exact(self.needed(image), &image.version)).unwrap_or_default(),
            remove: image.map(|_| exact(self.base.packages.clone(), &self.base.version)).unwrap_or_default(),
            devel: devel.clone(),
            reason: format!("{moves}: {why}; {} comes from {}", devel.name, devel.repository),
        }
    }
}

/// What names of rpm packages of a kernel begin with: `kernel`, `kernel-rt`.
fn prefix(release: &KernelRelease) -> String {
    match flavour(release, Family::Rpm).as_str() {
        "" => "kernel".to_owned(),
        variant => format!("kernel-{variant}"),
    }
}

/// What a kernel-devel package is called apart from its kernel.
fn subject(name: &str) -> &str {
    if name.starts_with("linux-headers-") { "linux-headers" } else { name }
}

/// Packages of two families, which no base has, keep their order.
fn order(a: &KernelPackage, b: &KernelPackage) -> Ordering {
    a.version.partial_cmp(&b.version).unwrap_or(Ordering::Equal)
}

/// Of the packages for one kernel that of `version`, else the newest; of several the first.
fn best<'a>(
    packages: &'a [KernelPackage],
    release: &KernelRelease,
    version: Option<&PackageVersion>,
) -> Option<&'a KernelPackage> {
    let own = || packages.iter().filter(|package| package.release == *release);
    let newest = || own().rev().max_by(|a, b| order(a, b));
    own().find(|package| Some(&package.version) == version).or_else(newest)
}

#[cfg(test)]
mod tests;
