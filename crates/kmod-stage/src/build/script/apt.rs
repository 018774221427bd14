//! apt-get(8) and dpkg(1).

use std::collections::BTreeSet;

use super::super::INPUT;
use super::{FETCHED, HEAD, LISTING, MARKER, METADATA, Request, STATE, quoted, words};
use crate::bundle::PackageRecord;

/// What makes apt work in a bootable image, whose `/var` is empty and whose package database may be elsewhere.
fn prepare() -> String {
    format!(
        "\
mkdir -p {STATE}/sources {FETCHED} /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/log/apt /var/tmp
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

/// Names of what is to go; a dash behind a name removes it.
fn removed(request: &Request) -> Vec<String> {
    let kernel = request.kernel.iter().flat_map(|kernel| &kernel.replaced);
    request.remove.iter().chain(kernel).map(|name| format!("{name}-")).collect()
}

/// What apt-get is asked to install, and to remove.
fn asked(request: &Request) -> String {
    let Request { install, downgrade, .. } = request;
    let removed = removed(request);
    let downgrades = if downgrade.is_empty() { "" } else { " --allow-downgrades" };
    let names = install.iter().chain(downgrade).chain(&removed).map(String::as_str);
    format!("{downgrades}{}", words(names))
}

pub(super) fn fetch(request: &Request, locked: Option<&BTreeSet<PackageRecord>>) -> String {
    let names = match locked {
        None => {
            let rather = request.rather.iter();
            let rather = rather.map(|(name, version)| format!(" \"$(offered {} {})\"", quoted(name), quoted(version)));
            format!("{}{}", rather.collect::<String>(), asked(request))
        }
        Some(packages) => {
            let exact: Vec<String> = packages.iter().map(exact).collect();
            let removed = removed(request);
            format!(" --allow-downgrades{}", words(exact.iter().chain(&removed).map(String::as_str)))
        }
    };
    let offered = if request.rather.is_some() { OFFERED } else { "" };
    format!(
        "\
{HEAD}{}{}{}{offered}apt_get install --download-only{names}
cd /var/cache/apt/archives
for file in *.deb; do
  [ -e \"$file\" ] || continue
  sum=$(sha256sum \"$file\")
  echo \"$(dpkg-deb --show --showformat='${{Package}} ${{Version}} ${{Architecture}}' \"$file\") ${{sum%% *}} $(stat -c %s \"$file\")\"
done | LC_ALL=C sort >{LISTING}
",
        prepare(),
        apt_get(),
        update(),
    )
}

/// The function that says how to ask for a package in a version that may not be there any more.
pub(super) const OFFERED: &str = "\
offered() {
  if apt-cache -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/var/lib/assemble/sources show \"$1=$2\" 2>/dev/null |
    grep -qxF \"Version: $2\"; then echo \"$1=$2\"; else echo \"$1\"; fi
}
";

/// The lines that ask the repositories of the image and of the recipe.
fn update() -> String {
    format!(
        "\
cp /etc/apt/sources.list {STATE}/sources/image.list 2>/dev/null || :
cp /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources {STATE}/sources/ 2>/dev/null || :
cp {INPUT}/repositories/* {STATE}/sources/ 2>/dev/null || :
apt_get update
"
    )
}

/// The script that leaves what repositories offer of kernels below [`METADATA`]: in a directory each, in the order of
/// preference, `Packages` and the `name` of the repository. apt has verified them.
pub(super) fn metadata() -> String {
    format!(
        "\
{HEAD}{}{}{}mkdir {METADATA}
apt_get indextargets --format '$(FILENAME) $(RELEASE)/$(COMPONENT) of $(SITE)' 'Created-By: Packages' >{STATE}/targets
number=10000
while read -r file name; do
  [ -e \"$file\" ] || continue
  number=$((number + 1))
  mkdir {METADATA}/$number
  echo \"$name\" >{METADATA}/$number/name
  /usr/lib/apt/apt-helper cat-file \"$file\" |
    awk 'BEGIN {{ RS = \"\"; ORS = \"\\n\\n\" }} /^Package: linux-(image|headers)-/' >{METADATA}/$number/Packages
done <{STATE}/targets
",
        prepare(),
        apt_get(),
        update(),
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

/// The lines that make apt take the versions that were fetched, whatever else repositories offer: of names that are
/// asked for, and of all that these need. Names are asked for as they were, so that what only came along is marked so.
pub(super) fn pins() -> String {
    format!(
        "\
{{
  while read -r name version rest; do
    printf 'Package: %s\\nPin: version %s\\nPin-Priority: 1001\\n\\n' \"$name\" \"$version\"
  done <{LISTING}
  cat /etc/apt/preferences 2>/dev/null || :
}} >{PINS}
"
    )
}

/// Where they are.
const PINS: &str = "/var/lib/assemble/preferences";

pub(super) fn install(request: &Request) -> String {
    let line = format!(
        "{}{}apt_get install -o Dir::Etc::Preferences={PINS} --no-download --ignore-missing{}\n",
        apt_get(),
        pins(),
        asked(request)
    );
    match &request.kernel {
        None => line,
        Some(kernel) => format!("{BEFORE_KERNEL}{line}{}", after_kernel(&kernel.release, &kernel.replaced)),
    }
}

/// Scripts of kernel packages make the initramfs where Debian's boot loaders look for it, which takes a minute for
/// nothing.
const BEFORE_KERNEL: &str = "mkdir -p /boot\nexport INITRD=No\n";

/// Debian's kernel is in /boot; in a bootable image it is beside its modules, with an initramfs that is made as that of
/// the old kernel was: dracut keeps in it how it was called (dracut(8), `--rebuild`).
fn after_kernel(release: &str, replaced: &[String]) -> String {
    let (release, replaced) = (quoted(release), words(replaced.iter().map(String::as_str)));
    format!(
        "\
kernel={release}
modules=/usr/lib/modules/$kernel
[ -e \"/boot/vmlinuz-$kernel\" ] || {{ echo \"the packages of kernel $kernel brought no /boot/vmlinuz-$kernel\" >&2; exit 1; }}
mv \"/boot/vmlinuz-$kernel\" \"$modules/vmlinuz\"
for name in config System.map; do
  [ ! -e \"/boot/$name-$kernel\" ] || mv \"/boot/$name-$kernel\" \"$modules/$name\"
done
old=
for other in /usr/lib/modules/*; do
  [ \"$other\" = \"$modules\" ] || [ ! -e \"$other/initramfs.img\" ] || old=$other/initramfs.img
done
[ -e \"$modules/modules.dep\" ] || depmod \"$kernel\"
if command -v dracut >/dev/null; then
  set -- --no-hostonly
  if [ -n \"$old\" ] && lsinitrd \"$old\" '*lib/dracut/build-parameter.txt' | grep -q .; then set -- --rebuild \"$old\"; fi
  dracut --force --reproducible --kver \"$kernel\" \"$@\" \"$modules/initramfs.img\"
elif command -v mkinitramfs >/dev/null; then
  mkinitramfs -o \"$modules/initramfs.img\" \"$kernel\"
else
  echo \"the image has neither dracut nor initramfs-tools, so nothing makes an initramfs for kernel $kernel: add one of them to packages.install\" >&2
  exit 1
fi
chmod 0644 \"$modules/initramfs.img\"
# What is removed stays in the database until it is purged.
dpkg --purge{replaced}
for other in /usr/lib/modules/*; do [ \"$other\" = \"$modules\" ] || rm -rf \"$other\"; done
# Links to what is no longer in /boot.
rm -f /vmlinuz /vmlinuz.old /initrd.img /initrd.img.old
"
    )
}

/// dpkg knows the MD5 of conffiles when it has configured a package, which nothing here does.
pub(super) fn note_conffiles() -> String {
    format!(
        "\
dpkg-query --show --showformat='${{Conffiles}}\\n' | while read -r path sum rest; do
  [ \"$sum\" != newconffile ] || [ ! -f \"$path\" ] || md5sum \"$path\"
done >/{}
",
        crate::record::SUMS
    )
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
