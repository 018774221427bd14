//! `dkms.conf` (dkms(8), "DKMS.CONF").
//!
//! The file is a fragment of bash that dkms sources. Running it would mean running a stranger's program, so only what
//! needs no running is understood: assignments that stand alone, with quotes, continued lines, and references to
//! variables assigned before. What depends on more (`if`, `$(…)`, other programs) is reported, never guessed: a value
//! is either known for certain or it is [`Setting::NotUnderstood`].

mod assign;
mod destination;
mod lex;
mod script;

use std::collections::BTreeMap;

pub use destination::Distribution;
use script::Script;

/// Most bytes of a dkms.conf; the longest of Debian has 5 KiB.
const CONF_MAX: usize = 1 << 20;
/// Most modules of a package.
const MODULES_MAX: usize = 1000;

/// A value of dkms.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// For certain this text.
    Known(String),
    /// Depends on what only bash knows.
    NotUnderstood(NotUnderstood),
}

impl Setting {
    /// The text, where it is known.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::NotUnderstood(_) => None,
        }
    }
}

/// Something that only bash can evaluate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotUnderstood {
    /// The line, counted from 1.
    pub line: u64,
    /// What it is: `if`, `$(…)`, `the variable kernelver`.
    pub what: String,
}

/// Why a dkms.conf is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfError {
    /// Longer than such a file can be.
    #[error("{file} has more than {CONF_MAX} bytes")]
    TooLong {
        /// The file.
        file: String,
    },
    /// Not text.
    #[error("{file} is no UTF-8 text")]
    NotText {
        /// The file.
        file: String,
    },
    /// A quote, bracket or compound command that never ends.
    #[error("{file}, line {line}: {what} has no end")]
    Open {
        /// The file.
        file: String,
        /// Where it begins.
        line: u64,
        /// What.
        what: String,
    },
    /// dkms needs a value that the file does not give.
    #[error("{file} has no {key}")]
    Missing {
        /// The file.
        file: String,
        /// Which.
        key: String,
    },
    /// A value that everything depends on cannot be understood without bash.
    #[error("{file}, line {}: {key} depends on {}", reason.line, reason.what)]
    NotUnderstood {
        /// The file.
        file: String,
        /// Whose.
        key: String,
        /// Why not.
        reason: NotUnderstood,
    },
    /// dkms refuses the value.
    #[error("{file}: {key} is {value:?}, not {expected}")]
    Value {
        /// The file.
        file: String,
        /// The variable.
        key: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// What dkms.conf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkmsConf {
    /// `PACKAGE_NAME`.
    pub name: String,
    /// `PACKAGE_VERSION`.
    pub version: String,
    /// The modules that are known for certain, by index.
    pub modules: Vec<BuiltModule>,
    /// Whether `modules` are all of them.
    pub complete: bool,
    /// Whether a new kernel gets the modules without being asked for them: `AUTOINSTALL`.
    pub autoinstall: Setting,
    /// Everything else, by variable and index: `("MAKE", 0)`, `("CLEAN", 0)`, `("PATCH", 0)`,
    /// `("BUILD_EXCLUSIVE_KERNEL", 0)`, `("BUILD_DEPENDS", 0)`.
    pub settings: BTreeMap<(String, usize), Setting>,
    /// What was not understood, by line; no value that is known depends on it.
    pub not_understood: Vec<NotUnderstood>,
}

/// A module that the package builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltModule {
    /// `BUILT_MODULE_NAME`: the file without `.ko`.
    pub built_name: String,
    /// `BUILT_MODULE_LOCATION`: its directory in the sources, empty or ending with a slash.
    pub built_location: String,
    /// `DEST_MODULE_NAME`: what it is installed as, without `.ko`.
    pub name: String,
    /// `DEST_MODULE_LOCATION` as written, below the modules directory of the kernel; see [`Distribution`].
    pub location: String,
}

impl BuiltModule {
    /// Where dkms installs it, relative to the modules directory, without what a compression adds: `extra/zfs.ko`.
    pub fn path(&self, distribution: Distribution) -> String {
        let location = distribution.directory().unwrap_or(&self.location);
        format!("{}/{}.ko", location.trim_matches('/'), self.name)
    }
}

impl DkmsConf {
    /// Reads the bytes of a dkms.conf, called `file` in errors.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, ConfError> {
        let file = file.to_owned();
        if bytes.len() > CONF_MAX {
            return Err(ConfError::TooLong { file });
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return Err(ConfError::NotText { file }) };
        let script = Script::read(text).map_err(|open| {
            let file = file.clone();
            ConfError::Open { file, line: open.line, what: open.what }
        })?;
        assign::conf(script, &file)
    }

    /// A value by variable and index; single values have index 0.
    pub fn setting(&self, variable: &str, index: usize) -> Option<&Setting> {
        self.settings.get(&(variable.to_owned(), index))
    }
}

#[cfg(test)]
mod tests;
