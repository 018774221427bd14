#!/usr/bin/env bash
# Builds the same image as root and as an ordinary user: rootless.sh ASSEMBLE [WORK]
#
# podman runs the builder containers of a user in a user namespace, with other owners on disk and another storage; the image
# must be the same. Needs root, to be somebody else for a while, podman, the base of make-base.sh, and Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
. "$here/../podman.sh"

if [ "$(id -u)" != 0 ]; then
  echo "skipped: only root can become another user" >&2
  exit 0
fi
assemble=$(realpath "$1")
work=$(realpath "${2:-.work}")
user=assemble-test
temp=$(mktemp -d "${TMPDIR:-/tmp}/assemble-rootless.XXXXXX")
cleanup() {
  # What podman stored belongs to users that exist in the namespace only, which a process of podman's keeps.
  as_user podman unshare rm -rf "$temp/home/.local/share/containers/storage" 2>/dev/null || :
  as_user podman system migrate 2>/dev/null || :
  rm -rf "$temp"
  userdel "$user" 2>/dev/null || :
}
trap cleanup EXIT

as_user() {
  setpriv --reuid "$user" --regid "$user" --clear-groups env -i -C "$temp" PATH="$PATH" HOME="$temp/home" \
    XDG_RUNTIME_DIR="$temp/run" TMPDIR="$temp/tmp" ASSEMBLE_PODMAN_RUNTIME="$ASSEMBLE_PODMAN_RUNTIME" \
    ASSEMBLE_PODMAN_ARGUMENTS="$ASSEMBLE_PODMAN_ARGUMENTS" ASSEMBLE_PODMAN_OPTIONS=--cgroup-manager=cgroupfs "$@"
}

podman_settings
# Not every machine has the program that gives containers of users a network of their own.
ASSEMBLE_PODMAN_ARGUMENTS+=" --network=host"
: "${ASSEMBLE_PODMAN_RUNTIME=}" "${ASSEMBLE_PODMAN_ARGUMENTS=}"
# With ranges of numbers for the users inside, as every ordinary user gets them.
id "$user" >/dev/null 2>&1 || useradd --no-create-home --home-dir "$temp/home" --shell /usr/sbin/nologin "$user"
grep -q "^$user:" /etc/subuid || { echo "rootless: useradd gave $user no ranges of subordinate users" >&2; exit 1; }
cp "$here/../../recipes/repos/debian-contrib.sources" "$temp/debian.sources"
# The tree of the tests may be closed to others.
cp "$assemble" "$temp/assemble"
cp -R "$work/base" "$temp/base"
cat >"$temp/tools.toml" <<TOML
schema = 1
[image]
name = "tools"
[base]
image = "oci:base:latest"
[packages]
repositories = ["debian.sources"]
install = ["tree", "mtr-tiny"]
TOML
mkdir -p "$temp"/{home,run,tmp}
chmod 700 "$temp/run"
chmod 755 "$temp"
chown -R "$user:" "$temp"

cd "$temp"
rootful=$(./assemble --recipe tools.toml --output oci:root:tools --cache cache-root)
rootless=$(as_user ./assemble --recipe tools.toml --output oci:user:tools --cache cache-user)
[ "$rootful" = "$rootless" ] || { echo "rootless: $rootless, but as root $rootful" >&2; exit 1; }
echo "packages: $rootless, as root and as an ordinary user"
