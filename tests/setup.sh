#!/usr/bin/env bash
# Installs the system programs that the tests and the demo run.
#
# Quick and silent towards the network when everything is there. Installing needs root; without it the
# script says what is missing and how to install it, and exits 69 (a needed program is missing).
# A Rust toolchain is not installed here: rust-toolchain.toml names the one that cargo fetches.
set -euo pipefail

# command or file to look for | Debian package | Fedora package ("-" where Fedora has none) | what needs it
programs='
mmdebstrap|mmdebstrap|mmdebstrap|builds the base image
/usr/share/keyrings/debian-archive-keyring.gpg|debian-archive-keyring|debian-keyring|verifies the packages of the base
mount|mount|util-linux|builds the base image
newuidmap|uidmap|shadow-utils|rootless containers
python3|python3|python3|splits the base into layers
jq|jq|jq|reads manifests
zstd|zstd|zstd|reads zstd layers
xz|xz-utils|xz|module fixtures
pigz|pigz|pigz|gzip layers as other tools write them
gcc|gcc|gcc|links the Rust programs
/usr/include/stdlib.h|libc6-dev|glibc-devel|links the Rust programs
make|make|make|this Makefile
depmod|kmod|kmod|module indexes of foreign images
rpm|rpm|rpm-build|rpm database fixtures
podman|podman|podman|builder containers, client test
runc|runc|runc|runtime that works below old cgroups
skopeo|skopeo|skopeo|client test, pulls and pushes
umoci|umoci|umoci|client test, unpacks images
buildah|buildah|buildah|comparison in the benchmarks
qemu-system-x86_64|qemu-system-x86|qemu-system-x86-core|boot test
mkfs.erofs|erofs-utils|erofs-utils|root file system of the boot test
docker-registry|docker-registry|-|push and pull tests
time|time|time|benchmarks
/etc/ssl/certs/ca-certificates.crt|ca-certificates|ca-certificates|registries over TLS
'

# Programs of the super user live outside an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin

if command -v apt-get >/dev/null; then family=debian
elif command -v dnf >/dev/null; then family=fedora
else
  echo "setup: neither apt-get nor dnf found; install these programs by other means:" >&2
  echo "$programs" | awk -F'|' 'NF { print "  " $1 "  (" $4 ")" }' >&2
  exit 69
fi

missing=()
while IFS='|' read -r program debian fedora purpose; do
  [ -n "$program" ] || continue
  # `type -P` ignores the shell's own words, such as time.
  case $program in
    /*) if [ -e "$program" ]; then continue; fi ;;
    *) if type -P "$program" >/dev/null; then continue; fi ;;
  esac
  package=$debian; [ $family = debian ] || package=$fedora
  if [ "$package" = - ]; then continue; fi
  echo "setup: $program is missing ($purpose): package $package" >&2
  missing+=("$package")
done <<<"$programs"

[ ${#missing[@]} -gt 0 ] || exit 0

if [ $family = debian ]; then
  install=(apt-get install -y --no-install-recommends "${missing[@]}")
else
  install=(dnf install -y --setopt=install_weak_deps=False "${missing[@]}")
fi
if [ "$(id -u)" != 0 ]; then
  echo "setup: not root; run this once:" >&2
  echo "  sudo ${install[*]}" >&2
  exit 69
fi

export DEBIAN_FRONTEND=noninteractive
if [ $family = debian ] && ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then
  apt-get update -q
fi
# Package lists older than the mirror name files that are gone: read them again, once.
if [ $family = debian ] && ! "${install[@]}"; then
  apt-get update -q
fi
"${install[@]}" || exit 69
