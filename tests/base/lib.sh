# What make-base.sh and make-module.sh share: Debian's package sources and finished-output stamps.
# Sourced, not run.
# shellcheck shell=bash

suite=bookworm
# 2025-01-01: any fixed time will do; nothing in the output is newer.
export SOURCE_DATE_EPOCH=1735689600

# Prints the mirror arguments for mmdebstrap: the machine's own sources where they are Debian's of this
# suite (they may be a local mirror), otherwise nothing, which means mmdebstrap's default.
debian_sources() {
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -s "$file" ] || continue
    case $file in
      *.sources)
        grep -qE "^Suites:.*\b$suite\b" "$file" && grep -qE '^Components:.*\bmain\b' "$file" ;;
      *)
        grep -qE "^deb .*\b$suite\b.* main\b" "$file" ;;
    esac && echo "$file"
  done
  return 0
}

# Runs mmdebstrap for the suite with the machine's sources: debootstrap LOG OPTION... -- TARGET
# What it says goes to the file LOG and is shown when it fails.
debootstrap() {
  local log=$1 options=() mirrors
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  mapfile -t mirrors < <(debian_sources)
  # A mirror may lag behind: an expired release file is no reason to refuse it for a test image.
  # INITRD=No: no initramfs by way of the packages' triggers; shape-rootfs.sh makes the one that counts.
  if ! TMPDIR=$(scratch) INITRD=No mmdebstrap --quiet --aptopt='Acquire::Check-Valid-Until "false"' \
    --aptopt='Acquire::Retries "3"' "${options[@]}" "$suite" "$2" "${mirrors[@]}" >"$log" 2>&1; then
    tail -40 "$log" >&2
    echo "${0##*/}: mmdebstrap failed" >&2
    return 1
  fi
}

# Prints a directory for trees of some 30,000 files: memory where there is plenty, else the usual one.
scratch() {
  local available
  available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  if [ "$available" -gt 6000000 ] && [ -w /dev/shm ] &&
    [ "$(df --output=avail /dev/shm | tail -1)" -gt 3000000 ] &&
    ! findmnt -nT /dev/shm -o OPTIONS | grep -qE '(^|,)(noexec|nodev|nosuid)(,|$)'; then
    echo /dev/shm
  else
    echo "${TMPDIR:-/tmp}"
  fi
}

# Prints one digest over the named files: what a finished output was made by.
recipe_digest() {
  cat "$@" | sha256sum | cut -d' ' -f1
}

# True when STAMP says that the output beside it was finished by the recipe with this digest.
finished() { # STAMP DIGEST
  [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}

# Waits until no other run works in the directory, and keeps others waiting until this one ends.
lock() { # DIR
  exec {lock_fd}>"$1/.lock"
  flock "$lock_fd"
}
