#!/usr/bin/env bash
# Runs setup.sh where nothing is installed but a package manager that only writes down what it is asked.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# world MANAGER UID: the programs of a machine with that manager, seen by that user.
world() {
  rm -rf "$work/bin"
  mkdir "$work/bin"
  local program
  for program in bash awk grep mktemp cat rm ls; do ln -s "$(type -P $program)" "$work/bin/"; done
  printf '#!/bin/sh\necho %s\n' "$2" >"$work/bin/id"
  printf '#!/bin/sh\n' >"$work/bin/cargo"
  if [ "$1" != none ]; then printf '#!/bin/sh\necho "%s $*" >>"%s"\n' "$1" "$work/asked" >"$work/bin/$1"; fi
  chmod +x "$work"/bin/*
  : >"$work/asked"
}

# run STATUS [ARGUMENT...]: what setup.sh says is in $work/said then.
run() {
  local expected=$1 status=0
  shift
  env -i PATH="$work/bin" SETUP_SBIN= bash "$here/setup.sh" "$@" >"$work/said" 2>&1 || status=$?
  if [ $status = "$expected" ]; then return; fi
  echo "setup.sh $*: status $status, expected $expected" >&2
  cat "$work/said" >&2
  failures=$((failures + 1))
}

# has FILE PATTERN, lacks FILE PATTERN
has() { grep -qE -- "$2" "$work/$1" || { echo "$1 has no line with: $2" >&2; cat "$work/$1" >&2; failures=$((failures + 1)); }; }
lacks() { if grep -qE -- "$2" "$work/$1"; then echo "$1 has: $2" >&2; failures=$((failures + 1)); fi; }

world dnf 0
run 0 test
has asked '^dnf install -y --setopt=install_weak_deps=False mmdebstrap .*pkgconf-pkg-config .*qemu-system-x86-core'
lacks asked '(docker-registry|buildah| -( |$))'

world dnf 1000
run 69
has said '^  sudo dnf install -y .* skopeo'
lacks asked .

world apt-get 0
run 0 demo
has asked '^apt-get install -y --no-install-recommends mmdebstrap .*gcc'
lacks asked '(qemu|podman|buildah)'

world apt-get 0
run 0 bench
has asked '^apt-get install .* qemu-system-x86 .* buildah time$'

world apt-get 1000
run 69 test
has said '^setup: umoci is missing \(client test, unpacks images\): package umoci$'
has said '^  sudo apt-get install -y --no-install-recommends .* umoci'
lacks asked .

# A manager that fails: its words and the status of a missing program.
world apt-get 0
printf '#!/bin/sh\necho "no such package"\nexit 100\n' >"$work/bin/apt-get"
run 69 test
has said '^no such package$'

world none 0
run 69 test
has said '^  mkfs.erofs  \(root file system of the boot test\)$'
lacks said 'buildah'

world apt-get 0
rm "$work/bin/cargo"
run 69 demo
has said 'rustup'
lacks asked .

world apt-get 0
run 2 everything
exit $((failures > 0))
