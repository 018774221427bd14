#!/usr/bin/env bash
# Unpacks an image by umoci into BUNDLE/rootfs: unpack.sh LAYOUT[:TAG] BUNDLE
#
# umoci compares every diff_id with what it read. Versions before 0.5 know no zstd, so skopeo turns such layers into
# gzip first: their tar streams and diff_ids stay. Owners need root; without it the tree gets the user's own.
set -euo pipefail

image=${1:?usage: unpack.sh LAYOUT[:TAG] BUNDLE}
bundle=${2:?usage: unpack.sh LAYOUT[:TAG] BUNDLE}
case $image in *:*) ;; *) image=$image:latest ;; esac
tag=${image##*:}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

manifest=$(skopeo inspect --raw "oci:$image")
if jq -e '[.layers[].mediaType | endswith("zstd")] | any' <<<"$manifest" >/dev/null; then
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
  skopeo copy --quiet --policy "$work/policy.json" --dest-compress-format gzip "oci:$image" "oci:$work/gzip:$tag"
  image=$work/gzip:$tag
fi
rootless=()
[ "$(id -u)" = 0 ] || rootless=(--rootless)
umoci unpack "${rootless[@]}" --image "$image" "$bundle"
[ -d "$bundle/rootfs/usr" ] || { echo "unpack.sh: the image has no /usr" >&2; exit 1; }
