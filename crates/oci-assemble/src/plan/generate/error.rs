//! Why a table cannot be turned into files of the image at hand.

use std::fmt;

use crate::plan::recipe::RecipePath;
use crate::tree::{MergeError, PathError, TreePath};

/// Why a table does not fit the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A name that makes no path.
    #[error("a generated path is not valid")]
    Path {
        /// Why.
        source: PathError,
    },
    /// The parts do not fit together on the image.
    #[error("the files of the recipe do not fit on the image")]
    Merge {
        /// Why.
        source: MergeError,
    },
    /// `[[remove]]` of something that is not there.
    #[error("cannot remove {path}: the image does not have it{}", Meant(.nearest.as_ref()))]
    NothingToRemove {
        /// The path.
        path: TreePath,
        /// A path that is there and nearly so named.
        nearest: Option<String>,
    },
    /// The path runs into something that is no directory.
    #[error("{path} lies below {blocker}, which is no directory")]
    Blocked {
        /// The path.
        path: TreePath,
        /// What is in the way.
        blocker: TreePath,
    },
    /// The content of a source was not given.
    #[error("the content of {path} was not read")]
    NoContent {
        /// The source.
        path: RecipePath,
    },
    /// Another file says something of the same scope.
    #[error("{path} of the image speaks of {scope}, too, and clients refuse to read both; remove it with [[remove]]")]
    ScopeTaken {
        /// The scope.
        scope: String,
        /// The file of registries.d.
        path: TreePath,
    },
    /// `policy.upgrade` without the program that it calls.
    #[error("policy.upgrade runs {path}, which neither the image nor policy.upgrade.program gives")]
    NoVerifier {
        /// Where it has to be.
        path: TreePath,
    },
    /// `policy.upgrade` to an image that the policy itself refuses.
    #[error(
        "policy.upgrade switches to {repository}, which the policy rejects: no scope of policy.trust or policy.accept has it"
    )]
    UpgradeRejected {
        /// The repository of its image.
        repository: String,
    },
    /// An owner that neither the image nor the recipe gives a number.
    #[error("{path} belongs to {kind} {name}, of which neither image nor recipe has the number{}", Meant(.nearest.as_ref()))]
    UnknownOwner {
        /// The file.
        path: TreePath,
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// A name that is known.
        nearest: Option<String>,
    },
    /// No unit of that name.
    #[error("the image has no unit {unit}{}", Meant(.nearest.as_ref()))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// A unit that is there.
        nearest: Option<String>,
    },
    /// A unit that is another name of a unit.
    #[error("unit {unit} is an alias, name {target} instead")]
    AliasUnit {
        /// The unit.
        unit: String,
        /// The unit it stands for.
        target: String,
    },
    /// A unit that is masked in the image.
    #[error("unit {unit} is masked by {path}")]
    MaskedUnit {
        /// The unit.
        unit: String,
        /// The link to `/dev/null`, or the empty file.
        path: TreePath,
    },
    /// A unit whose bytes could not be had.
    #[error("unit file {path} cannot be read as text")]
    UnreadableUnit {
        /// The unit file.
        path: TreePath,
    },
    /// A unit that says nowhere how to enable it.
    #[error("unit {unit} has nothing in its [Install] section, so it cannot be enabled")]
    NothingToEnable {
        /// The unit.
        unit: String,
    },
    /// A template without instance that needs one.
    #[error("unit {unit} is a template, name an instance such as {example}")]
    NeedsInstance {
        /// The template.
        unit: String,
        /// How an instance is named.
        example: String,
    },
    /// A name in `[Install]` that is no unit.
    #[error("unit {unit} says {key}={value}, which it cannot")]
    InvalidInstall {
        /// The unit.
        unit: String,
        /// The key.
        key: &'static str,
        /// The name, with specifiers.
        value: String,
    },
    /// A link would take the place of something else.
    #[error("the link {path} would take the place of {found}")]
    Taken {
        /// The link.
        path: TreePath,
        /// What is there: a target, or a kind.
        found: String,
    },
}

struct Meant<'a>(Option<&'a String>);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, ", did you mean {name}?"))
    }
}
