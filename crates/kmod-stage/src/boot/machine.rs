//! The emulated machine: which QEMU, with which arguments. A table for two architectures, and a pure function.

use std::num::NonZero;

use super::BootError;

/// An architecture that can be emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Its OCI name.
    pub architecture: &'static str,
    /// The program that emulates it.
    pub program: &'static str,
    /// Packages that have it.
    pub packages: &'static str,
    /// `-machine`.
    board: &'static str,
    /// The device of the kernel's console.
    console: &'static str,
    /// The device of the report, and how QEMU makes it.
    pub(super) report: &'static str,
    report_device: &'static [&'static str],
    /// Drivers that the report takes.
    pub(super) report_drivers: &'static [&'static str],
}

/// A PC with two serial ports: their driver is part of every kernel.
const X86_64: Machine = Machine {
    architecture: "amd64",
    program: "qemu-system-x86_64",
    packages: "qemu-system-x86 (Debian) or qemu-system-x86-core (Fedora)",
    board: "q35",
    console: "ttyS0",
    report: "ttyS1",
    report_device: &["-serial", "chardev:report"],
    report_drivers: &[],
};

/// QEMU's own board, which has but one serial port.
const AARCH64: Machine = Machine {
    architecture: "arm64",
    program: "qemu-system-aarch64",
    packages: "qemu-system-arm (Debian) or qemu-system-aarch64-core (Fedora)",
    board: "virt",
    console: "ttyAMA0",
    report: "hvc0",
    report_device: &["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=report"],
    report_drivers: &["virtio_console"],
};

impl Machine {
    /// The machine for an architecture, by its OCI name.
    pub fn for_architecture(name: &str) -> Result<Self, BootError> {
        let found = [X86_64, AARCH64].into_iter().find(|machine| machine.architecture == name);
        found.ok_or_else(|| BootError::Architecture { architecture: name.to_owned() })
    }

    /// The arguments of the kernel. A panic ends the guest at once.
    fn kernel_arguments(&self, systemd: bool) -> String {
        let wants = if systemd { " systemd.wants=assemble-check.service" } else { "" };
        format!("console={} panic=-1 rdinit=/init{wants}", self.console)
    }

    /// The arguments of QEMU, which runs in a directory with the files it names. The console is its standard output.
    pub(super) fn arguments(&self, hardware: &Hardware) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-machine", self.board]);
        // Emulated, a processor has everything QEMU knows; borrowed, what the host's has.
        match hardware.accelerator {
            Accelerator::Emulation => add(&["-accel", "tcg,thread=multi", "-cpu", "max"]),
            Accelerator::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
        }
        add(&["-smp", &hardware.processors.to_string(), "-m", &hardware.memory.to_string()]);
        add(&["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"]);
        add(&[
            "-kernel",
            names::KERNEL,
            "-initrd",
            names::INITRAMFS,
            "-append",
            &self.kernel_arguments(hardware.systemd),
        ]);
        add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
        add(&["-chardev", &format!("file,id=report,path={}", names::REPORT)]);
        add(self.report_device);
        let mut disk = |id: &str, name: &str, options: &str| {
            add(&["-drive", &format!("id={id},file={name},if=none,format=raw,cache=unsafe{options}")]);
            add(&["-device", &format!("virtio-blk-pci,drive={id}")]);
        };
        disk("root", names::ROOT, ",readonly=on");
        for number in 0..hardware.disks.len() {
            disk(&format!("disk{number}"), &names::disk(number), "");
        }
        arguments
    }
}

/// What the machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hardware {
    /// MiB of memory.
    pub memory: NonZero<u32>,
    /// Number of processors.
    pub processors: NonZero<u32>,
    /// What computes.
    pub accelerator: Accelerator,
    /// Whether systemd is started, and asked for the check.
    pub systemd: bool,
    /// Bytes of each scratch disk; the guest has them as `/dev/vdb` and so on.
    pub disks: Vec<u64>,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU itself. Slow, and works everywhere.
    Emulation,
    /// The host's processor through KVM.
    Kvm,
}

impl Accelerator {
    /// What QEMU calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emulation => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// Names of files in the directory that QEMU runs in. Relative, so that no path needs escaping in its options.
pub(super) mod names {
    pub(in crate::boot) const KERNEL: &str = "vmlinuz";
    pub(in crate::boot) const INITRAMFS: &str = "initramfs";
    pub(in crate::boot) const ROOT: &str = "root.erofs";
    pub(in crate::boot) const REPORT: &str = "report";

    pub(in crate::boot) fn disk(number: usize) -> String {
        format!("disk{number}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hardware(accelerator: Accelerator, systemd: bool, disks: Vec<u64>) -> Hardware {
        let number = |number| NonZero::new(number).unwrap();
        Hardware { memory: number(2048), processors: number(2), accelerator, systemd, disks }
    }

    #[test]
    fn arguments_of_each_machine() {
        let text = |architecture, hardware: Hardware| {
            Machine::for_architecture(architecture).unwrap().arguments(&hardware).join(" ").replace(" -", "\n-")
        };
        assert_eq!(
            text("amd64", hardware(Accelerator::Emulation, false, vec![1 << 20])),
            "-machine q35\n-accel tcg,thread=multi\n-cpu max\n-smp 2\n-m 2048\n-no-user-config\n-nodefaults\n\
             -display none\n-no-reboot\n-kernel vmlinuz\n-initrd initramfs\n\
             -append console=ttyS0 panic=-1 rdinit=/init\n\
             -chardev stdio,id=console,signal=off\n-serial chardev:console\n\
             -chardev file,id=report,path=report\n-serial chardev:report\n\
             -drive id=root,file=root.erofs,if=none,format=raw,cache=unsafe,readonly=on\n\
             -device virtio-blk-pci,drive=root\n\
             -drive id=disk0,file=disk0,if=none,format=raw,cache=unsafe\n-device virtio-blk-pci,drive=disk0"
        );
        assert_eq!(
            text("arm64", hardware(Accelerator::Kvm, true, vec![])),
            "-machine virt\n-accel kvm\n-cpu host\n-smp 2\n-m 2048\n-no-user-config\n-nodefaults\n\
             -display none\n-no-reboot\n-kernel vmlinuz\n-initrd initramfs\n\
             -append console=ttyAMA0 panic=-1 rdinit=/init systemd.wants=assemble-check.service\n\
             -chardev stdio,id=console,signal=off\n-serial chardev:console\n\
             -chardev file,id=report,path=report\n-device virtio-serial-pci\n-device virtconsole,chardev=report\n\
             -drive id=root,file=root.erofs,if=none,format=raw,cache=unsafe,readonly=on\n\
             -device virtio-blk-pci,drive=root"
        );
        assert!(Machine::for_architecture("s390x").is_err());
    }
}
