//! One recipe file against the table of keys: names, types and the form of every string. What only a whole recipe can
//! satisfy, such as keys that must be there, is left to [`consistency`](super::consistency).

use super::document::{Fields, KeyPath, Node, Value};
use super::error::{RecipeError, RecipeFault, Suggestion};
use super::path::RecipePath;
use super::rule::{Rule, ValueFault};
use super::schema::{Between, Form, ID_MAX, Need, Shape, form_of, identity, tables_of};
use super::tables;
use crate::plan::nearest::nearest;

type Checked = Result<(), RecipeError>;

/// The longest part of a value that a message repeats, in characters.
const SHOWN: usize = 80;

/// Checks a recipe file that lies in `directory` and brings its strings into normal form: paths of files become
/// relative to the recipe root.
pub(super) fn check(document: &mut Node, directory: &RecipePath) -> Checked {
    Check { directory }.table("", document, &KeyPath::default())
}

struct Check<'a> {
    directory: &'a RecipePath,
}

impl Check<'_> {
    fn table(&self, name: &str, node: &mut Node, path: &KeyPath) -> Checked {
        let shape = node.clone();
        let Value::Table(fields) = &mut node.value else {
            return Err(mismatch(node, path, "table"));
        };
        for (key, child) in in_order(fields) {
            let path = path.key(key);
            match form_of(name, &shape, key) {
                Some(form) => self.value(form, child, &path)?,
                None => return Err(unknown(name, &shape, key, child, &path)),
            }
        }
        Ok(())
    }

    fn value(&self, form: Form, node: &mut Node, path: &KeyPath) -> Checked {
        match (form, &mut node.value) {
            (Form::Table(name), _) => {
                self.table(name, node, path)?;
                let is_inline = tables::all().any(|table| table.name == name && table.shape == Shape::Inline);
                if is_inline { complete(name, node, path) } else { Ok(()) }
            }
            (Form::Tables(name), Value::List(elements)) => self.tables(name, elements, path),
            (Form::Text(rule) | Form::OneOrMany(rule), Value::Text(_)) => self.text(rule, node, path),
            (Form::List(rule) | Form::OneOrMany(rule), Value::List(elements)) => {
                for (number, element) in elements.iter_mut().enumerate() {
                    self.text(rule, element, &path.element(number))?;
                }
                Ok(())
            }
            (Form::Map(keys, values), Value::Table(fields)) => self.map(keys, values, fields, path),
            (Form::Integer(min, max), Value::Integer(number)) => {
                let fault = (*number < min || *number > max).then_some(ValueFault::Range { min, max });
                refused(fault, node, path, form.name())
            }
            (Form::Mode, Value::Integer(number)) => {
                let fault = (!(0..=0o7777).contains(number)).then_some(ValueFault::Mode);
                refused(fault, node, path, form.name())
            }
            (Form::Owner, Value::Integer(number)) => {
                let fault = (*number < 0 || *number > ID_MAX).then_some(ValueFault::Range { min: 0, max: ID_MAX });
                refused(fault, node, path, form.name())
            }
            (Form::Owner, Value::Text(_)) => self.text(Rule::UserName, node, path),
            (Form::True, Value::Boolean(true)) | (Form::Boolean, Value::Boolean(_)) => Ok(()),
            _ => Err(mismatch(node, path, form.name())),
        }
    }

    fn tables(&self, name: &str, elements: &mut [Node], path: &KeyPath) -> Checked {
        for at in 0..elements.len() {
            let (before, rest) = elements.split_at_mut(at);
            let Some(element) = rest.first_mut() else { continue };
            let numbered = path.element(at);
            self.kind(name, element, &numbered)?;
            self.table(name, element, &numbered)?;
            let own = element_path(path, name, at, element);
            complete(name, element, &own)?;
            let same = identity(name).and_then(|key| {
                let own = element.field(key)?;
                before.iter().find(|other| other.field(key).map(|node| &node.value) == Some(&own.value))
            });
            if let Some(first) = same {
                let first = first.origin.clone();
                return Err(RecipeError::new(&element.origin, &own, RecipeFault::Duplicate { first }));
            }
        }
        Ok(())
    }

    /// Which keys a stage may have follows from its kind, so that is looked at first.
    fn kind(&self, name: &str, element: &Node, path: &KeyPath) -> Checked {
        let Some(form) = form_of(name, element, "kind") else { return Ok(()) };
        match (element.field("kind"), element.fields()) {
            (Some(kind), _) => self.value(form, &mut kind.clone(), &path.key("kind")),
            (None, Some(_)) => Err(RecipeError::new(&element.key, path, RecipeFault::Missing { name: "kind" })),
            (None, None) => Ok(()),
        }
    }

    fn map(&self, keys: Rule, values: Rule, fields: &mut Fields, path: &KeyPath) -> Checked {
        for (key, child) in in_order(fields) {
            let path = path.key(key);
            if let Err(reason) = keys.normal(key, self.directory) {
                let fault = RecipeFault::Value { expected: keys.name(), found: shown(key), reason };
                return Err(RecipeError::new(&child.key, &path, fault));
            }
            self.text(values, child, &path)?;
        }
        Ok(())
    }

    fn text(&self, rule: Rule, node: &mut Node, path: &KeyPath) -> Checked {
        let Value::Text(text) = &node.value else {
            return Err(mismatch(node, path, rule.name()));
        };
        match rule.normal(text, self.directory) {
            Ok(normal) => node.value = Value::Text(normal),
            Err(reason) => return refused(Some(reason), node, path, rule.name()),
        }
        Ok(())
    }
}

/// The fields in the order of the file, so that the first mistake is reported first.
fn in_order(fields: &mut Fields) -> Vec<(&String, &mut Node)> {
    let mut ordered: Vec<_> = fields.iter_mut().collect();
    ordered.sort_by(|(_, one), (_, other)| one.key.cmp(&other.key));
    ordered
}

/// The name of an element: by what identifies it, or by its number.
pub(super) fn element_path(path: &KeyPath, name: &str, number: usize, element: &Node) -> KeyPath {
    match identity(name).and_then(|key| element.field(key)?.text()) {
        Some(text) => path.element(text),
        None => path.element(number),
    }
}

/// Whether all keys of a table are there that must be, and no two that exclude each other.
pub(super) fn complete(name: &str, node: &Node, path: &KeyPath) -> Checked {
    for table in tables_of(name, node) {
        let missing = table.keys.iter().find(|key| key.need == Need::Required && node.field(key.name).is_none());
        if let Some(key) = missing {
            return Err(RecipeError::new(&node.key, path, RecipeFault::Missing { name: key.name }));
        }
        for between in table.between {
            let fault = match *between {
                Between::ExactlyOne(names) => {
                    let found = names.iter().filter(|name| node.field(name).is_some()).count();
                    (found != 1).then_some(RecipeFault::ExactlyOne { names, found })
                }
                Between::Needs(one, other) => (node.field(one).is_some() && node.field(other).is_none())
                    .then_some(RecipeFault::Missing { name: other }),
            };
            if let Some(fault) = fault {
                return Err(RecipeError::new(&node.key, path, fault));
            }
        }
    }
    Ok(())
}

fn mismatch(node: &Node, path: &KeyPath, expected: &'static str) -> RecipeError {
    RecipeError::new(&node.origin, path, RecipeFault::Type { expected, found: node.value.kind() })
}

fn refused(fault: Option<ValueFault>, node: &Node, path: &KeyPath, expected: &'static str) -> Checked {
    let Some(reason) = fault else { return Ok(()) };
    let expected = match reason {
        ValueFault::Range { .. } => "accepted integer",
        _ => expected,
    };
    let found = match &node.value {
        Value::Text(text) => shown(text),
        Value::Integer(number) if expected == Form::Mode.name() && *number >= 0 => format!("0o{number:o}"),
        Value::Integer(number) => number.to_string(),
        other => other.kind().to_owned(),
    };
    Err(RecipeError::new(&node.origin, path, RecipeFault::Value { expected, found, reason }))
}

fn shown(text: &str) -> String {
    if text.chars().count() > SHOWN {
        let start: String = text.chars().take(SHOWN).collect();
        return format!("{start:?}…");
    }
    format!("{text:?}")
}

fn unknown(name: &str, table: &Node, key: &str, node: &Node, path: &KeyPath) -> RecipeError {
    let suggestion = near(name, table, key).or_else(|| elsewhere(name, key));
    RecipeError::new(&node.key, path, RecipeFault::UnknownKey { suggestion })
}

/// A key of the same table.
fn near(name: &str, table: &Node, key: &str) -> Option<Suggestion> {
    let keys = || tables_of(name, table).into_iter().flat_map(|table| table.keys);
    if let Some(known) = keys().find(|known| known.also.contains(&key)) {
        return Some(Suggestion::Key(known.name));
    }
    let is_table = |shape: Shape| matches!(shape, Shape::Once | Shape::Many(_));
    let tables = tables::all().filter(|table| name.is_empty() && is_table(table.shape)).map(|table| table.name);
    nearest(key, keys().map(|known| known.name).chain(tables)).map(Suggestion::Key)
}

/// A key of another table.
fn elsewhere(name: &str, key: &str) -> Option<Suggestion> {
    let holders = || tables::all().filter_map(|table| Some((table, table.key(key)?.name)));
    let kind = holders().find_map(|(table, key)| match table.shape {
        Shape::Kind(kind) if table.name == name => Some(Suggestion::Kind { key, kind }),
        _ => None,
    });
    let other = holders().find(|(table, _)| matches!(table.shape, Shape::Top | Shape::Once));
    kind.or(other.map(|(table, key)| Suggestion::Table { key, table: table.name }))
}
