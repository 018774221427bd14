//! dnf(8), version 4 and 5, and rpm(8).

use std::collections::BTreeSet;

use super::super::INPUT;
use super::{HEAD, LISTING, MARKER, Request, STATE, words};
use crate::bundle::PackageRecord;

/// How dnf is called: with the image's repositories and the recipe's, without weak dependencies and documentation, and
/// with scripts of packages in no name space of their own, which builders may not make.
fn dnf() -> String {
    format!(
        "\
dnf() {{
  command dnf -y --setopt=reposdir={STATE}/sources --setopt=install_weak_deps=False --setopt=tsflags=nodocs \\
    --setopt=keepcache=True --setopt=retries=3 --setopt=history_record=False \"$@\"
}}
mkdir -p /usr/lib/rpm/macros.d
"
    )
}

fn prepare() -> String {
    format!(
        "\
mkdir -p {STATE}/sources {STATE}/archives /var/cache /var/lib /var/log /var/tmp
: >{MARKER}
cp /etc/yum.repos.d/*.repo {STATE}/sources/ 2>/dev/null || :
cp {INPUT}/repositories/*.repo {STATE}/sources/ 2>/dev/null || :
"
    )
}

/// `NAME=VERSION` as dnf spells it.
fn spec(name: &str) -> String {
    name.replacen('=', "-", 1)
}

fn transaction(request: &Request, locked: Option<&BTreeSet<PackageRecord>>) -> Vec<String> {
    let one_kernel = if request.replace_kernel { " --setopt=installonlypkgs=" } else { "" };
    let mut lines = Vec::new();
    let mut add = |verb: &str, names: Vec<String>| {
        if !names.is_empty() {
            lines.push(format!("{verb}{one_kernel}{}", words(names.iter().map(String::as_str))));
        }
    };
    if let Some(packages) = locked {
        add("install", packages.iter().map(exact).collect());
    } else {
        add("install", request.install.iter().map(|name| spec(name)).collect());
        add("downgrade", request.downgrade.iter().map(|name| spec(name)).collect());
    }
    lines
}

/// `NAME-VERSION.ARCHITECTURE`, the version with its epoch.
fn exact(package: &PackageRecord) -> String {
    let PackageRecord { name, version, arch, .. } = package;
    arch.as_ref().map_or_else(|| format!("{name}-{version}"), |arch| format!("{name}-{version}.{arch}"))
}

pub(super) fn fetch(request: &Request, locked: Option<&BTreeSet<PackageRecord>>) -> String {
    let mut lines = String::new();
    for line in transaction(request, locked) {
        lines.push_str(&format!("dnf --downloadonly --downloaddir={STATE}/archives {line}\n"));
    }
    format!(
        "\
{HEAD}{}{}{lines}cd {STATE}/archives
for file in *.rpm; do
  [ -e \"$file\" ] || continue
  sum=$(sha256sum \"$file\")
  echo \"$(rpm -qp --nosignature --qf '%{{NAME}} %|EPOCH?{{%{{EPOCH}}:}}:{{}}|%{{VERSION}}-%{{RELEASE}} %{{ARCH}}' \"$file\") ${{sum%% *}} $(stat -c %s \"$file\")\"
done | LC_ALL=C sort >{LISTING}
",
        prepare(),
        dnf(),
    )
}

pub(super) fn install(request: &Request) -> String {
    let one_kernel = if request.replace_kernel { " --setopt=installonlypkgs=" } else { "" };
    let remove = if request.remove.is_empty() {
        String::new()
    } else {
        format!("dnf --cacheonly remove{}\n", words(request.remove.iter().map(String::as_str)))
    };
    format!(
        "\
{}set -- {STATE}/archives/*.rpm
if [ -e \"$1\" ]; then dnf --cacheonly{one_kernel} --disablerepo='*' install \"$@\"; fi
{remove}",
        dnf(),
    )
}

/// Signatures were checked when the packages were fetched.
pub(super) const UNPACK: &str = "\
set -- /var/lib/assemble/archives/*.rpm
if [ -e \"$1\" ]; then rpm --upgrade --nodeps --noscripts --notriggers --nosignature --replacepkgs --oldpackage \"$@\"; fi
ldconfig
";
