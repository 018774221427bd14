#!/bin/sh
# Gives a Debian tree the shape that bootc demands of an image; mmdebstrap runs it with the tree as $1.
#
# Debian keeps its kernel in /boot, its package database in /var and its users in /etc/passwd alone.
# bootc wants the kernel beside its modules, an empty /var (it belongs to the machine, not to the image)
# and every user named in sysusers.d, so that machines which are upgraded learn of them too.
set -eu
root=$1

# --- kernel: exactly one, beside its modules, nothing in /boot
kver=$(ls "$root/usr/lib/modules")
modules=$root/usr/lib/modules/$kver
mv "$root/boot/vmlinuz-$kver" "$modules/vmlinuz"
mv "$root/boot/config-$kver" "$modules/config"
mv "$root/boot/System.map-$kver" "$modules/System.map"
rm -f "$root/vmlinuz" "$root/vmlinuz.old" "$root/initrd.img" "$root/initrd.img.old"
[ -s "$modules/modules.dep" ] # written by the kernel package
# Level 3: dracut's default level costs half a minute for a tenth of the size.
chroot "$root" dracut --quiet --force --no-hostonly --no-hostonly-cmdline --reproducible \
  --compress 'zstd -q -3 -T1' --kver "$kver" \
  --add-drivers 'erofs ext4 overlay virtio virtio_blk virtio_pci' "/usr/lib/modules/$kver/initramfs.img"
chmod 0644 "$modules/initramfs.img"
find "$root/boot" -mindepth 1 -delete

# --- package database: where it is found after /var is emptied
cp -a "$root/var/lib/dpkg/." "$root/usr/lib/dpkg" # the directory is there: it holds dpkg's methods
rm -rf "$root/var/lib/dpkg"
rm -rf "$root/usr/lib/dpkg/lock" "$root/usr/lib/dpkg/lock-frontend" "$root/usr/lib/dpkg/updates" \
  "$root/usr/lib/dpkg/parts" "$root"/usr/lib/dpkg/*-old "$root/usr/lib/dpkg/triggers/Lock"

# --- what the making of the tree left behind
rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/fstab" "$root/etc/.pwd.lock" \
  "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow- "$root"/etc/subuid- "$root"/etc/subgid- \
  "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* \
  "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
: >"$root/etc/machine-id" # empty: set at boot, yet not a first boot

# --- /var: directories become tmpfiles.d lines, the rest goes
tmpfiles=$root/usr/lib/tmpfiles.d
{
  echo '# Targets of the links in the root directory.'
  echo 'd /var/roothome 0700 root root -'
  for name in home srv opt mnt media; do echo "d /var/$name 0755 root root -"; done
  echo 'L /var/lib/dpkg - - - - ../../usr/lib/dpkg'
} >"$tmpfiles/bootc-links.conf"
find "$root/var" -mindepth 1 -type d ! -path '*/deb-systemd-helper-*' -printf 'd /var/%P %#m %u %g -\n' |
  LC_ALL=C sort |
  while read -r kind path rest; do
    grep -qsE "^[a-zA-Z]+[-+!=~^]*[[:space:]]+$path/?([[:space:]]|$)" "$tmpfiles"/*.conf ||
      echo "$kind $path $rest"
  done >"$root/usr/lib/debian-var.new" # beside the directory that the loop reads
mv "$root/usr/lib/debian-var.new" "$tmpfiles/debian-var.conf"
find "$root/var" -mindepth 1 -delete
mkdir -m 1777 "$root/var/tmp"

# --- users: every entry of passwd and group that no sysusers.d file names yet
sysusers=$root/usr/lib/sysusers.d
has() { cat "$sysusers"/*.conf | grep -qE "^$1!?[[:space:]]+\"?$2\"?([[:space:]]|$)"; }
{
  while IFS=: read -r name _ gid _; do
    has '[gu]' "$name" || echo "g $name $gid"
  done <"$root/etc/group"
  while IFS=: read -r name _ uid gid gecos home shell; do
    has u "$name" || echo "u $name $uid:$gid \"$gecos\" $home $shell"
  done <"$root/etc/passwd"
} >"$root/usr/lib/debian-users.new"
mv "$root/usr/lib/debian-users.new" "$sysusers/debian-users.conf"

# --- the root directory
for name in home srv opt mnt media; do
  rm -rf "${root:?}/$name"
  ln -s "var/$name" "$root/$name"
done
rm -rf "$root/root"
ln -s var/roothome "$root/root"
mkdir "$root/sysroot"
ln -s sysroot/ostree "$root/ostree"
# /dev, /proc and /sys are mounted while this runs; split-layers.py leaves their content out.
for name in run tmp; do find "$root/$name" -mindepth 1 -xdev -delete; done

# --- bootc's own places
mkdir -p "$root/usr/lib/ostree" "$root/usr/lib/bootc/kargs.d"
printf '[composefs]\nenabled = yes\n\n[sysroot]\nreadonly = true\n' >"$root/usr/lib/ostree/prepare-root.conf"
printf 'kargs = ["console=ttyS0"]\n' >"$root/usr/lib/bootc/kargs.d/10-console.toml"
