#!/usr/bin/env bash
# Moves the kernel of the Debian base to one that Debian's archive has headers for: kernel.sh ASSEMBLE [WORK]
#
# The archive of a release is behind its security updates, backports are ahead of both: the first of them whose kernel is
# not the base's is taken. One kernel is there afterwards, whole, and dpkg knows no other; a second build and one by the
# lock give the same image; it boots. Needs podman, QEMU, the base of make-base.sh, and Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
. "$here/../podman.sh"

assemble=$(realpath "$1")
work=$(realpath "${2:-.work}")
podman_settings
temp=$(mktemp -d "${TMPDIR:-/tmp}/assemble-kernel.XXXXXX")
trap 'rm -rf "$temp"' EXIT
base=$(cat "$work/kernel")
cd "$temp"
fail() { echo "kernel: $*" >&2; exit 1; }
build() { "$assemble" --recipe moved.toml --cache "$temp/cache" "$@" 2>said.txt || { cat said.txt >&2; return 1; }; }

cat >moved.toml <<TOML
schema = 1
[image]
name = "moved"
[base]
image = "oci:$work/base:latest"
[kernel]
pin = "devel"
repositories = ["kernel.sources"]
[output]
image = "oci:out:moved"
TOML
kernel=$base
for suite in bookworm bookworm-backports; do
  cat >kernel.sources <<SOURCES
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm $suite
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
  rm -f moved.lock
  "$assemble" lock --recipe moved.toml --cache "$temp/cache" >/dev/null
  kernel=$(sed -n '/\.kernel\]$/,/^$/s/^release = "\(.*\)"/\1/p' moved.lock)
  [ "$kernel" = "$base" ] || break
done
[ "$kernel" != "$base" ] || fail "no suite has another kernel than the base: $base"
grep -Eq "^reason = \"kernel $base is (up|down)graded to $kernel: " moved.lock || fail "the lock has no reason: $(cat moved.lock)"
"$assemble" plan --recipe moved.toml --cache "$temp/cache" | grep -Fxq "kernel    $kernel" || fail "the plan names another kernel"

first=$(build --locked)
mv moved.lock kept.lock
second=$(build --rebuild)
[ "$first" = "$second" ] || fail "a locked build and a second one without a lock differ: $first, $second"

"$assemble" lint oci:out:moved --cache "$temp/cache" >/dev/null
"$assemble" inspect oci:out:moved --cache "$temp/cache" --tree >tree.txt
kernels=$(sed -n 's|^/usr/lib/modules/\([^/ ]*\) .*|\1|p' tree.txt)
[ "$kernels" = "$kernel" ] || fail "the kernels of the image are: $kernels"
for file in vmlinuz config System.map initramfs.img modules.dep; do
  grep -q "^/usr/lib/modules/$kernel/$file file 0[0-7]* 0:0" tree.txt || fail "there is no $file of $kernel"
done
grep -q "^/usr/lib/dpkg/info/linux-image-$kernel.list " tree.txt || fail "dpkg does not know the kernel"
! grep -E "^(/boot/|/vmlinuz|/initrd.img|/usr/lib/dpkg/info/linux-image-$base.list)" tree.txt || fail "something of the old kernel is left"

# What the pin was is part of the lock.
mv kept.lock moved.lock
sed -i 's/pin = "devel"/pin = "base"/' moved.toml
if build --locked >/dev/null 2>&1; then fail "a lock for another pin was accepted"; fi
grep -q 'pin devel is locked, the recipe says base' said.txt || fail "the drift is not named: $(cat said.txt)"

said=$("$assemble" boot oci:out:moved --cache "$temp/cache" --run 'uname -r' --timeout 900) || fail "it does not boot: $said"
grep -q "$kernel" <<<"$said" || fail "another kernel runs: $said"
echo "kernel: $base -> $kernel, $first twice, booted"
