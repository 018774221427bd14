#!/bin/sh
# Writes the part of a module that the kernel's modpost adds: modpost.sh RELEASE SYMVERS DIRECTORY MODULE MODULES
#
# Dependencies are those of MODULES that export what MODULE lacks. Checksums of symbols depend on the release, as with
# a kernel whose types change in each; a symbol that nobody exports is an error.
set -eu
release=$1 symvers=$2 directory=$3 module=$4 modules=$5

checksum() { printf '%s %s' "$release" "$1" | cksum | cut -d' ' -f1; }
exports() { nm "$directory/$1.o" | sed -n 's/.* __ksymtab_//p'; }

depends= versions=
for symbol in module_layout $(nm -u "$directory/$module.o" | awk '{ print $2 }'); do
  if ! cut -f2 "$symvers" | grep -qx "$symbol"; then
    for other in $modules none; do
      [ "$other" != none ] || { echo "modpost: \"$symbol\" [$module.ko] undefined!" >&2; exit 1; }
      if exports "$other" | grep -qx "$symbol"; then break; fi
    done
    case ",$depends," in *",$other,"*) ;; *) depends=$depends${depends:+,}$other ;; esac
  fi
  versions="$versions  { $(checksum "$symbol")ul, \"$symbol\" },
"
done
cat <<EOF
#include <linux/module.h>
MODULE_INFO(name, "$module");
MODULE_INFO(depends, "$depends");
MODULE_INFO(vermagic, "$release SMP preempt mod_unload modversions ");
static const struct modversion_info versions[] __attribute__((used, section("__versions"))) = {
$versions};
EOF
