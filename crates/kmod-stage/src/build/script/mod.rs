//! The shell scripts that run in builders, as text.
//!
//! A script is all that is told to a distribution's tools: people read it with `assemble plan`, and its digest is part
//! of the key of what it makes. Names in it were checked by the recipe; they are quoted all the same.

pub mod apt;
pub mod dkms;
pub mod dnf;

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Family;
use crate::bundle::PackageRecord;

/// Where builders keep what they fetch and list, in the container.
pub const STATE: &str = "/var/lib/assemble";
/// The file that a run writes first: its time is the start of the run.
pub const MARKER: &str = "/var/lib/assemble/started";
/// What the container with a network leaves to be looked at: the list of fetched packages, and packages set aside.
pub const FETCHED: &str = "/var/lib/assemble/fetched";
/// The list of fetched packages.
pub const LISTING: &str = "/var/lib/assemble/fetched/packages";
/// The same, as it is called in a copy of the directory.
pub const PACKAGES: &str = "fetched/packages";

/// What repositories say of themselves.
pub const METADATA: &str = "/var/lib/assemble/metadata";

/// The first lines of every script: it ends at the first command that fails.
pub const HEAD: &str = "#!/bin/sh\nset -eu\numask 022\n";

/// A word of a shell command.
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+._-/:=~@,%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Words, separated by spaces.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        // Writing to a String cannot fail.
        let _ = write!(text, " {}", quoted(word));
    }
    text
}

/// What is asked of a distribution's package manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Names, some with a version as `NAME=VERSION`, to be there in the end.
    pub install: Vec<String>,
    /// Names to be gone in the end.
    pub remove: Vec<String>,
    /// `NAME=VERSION` to be there in that version, which may be older than the installed one.
    pub downgrade: Vec<String>,
    /// A name to be there in a version if that is offered, and else in the newest.
    pub rather: Option<(String, String)>,
    /// The kernel that takes the place of the base's, where it does; its packages are among those to install.
    pub kernel: Option<NewKernel>,
}

/// A kernel that takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKernel {
    /// Its release.
    pub release: String,
    /// Names of the packages of the other. Package managers install kernels beside each other.
    pub replaced: Vec<String>,
}

/// What is asked for to compile modules for `kernel`, and to have the files of `userspace`.
///
/// Of a kernel in several versions (Debian keeps a release over many of them) the headers are those of `version`, where
/// repositories still have them.
pub fn compile_request(
    family: Family,
    (kernel, version): (&str, Option<&str>),
    packages: &[String],
    userspace: &[String],
) -> Request {
    let mut install = super::dkms::tools(family, kernel);
    install.extend(packages.iter().chain(userspace).cloned());
    let rather = version.filter(|_| family == Family::Debian);
    let rather = rather.map(|version| (format!("linux-headers-{kernel}"), version.to_owned()));
    install.retain(|name| rather.as_ref().is_none_or(|(rather, _)| rather != name));
    Request { install, rather, ..Request::default() }
}

/// The script that fetches packages and everything they need, and lists them.
pub fn fetch(family: Family, request: &Request, locked: Option<&BTreeSet<PackageRecord>>) -> String {
    match family {
        Family::Debian => apt::fetch(request, locked),
        Family::Rpm => dnf::fetch(request, locked),
    }
}

/// The lines behind [`fetch`] that put the files of some packages into [`FETCHED`].
pub fn set_aside(family: Family, packages: &[&str]) -> String {
    let (archives, mark) = match family {
        Family::Debian => ("/var/cache/apt/archives", "_"),
        Family::Rpm => ("/var/lib/assemble/archives", "-"),
    };
    let line = |name: &&str| {
        let begin = format!("{archives}/{name}{mark}");
        format!("for file in {}[0-9]*; do [ ! -e \"$file\" ] || cp \"$file\" {FETCHED}/; done\n", quoted(&begin))
    };
    packages.iter().map(line).collect()
}

/// The lines behind [`unpack`] that note what an entry in the package database needs and unpacked packages lack.
pub fn note_conffiles(family: Family) -> String {
    match family {
        Family::Debian => apt::note_conffiles(),
        Family::Rpm => String::new(),
    }
}

/// The script that fetches the metadata of repositories.
pub fn metadata(family: Family) -> String {
    match family {
        Family::Debian => apt::metadata(),
        Family::Rpm => dnf::metadata(),
    }
}

/// The lines that install what was fetched as the distribution does it, scripts of packages and all.
pub fn install(family: Family, request: &Request) -> String {
    match family {
        Family::Debian => apt::install(request),
        Family::Rpm => dnf::install(request),
    }
}

/// The lines that lay down what was fetched, without running scripts of packages: enough for a tool chain.
pub fn unpack(family: Family) -> String {
    match family {
        Family::Debian => apt::UNPACK.to_owned(),
        Family::Rpm => dnf::unpack(),
    }
}

#[cfg(test)]
mod tests;
