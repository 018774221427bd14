//! apt-get(8) and dpkg(1).

use std::collections::BTreeSet;

use super::super::INPUT;
use super::{HEAD, LISTING, MARKER, Request, STATE, words};
use crate::bundle::PackageRecord;

/// What makes apt work in a bootable image, whose `/var` is empty and whose package database may be elsewhere.
fn prepare() -> String {
    format!(
        "\
mkdir -p {STATE}/sources /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/log/apt /var/tmp
: >{MARKER}
# Bootable images keep dpkg's database in /usr, where it is part of the image.
[ -e /var/lib/dpkg ] || ln -s ../../usr/lib/dpkg /var/lib/dpkg
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/parts /var/lib/dpkg/triggers /var/lib/dpkg/updates
[ -e /var/lib/dpkg/available ] || : >/var/lib/dpkg/available
"
    )
}

/// How apt-get is called: with the image's repositories and the recipe's, and nothing else that a recipe does not say.
fn apt_get() -> String {
    format!(
        "\
apt_get() {{
  apt-get --quiet --yes -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts={STATE}/sources \\
    -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Acquire::Languages=none \\
    -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \"$@\"
}}
"
    )
}

/// What apt-get is asked to install: a dash behind a name removes it.
fn asked(request: &Request) -> String {
    let Request { install, remove, downgrade, .. } = request;
    let removed: Vec<String> = remove.iter().map(|name| format!("{name}-")).collect();
    let downgrades = if downgrade.is_empty() { "" } else { " --allow-downgrades" };
    let names = install.iter().chain(downgrade).chain(&removed).map(String::as_str);
    format!("{downgrades}{}", words(names))
}

pub(super) fn fetch(request: &Request, locked: Option<&BTreeSet<PackageRecord>>) -> String {
    let names = match locked {
        None => asked(request),
        Some(packages) => {
            let exact: Vec<String> = packages.iter().map(exact).collect();
            let removed: Vec<String> = request.remove.iter().map(|name| format!("{name}-")).collect();
            format!(" --allow-downgrades{}", words(exact.iter().chain(&removed).map(String::as_str)))
        }
    };
    format!(
        "\
{HEAD}{}{}cp /etc/apt/sources.list {STATE}/sources/image.list 2>/dev/null || :
cp /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources {STATE}/sources/ 2>/dev/null || :
cp {INPUT}/repositories/* {STATE}/sources/ 2>/dev/null || :
apt_get update
apt_get install --download-only{names}
cd /var/cache/apt/archives
for file in *.deb; do
  [ -e \"$file\" ] || continue
  sum=$(sha256sum \"$file\")
  echo \"$(dpkg-deb --show --showformat='${{Package}} ${{Version}} ${{Architecture}}' \"$file\") ${{sum%% *}} $(stat -c %s \"$file\")\"
done | LC_ALL=C sort >{LISTING}
",
        prepare(),
        apt_get(),
    )
}

/// `NAME:ARCHITECTURE=VERSION`.
fn exact(package: &PackageRecord) -> String {
    let PackageRecord { name, version, arch, .. } = package;
    match arch.as_deref() {
        None | Some("all") => format!("{name}={version}"),
        Some(arch) => format!("{name}:{arch}={version}"),
    }
}

pub(super) fn install(request: &Request) -> String {
    format!("{}apt_get install --no-download --ignore-missing{}\n", apt_get(), asked(request))
}

/// Unpacked packages have their configuration files under another name, until their scripts run.
pub(super) const UNPACK: &str = "\
find /var/cache/apt/archives -name '*.deb' | LC_ALL=C sort >/var/lib/assemble/archives
if [ -s /var/lib/assemble/archives ]; then
  # Nothing here outlives a power cut, so nothing waits for the disk.
  xargs dpkg --unpack --force-unsafe-io --force-depends --no-triggers </var/lib/assemble/archives
  find /etc -name '*.dpkg-new' | while read -r file; do mv \"$file\" \"${file%.dpkg-new}\"; done
  ldconfig
fi
";
