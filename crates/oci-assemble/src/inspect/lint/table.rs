//! All lints.

use super::report::Note;
use super::{LintError, Severity, Subject, bootc, forbidden, kernel, layers, libraries, modules, names, sealed};

/// Where a lint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `bootc container lint` has it under the same name.
    Bootc,
    /// Only here.
    Own,
}

/// One check.
pub struct Lint {
    /// Its name, for skipping and in reports.
    pub name: &'static str,
    /// The level of its findings; single findings may be milder.
    pub severity: Severity,
    /// Where it comes from.
    pub origin: Origin,
    /// What holds when it finds nothing, one line.
    pub about: &'static str,
    pub(super) run: Run,
}

/// How a lint works.
pub(super) enum Run {
    /// On values alone.
    Pure(fn(&Subject) -> Vec<Note>),
    /// It reads files too.
    Read(fn(&Subject) -> Result<Vec<Note>, LintError>),
}

impl Run {
    pub(super) fn call(&self, subject: &Subject) -> Result<Vec<Note>, LintError> {
        match self {
            Self::Pure(run) => Ok(run(subject)),
            Self::Read(run) => run(subject),
        }
    }
}

impl std::fmt::Debug for Lint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lint").field(&self.name).finish()
    }
}

macro_rules! lints {
    ($($origin:ident $severity:ident $name:literal $kind:ident $run:path, $about:literal;)*) => {
        /// All lints, in the order in which they run.
        pub const LINTS: &[Lint] = &[$(Lint {
            name: $name,
            severity: Severity::$severity,
            origin: Origin::$origin,
            about: $about,
            run: Run::$kind($run),
        },)*];
    };
}

/// The lint without which the package database is not read.
pub(super) const FORBIDDEN_PACKAGES: &str = "forbidden-packages";

lints! {
    Bootc Fatal "api-base-directories" Pure bootc::api_base_directories, "/dev /proc /run /sys /tmp /var are directories";
    Bootc Fatal "baseimage-root" Pure bootc::baseimage_root, "/sysroot is a directory and /ostree leads to sysroot/ostree";
    Bootc Fatal "bootc-kargs" Read bootc::bootc_kargs, "kargs.d/*.toml have only what bootc knows";
    Bootc Fatal "etc-usretc" Pure bootc::etc_usretc, "/etc and /usr/etc are not both there";
    Bootc Fatal "kernel" Pure bootc::kernel, "at most one kernel";
    Bootc Fatal "utf8" Pure bootc::utf8, "names and symlink targets are UTF-8";
    Bootc Fatal "var-run" Pure bootc::var_run, "/var/run is a symlink if it is there";
    Bootc Warning "baseimage-composefs" Read bootc::baseimage_composefs, "prepare-root.conf enables composefs or a transient root";
    Bootc Warning "buildah-injected" Pure bootc::buildah_injected, "/etc/hostname and /etc/resolv.conf are not empty files";
    Bootc Warning "nonempty-boot" Pure bootc::nonempty_boot, "/boot is an empty directory, EFI apart";
    Bootc Warning "nonempty-run-tmp" Pure bootc::nonempty_run_tmp, "/run and /tmp are empty";
    Bootc Warning "sysusers" Read bootc::sysusers, "users and groups of /etc have lines in sysusers.d";
    Bootc Warning "var-log" Pure bootc::var_log, "no log of the build in /var/log";
    Bootc Warning "var-tmpfiles" Read bootc::var_tmpfiles, "the content of /var is made by tmpfiles.d";
    Own Fatal "single-kernel" Pure kernel::single_kernel, "exactly one kernel, with vmlinuz and initramfs.img";
    Own Fatal "kernel-modules-match" Pure modules::kernel_modules_match, "modules are built for that kernel and machine";
    Own Fatal "depmod-complete" Read modules::depmod_complete, "the indices of depmod name every module and no other";
    Own Fatal "kmods-karg" Read kernel::kmods_karg, "added modules are named by a kernel argument, against soft reboots";
    Own Fatal "initramfs-stale" Pure sealed::initramfs_stale, "a changed prepare-root.conf comes with a new initramfs";
    Own Fatal "prepare-root-shadowed" Pure sealed::prepare_root_shadowed, "no prepare-root.conf in /etc hides the base's";
    Own Fatal "uki" Pure sealed::uki, "no unified kernel image: it would seal the tree";
    Own Fatal "needed-libraries" Read libraries::needed_libraries, "programs and libraries find the libraries they need";
    Own Fatal "forbidden-packages" Pure forbidden::forbidden_packages, "no compilers, headers or dkms among the packages";
    Own Fatal "forbidden-files" Read forbidden::forbidden_files, "no compilers, headers, dkms or sources among the files";
    Own Fatal "layer-encoding" Pure layers::layer_encoding, "every client reads the same files from the layers";
    Own Fatal "required-labels" Pure layers::required_labels, "bootable mark, version, date, architecture and os are set";
    Own Fatal "ostree-labels" Pure layers::ostree_labels, "labels of an ostree base fit the layers";
    Own Warning "case-collisions" Pure names::case_collisions, "no added name differs from another in case only";
    Own Warning "setuid-added" Pure names::setuid_added, "no added file is setuid, setgid or has capabilities";
}
