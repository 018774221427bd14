#!/bin/sh
# Says whether two images have the same tree, times apart: same-tree.sh IMAGE OTHER
#
# For images that were cut anew, which may change nothing else. ASSEMBLE is the program.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# PATH KIND MODE OWNER TIME, and what else there is. A tree without a path is none.
tree() {
  "$ASSEMBLE" inspect --tree "$1" >"$work/tree"
  awk '{ $5 = "-"; print } END { exit NR == 0 }' "$work/tree"
}

tree "$1" >"$work/one"
tree "$2" >"$work/other"
diff -u "$work/one" "$work/other" | head -n 40
cmp -s "$work/one" "$work/other"
echo "$(wc -l <"$work/one") entries are the same"
