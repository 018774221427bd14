# Process 1 of the image's root, or a service of its systemd: loads modules, runs a command, and tells about it on the port that the host reads.
# Each line is a word and what belongs to it; report.rs is the other end.
# shellcheck shell=sh
cd / || exit
export HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
read -r port </run/assemble/port
exec 3>"/dev/$port"

say() { printf '%s\n' "$*" >&3; }
each() { while IFS= read -r line || [ -n "$line" ]; do printf '%s %s\n' "$1" "$line" >&3; done; }
loaded() { while read -r name _; do say "loaded $name"; done </proc/modules; }

read -r release </proc/sys/kernel/osrelease
say "kernel $release"
if [ -f /run/assemble/systemd ]; then
  say "state $(systemctl is-system-running --wait 2>&1)"
  systemctl list-units --failed --plain --no-legend 2>&1 | while read -r unit _; do say "failed $unit"; done
fi
loaded
while read -r module; do
  say "module $module"
  mark="assemble: modprobe $module"
  echo "$mark" >/dev/kmsg
  modprobe -- "$module" >/run/assemble.out 2>&1
  code=$?
  each said </run/assemble.out
  loaded
  say "modprobe $code"
  dmesg 2>&1 | {
    new=
    while IFS= read -r line; do
      [ -z "$new" ] || say "log $line"
      case $line in *"$mark") new=yes ;; esac
    done
  }
done </run/assemble/modules

if [ -f /run/assemble/command ]; then
  say command
  echo 'assemble: command' >/dev/kmsg
  { /bin/sh /run/assemble/command </dev/null 2>&1 3>&-; echo $? >/run/assemble.code; } | each out
  read -r code </run/assemble.code
  say "exit $code"
fi
say end
# At once: only memory can be written.
echo o >/proc/sysrq-trigger
while :; do :; done
