//! The first root of the guest: the image's shell and modprobe, drivers for the root disk, and our scripts.

use std::collections::BTreeSet;

use oci_assemble::elf::{ElfError, Libraries};
use oci_assemble::layer::Contents;
use oci_assemble::tree::{FileTree, TreePath};

use super::cpio::Cpio;
use super::drivers::ModuleIndex;
use super::slice::Slice;
use super::{BootError, BootOptions, Machine, path_of};
use crate::kernel::{KernelRelease, MODULES};

/// What `init.sh` calls.
const PROGRAMS: &[&str] = &["sh", "modprobe", "mount", "mkdir", "chroot"];

/// Where programs are.
const PLACES: &[&str] = &["usr/sbin", "usr/bin", "sbin", "bin"];

/// Links of merged trees, by which linkers and scripts may call a file, and the linker's list.
const LINKS: &[&str] = &["bin", "sbin", "lib", "lib64", "etc/ld.so.cache"];

/// What the root disk takes, on every machine.
const DRIVERS: &[&str] = &["virtio_pci", "virtio_blk", "erofs", "overlay"];

/// What modprobe reads.
const INDEXES: &[&str] = &[
    "modules.alias",
    "modules.alias.bin",
    "modules.builtin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.builtin.modinfo",
    "modules.dep",
    "modules.dep.bin",
    "modules.softdep",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.weakdep",
];

const INIT: &str = include_str!("init.sh");
const CHECK: &str = include_str!("check.sh");

/// Makes the archive. Reads the programs' needed libraries, then everything in one pass.
pub(super) fn initramfs(
    tree: &FileTree,
    contents: &dyn Contents,
    (kernel, index): (&KernelRelease, &ModuleIndex),
    machine: &Machine,
    options: &BootOptions,
) -> Result<Vec<u8>, BootError> {
    let mut slice = Slice::new(tree);
    programs(tree, contents, &mut slice)?;
    let drivers: Vec<&str> = DRIVERS.iter().chain(machine.report_drivers).copied().collect();
    let mut files: BTreeSet<&str> = INDEXES.iter().copied().collect();
    for driver in &drivers {
        let missing = |_| BootError::NoDriver { kernel: kernel.clone(), driver: (*driver).to_owned() };
        files.extend(index.files(driver).map_err(missing)?);
    }
    for checksum in index.checksums() {
        files.extend(index.files(checksum).unwrap_or_default());
    }
    for file in files {
        slice.take(format!("{MODULES}/{kernel}/{file}").as_bytes());
    }
    let mut archive = Cpio::default();
    slice.pack(contents, &mut archive).map_err(BootError::Contents)?;
    for directory in ["assemble", "dev", "proc", "sys", "sysroot", "upper"] {
        archive.directory(directory.as_bytes());
    }
    // Before there is a /dev, the kernel opens the first process's console here.
    archive.character(b"dev/console", 5, 1);
    archive.file(b"init", 0o755, INIT.as_bytes());
    archive.file(b"assemble/check", 0o644, CHECK.as_bytes());
    archive.file(b"assemble/drivers", 0o644, line(&drivers.join(" ")).as_bytes());
    archive.file(b"assemble/port", 0o644, line(machine.report).as_bytes());
    let modules: String = options.modules.iter().map(|name| line(name)).collect();
    archive.file(b"assemble/modules", 0o644, modules.as_bytes());
    if options.systemd {
        archive.file(b"assemble/systemd", 0o644, &[]);
    }
    if let Some(command) = &options.command {
        archive.file(b"assemble/command", 0o644, command);
    }
    Ok(archive.finish())
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

/// Takes the programs with their libraries.
fn programs(tree: &FileTree, contents: &dyn Contents, slice: &mut Slice<'_>) -> Result<(), BootError> {
    for path in LINKS {
        slice.take(path.as_bytes());
    }
    let broken = |program: &TreePath| {
        let program = program.clone();
        move |source: ElfError| BootError::Program { program, source }
    };
    let libraries = Libraries::new(tree, contents).map_err(broken(&path_of("etc/ld.so.conf")))?;
    for name in PROGRAMS {
        let mut places = PLACES.iter().map(|place| format!("{place}/{name}"));
        let found = places.find_map(|place| Some((place.clone(), tree.lookup(&place)?.0)));
        let (place, program) = found.ok_or(BootError::NoProgram { name })?;
        slice.take(place.as_bytes());
        for library in libraries.resolve(&program).map_err(broken(&program))? {
            let Some(file) = &library.found else {
                let library = String::from_utf8_lossy(&library.name).into_owned();
                return Err(BootError::NoLibrary { program, library });
            };
            slice.take(file.as_bytes());
            // Under the name it is asked for, too.
            let asked = match file.parent() {
                Some(directory) if !library.name.contains(&b'/') => directory.join(&library.name).ok(),
                _ => TreePath::new(&library.name).ok(),
            };
            if let Some(asked) = asked {
                slice.take(asked.as_bytes());
            }
        }
    }
    Ok(())
}
