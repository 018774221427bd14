# An ordinary user for tests that root runs: sourced.
# shellcheck shell=bash

# Makes a user with ranges of subordinate users, as everybody gets them, with directories of its own below $1.
ordinary_user() {
  ordinary=assemble-test ordinary_home=$1
  id "$ordinary" >/dev/null 2>&1 || useradd --no-create-home --home-dir "$ordinary_home" --shell /usr/sbin/nologin "$ordinary"
  grep -q "^$ordinary:" /etc/subuid || { echo "useradd gave $ordinary no ranges of subordinate users" >&2; return 1; }
  mkdir -p "$ordinary_home"/{run,tmp}
  chmod 700 "$ordinary_home/run"
  chown -R "$ordinary:" "$ordinary_home"
}

# Runs a program as that user, in its directory. Not every machine has the program that gives containers of users a network
# of their own, nor a service that makes control groups for them. What podman would choose to store layers of users copies
# all files for each layer.
as_ordinary_user() {
  setpriv --reuid "$ordinary" --regid "$ordinary" --clear-groups env -i -C "$ordinary_home" PATH="$PATH" \
    HOME="$ordinary_home" XDG_RUNTIME_DIR="$ordinary_home/run" TMPDIR="$ordinary_home/tmp" \
    ASSEMBLE_PODMAN_RUNTIME="${ASSEMBLE_PODMAN_RUNTIME-}" ASSEMBLE_PODMAN_OPTIONS='--cgroup-manager=cgroupfs --storage-driver=overlay' \
    ASSEMBLE_PODMAN_ARGUMENTS="${ASSEMBLE_PODMAN_ARGUMENTS-} --network=host" "$@"
}

# Removes the user, and what podman stored for it: files of users that exist only in a namespace, which podman keeps open.
no_ordinary_user() {
  [ -n "${ordinary-}" ] || return 0
  as_ordinary_user podman --storage-driver=overlay unshare rm -rf "$ordinary_home/.local/share/containers/storage" 2>/dev/null || :
  as_ordinary_user podman --storage-driver=overlay system migrate 2>/dev/null || :
  userdel "$ordinary" 2>/dev/null || :
}
