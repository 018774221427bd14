//! Which kernel an image gets, as plans and locks say it. Who decides is not known here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the kernel moves from the base's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It stays.
    Keep,
    /// To a newer version.
    Upgrade,
    /// To an older version.
    Downgrade,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
        })
    }
}

/// A decision about the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelChoice {
    /// What the recipe pins it to: `base`, `devel`, `=RELEASE`.
    pub pin: String,
    /// Release of the image's kernel.
    pub release: String,
    /// Where it moves from the base's.
    pub direction: Direction,
    /// Why, for people.
    pub reason: String,
    /// Packages to install for it, as `NAME=VERSION`; none where it stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub install: Vec<String>,
    /// Packages of the base's kernel to remove, as `NAME=VERSION`; none where it stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// What a plan knows about the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelPlan {
    /// What the recipe pins it to: `base`, `devel`, `=RELEASE`.
    pub pin: String,
    /// Release of the base's kernel, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Release of the image's kernel, where it is known before repositories are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Where it moves from the base's, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Why it is this one, or what is still to be decided; for people.
    pub reason: String,
    /// Packages to install for it, as `NAME=VERSION`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub install: Vec<String>,
    /// Packages of the base's kernel to remove, as `NAME=VERSION`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Repositories that could have a say and were not read: name → why not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, String>,
}

impl KernelPlan {
    /// A plan in which `choice` stands.
    pub fn chosen(base: Option<String>, choice: KernelChoice) -> Self {
        let KernelChoice { pin, release, direction, reason, install, remove } = choice;
        Self {
            pin,
            base,
            release: Some(release),
            direction: Some(direction),
            reason,
            install,
            remove,
            unread: BTreeMap::new(),
        }
    }

    /// A plan in which the kernel is still to be chosen.
    pub fn open(pin: String, base: Option<String>, reason: String) -> Self {
        Self {
            pin,
            base,
            release: None,
            direction: None,
            reason,
            install: Vec::new(),
            remove: Vec::new(),
            unread: BTreeMap::new(),
        }
    }

    pub(super) fn write(&self, text: &mut String) -> fmt::Result {
        use fmt::Write;
        let Self { pin, base, release, direction, reason, install, remove, unread } = self;
        match (release, base) {
            (Some(release), _) => writeln!(text, "kernel    {release}")?,
            (None, Some(base)) => writeln!(text, "kernel    not known yet; the base has {base}")?,
            (None, None) => writeln!(text, "kernel    none")?,
        }
        let moves = direction.map(|direction| format!(", {direction}")).unwrap_or_default();
        writeln!(text, "          pin {pin}{moves}: {reason}")?;
        for (word, packages) in [("install", install), ("remove", remove)] {
            if !packages.is_empty() {
                writeln!(text, "          {word} {}", packages.join(" "))?;
            }
        }
        for (name, why) in unread {
            writeln!(text, "          repository {name} was not read: {why}")?;
        }
        Ok(())
    }
}
