//! The environment of every builder.

use std::collections::BTreeMap;
use std::num::NonZero;

use oci_assemble::image::Epoch;

/// The environment every builder has, so that what it makes depends on its inputs alone. Nothing else is in it but
/// what the specification adds, and `HOSTNAME`, which podman sets.
///
/// Times follow from `epoch` (<https://reproducible-builds.org/specs/source-date-epoch/>; KBUILD variables:
/// Documentation/kbuild/reproducible-builds of the kernel). `jobs` is how many processes make starts at a time.
pub fn environment(epoch: Epoch, jobs: NonZero<usize>) -> BTreeMap<String, String> {
    [
        ("DEBIAN_FRONTEND", "noninteractive".to_owned()),
        ("HOME", "/root".to_owned()),
        ("KBUILD_BUILD_HOST", "builder".to_owned()),
        ("KBUILD_BUILD_TIMESTAMP", epoch.to_string()),
        ("KBUILD_BUILD_USER", "builder".to_owned()),
        // Every C library has it without locale files, unlike C.UTF-8.
        ("LC_ALL", "C".to_owned()),
        ("MAKEFLAGS", format!("-j{jobs}")),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("SOURCE_DATE_EPOCH", epoch.seconds().to_string()),
        ("TZ", "UTC".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_time_follows_from_the_epoch() {
        let made = environment(Epoch::new(1_735_689_600).unwrap(), NonZero::new(3).unwrap());
        let lines: Vec<String> = made.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines,
            [
                "DEBIAN_FRONTEND=noninteractive",
                "HOME=/root",
                "KBUILD_BUILD_HOST=builder",
                "KBUILD_BUILD_TIMESTAMP=2025-01-01T00:00:00Z",
                "KBUILD_BUILD_USER=builder",
                "LC_ALL=C",
                "MAKEFLAGS=-j3",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "SOURCE_DATE_EPOCH=1735689600",
                "TZ=UTC",
            ]
        );
    }
}
