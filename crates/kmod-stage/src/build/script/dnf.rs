//! dnf(8), version 4 and 5, and rpm(8).

use std::collections::BTreeSet;

use super::super::INPUT;
use super::{FETCHED, HEAD, LISTING, MARKER, METADATA, Request, STATE, words};
use crate::bundle::PackageRecord;

/// How dnf is called: without weak dependencies and documentation, and removing only what is named and what needs it.
///
/// A script of a package that fails is no failure for dnf, which only says so on its way (in other words in each
/// version); the package is there, half installed. Here it is one, and the last lines name the packages.
fn dnf() -> String {
    format!(
        "\
dnf() {{
  {{
    status=0
    command dnf -y --setopt=reposdir={STATE}/sources --setopt=install_weak_deps=False --setopt=tsflags=nodocs \\
      --setopt=clean_requirements_on_remove=False --setopt=retries=3 --setopt=skip_if_unavailable=False \"$@\" 2>&1 || status=$?
    echo $status >{STATE}/status
  }} | tee {STATE}/output
  if [ \"$(cat {STATE}/status)\" != 0 ]; then
    # Behind this line dnf prints the whole configuration of the repository.
    repository=$(sed -n 's/^Problem repository: //p' {STATE}/output | tail -n 1)
    [ -z \"$repository\" ] || echo \"Error: packages of repository $repository must be signed (gpgkey=), or it says gpgcheck=0\" >&2
    exit 1
  fi
  if grep -E 'scriptlet failed|[Ee]rror in .*scriptlet' {STATE}/output >{STATE}/failed; then
    echo 'scripts of packages failed:' >&2
    cat {STATE}/failed >&2
    exit 1
  fi
}}
"
    )
}

/// What rpm is told by a file in its home directory, which is no part of the result: its plugin may make no name spaces
/// here, and every script would fail; signatures are checked by dnf when packages are fetched, never again.
fn macros() -> String {
    format!(
        "\
export HOME={STATE}
echo '%__transaction_unshare %{{nil}}' >{STATE}/.rpmmacros
echo '%_pkgverify_level digest' >>{STATE}/.rpmmacros
"
    )
}

fn prepare() -> String {
    format!(
        "\
mkdir -p {STATE}/sources {STATE}/archives {FETCHED} /var/cache /var/lib /var/log /var/tmp
: >{MARKER}
cp /etc/yum.repos.d/*.repo {STATE}/sources/ 2>/dev/null || :
cp {INPUT}/repositories/*.repo {STATE}/sources/ 2>/dev/null || :
# Keys of repositories go into rpm's database; the image trusts those of its base.
database=$(readlink -f \"$(rpm --eval %_dbpath)\")
cp -a \"$database\" {STATE}/database
"
    )
}

/// The script that leaves what repositories say of themselves below [`METADATA`]: `ID/repomd.xml` and the list of
/// packages that it names.
pub(super) fn metadata() -> String {
    format!(
        "\
{HEAD}{}{}{}dnf makecache --setopt=cachedir={STATE}/cache --setopt=zchunk=False
mkdir {METADATA}
for data in {STATE}/cache/*/repodata; do
  [ -e \"$data\" ] || continue
  # dnf adds a digest of the URL to the name.
  name=${{data%/repodata}}
  name=${{name##*/}}
  mkdir -p {METADATA}/\"${{name%-*}}\"
  cp \"$data\"/repomd.xml \"$data\"/*primary.xml* {METADATA}/\"${{name%-*}}\"
done
",
        prepare(),
        macros(),
        dnf(),
    )
}

/// `NAME=VERSION` as dnf spells it.
fn spec(name: &str) -> String {
    name.replacen('=', "-", 1)
}

/// What dnf is asked for. With a version it installs exactly that one, also where a newer one is there.
fn asked(request: &Request, locked: Option<&BTreeSet<PackageRecord>>) -> Vec<String> {
    match locked {
        Some(packages) => packages.iter().map(exact).collect(),
        None => request.install.iter().chain(&request.downgrade).map(|name| spec(name)).collect(),
    }
}

/// `NAME-VERSION.ARCHITECTURE`, the version with its epoch.
fn exact(package: &PackageRecord) -> String {
    let PackageRecord { name, version, arch, .. } = package;
    arch.as_ref().map_or_else(|| format!("{name}-{version}"), |arch| format!("{name}-{version}.{arch}"))
}

/// Kernels are installed beside each other unless nothing is said to be so.
fn one_kernel(request: &Request) -> &'static str {
    if request.kernel.is_some() { " --setopt=installonlypkgs=" } else { "" }
}

pub(super) fn fetch(request: &Request, locked: Option<&BTreeSet<PackageRecord>>) -> String {
    let names = asked(request, locked);
    // A repository that does not say whether it signs its packages has to.
    let line = if names.is_empty() {
        String::new()
    } else {
        format!(
            "dnf install --downloadonly --destdir={STATE}/archives --setopt=gpgcheck=True{}{}\n",
            one_kernel(request),
            words(names.iter().map(String::as_str))
        )
    };
    format!(
        "\
{HEAD}{}{}{}{line}rm -rf \"$database\"
mv {STATE}/database \"$database\"
cd {STATE}/archives
for file in *.rpm; do
  [ -e \"$file\" ] || continue
  sum=$(sha256sum \"$file\")
  echo \"$(rpm -qp --nosignature --qf '%{{NAME}} %|EPOCH?{{%{{EPOCH}}:}}:{{}}|%{{VERSION}}-%{{RELEASE}} %{{ARCH}}' \"$file\") ${{sum%% *}} $(stat -c %s \"$file\")\"
done | LC_ALL=C sort >{LISTING}
",
        prepare(),
        macros(),
        dnf(),
    )
}

pub(super) fn install(request: &Request) -> String {
    // A kernel of another flavour is of other packages: those of the old one are in nobody's place.
    let comes = |name: &str| request.install.iter().any(|new| new.split('=').next() == Some(name));
    let replaced = request.kernel.iter().flat_map(|kernel| &kernel.replaced).filter(|name| !comes(name));
    let gone: Vec<&str> = request.remove.iter().chain(replaced).map(String::as_str).collect();
    let remove = if gone.is_empty() {
        String::new()
    } else {
        format!("dnf remove --cacheonly --disablerepo='*'{}\n", words(gone))
    };
    format!(
        "\
{}{}set -- {STATE}/archives/*.rpm
if [ -e \"$1\" ]; then dnf install --cacheonly --disablerepo='*' --setopt=localpkg_gpgcheck=False{} \"$@\"; fi
{remove}",
        macros(),
        dnf(),
        one_kernel(request),
    )
}

/// The lines that make the users and groups that files of packages belong to, as far as rpm would not find them: it would
/// give such files to root and take their setuid bit away. rpm reads /etc alone, where users of the image are not. The
/// names are all that counts here, as those decide which numbers files get in the image.
pub(super) const ACCOUNTS: &str = "\
missing() {
  file=$1
  tag=$2
  shift 2
  rpm -qp --nosignature --qf \"[%{$tag}\\n]\" \"$@\" | LC_ALL=C sort -u | while read -r name; do
    [ -z \"$name\" ] || grep -qs \"^$name:\" /etc/\"$file\" || echo \"$name\"
  done
}
number=64000
for name in $(missing passwd FILEUSERNAME \"$@\"); do
  grep -s \"^$name:\" /usr/lib/passwd >>/etc/passwd || echo \"$name:x:$number:$number::/:/sbin/nologin\" >>/etc/passwd
  number=$((number + 1))
done
for name in $(missing group FILEGROUPNAME \"$@\"); do
  grep -s \"^$name:\" /usr/lib/group >>/etc/group || echo \"$name:x:$number:\" >>/etc/group
  number=$((number + 1))
done
";

/// Signatures were checked when the packages were fetched.
pub(super) fn unpack() -> String {
    format!(
        "\
set -- {STATE}/archives/*.rpm
if [ -e \"$1\" ]; then
{ACCOUNTS}{{
  status=0
  rpm --upgrade --nodeps --noscripts --notriggers --nosignature --replacepkgs --oldpackage \"$@\" 2>&1 || status=$?
  echo $status >{STATE}/status
}} | tee {STATE}/output
[ \"$(cat {STATE}/status)\" = 0 ] || exit 1
if grep -E '(user|group) .* does not exist - using root' {STATE}/output >{STATE}/failed; then
  echo 'files of packages would belong to root:' >&2
  cat {STATE}/failed >&2
  exit 1
fi
fi
ldconfig
"
    )
}
