#!/usr/bin/env bash
# Compiles OpenZFS a second time, which must give the same modules byte for byte: again.sh ASSEMBLE [WORK]
#
# zfs.sh ran before it with the same arguments. Needs podman and a network with Debian's archive, and ten minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
. "$here/../podman.sh"

assemble=$1
work=${2:-.work}

bundle() { "$assemble" stage --recipe recipes/debian-zfs.toml --cache "$work/cache" "$@" zfs | cut -d' ' -f2; }
config() { # digest of the configuration of a bundle: what was made, without the log
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["config"]["digest"])' "$work/cache/bundles/blobs/${1/://}"
}

podman_settings
first=$(bundle)
echo "zfs: compiling again" >&2
second=$(bundle --rebuild)
[ "$first" != "$second" ] || { echo "zfs: nothing was compiled again" >&2; exit 1; } # logs have times
[ "$(config "$first")" = "$(config "$second")" ] || { echo "zfs: two builds of the modules differ" >&2; exit 1; }
[ "$(bundle)" = "$second" ] || { echo "zfs: the second result is not what is kept" >&2; exit 1; }
echo "zfs: $(config "$second"), twice"
