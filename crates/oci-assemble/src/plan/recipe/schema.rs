//! The shape of a recipe as data: which tables there are, which keys they have and what those take.
//!
//! [`tables`](super::tables) is the one place that knows the keys. It drives the checks, the suggestions for
//! unknown keys, the merge of recipes and the tables of `docs/recipe.md`.

use super::document::Node;
use super::rule::Rule;
use super::tables;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A string.
    Text(Rule),
    /// An integer between two bounds.
    Integer(i64, i64),
    /// The twelve permission bits.
    Mode,
    /// `true`, the only thing to say.
    True,
    /// `true` or `false`.
    Boolean,
    /// An array of strings.
    List(Rule),
    /// A string or an array of strings.
    OneOrMany(Rule),
    /// A user or group: a name or a number.
    Owner,
    /// A table of strings by free keys.
    Map(Rule, Rule),
    /// The table of this name, replaced as a whole by a recipe that extends this one.
    Table(&'static str),
    /// An array of tables of this name.
    Tables(&'static str),
}

/// The largest number of a user or group: the one above means "unchanged" (chown(2)).
pub(super) const ID_MAX: i64 = 4_294_967_294;

impl Form {
    /// What it takes, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text(rule) => rule.name(),
            Self::Integer(..) => "integer",
            Self::Mode => "mode",
            Self::True => "true",
            Self::Boolean => "boolean",
            Self::List(_) => "array of strings",
            Self::OneOrMany(_) => "string or array of strings",
            Self::Owner => "name or number",
            Self::Map(..) => "table of strings",
            Self::Table(_) => "table",
            Self::Tables(_) => "array of tables",
        }
    }
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    /// It may be left out: in words, what holds then.
    Default(&'static str),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) need: Need,
    /// One line for the documentation.
    pub(super) doc: &'static str,
    /// Other names people try.
    pub(super) also: &'static [&'static str],
}

pub(super) const fn required(name: &'static str, form: Form, doc: &'static str) -> Key {
    Key { name, form, need: Need::Required, doc, also: &[] }
}

pub(super) const fn optional(name: &'static str, form: Form, default: &'static str, doc: &'static str) -> Key {
    Key { name, form, need: Need::Default(default), doc, also: &[] }
}

impl Key {
    pub(super) const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }
}

/// How often a table stands in a recipe, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The keys before the first table.
    Top,
    /// `[name]`.
    Once,
    /// `[[name]]`; two with the same value of this key are the same thing.
    Many(&'static str),
    /// The keys that a `[[stage]]` of one kind has besides those of all stages.
    Kind(&'static str),
    /// A table that is the value of a key, or stands in an array that is.
    Inline,
}

/// What must hold between the keys of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Exactly one of them is given.
    ExactlyOne(&'static [&'static str]),
    /// If the first is given, so is the second.
    Needs(&'static str, &'static str),
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// A few lines for the documentation.
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
    pub(super) between: &'static [Between],
}

impl Table {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The table of a name.
pub(super) fn table(name: &str) -> Option<&'static Table> {
    tables::all().find(|table| table.name == name)
}

/// The tables whose keys `node`, a table of name `name`, may have: one, or two where it has a kind.
pub(super) fn tables_of(name: &str, node: &Node) -> Vec<&'static Table> {
    let kind = node.field("kind").and_then(Node::text);
    let is_kind = |table: &&Table| table.name == name && matches!(table.shape, Shape::Kind(of) if Some(of) == kind);
    let common = tables::all().find(|table| table.name == name && !matches!(table.shape, Shape::Kind(_)));
    common.into_iter().chain(tables::all().filter(is_kind)).collect()
}

/// The key of a name among those that `node`, a table of name `name`, may have. The tables of a recipe are keys of its
/// top.
pub(super) fn form_of(name: &str, node: &Node, key: &str) -> Option<Form> {
    if let Some(key) = tables_of(name, node).into_iter().find_map(|table| table.key(key)) {
        return Some(key.form);
    }
    let table = if name.is_empty() { table(key)? } else { return None };
    match table.shape {
        Shape::Once => Some(Form::Table(table.name)),
        Shape::Many(_) => Some(Form::Tables(table.name)),
        Shape::Top | Shape::Kind(_) | Shape::Inline => None,
    }
}

/// The key by which two tables of this name are known to be the same thing.
pub(super) fn identity(name: &str) -> Option<&'static str> {
    match tables::all().find(|table| table.name == name)?.shape {
        Shape::Many(key) => Some(key),
        _ if name == "lint.skip" => Some("name"),
        _ if name == "policy.trust" => Some("scope"),
        _ => None,
    }
}
