#!/usr/bin/env bash
# Proves that the RPM image and the repositories of make-rpm.sh are fit for tests of package stages: check.sh [DIR]
#
# In containers of the image, without network: what rpm, dnf and dkms do there, and what they leave behind. One line for
# each check, PASS or FAIL, with what was seen below a FAIL; status 1 after any. Needs root and podman. Podman's runtime
# and storage driver: PODMAN_RUNTIME (runc), PODMAN_STORAGE_DRIVER (overlay).
set -euo pipefail
dir=$(cd "${1:-.work}" && pwd)
[ "$(id -u)" = 0 ] || { echo "check.sh: needs root" >&2; exit 69; }
work=$(mktemp -d)
cleanup() {
  # The storage driver mounts its directory on itself.
  findmnt -rno TARGET | grep "^$work/" | sort -r | while read -r mounted; do umount "$mounted"; done
  rm -rf "$work"
}
trap cleanup EXIT
failures=0
old=6.12.0-150.el10.x86_64 base=6.12.0-155.el10.x86_64 new=6.12.0-160.el10.x86_64

pod() {
  TMPDIR=$work podman --root "$work/storage" --runroot "$work/run" --tmpdir "$work/state" \
    --storage-driver "${PODMAN_STORAGE_DRIVER:-overlay}" \
    --cgroup-manager cgroupfs --events-backend file --runtime "${PODMAN_RUNTIME:-runc}" "$@"
}
# in_image SCRIPT: runs it in a new container. $dnf is there for offline use of the repositories at /repos.
in_image() {
  pod run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --tmpfs /run \
    --volume "$dir/rpm:/repos:ro" --env SOURCE_DATE_EPOCH=1735689600 \
    --env dnf='dnf -y --quiet --nogpgcheck --setopt=reposdir=/nowhere' \
    --env extras='--repofrompath=extras,file:///repos/extras' --env old='--repofrompath=old,file:///repos/old' \
    --env updates='--repofrompath=updates,file:///repos/updates' --env new='--repofrompath=new,file:///repos/new' \
    --env replace='--setopt=installonlypkgs=' "$image" /bin/bash -c "$1"
}
# check NAME SCRIPT EXPECTED: the script's standard output is exactly the expected lines, its status 0.
check() {
  local begin seen status=0
  begin=$(date +%s)
  seen=$(in_image "$2" 2>"$work/stderr") || status=$?
  if [ "$status" = 0 ] && [ "$seen" = "$3" ]; then
    echo "PASS $1 ($(($(date +%s) - begin)) s)"
    return
  fi
  echo "FAIL $1: status $status"
  diff <(echo "$3") <(echo "$seen") | sed 's/^/  /' || :
  sed 's/^/  stderr: /' "$work/stderr"
  failures=$((failures + 1))
}

begin=$(date +%s)
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$work/policy.json"
image=$(pod pull --quiet --signature-policy "$work/policy.json" "oci:$dir/rpm-base:latest")
echo "pulled in $(($(date +%s) - begin)) s"

check 'the image verifies' 'rpm -Va && getcap /usr/bin/ping' '/usr/bin/ping cap_net_raw=p'

check 'install: scriptlets, weak dependency, capability, user, unit, library path' \
  '$dnf $extras install tree >/dev/null && tree && getcap /usr/bin/tree-ping &&
   stat -c "%U %a" /var/lib/tree /etc/tree/secret.conf && systemctl is-enabled tree.service &&
   rpm -qa "*tree*" | sort && rpm -Va' \
  "tree v2.1.0
/usr/bin/tree-ping cap_net_raw=p
tree 750
root 600
enabled
libtree-2.1.0-1.el10.x86_64
tree-2.1.0-1.el10.x86_64
tree-colors-2.1.0-1.el10.noarch"

check 'upgrade and downgrade keep changed configuration' \
  '$dnf $extras --setopt=install_weak_deps=0 install tree >/dev/null &&
   echo "style = utf8" >/etc/tree/tree.conf &&
   $dnf $updates upgrade tree >/dev/null && tree && $dnf $extras downgrade tree >/dev/null && tree &&
   cat /etc/tree/tree.conf && rpm -Va || echo "rpm -Va: $?"' \
  "tree v2.2.0
tree v2.1.0
style = utf8
S.5....T.  c /etc/tree/tree.conf
rpm -Va: 1"

kernels='rpm -qa kernel-core | sort && ls /usr/lib/modules'
check 'upgrade of the kernel leaves two' "\$dnf \$new upgrade 'kernel*' >/dev/null && $kernels && rpm -Va" \
  "kernel-core-$base
kernel-core-$new
$base
$new"
check 'downgrade of the kernel leaves two' "\$dnf \$old downgrade kernel-core >/dev/null && $kernels" \
  "kernel-core-$old
kernel-core-$base
$old
$base"
# The names for all of the kernel: dnf replaces only what is named, or asked for by what is.
orphan='find /usr/lib/modules/'$base' -type f | grep -vE "/modules\.[a-z.]+$"; rpm -Va'
check 'without installonlypkgs an upgrade replaces the kernel, but files that no package owns stay' \
  "\$dnf \$new \$replace upgrade 'kernel*' >/dev/null && $kernels && $orphan" \
  "kernel-core-$new
$base
$new
/usr/lib/modules/$base/initramfs.img"
check 'without installonlypkgs a downgrade replaces the kernel, too' \
  "\$dnf \$old \$replace downgrade kernel kernel-core kernel-modules kernel-modules-core >/dev/null &&
   $kernels && $orphan" \
  "kernel-core-$old
$old
$base
/usr/lib/modules/$base/initramfs.img"

check 'kernel-devel-matched pulls the kernel in, kernel-devel does not' \
  "\$dnf \$new install kernel-devel >/dev/null && rpm -q kernel-core &&
   \$dnf \$new install kernel-devel-matched >/dev/null && rpm -q kernel-core | sort" \
  "kernel-core-$base
kernel-core-$base
kernel-core-$new"

check 'DKMS builds for the release it is told, with the old kernel-devel' \
  "\$dnf \$old \$replace downgrade kernel kernel-core kernel-modules kernel-modules-core >/dev/null &&
   \$dnf \$old \$extras --setopt=install_weak_deps=0 install dkms gcc make kernel-devel >/dev/null &&
   rpm -i --nodeps --noscripts /repos/extras/zfs-dkms-*.rpm /repos/extras/probe-dkms-*.rpm &&
   for module in probe/1.0 zfs/2.3.9; do dkms install \$module -k $old >&2 || exit 1; done
   ls /usr/lib/modules/$old/extra && modinfo -k $old -F depends zfs probe &&
   modprobe -S $old -D probe | grep -c insmod && modinfo -k $old -F vermagic probe" \
  "probe.ko.xz
probe_core.ko.xz
spl.ko.xz
zfs.ko.xz
spl
probe_core
3
$old SMP preempt mod_unload modversions "

check 'packages with upstream'"'"'s paths: /sbin and /lib64 stay links' \
  "\$dnf \$old \$extras --setopt=install_weak_deps=0 --setopt=tsflags=noscripts install zfs kernel-devel >/dev/null &&
   ldconfig && zfs &&
   rpm -ql zfs libzfs6 | grep -E '^/(sbin|lib64)' &&
   readlink /sbin /lib64 && stat -c '%a %n' /etc/zfs/zed.d/zed.rc && ls /etc/zfs && rpm -V zfs libzfs6" \
  "zfs-2.3.9-1
/sbin/zfs
/sbin/zpool
/lib64/libzfs.so.6
/lib64/libzfs.so.6.0.0
usr/sbin
usr/lib64
600 /etc/zfs/zed.d/zed.rc
zed.d"

check 'dnf hides the failure of a scriptlet, says so on its way' \
  '$dnf $extras install tree-broken >/tmp/out 2>&1; echo $?
   grep -o "Error in POSTIN scriptlet" /tmp/out; rpm -q tree-broken' \
  "0
Error in POSTIN scriptlet
tree-broken-2.1.0-1.el10.noarch"
check 'plugin unshare makes users fail in a container, unless its macro is emptied' \
  '$dnf $extras install rpm-plugin-unshare >/dev/null; $dnf $extras install tree >/dev/null 2>&1; echo $?
   mkdir -p /etc/rpm && echo "%__transaction_unshare %{nil}" >/etc/rpm/macros
   $dnf $extras install tree >/dev/null; echo $?' \
  "1
0"

check 'signatures: a good one, none' \
  'signed=file:///repos/signed
   printf "[signed]\nname=signed\nbaseurl=$signed\ngpgcheck=1\ngpgkey=$signed/RPM-GPG-KEY-testbed\n" \
     >/etc/yum.repos.d/signed.repo && dnf -y -q install tree >/dev/null &&
   rpm -q --qf "%{RSAHEADER:pgpsig}\n" tree | cut -d, -f1
   dnf -y -q $extras install tree-broken 2>&1 | grep -o "GPG check FAILED"' \
  "RSA/SHA512
GPG check FAILED"

# With another host name and at another second, but the same SOURCE_DATE_EPOCH.
database='cd /usr/lib/sysimage/rpm && $dnf $extras install tree >/dev/null &&
  sqlite3 rpmdb.sqlite "PRAGMA journal_mode = DELETE" >/dev/null && sha256sum <rpmdb.sqlite && sha256sum </etc/shadow &&
  ls -A'
first=$(in_image "$database" 2>"$work/stderr") || cat "$work/stderr"
echo "rpmdb.sqlite: $(head -1 <<<"$first")"
check 'a second run gives the same rpm database' "$database" "$first"

exit $((failures > 0))
