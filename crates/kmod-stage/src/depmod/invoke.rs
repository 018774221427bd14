//! How depmod is called on each rung: pure, but for the look for this machine's depmod.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use oci_assemble::tree::TreePath;

use super::plan::{CONFIGURATION, SYSTEM_MAP};
use super::workspace::native;
use crate::kernel::{KernelRelease, MODULES};
use crate::sandbox::{Limits, SandboxSpec};

/// Where this machine's depmod is.
const HOST_PLACES: &[&str] = &["/usr/sbin/depmod", "/sbin/depmod", "/usr/bin/depmod"];

/// The depmod of this machine: `given`, else the first of the usual places.
pub(super) fn host_depmod(given: Option<&Path>) -> Option<PathBuf> {
    match given {
        Some(given) => Some(given.to_owned()),
        None => HOST_PLACES.iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

/// What every call of depmod has in common.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) kernel: &'a KernelRelease,
    /// The sparse root on this machine.
    pub(super) root: &'a Path,
    /// Whether there is a `System.map` with the symbols of the kernel.
    pub(super) kernel_symbols: bool,
    pub(super) limits: Limits,
}

impl Call<'_> {
    /// The image's depmod at `program`, with the sparse root as its root.
    pub(super) fn in_root(&self, program: &TreePath) -> SandboxSpec {
        let root = Path::new("/");
        self.spec(root.join(native(program)), self.arguments(root, &[]))
    }

    /// This machine's depmod at `program`, told to take the sparse root for the root.
    pub(super) fn on_host(&self, program: &Path) -> SandboxSpec {
        let mut options = vec![OsString::from("-b"), self.root.into()];
        for directory in CONFIGURATION {
            // -b moves the modules only; without -C depmod would read this machine's configuration.
            options.extend([OsString::from("-C"), self.root.join(directory).into()]);
        }
        self.spec(program.to_owned(), self.arguments(self.root, &options))
    }

    /// `depmod -a [-e -F System.map] OPTIONS RELEASE`.
    fn arguments(&self, root: &Path, options: &[OsString]) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec!["depmod".into(), "-a".into()];
        if self.kernel_symbols {
            // Reports symbols that nothing provides; the index files are the same without.
            let map = root.join(MODULES).join(self.kernel.as_str()).join(SYSTEM_MAP);
            argv.extend(["-e".into(), "-F".into(), map.into()]);
        }
        argv.extend(options.iter().cloned());
        argv.push(self.kernel.as_str().into());
        argv
    }

    fn spec(&self, program: PathBuf, argv: Vec<OsString>) -> SandboxSpec {
        let below = |modules: &str| Path::new(modules).join(self.kernel.as_str());
        SandboxSpec {
            root: self.root.to_owned(),
            writable: vec![below(MODULES), below("lib/modules")],
            program,
            argv,
            limits: self.limits,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(spec: &SandboxSpec) -> String {
        let words: Vec<_> = spec.argv.iter().map(|word| word.to_str().unwrap()).collect();
        format!("{}: {}", spec.program.display(), words.join(" "))
    }

    #[test]
    fn each_rung_has_its_words() {
        let kernel = KernelRelease::new("6.1").unwrap();
        let mut call =
            Call { kernel: &kernel, root: Path::new("/w"), kernel_symbols: false, limits: Limits::default() };
        let own = call.in_root(&TreePath::new("usr/bin/kmod").unwrap());
        assert_eq!(words(&own), "/usr/bin/kmod: depmod -a 6.1");
        assert_eq!(own.writable, [Path::new("usr/lib/modules/6.1"), Path::new("lib/modules/6.1")]);
        assert_eq!(own.root, Path::new("/w"));
        let host = "/sbin/depmod: depmod -a -b /w -C /w/etc/depmod.d -C /w/usr/local/lib/depmod.d \
                    -C /w/usr/lib/depmod.d -C /w/lib/depmod.d 6.1";
        assert_eq!(words(&call.on_host(Path::new("/sbin/depmod"))), host);
        call.kernel_symbols = true;
        assert_eq!(
            words(&call.in_root(&TreePath::new("sbin/depmod").unwrap())),
            "/sbin/depmod: depmod -a -e -F /usr/lib/modules/6.1/System.map 6.1"
        );
    }
}
