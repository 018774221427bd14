//! The reference of all keys, made from the table that drives the checks.

use std::fmt::Write as _;

use super::rule::Rule;
use super::schema::{Form, Key, Need, Shape};
use super::tables;

/// All tables and keys of a recipe as Markdown: what `docs/recipe.md` has below "Reference".
pub fn reference() -> String {
    let mut text = String::new();
    for table in tables::all() {
        let heading = match table.shape {
            Shape::Top => "Before the first table".to_owned(),
            Shape::Once => format!("`[{}]`", table.name),
            Shape::Many(_) => format!("`[[{}]]`", table.name),
            Shape::Kind(kind) => format!("`[[{}]]` with `kind = \"{kind}\"`", table.name),
            Shape::Inline => format!("`{}`", table.name),
        };
        let _ = writeln!(text, "### {heading}\n");
        if !table.doc.is_empty() {
            let _ = writeln!(text, "{}\n", table.doc);
        }
        text.push_str("| key | takes | when absent | what it says |\n|---|---|---|---|\n");
        for key in table.keys {
            let _ = writeln!(text, "| `{}` | {} | {} | {} |", key.name, takes(key), absent(key), key.doc);
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn takes(key: &Key) -> String {
    match key.form {
        Form::Text(rule) => words(rule),
        Form::List(rule) => format!("array: {}", words(rule)),
        Form::OneOrMany(rule) => format!("one or an array: {}", words(rule)),
        Form::Map(_, rule) => format!("table: {}", words(rule)),
        Form::Integer(min, max) if min == max => format!("`{min}`"),
        Form::Integer(min, max) => format!("{min} to {max}"),
        Form::Table(name) => format!("table `{name}`"),
        Form::Tables(name) => format!("array of tables `{name}`"),
        Form::True => "`true`".to_owned(),
        Form::Boolean => "`true`, `false`".to_owned(),
        Form::Mode | Form::Owner => key.form.name().to_owned(),
    }
}

fn words(rule: Rule) -> String {
    match rule {
        Rule::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        other => other.name().to_owned(),
    }
}

fn absent(key: &Key) -> &'static str {
    match key.need {
        Need::Required => "required",
        Need::Default(words) => words,
    }
}
