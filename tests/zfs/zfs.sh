#!/usr/bin/env bash
# Compiles OpenZFS in builder containers, boots the image and uses a pool: zfs.sh ASSEMBLE [WORK]
#
# Builds recipes/debian-zfs.toml with the binary ASSEMBLE, boots the image in QEMU without KVM, and there makes a pool on
# files, writes, scrubs, exports, imports and reads. again.sh compiles a second time and compares.
# Needs podman, QEMU, the base that make-base.sh makes, and a network with Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
. "$here/../podman.sh"

assemble=$1
work=${2:-.work}
image=out/debian-zfs:latest

podman_settings
echo "zfs: compiling" >&2
"$assemble" --recipe recipes/debian-zfs.toml --cache "$work/cache"
"$assemble" lint --cache "$work/cache" "oci:$image"
"$assemble" inspect "oci:$image" --cache "$work/cache" --tree >"$work/zfs-tree.txt"
for package in zfsutils-linux zfs-zed; do
  grep -q "^/usr/lib/dpkg/info/$package.list " "$work/zfs-tree.txt" || { echo "zfs: dpkg does not know $package" >&2; exit 1; }
done
! grep -E '^/usr/lib/(dpkg/info/(zfs-dkms|dkms|gcc|make)[.]|[.]assemble)' "$work/zfs-tree.txt" || { echo "zfs: too much is recorded" >&2; exit 1; }
echo "zfs: booting" >&2
"$assemble" boot "oci:$image" --cache "$work/cache" --module zfs --script "$here/pool.sh" --timeout 900
