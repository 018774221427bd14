//! Boots an image in QEMU to see whether its kernel starts, its modules load, and a command succeeds.
//!
//! What runs is the image's: kernel, modules and their indexes, shell, kmod, and everything the command calls. What is
//! ours are two shell scripts and two containers for bytes: the root disk, an EROFS image of the whole tree (`erofs`),
//! and an initramfs of a few MiB with the image's own shell, modprobe, mount and drivers (`initramfs`) that goes there.
//! Neither takes root, a mount, or a program of the host; QEMU is the only one. Why not
//!
//! - the whole tree as initramfs: bases of several GiB do not fit where QEMU puts it, below 4 GiB, and every byte would
//!   be unpacked to the guest's memory; from a disk only what is used is read;
//! - `mkfs.ext4 -d` or `mkfs.erofs --tar`: the first needs the tree on disk with its owners, which takes root, the second
//!   a version that older distributions lack;
//! - the image's own initramfs: its udev and systemd take more time than all the rest, and it may not know how to find a
//!   bare tree. So this check says nothing about it.
//!
//! Order: [`BootPlan::new`] decides everything as values; [`BootPlan::boot`] writes the files into a private directory,
//! runs QEMU there, ends it with the time given or with this process, and leaves nothing. The console of the guest goes
//! to the caller, its results come on a port of their own, for kernels write into the middle of lines.
//!
//! The guest is no prisoner of a security boundary when it is emulated (QEMU's documentation, "Security"): it has no
//! network, no files of the host and no devices but those here, but boot only images you would run.

pub(crate) mod cpio;
mod drivers;
mod erofs;
mod erofs_dir;
mod error;
mod initramfs;
mod machine;
mod report;
mod run;
mod slice;

use std::io::{self, Read, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cap_std::fs::Dir;
use oci_assemble::layer::{Contents, whole};
use oci_assemble::tree::{FileTree, Inode, Meta, TreePath};

pub use self::erofs::ErofsError;
pub use self::error::BootError;
pub use self::machine::{Accelerator, Machine};
pub use self::report::{BootReport, CommandResult, End, Fault, ModuleResult, Told};

use self::drivers::ModuleIndex;
use self::erofs::Erofs;
use self::machine::{Hardware, names};
use crate::kernel::{KernelRelease, Kernels, MODULES};
use crate::private::PrivateDir;

/// Beginning of the names of private directories.
const PREFIX: &str = "assemble-boot-";
/// The most scratch disks: those with names of one letter behind the root's.
const DISKS_MAX: usize = 24;
/// The largest kernel and the largest list of modules, bytes: ten times those of distributions.
const KERNEL_MAX: u64 = 256 << 20;
const LIST_MAX: u64 = 16 << 20;
/// Lines of the console that a report keeps.
const CONSOLE_LINES: usize = 40;
/// Directories that the guest mounts on or writes to.
const MOUNT_POINTS: &[&str] = &["dev", "etc", "proc", "run", "sys", "tmp", "var"];

/// What to check, and on which machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOptions {
    /// Modules to load by name, in this order.
    pub modules: Vec<String>,
    /// A shell script to run after that.
    pub command: Option<Vec<u8>>,
    /// Whether the image's systemd is started and waited for before; otherwise a shell is the first process.
    pub systemd: bool,
    /// MiB of memory.
    pub memory: NonZero<u32>,
    /// Number of processors.
    pub processors: NonZero<u32>,
    /// Bytes of each scratch disk: `/dev/vdb` and so on.
    pub disks: Vec<u64>,
    /// Whether the host's processor may be used.
    pub kvm: Kvm,
    /// Time from the start of QEMU to its end.
    pub timeout: Duration,
}

/// Whether the host's processor may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kvm {
    /// No.
    #[default]
    Off,
    /// When a guest says something there within half a minute; KVM that is there may still hang.
    Auto,
    /// It must.
    Require,
}

impl Default for BootOptions {
    /// No modules and no command; a machine that also takes ZFS; ten minutes, five times what a busy machine needs.
    fn default() -> Self {
        let two = NonZero::<u32>::MIN.saturating_add(1);
        Self {
            modules: Vec::new(),
            command: None,
            systemd: false,
            memory: two.saturating_mul(NonZero::<u32>::MIN.saturating_add(1023)),
            processors: two,
            disks: Vec::new(),
            kvm: Kvm::Off,
            timeout: Duration::from_mins(10),
        }
    }
}

/// Everything that a boot takes, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    kernel: KernelRelease,
    machine: Machine,
    vmlinuz: Vec<u8>,
    initramfs: Vec<u8>,
    root: Erofs,
    index: ModuleIndex,
    options: BootOptions,
}

impl BootPlan {
    /// Decides how to boot the image with this tree. Reads kernel, lists and a few programs.
    pub fn new(
        tree: &FileTree,
        contents: &dyn Contents,
        architecture: &str,
        options: BootOptions,
    ) -> Result<Self, BootError> {
        let machine = Machine::for_architecture(architecture)?;
        if options.disks.len() > DISKS_MAX {
            return Err(BootError::Disks { number: options.disks.len(), limit: DISKS_MAX });
        }
        if let Some(name) = options.modules.iter().find(|name| !is_module_word(name)) {
            return Err(BootError::ModuleName { name: name.clone() });
        }
        let Ok([kernel]) = <[KernelRelease; 1]>::try_from(Kernels::find(tree).bootable) else {
            return Err(BootError::Kernels { found: Kernels::find(tree).bootable });
        };
        let file = |name: &str, limit| -> Result<Vec<u8>, BootError> {
            let path = format!("{MODULES}/{kernel}/{name}");
            Ok(whole(tree, contents, &path_of(&path), limit)?)
        };
        let vmlinuz = file("vmlinuz", KERNEL_MAX)?;
        let list = |name: &str| file(name, LIST_MAX).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let index = ModuleIndex::parse(&list("modules.dep")?, &list("modules.builtin")?);
        let initramfs = initramfs::initramfs(tree, contents, (&kernel, &index), &machine, &options)?;
        let root = Erofs::plan(&with_mount_points(tree))?;
        Ok(Self { kernel, machine, vmlinuz, initramfs, root, index, options })
    }

    /// The image's kernel.
    pub fn kernel(&self) -> &KernelRelease {
        &self.kernel
    }

    /// The machine that boots it.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Bytes of the root disk and of the first root.
    pub fn sizes(&self) -> (u64, u64) {
        (self.root.size(), self.initramfs.len() as u64)
    }

    /// Boots, with QEMU at `program`, in a private directory below `workspace`, which takes as much space as the tree.
    /// The guest's console goes to `console`, up to 16 MiB. When this returns, QEMU and the directory are gone.
    pub fn boot(
        &self,
        contents: &dyn Contents,
        program: &Path,
        workspace: &Path,
        console: &mut dyn Write,
    ) -> Result<BootReport, BootError> {
        let private = PrivateDir::new(workspace, PREFIX);
        let private = private.map_err(|source| BootError::Workspace { path: workspace.to_owned(), source })?;
        let failed = |name: &str| {
            let path: PathBuf = private.path().join(name);
            move |source: io::Error| BootError::Workspace { path, source }
        };
        let dir = private.open().map_err(failed("."))?;
        dir.write(names::KERNEL, &self.vmlinuz).map_err(failed(names::KERNEL))?;
        dir.write(names::INITRAMFS, &self.initramfs).map_err(failed(names::INITRAMFS))?;
        let mut root = dir.create(names::ROOT).map_err(failed(names::ROOT))?;
        self.root.write(contents, &mut root).map_err(|source| match source.kind() {
            // What a damaged layer says.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => {
                BootError::Contents(source)
            }
            _ => failed(names::ROOT)(source),
        })?;
        let tries: &[Accelerator] = match self.options.kvm {
            Kvm::Off => &[Accelerator::Emulation],
            Kvm::Auto => &[Accelerator::Kvm, Accelerator::Emulation],
            Kvm::Require => &[Accelerator::Kvm],
        };
        for (position, accelerator) in tries.iter().enumerate() {
            let trial = position + 1 < tries.len();
            self.fresh_files(&dir).map_err(failed("."))?;
            let arguments = self.machine.arguments(&self.hardware(*accelerator));
            let place = (private.path(), &dir);
            match run::run(program, &arguments, place, self.options.timeout, trial, console) {
                // It never got to the guest: the next one may.
                Err(BootError::Qemu { .. }) if trial => {}
                Ok(ran) if trial && !ran.spoke => {}
                Err(error) => return Err(error),
                Ok(ran) => return self.report(&dir, *accelerator, &ran).map_err(failed(names::REPORT)),
            }
        }
        Err(BootError::Watch(io::ErrorKind::Unsupported.into()))
    }

    fn hardware(&self, accelerator: Accelerator) -> Hardware {
        let BootOptions { memory, processors, systemd, disks, .. } = &self.options;
        Hardware { memory: *memory, processors: *processors, accelerator, systemd: *systemd, disks: disks.clone() }
    }

    /// Makes what the guest writes to.
    fn fresh_files(&self, dir: &Dir) -> io::Result<()> {
        dir.create(names::REPORT)?;
        for (number, size) in self.options.disks.iter().enumerate() {
            dir.create(names::disk(number))?.set_len(*size)?;
        }
        Ok(())
    }

    fn report(&self, dir: &Dir, accelerator: Accelerator, ran: &run::Ran) -> io::Result<BootReport> {
        let mut text = Vec::new();
        dir.open(names::REPORT)?.take(run::REPORT_MAX).read_to_end(&mut text)?;
        // Serial lines end with a carriage return.
        let text = String::from_utf8_lossy(&text).replace('\r', "");
        let told = Told::parse(&text, |name| self.index.brings(name));
        let tail = String::from_utf8_lossy(&ran.tail).replace('\r', "");
        let lines: Vec<&str> = tail.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(CONSOLE_LINES));
        let console = last.map(|line| (*line).to_owned()).collect();
        Ok(BootReport { kernel: self.kernel.clone(), accelerator, end: ran.end, told, console })
    }
}

/// Whether this can name a module, and is neither an option nor two words of a script's line.
fn is_module_word(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+.:".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(plain) && !name.starts_with('-')
}

/// The tree with every directory that the guest needs. What stands in the place of one is left, and makes the boot fail.
fn with_mount_points(tree: &FileTree) -> FileTree {
    let mut tree = tree.clone();
    let directory = || Inode::directory(Meta::root_owned(0o755, 0));
    for path in std::iter::once("").chain(MOUNT_POINTS.iter().copied()).map(path_of) {
        if tree.get(&path).is_none() {
            tree.insert(path, directory());
        }
    }
    tree
}

/// A path that is written here, or is made of a kernel release.
fn path_of(text: &str) -> TreePath {
    TreePath::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
