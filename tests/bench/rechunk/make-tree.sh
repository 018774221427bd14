#!/usr/bin/env bash
# Makes one Debian tree for the rechunking benchmark: make-tree.sh OUT.tar [SUITE...]
#
# About 1.6 GB in 400 packages: kernel, headers, firmware, compilers, containers, networks, a graphical stack. It has the
# shape that bootc demands. Without SUITEs the packages are those of the base suite; with "security" and "updates" they
# are the newest ones. Nothing is dated by SOURCE_DATE_EPOCH here: two trees of the same packages differ as real builds do.
# Needs root and mmdebstrap.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../base/lib.sh"
unset SOURCE_DATE_EPOCH

out=${1:?usage: make-tree.sh OUT.tar [SUITE...]}
shift
mirror=$(sed -n 's/^URIs: *\(.*\/debian\)\/\?$/\1/p;s/^deb .*\(http[^ ]*\/debian\)\/\? .*/\1/p' \
  /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1) || true
mirror=${mirror:-http://deb.debian.org/debian}
components="main non-free-firmware"
sources=("deb $mirror $suite $components")
for extra in "$@"; do
  case $extra in
    security) sources+=("deb ${mirror}-security $suite-security $components") ;;
    updates) sources+=("deb $mirror $suite-updates $components") ;;
    *) echo "make-tree.sh: unknown suite $extra" >&2; exit 2 ;;
  esac
done

packages=systemd,systemd-sysv,dbus,udev,kmod,dracut,zstd,linux-image-amd64,linux-headers-amd64
packages+=,firmware-misc-nonfree,firmware-iwlwifi,firmware-realtek,firmware-atheros
packages+=,build-essential,gdb,git,python3,python3-yaml,perl,vim,openssl,curl,wget,openssh-server
packages+=,network-manager,nftables,podman,cryptsetup,lvm2,mdadm,btrfs-progs,smartmontools,tcpdump,strace
packages+=,libgtk-3-0,fonts-dejavu,iputils-ping,libcap2-bin,sudo,htop,tmux,rsync,jq

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! TMPDIR=$(scratch) INITRD=No mmdebstrap --quiet --aptopt='Acquire::Check-Valid-Until "false"' \
  --aptopt='Acquire::Retries "3"' --variant=minbase --format=tar --include="$packages" \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --customize-hook="$here/../../base/shape-rootfs.sh" \
  --skip=cleanup "$suite" "$out" "${sources[@]}" >"$log" 2>&1; then
  tail -40 "$log" >&2
  exit 1
fi
