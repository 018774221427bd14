#!/usr/bin/env bash
# Lets the tools that people use read an image: clients.sh LAYOUT[:TAG] [DIGEST...]
#
# skopeo, umoci, podman, GNU tar and Python's tarfile must accept it and agree about it. With DIGESTs only
# those layers are listed in full (they must be in the image), otherwise all of them.
#
# With ASSEMBLE (the program) umoci's tree must also be what "inspect --tree" says.
# One line per check: PASS, FAIL or SKIP. A missing tool or privilege skips a check, and fails it where
# CI=true. Exit status 1 after any failure. Podman's runtime and storage driver: PODMAN_RUNTIME (runc),
# PODMAN_STORAGE_DRIVER (overlay).
set -uo pipefail

image=${1:?usage: clients.sh LAYOUT[:TAG] [DIGEST...]}
shift
case $image in *:*) ;; *) image=$image:latest ;; esac
layout=${image%:*} tag=${image##*:}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
log=$work/log
failures=0

cleanup() {
  # Not "podman system reset": it also removes state that other podmans share. The storage driver mounts
  # its directory on itself.
  findmnt -rno TARGET | grep "^$work/" | sort -r | while read -r mounted; do umount "$mounted"; done
  rm -rf "$work"
}
trap cleanup EXIT

pass() { echo "PASS $1"; }
fail() {
  echo "FAIL $1"
  sed 's/^/  | /' "$log"
  failures=$((failures + 1))
}
skip() {
  if [ "${CI:-}" = true ]; then
    echo "$2" >"$log"
    fail "$1 (skipping is an error where CI=true)"
  else
    echo "SKIP $1: $2"
  fi
}
# check NAME COMMAND...: passes when the command does.
check() {
  local name=$1
  shift
  if "$@" >"$log" 2>&1; then pass "$name"; else fail "$name"; fi
}
has() { type -P "$1" >/dev/null; }
same() {
  if [ "$1" = "$2" ]; then return 0; fi
  printf 'expected %s\nfound    %s\n' "$1" "$2"
  return 1
}

# The manifest as the layout's index names it; everything else is held against it.
manifest_digest=$(jq -er --arg tag "$tag" \
  '[.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag)] | if length == 1 then .[0].digest else empty end' \
  "$layout/index.json") || { echo "FAIL layout: no single manifest has the tag $tag"; exit 1; }
manifest=$layout/blobs/sha256/${manifest_digest#sha256:}
config=$layout/blobs/sha256/$(jq -r '.config.digest[7:]' "$manifest")
layers=$(jq -c '[.layers[].digest]' "$manifest")
diff_ids=$(jq -c '.rootfs.diff_ids' "$config")
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"

skopeo_inspects() {
  local found
  found=$(skopeo inspect "oci:$image") || return 1
  same "$manifest_digest" "$(jq -r .Digest <<<"$found")" && same "$layers" "$(jq -c .Layers <<<"$found")"
}
# copy_keeps TRANSPORT: a copy has the very same manifest, and the tool has checked every blob it read.
copy_keeps() {
  skopeo copy --quiet --policy "$work/policy.json" --preserve-digests "oci:$image" "$1" || return 1
  same "$manifest_digest" "sha256:$(skopeo inspect --raw "$1" | sha256sum | cut -d' ' -f1)"
}
if has skopeo; then
  check "skopeo inspect" skopeo_inspects
  check "skopeo copy to a layout" copy_keeps "oci:$work/copy:$tag"
  rm -rf "$work/copy"
  check "skopeo copy to an oci-archive" copy_keeps "oci-archive:$work/copy.tar:$tag"
  rm -f "$work/copy.tar"
else
  skip "skopeo" "skopeo is not installed"
fi

umoci_agrees() {
  "$ASSEMBLE" inspect --tree "oci:$image" >"$work/tree" || return 1
  python3 -B "$here/compare-tree.py" "$work/tree" "$work/bundle/rootfs"
}
if has umoci && has skopeo; then
  check "umoci unpack" "$here/unpack.sh" "$image" "$work/bundle"
  if [ -z "${ASSEMBLE:-}" ]; then
    skip "umoci unpacks the tree that inspect shows" "ASSEMBLE does not name the program"
  elif [ "$(id -u)" != 0 ]; then
    skip "umoci unpacks the tree that inspect shows" "owners need root"
  else
    check "umoci unpacks the tree that inspect shows" umoci_agrees
  fi
  chmod -R u+w "$work/bundle" 2>/dev/null
  rm -rf "$work/bundle"
else
  skip "umoci unpack" "umoci or skopeo is not installed"
fi

# podman with a storage of its own.
pod() {
  TMPDIR=$work podman --root "$work/storage" --runroot "$work/run" --tmpdir "$work/state" \
    --storage-driver "${PODMAN_STORAGE_DRIVER:-overlay}" \
    --cgroup-manager cgroupfs --events-backend file --runtime "${PODMAN_RUNTIME:-runc}" "$@"
}
podman_pulls() {
  pulled=$(pod pull --quiet --signature-policy "$work/policy.json" "oci:$image") || return 1
  same "$diff_ids" "$(pod image inspect "$pulled" | jq -c '.[0].RootFS.Layers')"
}
# Raising limits and making networks is not permitted everywhere, and the check needs neither.
podman_runs() {
  local id
  id=$(pod run --rm --network host --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 "$pulled" \
    /bin/sh -c '. /usr/lib/os-release && echo "id=$ID"') || return 1
  grep -qE '^id=.+' <<<"$id"
}
if ! has podman; then
  skip "podman" "podman is not installed"
elif [ "$(id -u)" != 0 ]; then
  skip "podman" "a private storage with the image's owners needs root"
else
  pulled=
  check "podman pull" podman_pulls
  if [ -n "$pulled" ]; then check "podman run" podman_runs; fi
fi

# Listings of the layers, by digest.
list_layers() {
  local digest paths=()
  for digest in "$@"; do
    jq -e --arg digest "$digest" 'index($digest)' <<<"$layers" >/dev/null ||
      { echo "$digest is no layer of the image"; return 1; }
    paths+=("$layout/blobs/sha256/${digest#sha256:}")
  done
  python3 "$here/list-layer.py" "${paths[@]}"
}
if [ $# = 0 ]; then
  mapfile -t all < <(jq -r '.[]' <<<"$layers")
  set -- "${all[@]}"
fi
if has python3 && has tar && has zstd; then
  check "GNU tar and tarfile list layers alike" list_layers "$@"
else
  skip "GNU tar and tarfile list layers alike" "python3, tar or zstd is not installed"
fi

[ $failures = 0 ]
