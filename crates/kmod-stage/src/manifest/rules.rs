//! What of a package's files is no content of an image, as a table that can be read and printed.

use std::fmt;

use oci_assemble::pkgdb::FileFlag;

use Means::{Flag, Judged, Named, Paths};
use Verdict::{Exclude, Keep};

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The file goes into the image, whatever a later rule says.
    Keep,
    /// It does not.
    Exclude,
}

/// Which files a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// What stands at these patterns ([`Pattern`](oci_assemble::tree::glob::Pattern)) or below; with `**/` before it, at
    /// any depth. Paths are those of the image.
    Paths(&'static [&'static str]),
    /// No directory, below one of the directories, with one of the names.
    Named {
        /// Directories, as patterns.
        below: &'static [&'static str],
        /// Patterns of names.
        names: &'static [&'static str],
    },
    /// Files of which the package database says so.
    Flag(FileFlag),
    /// What a look at the file and its neighbours tells.
    Judged(Judgement),
}

/// What only a look at a file and its neighbours tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A device or named pipe.
    Special,
    /// A directory or symlink below `/var`.
    VarState,
    /// A symlink `lib*.so` to a library that is loaded by another name, which is there.
    DevelopmentLink,
    /// A start script of System V init with a unit of the same name.
    SysvScript,
    /// A path that is listed but not on the disk, with the flag `missingok`.
    MayBeAbsent,
    /// A translation that is listed but not on the disk.
    AbsentLocale,
    /// A symlink that the merged directories of the base turn into a link to itself.
    SelfLink,
    /// A path that the merged directories of the base make the same as another with equal content.
    SamePath,
}

/// One rule. The first one that is about a file decides; a file that no rule is about goes into the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in reports.
    pub name: &'static str,
    /// What it decides.
    pub verdict: Verdict,
    /// Which files it is about.
    pub means: Means,
    /// Why, for people.
    pub reason: &'static str,
}

const fn keep(name: &'static str, means: Means, reason: &'static str) -> Rule {
    Rule { name, verdict: Keep, means, reason }
}

const fn exclude(name: &'static str, means: Means, reason: &'static str) -> Rule {
    Rule { name, verdict: Exclude, means, reason }
}

/// Where libraries are. Debian has one more directory for the architecture.
const LIBRARIES: &[&str] = &["/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/libexec", "/usr/local/lib"];

/// All rules, in the order in which they are asked.
pub const RULES: &[Rule] = &[
    exclude(
        "ghost",
        Flag(FileFlag::Ghost),
        "the package only claims the path, the file comes into being on the machine",
    ),
    exclude(
        "running-system",
        Paths(&["/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp", "/sysroot", "/ostree", "/usr/etc"]),
        "the running system mounts something of its own there",
    ),
    exclude("boot", Paths(&["/boot"]), "the boot loader's place: kernels lie beside their modules"),
    exclude(
        "kernel-modules",
        Paths(&["/usr/lib/modules"]),
        "modules are built, judged and indexed for the image's kernel",
    ),
    exclude(
        "dkms",
        Paths(&["/var/lib/dkms", "/usr/lib/dkms", "/etc/dkms"]),
        "DKMS and its build trees stay in the builder",
    ),
    exclude("special", Judged(Judgement::Special), "layers of bootable images carry no devices and no named pipes"),
    exclude(
        "var-state",
        Judged(Judgement::VarState),
        "machines get /var once and never again: a line of tmpfiles.d makes it instead",
    ),
    exclude(
        "opt-file",
        Paths(&["/var/opt/**"]),
        "packages that install below /opt do so in /var, which machines get once and never again",
    ),
    exclude(
        "var-file",
        Paths(&["/var/**"]),
        "machines get /var once and never again, so its files would never be upgraded",
    ),
    keep("license", Flag(FileFlag::License), "who passes a program on has to pass its licence on"),
    keep(
        "license-place",
        Paths(&["/usr/share/licenses", "/usr/share/doc/*/copyright"]),
        "who passes a program on has to pass its licence on",
    ),
    exclude("doc", Flag(FileFlag::Doc), "servers are documented elsewhere"),
    exclude(
        "documentation",
        Paths(&["/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/gtk-doc", "/usr/share/doc-base"]),
        "servers are documented elsewhere",
    ),
    exclude("packaging", Paths(&["/usr/share/lintian", "/usr/share/bug"]), "only those who make packages read it"),
    exclude("source", Paths(&["/usr/src"]), "sources are for the builder"),
    exclude("headers", Paths(&["/usr/include"]), "only compilers read them"),
    exclude(
        "build-files",
        Paths(&[
            "/usr/lib*/pkgconfig",
            "/usr/lib/*/pkgconfig",
            "/usr/share/pkgconfig",
            "/usr/lib*/cmake",
            "/usr/lib/*/cmake",
            "/usr/share/cmake",
            "/usr/share/aclocal",
        ]),
        "only build systems read them",
    ),
    exclude("static-library", Named { below: LIBRARIES, names: &["*.a"] }, "only linkers read them"),
    exclude("libtool", Named { below: LIBRARIES, names: &["*.la"] }, "only libtool reads them"),
    keep(
        "opened-by-name",
        Named {
            below: LIBRARIES,
            names: &["libcuda.so", "libnvidia-*.so", "libnvcuvid.so", "libnvoptix.so", "libvdpau_nvidia.so"],
        },
        "programs open it by this name",
    ),
    exclude(
        "development-link",
        Judged(Judgement::DevelopmentLink),
        "only linkers use it: programs load the library by its soname",
    ),
    exclude(
        "initramfs-tools",
        Paths(&["/usr/share/initramfs-tools", "/etc/initramfs-tools"]),
        "the image's initramfs is not made by initramfs-tools",
    ),
    exclude(
        "dracut-module",
        Paths(&["/usr/lib/dracut/modules.d"]),
        "the initramfs of the base stays; what it would take in mounts no root",
    ),
    exclude(
        "byte-code",
        Paths(&["**/__pycache__", "**/*.pyc", "**/*.pyo"]),
        "Python makes it from the sources, with times in it",
    ),
    exclude("sysv-script", Judged(Judgement::SysvScript), "a unit of the same name takes its place"),
    exclude("may-be-absent", Judged(Judgement::MayBeAbsent), "the package allows it to be absent, and it is"),
    exclude("absent-locale", Judged(Judgement::AbsentLocale), "the builder's package manager left translations out"),
    exclude("self-link", Judged(Judgement::SelfLink), "the base has merged the two directories between which it leads"),
    exclude(
        "same-path",
        Judged(Judgement::SamePath),
        "the base has merged directories in which it is the same file twice",
    ),
];

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Paths(patterns) => f.write_str(&patterns.join(" ")),
            Named { below, names } => write!(f, "{} below {}", names.join(" "), below.join(" ")),
            Flag(flag) => write!(f, "files flagged {}", flag.name()),
            Judged(judgement) => f.write_str(match judgement {
                Judgement::Special => "devices and named pipes",
                Judgement::VarState => "directories and symlinks below /var",
                Judgement::DevelopmentLink => "symlinks lib*.so to a library with another soname",
                Judgement::SysvScript => "/etc/init.d and /etc/rc*.d with a unit of the same name",
                Judgement::MayBeAbsent => "files flagged missingok that are not there",
                Judgement::AbsentLocale => "/usr/share/locale, of what is not there",
                Judgement::SelfLink => "symlinks to themselves",
                Judgement::SamePath => "files that become one path",
            }),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.name, self.means, self.reason)
    }
}
