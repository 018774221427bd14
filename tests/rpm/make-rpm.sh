#!/usr/bin/env bash
# Makes RPM repositories and a bootc-shaped image that rpm and dnf installed from them: make-rpm.sh [DIR]
#
#   DIR/rpm/compose   what the image consists of: a userland of Debian's programs and kernel 155 without kernel-devel
#   DIR/rpm/old       kernel 150 with kernel-devel
#   DIR/rpm/new       kernel 160 with kernel-devel
#   DIR/rpm/extras    dkms, gcc, make, probe-dkms, zfs, tree 2.1 and what belongs to them
#   DIR/rpm/updates   tree 2.2
#   DIR/rpm/signed    tree 2.1, signed with the key RPM-GPG-KEY-testbed beside it (another one in each run)
#   DIR/rpm-base      OCI layout with the tag "latest"; rpm 4.20 and dnf 4.23 work in it
#   DIR/rpm.stamp     digest of what made them; a second run with the same does nothing
#
# All tools but mmdebstrap and python3 come from Debian's packages, in a tree that is thrown away: the programs of the
# host do not matter. Needs root. DIR is .work by default. tests/rpm/check.sh shows that all of it works.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
# Its rpm, unlike bookworm's, makes users of sysusers.d and writes times by SOURCE_DATE_EPOCH into its database.
suite=trixie
probe=$(cd "$here/../../fixtures/probe-module" && pwd)

dir=${1:-.work}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
lock "$dir"
mapfile -t made_by < <(find "$here" "$probe" -type f ! -name check.sh ! -name 'test_*' ! -name '*.pyc' | LC_ALL=C sort)
digest=$(recipe_digest "${made_by[@]}" "$here"/../base/{lib.sh,split-layers.py,debian_files.py,oci_layout.py})
summary() { echo "rpm: image $dir/rpm-base, repositories $(cd "$dir/rpm" && echo *) in $dir/rpm"; }
if finished "$dir/rpm.stamp" "$digest"; then summary; exit 0; fi
[ "$(id -u)" = 0 ] || { echo "make-rpm.sh: needs root" >&2; exit 69; }

rm -f "$dir/rpm.stamp"
rm -rf "$dir"/.rpm.* # what an interrupted run left
partial=$(mktemp -d "$dir/.rpm.XXXXXX")
tree=$(mktemp -d "$(scratch)/rpm.XXXXXX")
trap 'rm -rf "$partial" "$tree"' EXIT

# enter COMMAND...: runs it in the tree, with no more of the host than its kernel. Nothing stays mounted afterwards.
enter() {
  # shellcheck disable=SC2016
  unshare --mount --fork bash -c 'tree=$1; shift
    mount -t proc proc "$tree/proc"; mount --rbind /dev "$tree/dev"
    cd /; exec chroot "$tree" env -i "$@"' enter "$tree" PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 HOME=/bed \
    SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" "$@"
}

# --- tools; the image is made of the same packages
echo "rpm: unpacking Debian $suite" >&2
userland=bash,coreutils,diffutils,dnf,findutils,grep,gzip,iputils-ping,kmod,libc-bin,libcap2-bin,mawk,passwd
userland+=,python3-rpm,rpm,sed,systemd,tar,util-linux,xz-utils
# Unpacked only, not installed; the archives stay where apt put them.
debootstrap "$partial/log" --variant=extract --aptopt='APT::Install-Recommends "false"' \
  --skip=essential/unlink,cleanup/apt --include="$userland,createrepo-c,dkms,gcc,gnupg,make" -- "$tree"
echo 'root:x:0:0::/root:/bin/bash' >"$tree/etc/passwd"
echo 'root:x:0:' >"$tree/etc/group"
ln -sf bash "$tree/usr/bin/sh"
ln -sf mawk "$tree/usr/bin/awk"
mkdir -p "$tree/etc/rpm" "$tree/bed/probe"
cp -r "$here"/{specs,kernel,debian_rpms.py,shape-image.sh} "$tree/bed"
cp "$probe"/* "$tree/bed/probe"
cp "$here/macros" "$tree/etc/rpm/macros"
# Without these, rpm would look for plugins that need services of a running system.
rm "$tree"/usr/lib/rpm/macros.d/macros.transaction_[!u]*
enter ldconfig
# The variable keeps the compiler from leaving files of its own, which have times in them.
enter env PYTHONDONTWRITEBYTECODE=1 python3 -m compileall -q -j0 --invalidation-mode unchecked-hash \
  /usr/lib/python3 /usr/lib/python3.13

# --- packages
echo "rpm: building packages" >&2
# build REPOSITORY SPEC SOURCES [OPTION...]
build() {
  local repository=$1 spec=$2 sources=$3
  shift 3
  enter rpmbuild -bb --quiet --nodeps --define "_topdir /bed/build-$repository-$spec" \
    --define "_rpmdir /bed/rpm/$repository" --define "_sourcedir /bed/$sources" "$@" "/bed/specs/$spec.spec" \
    >"$partial/$repository-$spec" 2>&1 || { cat "$partial/$repository-$spec" >&2; return 1; }
}
enter python3 -B /bed/debian_rpms.py /var/cache/apt/archives / /bed/specs
build compose userland probe &
userland_build=$!
{
  build compose filesystem probe
  build compose testbed-release probe
  for pair in old:150 compose:155 new:160; do
    build "${pair%:*}" kernel kernel --define "kernel_release ${pair#*:}"
  done
  build extras tree probe --define 'tree_version 2.1.0'
  build updates tree probe --define 'tree_version 2.2.0'
  build signed tree probe --define 'tree_version 2.1.0'
  build extras zfs probe
  build extras probe-dkms probe
} &
other_builds=$!
status=0
wait "$userland_build" || status=1
wait "$other_builds" || status=1
[ $status = 0 ] || exit 1
rpms=$tree/bed/rpm
rm "$rpms"/compose/kernel-devel-* "$rpms"/signed/tree-{broken,colors}-*
mv "$rpms"/compose/{dkms,gcc,make,rpm-plugin-unshare}-[0-9]* "$rpms/extras"

echo "rpm: signing packages, writing repositories" >&2
# shellcheck disable=SC2016
enter bash -euc 'cd /bed/rpm/signed
  gpg --quiet --batch --passphrase "" --quick-gen-key "RPM test bed" rsa3072 sign 0
  gpg --armor --export >RPM-GPG-KEY-testbed
  rpmsign --define "_gpg_name RPM test bed" --addsign *.rpm
  gpgconf --kill all
  cd ..
  for repository in *; do
    touch --date="@$SOURCE_DATE_EPOCH" "$repository"/*.rpm
    createrepo_c --quiet --revision "$SOURCE_DATE_EPOCH" --set-timestamp-to-revision --general-compress-type gz \
      "$repository"
  done' >"$partial/log" 2>&1 || { cat "$partial/log" >&2; exit 1; }

# --- image
echo "rpm: installing the image" >&2
install_rpms() {
  enter dnf -y --installroot /bed/image --repofrompath compose,file:///bed/rpm/compose --repo compose \
    --setopt=reposdir=/nowhere --setopt=cachedir=/bed/cache --releasever 10 --nogpgcheck "$@" >"$partial/log" 2>&1 &&
    ! grep -iE 'scriptlet failed|^(error|warning)' "$partial/log" || { tail -40 "$partial/log" >&2; return 1; }
}
# The kernel by itself: nothing tells rpm that its scriptlets need the C library, and where that is.
mapfile -t names <"$tree/bed/specs/names"
install_rpms install filesystem testbed-release "${names[@]}"
enter chroot /bed/image systemd-sysusers >"$partial/log" 2>&1 || { cat "$partial/log" >&2; exit 1; }
enter chroot /bed/image ldconfig
install_rpms install kernel
enter sh /bed/shape-image.sh /bed/image
enter rpm --root /bed/image -qa --qf '[%{=NAME}\t%{FILENAMES}\n]' | LC_ALL=C sort >"$partial/owners"
tar --xattrs --xattrs-include=security.capability --numeric-owner --sort=name \
  -C "$tree/bed/image" -cf "$partial/rootfs.tar" .

echo "rpm: writing layers" >&2
python3 -B "$here/rpm_layers.py" "$partial/rootfs.tar" "$partial/owners" "$partial/layout"

rm -rf "$dir/rpm" "$dir/rpm-base"
cp -r --preserve=timestamps "$rpms" "$partial/rpm"
mv "$partial/rpm" "$dir/rpm"
mv "$partial/layout" "$dir/rpm-base"
echo "$digest" >"$dir/rpm.stamp"
summary
