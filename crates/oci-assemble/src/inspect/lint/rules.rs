//! The built-in list of what does not belong on a server: each rule with its reason.

use super::Severity::{self, Fatal, Warning};

/// A package that must not be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageRule {
    /// Its name. `*` and `?` stand for anything and for one character, `#` for digits.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Why.
    pub reason: &'static str,
}

/// When a path counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Whoever put it there.
    Present,
    /// Only when it is known to have been added over the base: bases may have leftovers there.
    Added,
    /// Only when it is a symlink and its target is in the image.
    Resolves,
}

/// A path where nothing may be. Directories alone are no finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// Pattern of the path, as [`Pattern`](crate::tree::glob::Pattern) reads it.
    pub path: &'static str,
    /// When it counts.
    pub when: When,
    /// How bad it is.
    pub severity: Severity,
    /// Why.
    pub reason: &'static str,
}

const COMPILER: &str = "a compiler: code is built elsewhere, not on the host";
const BUILD: &str = "a build tool: code is built elsewhere";
const DKMS: &str = "modules are built before the image, not on the host";
const HEADERS: &str = "headers serve compilers only";
const KERNEL_HEADERS: &str = "kernel headers: left over from building modules";
const SOURCES: &str = "source code: left over from a build";

const fn package(name: &'static str, severity: Severity, reason: &'static str) -> PackageRule {
    PackageRule { name, severity, reason }
}

const fn path(path: &'static str, when: When, severity: Severity, reason: &'static str) -> PathRule {
    PathRule { path, when, severity, reason }
}

/// Packages of Fedora, `CentOS` and Debian. `gcc-12-base` and `libgcc` are run-time parts and not meant.
pub const PACKAGES: &[PackageRule] = &[
    package("gcc", Fatal, COMPILER),
    package("gcc-#", Fatal, COMPILER),
    package("gcc-c++", Fatal, COMPILER),
    package("g++", Fatal, COMPILER),
    package("g++-#", Fatal, COMPILER),
    package("gcc-toolset-#-gcc", Fatal, COMPILER),
    package("cpp", Fatal, COMPILER),
    package("cpp-#", Fatal, COMPILER),
    package("clang", Fatal, COMPILER),
    package("clang-#", Fatal, COMPILER),
    package("rust", Fatal, COMPILER),
    package("rustc", Fatal, COMPILER),
    package("golang", Fatal, COMPILER),
    package("dkms", Fatal, DKMS),
    package("*-dkms", Fatal, DKMS),
    package("akmods", Fatal, DKMS),
    package("akmod-*", Fatal, DKMS),
    package("kernel-devel", Fatal, KERNEL_HEADERS),
    package("kernel-devel-matched", Fatal, KERNEL_HEADERS),
    package("kernel-*-devel", Fatal, KERNEL_HEADERS),
    package("linux-headers-*", Fatal, KERNEL_HEADERS),
    package("linux-kbuild-*", Fatal, KERNEL_HEADERS),
    package("build-essential", Fatal, COMPILER),
    package("rpm-build", Fatal, BUILD),
    package("dpkg-dev", Fatal, BUILD),
    package("make", Warning, BUILD),
    package("kernel-headers", Warning, HEADERS),
    package("linux-libc-dev", Warning, HEADERS),
    package("glibc-devel", Warning, HEADERS),
    package("libc6-dev", Warning, HEADERS),
    package("binutils", Warning, "assembler and linker, but other tools need them too"),
];

/// Places of Fedora, `CentOS` and Debian, in a merged `/usr`; `/usr/sbin` may be a directory or a link to `bin`.
pub const PATHS: &[PathRule] = &[
    path("/usr/bin/gcc", When::Present, Fatal, COMPILER),
    path("/usr/bin/gcc-?", When::Present, Fatal, COMPILER),
    path("/usr/bin/gcc-??", When::Present, Fatal, COMPILER),
    path("/usr/bin/*-linux-gnu-gcc", When::Present, Fatal, COMPILER),
    path("/usr/bin/*-redhat-linux-gcc", When::Present, Fatal, COMPILER),
    path("/usr/bin/cc", When::Present, Fatal, COMPILER),
    path("/usr/bin/c++", When::Present, Fatal, COMPILER),
    path("/usr/bin/g++", When::Present, Fatal, COMPILER),
    path("/usr/bin/clang", When::Present, Fatal, COMPILER),
    path("/usr/bin/clang-??", When::Present, Fatal, COMPILER),
    path("/usr/bin/tcc", When::Present, Fatal, COMPILER),
    path("/usr/bin/rustc", When::Present, Fatal, COMPILER),
    path("/usr/bin/go", When::Present, Fatal, COMPILER),
    path("/usr/libexec/gcc/*/*/cc1", When::Present, Fatal, COMPILER),
    path("/usr/libexec/gcc/*/*/cc1plus", When::Present, Fatal, COMPILER),
    path("/usr/lib/gcc/*/*/cc1", When::Present, Fatal, COMPILER),
    path("/usr/lib/gcc/*/*/cc1plus", When::Present, Fatal, COMPILER),
    path("/usr/sbin/dkms", When::Present, Fatal, DKMS),
    path("/usr/bin/dkms", When::Present, Fatal, DKMS),
    path("/usr/sbin/akmods", When::Present, Fatal, DKMS),
    path("/usr/bin/akmods", When::Present, Fatal, DKMS),
    path("/var/lib/dkms/**", When::Present, Fatal, DKMS),
    path("/var/cache/akmods/**", When::Present, Fatal, DKMS),
    path("/usr/src/kernels/**", When::Present, Fatal, KERNEL_HEADERS),
    path("/usr/src/linux-headers-*/**", When::Present, Fatal, KERNEL_HEADERS),
    path("/usr/lib/modules/*/build", When::Resolves, Fatal, KERNEL_HEADERS),
    path("/usr/lib/modules/*/source", When::Resolves, Fatal, KERNEL_HEADERS),
    path("/usr/lib/modules/*/build/**", When::Present, Fatal, KERNEL_HEADERS),
    path("/usr/src/**", When::Added, Fatal, SOURCES),
    path("/usr/include/**", When::Added, Fatal, HEADERS),
    path("/usr/bin/make", When::Present, Warning, BUILD),
    path("/usr/bin/ld", When::Added, Warning, "a linker, but other tools need it too"),
    path("/usr/bin/as", When::Added, Warning, "an assembler, but other tools need it too"),
];
