# Runs in the guest of boot.sh, which puts `module=NAME` before it; reports on the second serial line.
# shellcheck shell=sh disable=SC2154
exec >/dev/ttyS1 2>&1
echo "kernel $(uname -r)"

name() { basename "$1" | sed 's/\.ko.*//; s/-/_/g'; }
loaded() { if [ -d "/sys/module/$1" ]; then echo yes; else echo no; fi; }

# What modules.dep says must be loaded for the module, itself included; softdeps are not among it.
index=/usr/lib/modules/$(uname -r)/modules.dep
line=$(grep -E "(^|/)$(name "$module" | sed 's/_/[-_]/g')\.ko[^:]*:" "$index")
echo "modules.dep $line"
# modules-load.d or a device may have loaded it: that counts as a first proof, and is undone for the second.
if [ "$(loaded "$(name "$module")")" = yes ]; then
  echo "loaded at boot"
  modprobe -r "$module"
fi
before=
for file in $(echo "$line" | tr -d ':'); do before="$before $(name "$file")=$(loaded "$(name "$file")")"; done

modprobe "$module"
echo "modprobe $?"

for pair in $before; do
  echo "depends ${pair%=*} before=${pair#*=} after=$(loaded "${pair%=*}")"
done
for file in "/sys/module/$(name "$module")"/parameters/*; do
  [ -r "$file" ] && echo "parameter $(basename "$file")=$(cat "$file")"
done
# Quiet: modules that come and go while it reads make it complain.
lsmod 2>/dev/null | sed -n '2,$s/^/lsmod /p'
dmesg | tail -n 60 | sed 's/^/log /'
echo end
# At once: nothing is mounted that could be damaged.
echo o >/proc/sysrq-trigger
# Nothing can be read from the disks any more.
while :; do :; done
