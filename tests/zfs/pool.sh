# Runs in the booted image: makes a pool and loses nothing. On files, as whole disks would be partitioned, which needs udev.
set -eu
uname -r
modinfo -F version zfs
# shellcheck disable=SC2016
[ "$(dpkg-query --admindir=/usr/lib/dpkg --show --showformat='${db:Status-Status}' zfsutils-linux)" = installed ]
mkdir -p /run/vdevs
truncate -s 160M /run/vdevs/a /run/vdevs/b
zpool create -O mountpoint=/run/tank tank mirror /run/vdevs/a /run/vdevs/b
head -c 33554432 /dev/urandom >/run/tank/data
before=$(sha256sum </run/tank/data)
zpool scrub -w tank
zpool export tank
zpool import -d /run/vdevs tank
[ "$(sha256sum </run/tank/data)" = "$before" ]
zpool status tank
zpool status tank | grep -q 'errors: No known data errors'
echo 'zfs: the pool is whole'
