#!/bin/sh
# Process 1 of the first root: loads the drivers of the disk, mounts it, and goes there. Words of the host stand in
# files of /assemble. All programs are the image's own.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1

stop() {
  echo "assemble: $1"
  echo o >/proc/sysrq-trigger
  while :; do :; done
}

read -r drivers </assemble/drivers
# shellcheck disable=SC2086
modprobe -a $drivers || stop "a driver of the root disk cannot be loaded"
# The disk is there when its drivers are; a slow machine gets a minute.
while [ ! -b /dev/vda ]; do
  read -r up _ </proc/uptime
  [ "${up%%.*}" -lt 60 ] || stop "the root disk does not appear"
done
mount -t erofs -o ro /dev/vda /sysroot || stop "the root disk cannot be mounted"

# As on a deployed host: /etc and /var can be written, everything else cannot.
mount -t tmpfs -o mode=0755 tmpfs /upper
for name in etc var; do
  mkdir "/upper/$name" "/upper/$name.work"
  mount -t overlay -o "lowerdir=/sysroot/$name,upperdir=/upper/$name,workdir=/upper/$name.work" overlay "/sysroot/$name" ||
    stop "/$name cannot be made writable"
done
mount -t proc proc /sysroot/proc
mount -t sysfs sysfs /sysroot/sys
mount -t devtmpfs devtmpfs /sysroot/dev
mount -t tmpfs -o mode=1777 tmpfs /sysroot/tmp
mount -t tmpfs -o mode=0755 tmpfs /sysroot/run
mkdir /sysroot/run/assemble
mount -o bind /assemble /sysroot/run/assemble || stop "the check cannot be handed over"
next='/bin/sh /run/assemble/check'
if [ -f /assemble/systemd ]; then
  # A kernel argument asks for this unit; /run stays as it is here.
  mkdir -p /sysroot/run/systemd/system
  printf '[Service]\nExecStart=%s\n' "$next" >/sysroot/run/systemd/system/assemble-check.service
  next=/sbin/init
fi
cd /sysroot || stop "the root disk is empty"
mount -n -o move . / || stop "the root cannot be changed"
# shellcheck disable=SC2086
exec chroot . $next
