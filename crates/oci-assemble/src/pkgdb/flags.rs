//! What a package says of one of its files.

use std::fmt;

/// One thing that a package says of a file: `RPMFILE_*` of rpm's `rpmfiles.h`, or dpkg's list of conffiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileFlag {
    /// Configuration, which people change.
    Config,
    /// Configuration of which a changed copy stays in force when the package is upgraded. dpkg treats all so.
    NoReplace,
    /// Documentation.
    Doc,
    /// Licence text.
    License,
    /// Belongs to the package, but comes into being later or never.
    Ghost,
    /// May be absent.
    MissingOk,
}

impl FileFlag {
    /// All flags.
    pub const ALL: [Self; 6] = [Self::Config, Self::NoReplace, Self::Doc, Self::License, Self::Ghost, Self::MissingOk];

    /// The word of rpm's spec files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::NoReplace => "noreplace",
            Self::Doc => "doc",
            Self::License => "license",
            Self::Ghost => "ghost",
            Self::MissingOk => "missingok",
        }
    }

    /// The bit of rpm's `FILEFLAGS`.
    fn bit(self) -> u16 {
        match self {
            Self::Config => 1,
            Self::Doc => 1 << 1,
            Self::MissingOk => 1 << 3,
            Self::NoReplace => 1 << 4,
            Self::Ghost => 1 << 6,
            Self::License => 1 << 7,
        }
    }
}

/// What a package says of one of its files; most often nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileFlags(u16);

impl FileFlags {
    /// Those of rpm's `FILEFLAGS` that are known here.
    #[cfg(feature = "rpm")]
    pub(super) fn of_rpm(bits: u64) -> Self {
        FileFlag::ALL.into_iter().filter(|flag| bits & u64::from(flag.bit()) != 0).collect()
    }

    /// Whether the flag is among them.
    pub fn has(self, flag: FileFlag) -> bool {
        self.0 & flag.bit() != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags, in the order of [`FileFlag::ALL`].
    pub fn iter(self) -> impl Iterator<Item = FileFlag> {
        FileFlag::ALL.into_iter().filter(move |flag| self.has(*flag))
    }
}

impl FromIterator<FileFlag> for FileFlags {
    fn from_iter<I: IntoIterator<Item = FileFlag>>(flags: I) -> Self {
        Self(flags.into_iter().fold(0, |bits, flag| bits | flag.bit()))
    }
}

impl fmt::Display for FileFlags {
    /// The words with commas between them; a dash for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(FileFlag::name).collect();
        f.write_str(if words.is_empty() { "-" } else { "" })?;
        f.write_str(&words.join(","))
    }
}
