#!/usr/bin/env bash
# Boots an image in QEMU and loads a kernel module by name: boot.sh LAYOUT[:TAG] MODULE [LOG-TEXT]
#
# Kernel, initramfs, systemd, kmod and the module's indexes are all the image's own; its tree is not touched.
# It becomes a read-only root file system with an empty /var, as on a bootc machine. What the guest runs comes
# on a second disk. Emulated, not KVM, so that it works inside every virtual machine and container.
#
# Passes when modprobe succeeds, the module and everything that modules.dep names for it were loaded by that
# one call, and the kernel log has LOG-TEXT (when given). Prints one line PASS or FAIL; exit status 0, 1 or 69.
set -euo pipefail

image=${1:?usage: boot.sh LAYOUT[:TAG] MODULE [LOG-TEXT]}
module=${2:?usage: boot.sh LAYOUT[:TAG] MODULE [LOG-TEXT]}
expected=${3:-}
case $image in *:*) ;; *) image=$image:latest ;; esac
# An emulated boot takes half a minute on two idle cores, four times that on busy ones; ten minutes mean that it hangs.
limit=${BOOT_TIMEOUT:-600}

PATH=$PATH:/usr/sbin:/sbin
for program in umoci skopeo jq mkfs.erofs qemu-system-x86_64; do
  type -P "$program" >/dev/null || { echo "boot.sh: $program is missing: run tests/setup.sh" >&2; exit 69; }
done
[ "$(id -u)" = 0 ] || { echo "boot.sh: unpacking an image with its owners needs root" >&2; exit 69; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$(dirname "$0")/../clients/unpack.sh" "$image" "$work/bundle" >"$work/umoci" 2>&1 || { cat "$work/umoci" >&2; exit 1; }
root=$work/bundle/rootfs
kernels=("$root"/usr/lib/modules/*/vmlinuz)
if [ ${#kernels[@]} != 1 ] || [ ! -f "${kernels[0]}" ]; then
  echo "FAIL boot $module: the image has not exactly one kernel"
  exit 1
fi
cp "${kernels[0]}" "${kernels[0]%/*}/initramfs.img" "$work"
mkfs.erofs "$work/root.erofs" "$root" >/dev/null
rm -rf "$work/bundle"

# The guest's script fills whole sectors with empty lines at its end: the shell reads it from the disk.
{
  printf 'module=%q\n' "$module"
  cat "$(dirname "$0")/guest.sh"
} | dd bs=512 conv=sync status=none | tr '\0' '\n' >"$work/disk"

arguments='root=/dev/vda rootfstype=erofs ro console=ttyS0 panic=-1 systemd.volatile=state'
arguments+=' systemd.run="/bin/sh /dev/vdb"'
begin=$(date +%s)
status=0
timeout --kill-after=5 "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
  -nodefaults -display none -monitor none -serial "file:$work/console" -serial "file:$work/report" -no-reboot \
  -kernel "$work/vmlinuz" -initrd "$work/initramfs.img" \
  -drive "file=$work/root.erofs,if=virtio,format=raw,readonly=on" \
  -drive "file=$work/disk,if=virtio,format=raw,readonly=on" \
  -append "$arguments" \
  >"$work/qemu" 2>&1 || status=$?
seconds=$(($(date +%s) - begin))
tr -d '\r' <"$work/report" >"$work/lines"

fail() {
  cat "$work/lines"
  echo "--- end of the console:"
  tail -n 40 "$work/console" "$work/qemu" 2>/dev/null || true
  echo "FAIL boot $module: $1 (${seconds} s)"
  exit 1
}
[ $status != 124 ] || fail "no end after $limit s"
[ $status = 0 ] || fail "QEMU ended with status $status"
grep -qx 'end' "$work/lines" || fail "the guest did not get to the end of its script"
grep -qx 'modprobe 0' "$work/lines" || fail "modprobe failed"
grep -q "^depends ${module//-/_} before=no " "$work/lines" ||
  fail "the module was loaded at boot and cannot be unloaded, so modprobe proves nothing"
if grep -q '^depends .* after=no' "$work/lines"; then fail "the module or a dependency was not loaded"; fi
if [ -n "$expected" ]; then
  grep '^log ' "$work/lines" >"$work/log" || true
  grep -qF -- "$expected" "$work/log" || fail "the kernel log lacks \"$expected\""
fi
# What the kernel said and the list of modules matter only when something is wrong.
grep -vE '^(log|lsmod) ' "$work/lines"
echo "PASS boot $module: loaded $(grep -c '^depends .* before=no ' "$work/lines") modules by modules.dep (${seconds} s)"
