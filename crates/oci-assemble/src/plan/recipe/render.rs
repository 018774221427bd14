//! A merged recipe as TOML, with the place each value came from.

use std::fmt::Write as _;

use super::document::{Fields, Node, Origin, Value};
use super::schema::{Form, Shape, form_of, tables_of};
use super::tables;

/// The column that places are written at, where the line leaves room.
const PLACE_COLUMN: usize = 60;

pub(super) fn render(recipe: &Node) -> String {
    let mut text = String::from("# Paths are relative to the recipe root.\n");
    let Some(fields) = recipe.fields() else { return text };
    keys("", recipe, &mut text);
    for table in tables::all().filter(|table| matches!(table.shape, Shape::Once | Shape::Many(_))) {
        let Some(node) = fields.get(table.name) else { continue };
        match table.shape {
            Shape::Once => {
                let _ = writeln!(text, "\n[{}]", table.name);
                keys(table.name, node, &mut text);
            }
            _ => {
                for element in node.elements() {
                    let _ = writeln!(text, "\n[[{}]]", table.name);
                    keys(table.name, element, &mut text);
                }
            }
        }
    }
    text
}

/// The keys of one table in the order of the documentation.
fn keys(name: &str, node: &Node, text: &mut String) {
    let Some(fields) = node.fields() else { return };
    for key in tables_of(name, node).into_iter().flat_map(|table| table.keys) {
        let Some(value) = fields.get(key.name) else { continue };
        match form_of(name, node, key.name) {
            Some(form) if is_long(value) => long(key.name, form, value, text),
            Some(form) => {
                let written = format!("{} = {}", key.name, inline(form, value));
                line(&written, &value.origin, text);
            }
            None => {}
        }
    }
}

/// Whether the elements come from several lines, so that each needs a line of its own.
fn is_long(node: &Node) -> bool {
    let children: Vec<&Node> = match &node.value {
        Value::List(elements) => elements.iter().collect(),
        Value::Table(fields) => fields.values().collect(),
        _ => return false,
    };
    let place = |node: &Node| (node.key.file.clone(), node.key.line);
    children.windows(2).any(|pair| matches!(pair, [one, other] if place(one) != place(other)))
}

fn long(name: &str, form: Form, node: &Node, text: &mut String) {
    match &node.value {
        Value::List(elements) => {
            let _ = writeln!(text, "{name} = [");
            for element in elements {
                line(&format!("  {},", inline(element_form(form), element)), &element.origin, text);
            }
            text.push_str("]\n");
        }
        Value::Table(fields) => {
            for (key, value) in fields {
                let written = format!("{name}.{} = {}", quoted_key(key), inline(form, value));
                line(&written, &value.origin, text);
            }
        }
        _ => {}
    }
}

fn line(written: &str, origin: &Origin, text: &mut String) {
    let _ = writeln!(text, "{written:<PLACE_COLUMN$} # {}:{}", origin.file, origin.line);
}

fn element_form(form: Form) -> Form {
    match form {
        Form::Tables(name) => Form::Table(name),
        other => other,
    }
}

fn inline(form: Form, node: &Node) -> String {
    match &node.value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) if form == Form::Mode => format!("0o{number:03o}"),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(elements) => {
            let parts: Vec<String> = elements.iter().map(|node| inline(element_form(form), node)).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Table(fields) => format!("{{ {} }}", pairs(fields)),
        Value::Other(_) => String::new(),
    }
}

fn pairs(fields: &Fields) -> String {
    let pair = |(key, node): (&String, &Node)| format!("{} = {}", quoted_key(key), inline(Form::True, node));
    fields.iter().map(pair).collect::<Vec<_>>().join(", ")
}

fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare { key.to_owned() } else { quoted(key) }
}

/// A basic string (TOML 1.0, "String"): on one line, so that the place can follow.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
