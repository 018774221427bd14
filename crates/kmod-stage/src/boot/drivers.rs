//! What `modules.dep` and `modules.builtin` say (depmod's output, modules.dep(5)): which files a module takes.

use std::collections::{BTreeMap, BTreeSet};

use oci_assemble::elf::module_name;

/// The modules of one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ModuleIndex {
    /// Name → path below the modules directory, and the paths of everything it needs.
    modules: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
}

impl ModuleIndex {
    /// Reads the two lists. A line without a colon is passed over, as modprobe does.
    pub(super) fn parse(dep: &str, builtin: &str) -> Self {
        let modules = dep.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            let needs = needs.split_ascii_whitespace().map(str::to_owned).collect();
            Some((name(path), (path.trim().to_owned(), needs)))
        });
        Self { modules: modules.collect(), builtin: builtin.lines().map(name).collect() }
    }

    /// The files of the module `wanted` and of everything it needs; none when it is built in, and an error when the
    /// kernel has no such module.
    pub(super) fn files(&self, wanted: &str) -> Result<Vec<&str>, NoModule> {
        match self.modules.get(wanted) {
            Some((path, needs)) => Ok(std::iter::once(path).chain(needs).map(String::as_str).collect()),
            None if self.builtin.contains(wanted) => Ok(Vec::new()),
            None => Err(NoModule),
        }
    }

    /// The names of the modules that loading `wanted` brings, itself included; none when the lists do not know.
    pub(super) fn brings(&self, wanted: &str) -> BTreeSet<String> {
        let files = self.files(&wanted.replace('-', "_")).unwrap_or_default();
        files.into_iter().map(name).collect()
    }

    /// Modules that compute checksums. File systems ask for them by a name that stands in no list.
    pub(super) fn checksums(&self) -> impl Iterator<Item = &str> {
        let is_checksum = |name: &&String| name.starts_with("crc32") || name.starts_with("libcrc32");
        self.modules.keys().filter(is_checksum).map(String::as_str)
    }
}

/// The kernel has no such module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoModule;

/// The name of the module in a file, as the kernel shows it.
fn name(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    let name = module_name(file.as_bytes()).unwrap_or_else(|| file.into());
    String::from_utf8_lossy(&name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_takes_its_file_and_those_it_needs() {
        let index = ModuleIndex::parse(
            "kernel/fs/erofs/erofs.ko.xz: kernel/lib/lz4-hc.ko.xz kernel/lib/libcrc32c.ko\nkernel/lib/lz4-hc.ko.xz:\n\
             kernel/lib/libcrc32c.ko:\nnonsense\n",
            "kernel/drivers/virtio/virtio-pci.ko\n",
        );
        let files = ["kernel/fs/erofs/erofs.ko.xz", "kernel/lib/lz4-hc.ko.xz", "kernel/lib/libcrc32c.ko"];
        assert_eq!(index.files("erofs"), Ok(files.to_vec()));
        assert_eq!(index.files("virtio_pci"), Ok(vec![]));
        assert_eq!(index.files("ext4"), Err(NoModule));
        assert_eq!(index.brings("lz4-hc").into_iter().collect::<Vec<_>>(), ["lz4_hc"]);
        assert_eq!(index.brings("erofs").into_iter().collect::<Vec<_>>(), ["erofs", "libcrc32c", "lz4_hc"]);
        assert_eq!(index.checksums().collect::<Vec<_>>(), ["libcrc32c"]);
    }
}
