#!/usr/bin/env bash
# Makes a real, bootc-shaped Debian image to build upon: make-base.sh [DIR]
#
#   DIR/base         OCI layout with the tag "latest"
#   DIR/kernel       the release of its kernel
#   DIR/base.stamp   digest of the scripts that made them; a second run with the same scripts does nothing
#
# Needs mmdebstrap and root (or user namespaces). DIR is .work by default.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

dir=${1:-.work}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
lock "$dir"
digest=$(recipe_digest "$here"/{make-base.sh,lib.sh,shape-rootfs.sh,split-layers.py,debian_files.py,oci_layout.py})
summary() { echo "base: Debian $suite with kernel $(cat "$dir/kernel") in $dir/base"; }
if finished "$dir/base.stamp" "$digest"; then summary; exit 0; fi

packages=systemd,systemd-sysv,dbus,udev,kmod,linux-image-amd64,dracut,zstd
# ping carries a file capability, the one extended attribute that layers must keep.
packages+=,iputils-ping,libcap2-bin

rm -f "$dir/base.stamp"
rm -rf "$dir"/.base.* # what an interrupted run left
partial=$(mktemp -d "$dir/.base.XXXXXX")
trap 'rm -rf "$partial"' EXIT

echo "base: installing Debian $suite" >&2
debootstrap "$partial/log" --variant=minbase --format=tar --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --customize-hook="$here/shape-rootfs.sh" --skip=cleanup -- "$partial/rootfs.tar"

echo "base: writing layers" >&2
kernel=$(python3 -B "$here/split-layers.py" "$partial/rootfs.tar" "$partial/layout")

rm -rf "$dir/base"
mv "$partial/layout" "$dir/base"
echo "$kernel" >"$dir/kernel"
echo "$digest" >"$dir/base.stamp"
summary
