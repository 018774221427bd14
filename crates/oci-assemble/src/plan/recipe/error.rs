//! What can be wrong with a recipe, and where.

use std::fmt;

use super::document::{KeyPath, Origin};
use super::path::RecipePath;
use super::rule::ValueFault;

/// A recipe that cannot be used: the place, the key and what is wrong there.
#[derive(Debug)]
pub struct RecipeError {
    /// File, line and column.
    pub origin: Origin,
    /// The key, or the table that lacks one; empty for the recipe as a whole.
    pub key: KeyPath,
    /// What is wrong.
    pub fault: Box<RecipeFault>,
}

impl RecipeError {
    pub(super) fn new(origin: &Origin, key: &KeyPath, fault: RecipeFault) -> Self {
        Self { origin: origin.clone(), key: key.clone(), fault: Box::new(fault) }
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let RecipeFault::Read { path, .. } | RecipeFault::Outside { path } = &*self.fault
            && path.as_str() == self.origin.file.as_ref()
        {
            return self.fault.fmt(f); // nobody asked for it but the caller, so there is no place to name
        }
        write!(f, "{}: ", self.origin)?;
        if !self.key.as_str().is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for RecipeError {
    /// The fault is part of the message, so the chain goes on with the cause of the fault.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source()
    }
}

/// What is wrong with a recipe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeFault {
    /// Not TOML.
    #[error("not TOML: {message}")]
    Syntax {
        /// What the TOML parser says.
        message: String,
    },
    /// A key that the format does not have at this place.
    #[error("unknown key{}", Hint(.suggestion.as_ref()))]
    UnknownKey {
        /// What may have been meant.
        suggestion: Option<Suggestion>,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the key takes.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value that breaks the rule of its key.
    #[error("{found} is no {expected}: {reason}")]
    Value {
        /// What the key takes.
        expected: &'static str,
        /// The value, as it is written.
        found: String,
        /// Why it is not that.
        reason: ValueFault,
    },
    /// A key that must be there is not.
    #[error("the key {name} is missing")]
    Missing {
        /// The key.
        name: &'static str,
    },
    /// Exactly one of several keys must be there.
    #[error("exactly one of {} must be given, found {found}", Names(.names))]
    ExactlyOne {
        /// The keys.
        names: &'static [&'static str],
        /// How many of them are there.
        found: usize,
    },
    /// The same thing twice in one file.
    #[error("given twice, first at {first}")]
    Duplicate {
        /// The first of them.
        first: Origin,
    },
    /// Two statements that exclude each other.
    #[error("contradicts {other} at {at}")]
    Conflict {
        /// The other statement.
        other: KeyPath,
        /// Where that stands.
        at: Origin,
    },
    /// The recipe extends another, and only its own text is at hand.
    #[error("the recipe extends {path}, which has to be read as well")]
    Extends {
        /// The other recipe.
        path: RecipePath,
    },
    /// Recipes that extend each other in a circle.
    #[error("recipes extend each other in a circle: {}", Chain(.chain))]
    Cycle {
        /// The recipes, the first one once more at the end.
        chain: Vec<RecipePath>,
    },
    /// Too many recipes extend one another.
    #[error("more than {limit} recipes extend one another")]
    Depth {
        /// The most that are followed.
        limit: usize,
    },
    /// A recipe file that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: RecipePath,
        /// Why.
        source: std::io::Error,
    },
    /// A recipe file behind a symlink that leads out of the root.
    #[error("{path} leads out of the recipe root")]
    Outside {
        /// The file.
        path: RecipePath,
    },
    /// A value that passed every check and still does not fit its type: the table of keys and the types disagree.
    #[error("the recipe does not fit its types: {message}")]
    Shape {
        /// What serde says.
        message: String,
    },
}

/// What may have been meant by an unknown key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suggestion {
    /// A key of the same table with nearly that name.
    Key(&'static str),
    /// A key of exactly that name, in another table.
    Table {
        /// The key.
        key: &'static str,
        /// The table; empty for the keys before the first table.
        table: &'static str,
    },
    /// A key of stages of another kind.
    Kind {
        /// The key.
        key: &'static str,
        /// The kind of stage that has it.
        kind: &'static str,
    },
}

struct Hint<'a>(Option<&'a Suggestion>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(Suggestion::Key(key)) => write!(f, ", did you mean {key}?"),
            Some(Suggestion::Table { key, table: "" }) => write!(f, ", {key} stands before the first table"),
            Some(Suggestion::Table { key, table }) => write!(f, ", {key} belongs to [{table}]"),
            Some(Suggestion::Kind { key, kind }) => write!(f, ", {key} belongs to stages of kind \"{kind}\""),
        }
    }
}

struct Names<'a>(&'a [&'static str]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

struct Chain<'a>(&'a [RecipePath]);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(RecipePath::as_str).collect();
        f.write_str(&names.join(" -> "))
    }
}
