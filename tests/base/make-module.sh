#!/usr/bin/env bash
# Compiles fixtures/probe-module for the kernel of the base image: make-module.sh [DIR]
#
#   DIR/modules/KVER/{probe_core,probe}.ko   for the release KVER that DIR/kernel names
#   DIR/Module.symvers                       what that kernel and its own modules export, with checksums
#   DIR/modules.stamp                        digest of what made them; a second run with the same does nothing
#
# The compiler and the kernel's headers live in a throw-away Debian tree: the host needs neither, and the
# base image stays free of both. Run make-base.sh first. DIR is .work by default.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
sources=$(cd "$here/../../fixtures/probe-module" && pwd)

dir=$(cd "${1:-.work}" && pwd)
kernel=$(cat "$dir/kernel")
lock "$dir"
digest=$(recipe_digest "$here"/{make-module.sh,lib.sh} "$sources"/{Kbuild,Makefile,*.c} "$dir/kernel")
summary() { echo "module: $(cd "$dir/modules/$kernel" && echo *.ko) in $dir/modules/$kernel"; }
if finished "$dir/modules.stamp" "$digest"; then summary; exit 0; fi

rm -f "$dir/modules.stamp"
rm -rf "$dir"/.modules.* # what an interrupted run left
partial=$(mktemp -d "$dir/.modules.XXXXXX")
trap 'rm -rf "$partial"' EXIT
mkdir -p "$partial/modules/$kernel"

echo "module: compiling for $kernel" >&2
debootstrap "$partial/log" --variant=apt --format=null --include="linux-headers-$kernel,make" \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --customize-hook='mkdir "$1/usr/src/probe-module"' \
  --customize-hook="sync-in '$sources' /usr/src/probe-module" \
  --customize-hook="chroot \"\$1\" make -C /usr/src/probe-module KVER=$kernel" \
  --customize-hook="copy-out /usr/src/probe-module/probe_core.ko /usr/src/probe-module/probe.ko '$partial/modules/$kernel'" \
  --customize-hook="copy-out /usr/src/linux-headers-$kernel/Module.symvers '$partial'" \
  -- - || {
  echo "make-module.sh: if the archive no longer has the headers of $kernel, remove $dir/base.stamp and start again" >&2
  exit 1
}
chmod 0644 "$partial/modules/$kernel"/*.ko "$partial/Module.symvers"

rm -rf "$dir/modules"
mv "$partial/modules" "$dir/modules"
mv "$partial/Module.symvers" "$dir/Module.symvers"
echo "$digest" >"$dir/modules.stamp"
summary
