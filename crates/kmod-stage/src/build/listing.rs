//! The packages that were fetched, as a list.
//!
//! A script writes one line a package, sorted: `NAME VERSION ARCHITECTURE SHA256 SIZE`, separated by single spaces.

use std::collections::BTreeSet;

use oci_assemble::image::Digest;

use crate::bundle::PackageRecord;

/// The most bytes of a list that are read: 100,000 packages.
pub(super) const LISTING_MAX: u64 = 16 << 20;

/// A line of a list that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the list of fetched packages is not NAME VERSION ARCHITECTURE SHA256 SIZE: {text:?}")]
pub struct ListingError {
    /// Number of the line, from 1.
    pub line: usize,
    /// The line, cut to 160 characters.
    pub text: String,
}

/// Reads a list.
pub fn fetched(text: &str) -> Result<BTreeSet<PackageRecord>, ListingError> {
    let mut packages = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = || ListingError { line: number + 1, text: line.chars().take(160).collect() };
        packages.insert(package(line).ok_or_else(wrong)?);
    }
    Ok(packages)
}

fn package(line: &str) -> Option<PackageRecord> {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, version, arch, sha256, size] = words[..] else { return None };
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let checksum: Digest = format!("sha256:{sha256}").parse().ok()?;
    size.parse::<u64>().ok()?;
    [name, version, arch].into_iter().all(plain).then(|| PackageRecord {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: Some(arch.to_owned()),
        checksum: Some(checksum),
        source: None,
    })
}

/// A package as one line: `NAME VERSION ARCHITECTURE sha256:…`, as keys and locks hold it.
pub fn render(package: &PackageRecord) -> String {
    let PackageRecord { name, version, arch, checksum, .. } = package;
    let checksum = checksum.map(|digest| format!(" {digest}")).unwrap_or_default();
    format!("{name} {version} {}{checksum}", arch.as_deref().unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_list_is_one_package_a_line() {
        let digits = "ab".repeat(32);
        let text = format!("zfs-dkms 2.1.11-1+deb12u1 all {digits} 2304676\ncpp 4:12.2.0-3 amd64 {digits} 6836\n");
        let packages = fetched(&text).unwrap();
        let lines: Vec<String> = packages.iter().map(render).collect();
        assert_eq!(
            lines,
            [format!("cpp 4:12.2.0-3 amd64 sha256:{digits}"), format!("zfs-dkms 2.1.11-1+deb12u1 all sha256:{digits}")]
        );
        assert!(fetched("").unwrap().is_empty());
        for bad in ["", "a", "a 1 all", &format!("a 1 all {digits}"), &format!("a  1 all {digits} 3"), "a 1 all xx 3"] {
            assert_eq!(fetched(&format!("{bad}\n")).unwrap_err().line, 1, "{bad:?}");
        }
    }
}
