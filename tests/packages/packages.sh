#!/usr/bin/env bash
# Installs Debian packages on the base in builder containers: packages.sh ASSEMBLE [WORK]
#
# Two builds with nothing kept in between give one digest, by root and by an ordinary user, whose builder containers run in
# a user namespace, with other owners on disk and another storage; the image has the packages in its database and nothing of the
# making in its tree, and what is installed runs. A package that does not exist and one whose script fails end the build
# by their names. Needs podman, the base of make-base.sh, and Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../base/lib.sh"
. "$here/../podman.sh"
. "$here/../ordinary_user.sh"

assemble=$(realpath "$1")
work=$(realpath "${2:-.work}")
podman_settings
temp=$(mktemp -d "${TMPDIR:-/tmp}/assemble-packages.XXXXXX")
trap '[ -z "${server-}" ] || kill "$server"; no_ordinary_user; rm -rf "$temp"' EXIT
cp "$here/../../recipes/repos/debian-contrib.sources" "$temp/debian.sources"
cat >"$temp/tools.toml" <<TOML
schema = 1
[image]
name = "tools"
[base]
image = "oci:$work/base:latest"
[packages]
repositories = ["debian.sources"]
install = ["tree", "mtr-tiny"]
[output]
image = "oci:$temp/out:tools"
TOML
cd "$temp"
fail() { echo "packages: $*" >&2; exit 1; }

first=$("$assemble" --recipe tools.toml --cache "$temp/cache" --rebuild)
if [ "$(id -u)" = 0 ]; then
  ordinary_user "$temp/home"
  # The tree of the tests may be closed to others.
  cp "$assemble" home/assemble
  cp -R "$work/base" home/base
  chmod 755 "$temp"
  sed 's|oci:.*/base:latest|oci:base:latest|; s|oci:.*/out:tools|oci:out:tools|' tools.toml >home/tools.toml
  cp debian.sources home/
  second=$(as_ordinary_user ./assemble --recipe tools.toml --cache cache)
else
  second=$("$assemble" --recipe tools.toml --cache "$temp/cache" --rebuild)
fi
[ "$first" = "$second" ] || fail "two builds differ: $first, $second"
third=$("$assemble" --recipe tools.toml --cache "$temp/cache")
[ "$first" = "$third" ] || fail "the kept result makes another image: $third"

"$assemble" inspect "oci:$temp/out:tools" --cache "$temp/cache" --tree >tree.txt
grep -q '^/usr/bin/tree file 0755 0:0' tree.txt || fail "there is no tree"
grep -q '^/usr/bin/mtr-packet file .* security.capability=' tree.txt || fail "mtr-packet lost its capability"
! grep -E '^/(var/(cache|log|lib)/|run/.|tmp/.|etc/(hosts|resolv.conf|hostname) )' tree.txt || fail "the making left traces"
status=$("$assemble" inspect "oci:$temp/out:tools" --cache "$temp/cache" --tree | grep -c '^/usr/lib/dpkg/info/tree.list ') || :
[ "$status" = 1 ] || fail "the database does not know tree"

sed -i 's/"tree"/"no-such-package"/' tools.toml
if "$assemble" --recipe tools.toml --cache "$temp/cache" 2>errors.txt; then fail "a package that does not exist was installed"; fi
grep -q 'no-such-package' errors.txt || fail "the error does not name the package: $(cat errors.txt)"
# A repository of our own, for containers that reach this machine: Debian has no package that cannot be configured.
mkdir -p served/broken/DEBIAN
cat >served/broken/DEBIAN/control <<'CONTROL'
Package: broken
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.com>
Description: fails when it is configured
CONTROL
printf '#!/bin/sh\necho "no socket to talk to"\nexit 3\n' >served/broken/DEBIAN/postinst
chmod 755 served/broken/DEBIAN/postinst
dpkg-deb --root-owner-group --build served/broken served/broken.deb >/dev/null
{
  cat served/broken/DEBIAN/control
  echo "Filename: ./broken.deb"
  echo "Size: $(stat -c %s served/broken.deb)"
  echo "SHA256: $(sha256sum served/broken.deb | cut -d' ' -f1)"
} >served/Packages
python3 -u -m http.server --bind 127.0.0.1 --directory served 0 >served.txt 2>/dev/null &
server=$!
for _ in $(seq 100); do
  url=$(sed -n 's/.*(\(http.*\)).*/\1/p' served.txt)
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || fail "the repository of broken packages does not begin"
echo "deb [trusted=yes] $url ./" >broken.list
sed 's/"no-such-package"/"tree", "broken"/; s/"debian.sources"/"debian.sources", "broken.list"/; s/out:tools/broken:tools/' \
  tools.toml >broken.toml
if ASSEMBLE_PODMAN_ARGUMENTS="${ASSEMBLE_PODMAN_ARGUMENTS-} --network=host" \
  "$assemble" --recipe broken.toml --cache "$temp/cache" 2>errors.txt; then
  fail "a package whose script fails was installed"
fi
for words in 'no socket to talk to' 'broken .*post-installation script .* exit status 3'; do
  grep -q "$words" errors.txt || fail "the error does not say \"$words\": $(cat errors.txt)"
done
[ ! -e broken/index.json ] || fail "an image was written although a script failed"

echo "packages: $first, twice, the second time by user ${ordinary-$(id -un)}; $(grep -c . tree.txt) paths"
