# Runs in the booted image: makes a pool on two disks and loses nothing.
set -eu
uname -r
modinfo -F version zfs
disks=$(ls /dev/vd? | tail -n 2 | tr '\n' ' ')
# shellcheck disable=SC2086
zpool create -f -O mountpoint=/run/tank tank mirror $disks
head -c 33554432 /dev/urandom >/run/tank/data
before=$(sha256sum </run/tank/data)
zpool scrub -w tank
zpool export tank
zpool import -d /dev tank
[ "$(sha256sum </run/tank/data)" = "$before" ]
zpool status tank
zpool status tank | grep -q 'errors: No known data errors'
echo 'zfs: the pool is whole'
