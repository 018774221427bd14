//! A recipe file as a tree of values, each with the place it stands at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{RecipeError, RecipeFault};

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The recipe file, relative to the recipe root.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The name of a value in a recipe: `kernel.pin`, `packages.install[2]`, `stage[zfs].branch`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct KeyPath(String);

impl KeyPath {
    /// The path of `name` in this table.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        Self(if self.0.is_empty() { name.to_owned() } else { format!("{}.{name}", self.0) })
    }

    /// The path of one element of this list, by its number or its own name.
    #[must_use]
    pub fn element(&self, of: impl fmt::Display) -> Self {
        Self(format!("{}[{of}]", self.0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Of the value.
    pub(super) origin: Origin,
    /// Of the key; of the value, where there is no key.
    pub(super) key: Origin,
    pub(super) value: Value,
}

pub(super) type Fields = BTreeMap<String, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Fields),
    /// What no key of a recipe takes, by its name.
    Other(&'static str),
}

impl Value {
    /// The name of the kind of value, as TOML has it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

impl Node {
    /// The fields of a table; none of anything else.
    pub(super) fn fields(&self) -> Option<&Fields> {
        match &self.value {
            Value::Table(fields) => Some(fields),
            _ => None,
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Node> {
        self.fields()?.get(name)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list; none of anything else.
    pub(super) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }
}

/// Reads TOML. `file` is the name to show in messages.
pub(super) fn parse(text: &str, file: &str) -> Result<Node, RecipeError> {
    let places = Places::new(text, file);
    let table = DeTable::parse(text).map_err(|error| RecipeError {
        origin: places.at(error.span().map_or(0, |span| span.start)),
        key: KeyPath::default(),
        fault: Box::new(RecipeFault::Syntax { message: error.message().trim_end().replace('\n', ", ") }),
    })?;
    let origin = places.at(0);
    let value = places.table(table.get_ref());
    Ok(Node { key: origin.clone(), origin, value })
}

struct Places<'a> {
    text: &'a str,
    file: Arc<str>,
    /// Offset of the first byte of each line.
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, file: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, file: file.into(), starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn at(&self, offset: usize) -> Origin {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).map_or(0, |part| part.chars().count());
        Origin { file: Arc::clone(&self.file), line, column: before + 1 }
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let field = |(name, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            (name.get_ref().clone().into_owned(), self.node(self.at(name.span().start), value))
        };
        Value::Table(table.iter().map(field).collect())
    }

    fn node(&self, key: Origin, value: &Spanned<DeValue<'_>>) -> Node {
        let origin = self.at(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("an integer beyond 64 bits"), Value::Integer),
            DeValue::Float(_) => Value::Other("a float"),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(elements) => {
                Value::List(elements.iter().map(|element| self.node(self.at(element.span().start), element)).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Node { origin, key, value }
    }
}
