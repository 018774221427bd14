#!/usr/bin/env bash
# Installs the system programs that a run needs: setup.sh [demo|test|bench]
#
# Each of the three needs what stands before it, too; without a word it is "test". Quick and silent towards the
# network when everything is there. Installing needs root; without it the script says what is missing and how to
# install it, and exits 69 (a needed program is missing).
# A Rust toolchain is not installed here: rust-toolchain.toml names the one that rustup fetches.
set -euo pipefail
for_run=${1:-test}

# run | command or file to look for | Debian package | Fedora package ("-" where Fedora has none) | what needs it
programs='
demo|mmdebstrap|mmdebstrap|mmdebstrap|builds the base image
demo|/usr/share/keyrings/debian-archive-keyring.gpg|debian-archive-keyring|debian-keyring|verifies the packages of the base
demo|mount|mount|util-linux|builds the base image
demo|newuidmap|uidmap|shadow-utils|builds the base image without root
demo|python3|python3|python3|splits the base into layers
demo|gcc|gcc|gcc|links the Rust programs
demo|/usr/include/stdlib.h|libc6-dev|glibc-devel|links the Rust programs
demo|depmod|kmod|kmod|module indexes where that of the image cannot run
demo|/etc/ssl/certs/ca-certificates.crt|ca-certificates|ca-certificates|registries over TLS
test|/usr/include/openssl/ssl.h|libssl-dev|openssl-devel|the reader of layouts that judges ours
test|pkg-config|pkgconf|pkgconf-pkg-config|finds OpenSSL
test|jq|jq|jq|reads manifests
test|zstd|zstd|zstd|reads zstd layers
test|xz|xz-utils|xz|module fixtures
test|pigz|pigz|pigz|gzip layers as other tools write them
test|rpmbuild|rpm|rpm-build|rpm database fixtures
test|gpg|gpg|gnupg2|keys of rpm repositories
test|createrepo_c|createrepo-c|createrepo_c|rpm repository fixtures
test|apt-ftparchive|apt-utils|-|Debian repository fixtures
test|dpkg-scanpackages|dpkg-dev|dpkg-dev|Debian repository fixtures
test|systemctl|systemd|systemd|what enabling a unit does
test|mkfs.ext4|e2fsprogs|e2fsprogs|power cuts
test|groff|groff-base|groff-base|the manual page
test|openssl|openssl|openssl|keys, and signatures to compare ours with
test|script|bsdutils|util-linux-script|output on a terminal
test|setpriv|util-linux|util-linux|builds by another user
test|podman|podman|podman|builder containers, client test
test|runc|runc|runc|runtime that works below old cgroups
test|skopeo|skopeo|skopeo|client test, pulls and pushes
test|umoci|umoci|umoci|client test, unpacks images
test|qemu-system-x86_64|qemu-system-x86|qemu-system-x86-core|boot test
test|mkfs.erofs|erofs-utils|erofs-utils|root file system of the boot test
test|docker-registry|docker-registry|-|push and pull tests
bench|buildah|buildah|buildah|comparison in the benchmarks
bench|time|time|time|benchmarks
'
case $for_run in
  demo) runs='demo' ;;
  test) runs='demo|test' ;;
  bench) runs='demo|test|bench' ;;
  *) echo "usage: setup.sh [demo|test|bench]" >&2; exit 2 ;;
esac
programs=$(grep -E "^($runs)\|" <<<"$programs")

# Programs of the super user live outside an ordinary user's PATH. SETUP_SBIN: the tests have another place.
PATH=$PATH:${SETUP_SBIN-/usr/sbin:/sbin}

if ! command -v cargo >/dev/null; then
  echo "setup: cargo is missing: install a Rust toolchain with rustup (https://rustup.rs)" >&2
  exit 69
fi
if command -v apt-get >/dev/null; then family=debian
elif command -v dnf >/dev/null; then family=fedora
else
  echo "setup: neither apt-get nor dnf found; these programs must be there:" >&2
  awk -F'|' '{ print "  " $2 "  (" $5 ")" }' <<<"$programs" >&2
  exit 69
fi

missing=()
while IFS='|' read -r _ program debian fedora purpose; do
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

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# What package managers say matters only when they fail.
quietly() { "$@" >"$log" 2>&1; }
echo "setup: ${install[*]}" >&2
if [ $family = debian ] && ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then
  quietly apt-get update || { cat "$log" >&2; exit 69; }
fi
if quietly "${install[@]}"; then exit 0; fi
# Package lists older than the mirror name files that are gone: read them again, once.
if [ $family = debian ]; then
  quietly apt-get update || { cat "$log" >&2; exit 69; }
  if quietly "${install[@]}"; then exit 0; fi
fi
cat "$log" >&2
exit 69
