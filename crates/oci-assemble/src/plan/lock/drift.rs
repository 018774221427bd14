//! What no longer is as it was when a lock was made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, PlatformLock};
use crate::image::{Digest, Epoch, ImageReference};

/// The pin of an image without a kernel: what recipes say that say nothing.
const UNPINNED: &str = "base";

/// What a recipe and its files say now, to be held against a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As [`Lock::recipes`].
    pub recipes: BTreeMap<String, Digest>,
    /// As [`Lock::compression`].
    pub compression: String,
    /// The platforms in question.
    pub platforms: BTreeSet<String>,
    /// What holds for each of them.
    pub platform: PlatformFacts,
    /// The date of the image, where the user says one.
    pub epoch: Option<Epoch>,
}

/// What a recipe asks for on every platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformFacts {
    /// The base.
    pub base: ImageReference,
    /// What builders start from, where it is not the base.
    pub builder: Option<ImageReference>,
    /// What the kernel is pinned to: `base`, `devel`, `=RELEASE`.
    pub kernel: String,
    /// What builders are asked to make, by the name of the stage.
    pub stages: BTreeMap<String, StageFacts>,
}

/// What a builder is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFacts {
    /// Kind of the stage.
    pub kind: String,
    /// Digest of what the recipe asks for.
    pub request: Digest,
}

/// What became of something that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The lock does not have it.
    New,
    /// It is another than in the lock.
    Changed,
    /// Only the lock has it.
    Gone,
}

/// One thing that is not as the lock has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drift {
    /// There is no lock.
    NoLock,
    /// A recipe file.
    Recipe {
        /// Relative to the recipe.
        path: String,
        /// What became of it.
        change: Change,
    },
    /// A file or directory that a recipe names.
    Source {
        /// Relative to the recipe.
        path: String,
        /// What became of it.
        change: Change,
    },
    /// The compressor, so that the same content gives other blobs.
    Compression {
        /// That of the lock.
        locked: String,
        /// That of this program and recipe.
        found: String,
    },
    /// Nothing is locked for a platform.
    Platform {
        /// The platform.
        platform: String,
    },
    /// The recipe names another base.
    Base {
        /// For this platform.
        platform: String,
        /// That of the lock.
        locked: String,
        /// That of the recipe.
        found: String,
    },
    /// The recipe names another image for builders.
    Builder {
        /// For this platform.
        platform: String,
    },
    /// The recipe pins the kernel to something else.
    Kernel {
        /// For this platform.
        platform: String,
        /// What the lock was made for.
        locked: String,
        /// What the recipe says.
        found: String,
    },
    /// The user asks for another date.
    Epoch {
        /// For this platform.
        platform: String,
        /// That of the lock.
        locked: Epoch,
        /// What is asked for.
        found: Epoch,
    },
    /// Something that a builder makes.
    Stage {
        /// For this platform.
        platform: String,
        /// Name of the stage.
        name: String,
        /// What became of it.
        change: Change,
    },
}

impl Lock {
    /// What is not as it was when the lock was made, sources left out: see [`Lock::source_drift`]. Platforms that only
    /// the lock has do no harm.
    pub fn drift(&self, facts: &Facts) -> Vec<Drift> {
        let mut found: Vec<Drift> = changes(&self.recipes, &facts.recipes)
            .map(|(path, change)| Drift::Recipe { path: path.clone(), change })
            .collect();
        if self.compression != facts.compression {
            let (locked, now) = (self.compression.clone(), facts.compression.clone());
            found.push(Drift::Compression { locked, found: now });
        }
        for platform in &facts.platforms {
            match self.platforms.get(platform) {
                Some(locked) => locked.drift(platform, facts, &mut found),
                None => found.push(Drift::Platform { platform: platform.clone() }),
            }
        }
        found
    }

    /// The sources that are not as they were.
    pub fn source_drift(&self, sources: &BTreeMap<String, Digest>) -> Vec<Drift> {
        changes(&self.sources, sources).map(|(path, change)| Drift::Source { path: path.clone(), change }).collect()
    }
}

impl PlatformLock {
    fn drift(&self, platform: &str, facts: &Facts, found: &mut Vec<Drift>) {
        let PlatformFacts { base, builder, kernel, stages } = &facts.platform;
        let platform = || platform.to_owned();
        if self.base.image != *base {
            let (locked, now) = (self.base.image.to_string(), base.to_string());
            found.push(Drift::Base { platform: platform(), locked, found: now });
        }
        if self.builder.as_ref().map(|pin| &pin.image) != builder.as_ref() {
            found.push(Drift::Builder { platform: platform() });
        }
        let pin = self.kernel.as_ref().map_or(UNPINNED, |choice| &choice.pin);
        if pin != kernel {
            found.push(Drift::Kernel { platform: platform(), locked: pin.to_owned(), found: kernel.clone() });
        }
        if let Some(epoch) = facts.epoch.filter(|epoch| *epoch != self.epoch) {
            found.push(Drift::Epoch { platform: platform(), locked: self.epoch, found: epoch });
        }
        let locked: BTreeMap<String, StageFacts> = self
            .stages
            .iter()
            .map(|(name, stage)| (name.clone(), StageFacts { kind: stage.kind.clone(), request: stage.request }))
            .collect();
        let stage =
            |(name, change): (&String, Change)| Drift::Stage { platform: platform(), name: name.clone(), change };
        found.extend(changes(&locked, stages).map(stage));
    }
}

/// The names whose values differ, in order.
fn changes<'a, T: PartialEq>(
    locked: &'a BTreeMap<String, T>,
    found: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, Change)> {
    let names: BTreeSet<&String> = locked.keys().chain(found.keys()).collect();
    names.into_iter().filter_map(|name| match (locked.get(name), found.get(name)) {
        (None, _) => Some((name, Change::New)),
        (_, None) => Some((name, Change::Gone)),
        (locked, found) => (locked != found).then_some((name, Change::Changed)),
    })
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "is not locked",
            Self::Changed => "has changed",
            Self::Gone => "is locked and no longer used",
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLock => write!(f, "there is no lock"),
            Self::Recipe { path, change } => write!(f, "recipe {path} {change}"),
            Self::Source { path, change } => write!(f, "source {path} {change}"),
            Self::Compression { locked, found } => write!(f, "compressor {locked} is locked, {found} would be used"),
            Self::Platform { platform } => write!(f, "platform {platform} is not locked"),
            Self::Base { platform, locked, found } => {
                write!(f, "base of {platform}: {locked} is locked, the recipe names {found}")
            }
            Self::Builder { platform } => write!(f, "image for builders of {platform} has changed in the recipe"),
            Self::Kernel { platform, locked, found } => {
                write!(f, "kernel of {platform}: pin {locked} is locked, the recipe says {found}")
            }
            Self::Epoch { platform, locked, found } => {
                write!(f, "date of {platform}: {locked} is locked, SOURCE_DATE_EPOCH is {found}")
            }
            Self::Stage { platform, name, change } => {
                write!(f, "stage {name} of {platform} {change}")
            }
        }
    }
}
