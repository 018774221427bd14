#!/usr/bin/env bash
# Compiles OpenZFS in builder containers, boots the image and uses a pool: zfs.sh ASSEMBLE [WORK]
#
# Builds recipes/debian-zfs.toml with the binary ASSEMBLE, runs its builder a second time and compares what it made,
# boots the image in QEMU without KVM, and there makes a pool on files, writes, scrubs, exports, imports and reads.
# Needs podman, QEMU, the base that make-base.sh makes, and a network with Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
. "$here/../podman.sh"

assemble=$1
work=${2:-.work}
image=out/debian-zfs:latest

bundle() { "$assemble" stage --recipe recipes/debian-zfs.toml --cache "$work/cache" "$@" zfs | cut -d' ' -f2; }
config() { # digest of the configuration of a bundle: what was made, without the log
  skopeo inspect --raw "oci:$work/cache/bundles@$1" 2>/dev/null | python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["digest"])' ||
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["config"]["digest"])' "$work/cache/bundles/blobs/${1/://}"
}

podman_settings
echo "zfs: compiling" >&2
first=$(bundle)
echo "zfs: compiling again" >&2
second=$(bundle --rebuild)
[ "$(config "$first")" = "$(config "$second")" ] || { echo "zfs: two builds of the modules differ" >&2; exit 1; }
[ "$(bundle)" = "$second" ] || { echo "zfs: the second result is not what is kept" >&2; exit 1; }

"$assemble" --recipe recipes/debian-zfs.toml --cache "$work/cache"
"$assemble" lint --cache "$work/cache" "oci:$image"
"$assemble" inspect "oci:$image" --cache "$work/cache" --tree >"$work/zfs-tree.txt"
for package in zfsutils-linux zfs-zed; do
  grep -q "^/usr/lib/dpkg/info/$package.list " "$work/zfs-tree.txt" || { echo "zfs: dpkg does not know $package" >&2; exit 1; }
done
! grep -E '^/usr/lib/(dpkg/info/(zfs-dkms|dkms|gcc)|.assemble)' "$work/zfs-tree.txt" || { echo "zfs: too much is recorded" >&2; exit 1; }
echo "zfs: booting" >&2
"$assemble" boot "oci:$image" --cache "$work/cache" --module zfs --script "$here/pool.sh" --timeout 900
