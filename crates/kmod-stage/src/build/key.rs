//! What decides about a result.

use std::collections::BTreeSet;

use oci_assemble::image::Digest;

use super::{Position, Step, Target, Work};
use crate::bundle::{BundleKey, KeyError, PackageRecord};

/// Changes when results of the same inputs do. (2: what has no time of its own is dated 0.)
const FORM: &str = "2";

/// The key of what `tool` makes of `work` in containers that start from the image `builder`, for an image in which it
/// comes at `position`.
pub fn key(
    tool: &str,
    builder: &Digest,
    work: &dyn Work,
    position: &Position,
    target: &Target,
    packages: &BTreeSet<PackageRecord>,
) -> Result<BundleKey, KeyError> {
    let mut inputs = vec![
        ("form".to_owned(), FORM.into()),
        ("tool".to_owned(), tool.to_owned()),
        ("kind".into(), work.kind().into()),
        ("stage".into(), position.stage.clone()),
        ("builder".into(), builder.to_string()),
        ("base".into(), position.base.to_string()),
        ("architecture".into(), target.architecture.clone()),
        ("epoch".into(), target.epoch.seconds().to_string()),
        // How packages are chosen decides through the list alone; how they are used, through this script.
        ("script".into(), Digest::of(work.script(Step::Build, target).as_bytes()).to_string()),
    ];
    let before = position.before.iter().enumerate();
    inputs.extend(before.map(|(number, (name, digest))| (format!("before.{number}.{name}"), digest.to_string())));
    inputs.extend(target.kernel.iter().map(|kernel| ("kernel".to_owned(), kernel.to_string())));
    inputs.extend(work.settings().into_iter().map(|(name, value)| (format!("setting.{name}"), value)));
    let files = work.inputs().digests().into_iter().filter(|(name, _)| !name.starts_with("repositories/"));
    inputs.extend(files.map(|(name, digest)| (format!("input.{name}"), digest.to_string())));
    let package = |package: &PackageRecord| {
        let PackageRecord { name, version, arch, checksum, .. } = package;
        let checksum = checksum.map(|digest| digest.to_string()).unwrap_or_default();
        (format!("package.{name}-{version}.{}", arch.as_deref().unwrap_or("-")), checksum)
    };
    inputs.extend(packages.iter().map(package));
    BundleKey::new(inputs)
}

/// The digest of what the recipe asks for, repositories included: while it stays, so does the choice of packages that was
/// made for it. Neither the image that builders start from nor this program's version is part of it.
pub fn request(work: &dyn Work) -> Digest {
    let settings = work.settings().into_iter().map(|(name, value)| (format!("setting.{name}"), value));
    let files = work.inputs().digests().into_iter().map(|(name, digest)| (format!("input.{name}"), digest.to_string()));
    let mut text = format!("assemble request 1\nkind {} {}\n", work.kind().len(), work.kind());
    for (name, value) in settings.chain(files) {
        // The length says where a value ends that has line breaks.
        text.push_str(&format!("{name} {} {value}\n", value.len()));
    }
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::packages::PackagesWork;
    use super::super::script::Request;
    use super::super::{Family, Inputs};
    use super::*;
    use oci_assemble::image::Epoch;

    fn work(install: &[&str], repository: &str, patch: &str) -> PackagesWork {
        let mut inputs = Inputs::default();
        inputs.add("repositories/a.sources", repository).unwrap();
        inputs.add("patches/000-a", patch).unwrap();
        let install = install.iter().map(|name| (*name).to_owned()).collect();
        let request = Request { install, ..Request::default() };
        PackagesWork { request, inputs }
    }

    #[test]
    fn repositories_decide_what_is_asked_for_and_not_what_comes_out() {
        let target = Target {
            family: Family::Debian,
            kernel: None,
            kernel_version: None,
            architecture: "amd64".into(),
            epoch: Epoch::new(0).unwrap(),
        };
        let at = Position { stage: "packages".into(), base: Digest::of(b"base"), before: Vec::new() };
        let key_at = |work: &PackagesWork, tool, at: &Position| {
            *super::key(tool, &Digest::of(b"builder"), work, at, &target, &BTreeSet::new()).unwrap().digest()
        };
        let key = |work: &PackagesWork, tool| key_at(work, tool, &at);
        let one = work(&["tree"], "one", "patch");
        let repository = work(&["tree"], "other", "patch");
        let patch = work(&["tree"], "one", "other");
        let more = work(&["tree", "mtr"], "one", "patch");
        assert_eq!(key(&one, "1"), key(&repository, "1"));
        for other in [&patch, &more] {
            assert_ne!(key(&one, "1"), key(other, "1"));
        }
        assert_ne!(key(&one, "1"), key(&one, "2"));
        // What comes before decides which files are missing, and the name of the stage is in that of a file.
        let before = |stage: &str, packages: &PackagesWork| vec![(stage.to_owned(), key(packages, "1"))];
        let elsewhere = [
            Position { stage: "other".into(), ..at.clone() },
            Position { base: Digest::of(b"other base"), ..at.clone() },
            Position { before: before("packages", &one), ..at.clone() },
            Position { before: before("packages", &more), ..at.clone() },
            Position { before: before("files", &more), ..at.clone() },
        ];
        let mut keys: Vec<Digest> = elsewhere.iter().map(|at| key_at(&one, "1", at)).collect();
        keys.push(key(&one, "1"));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), elsewhere.len() + 1);
        for other in [&repository, &patch, &more] {
            assert_ne!(request(&one), request(other));
        }
        assert_eq!(request(&one), request(&work(&["tree"], "one", "patch")));
    }
}
