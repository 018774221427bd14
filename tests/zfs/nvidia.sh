#!/usr/bin/env bash
# Compiles NVIDIA's open modules in builder containers and assembles them beside OpenZFS: nvidia.sh ASSEMBLE [WORK]
#
# No graphics card is needed: the image is booted and `modprobe nvidia` must fail for want of a card, which shows that all
# symbols were found and the module began to work.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
. "$here/../podman.sh"

assemble=$1
work=${2:-.work}
image=out/debian-zfs-nvidia:latest

podman_settings
"$assemble" --recipe recipes/debian-zfs-nvidia.toml --cache "$work/cache"
"$assemble" lint --cache "$work/cache" "oci:$image"
"$assemble" boot "oci:$image" --cache "$work/cache" --timeout 900 --script "$here/no-card.sh"
