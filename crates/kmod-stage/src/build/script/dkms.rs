//! dkms(8).

use super::super::Family;
use super::quoted;

/// The lines that apply each patch of the recipe to the source tree that it fits. A stage may have several trees, and which
/// one a patch is for only its content says.
pub(super) const PATCHES: &str = "\
for patch in /run/assemble/patches/*; do
  [ -e \"$patch\" ] || continue
  place=
  : >/var/lib/assemble/patch
  for conf in /usr/src/*/dkms.conf; do
    [ -e \"$conf\" ] || continue
    tree=${conf%/dkms.conf}
    patch --batch --forward --strip=1 --dry-run --directory=\"$tree\" <\"$patch\" >>/var/lib/assemble/patch 2>&1 || continue
    [ -z \"$place\" ] || { echo \"the patch ${patch##*/} fits both $place and $tree\" >&2; exit 1; }
    place=$tree
  done
  [ -n \"$place\" ] || { cat /var/lib/assemble/patch >&2; echo \"the patch ${patch##*/} fits no /usr/src/*/dkms.conf's tree\" >&2; exit 1; }
  echo \"== patch ${patch##*/} in $place\"
  patch --batch --forward --strip=1 --directory=\"$place\" <\"$patch\"
done
";

/// The lines that compile every source tree that is laid out for DKMS, for `kernel`; with patches of the recipe first.
///
/// Scripts of DKMS packages would build for the running kernel and hide failures, so none of them has run. Modules are
/// not signed here: a key that a builder makes is one that nobody trusts, and no two builds are alike with it.
pub fn compile(family: Family, kernel: &str) -> String {
    let kernel = quoted(kernel);
    let sources = match family {
        Family::Debian => format!("/usr/src/linux-headers-{kernel}"),
        Family::Rpm => format!("/usr/src/kernels/{kernel}"),
    };
    format!(
        "\
kernel={kernel}
sources={sources}
[ -e \"$sources/Makefile\" ] || {{ echo \"there are no headers of kernel $kernel in $sources\" >&2; exit 1; }}
# What DKMS and the sources look for: of split headers, the sources are behind another link than the build tree.
[ -e /lib/modules/\"$kernel\"/build ] || {{ mkdir -p /lib/modules/\"$kernel\"; ln -sfn \"$sources\" /lib/modules/\"$kernel\"/build; }}
mkdir -p /etc/dkms/framework.conf.d /var/lib/dkms
echo 'sign_file=/bin/true' >/etc/dkms/framework.conf.d/assemble.conf
{PATCHES}value() {{ sed -n \"s/^$1=[\\\"']\\{{0,1\\}}\\([^\\\"' ]*\\).*/\\1/p\" \"$2\" | head -n 1; }}
found=
for conf in /usr/src/*/dkms.conf; do
  [ -e \"$conf\" ] || continue
  found=yes
  tree=${{conf%/dkms.conf}}
  name=$(value PACKAGE_NAME \"$conf\")
  version=$(value PACKAGE_VERSION \"$conf\")
  # Where a name is made of others, the directory tells: it is NAME-VERSION.
  case $version in *'$'*|'') version=${{tree##*-}} ;; esac
  case $name in *'$'*|'') name=${{tree##*/}}; name=${{name%-\"$version\"}} ;; esac
  echo \"== dkms build $name $version for $kernel\"
  dkms add -m \"$name\" -v \"$version\" || :
  if ! sign_file=/bin/true dkms build -m \"$name\" -v \"$version\" -k \"$kernel\"; then
    echo \"== make.log\"
    tail -n 60 /var/lib/dkms/\"$name\"/\"$version\"/build/make.log || :
    # What probes of the kernel met, which DKMS does not tell.
    grep -rhs -m 2 -e ' fatal error: ' -e 'Cannot fork' -e 'fork: ' -e 'Killed' /var/lib/dkms/\"$name\"/\"$version\"/build --include='build.log*' || :
    exit 1
  fi
  # Probes of the kernel take a full disk for a missing function, and the module is another one.
  if grep -rqs 'No space left on device' /var/lib/dkms/\"$name\"/\"$version\"/build /var/lib/dkms/\"$name\"/\"$version\"/\"$kernel\"; then
    echo 'there was no space left on the device while compiling' >&2
    exit 1
  fi
  for log in /var/lib/dkms/\"$name\"/\"$version\"/\"$kernel\"/*/log/make.log; do echo \"== $log\"; cat \"$log\" || :; done
done
[ -n \"$found\" ] || {{ echo 'no package has sources for DKMS: there is no /usr/src/*/dkms.conf' >&2; exit 1; }}
"
    )
}
