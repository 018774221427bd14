#!/bin/sh
# Gives an installed tree the shape that bootc demands of an image: shape-image.sh ROOT
#
# filesystem.rpm has laid out most of it. Here goes what the installation left behind, and /var, which belongs to the
# machine.
set -eu
root=$1

# One file, as images have it: no log beside the database, and a database that needs none to be read.
database=$root/usr/lib/sysimage/rpm
sqlite3 "$database/rpmdb.sqlite" 'PRAGMA journal_mode = DELETE' >/dev/null
rm -f "$database"/rpmdb.sqlite-* "$database"/.*.lock

rm -f "$root/etc/.pwd.lock" "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow-
for name in boot run tmp var; do find "$root/$name" -mindepth 1 -delete; done
mkdir "$root/var/tmp"
chmod 1777 "$root/var/tmp"
