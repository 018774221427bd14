//! The table of keys and the types hold each other.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::super::document::{Fields, Node, Origin, Value};
use super::super::schema::{Form, form_of, table};
use super::super::tables;
use super::*;

const EVERYTHING: &str = include_str!("everything.toml");

/// Every key of the table stands in a recipe that is accepted.
#[test]
fn a_recipe_has_every_key() {
    let other = "verify = { identity = \"me@example.com\", issuer = \"https://example.com\", root = \"root.json\" }";
    assert!(EVERYTHING.contains(other));
    let by_key = EVERYTHING.replace(other, "verify = { key = \"a.pub\" }");
    let mut found = BTreeSet::new();
    for text in [EVERYTHING, &by_key] {
        let merged = Merged::parse(text, "everything.toml").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(unknown_keys("", &merged.document, &mut found), [""; 0]);
    }
    for table in tables::all() {
        for key in table.keys {
            // `extends` is gone once it is followed, and `[compression]` is another spelling.
            let is_other = table.name == "compression" || key.name == "extends";
            assert!(is_other || found.contains(&(table.name, key.name)), "nothing says {}.{}", table.name, key.name);
        }
    }
}

/// No value is lost on the way into the types, and the types have no key that the table has not.
#[test]
fn the_types_have_every_key() {
    let merged = Merged::parse(EVERYTHING, "everything.toml").unwrap();
    let mut kept = serde_json::to_value(&merged.recipe).unwrap();
    let said: Json = toml::from_str(EVERYTHING).unwrap();
    let mut lost = Vec::new();
    lost_values("", &said, &kept, &mut lost);
    assert_eq!(lost, [""; 0]);
    let fields = kept.as_object_mut().unwrap();
    fields.remove("sources");
    fields.remove("digest");
    assert_eq!(unknown_keys("", &node_of(&kept), &mut BTreeSet::new()), [""; 0]);
}

/// It also survives being rendered, quotes, control characters and all.
#[test]
fn everything_renders() {
    let merged = Merged::parse(EVERYTHING, "everything.toml").unwrap();
    let mut again = Recipe::parse(&merged.render(), "everything.toml").unwrap();
    again.sources.clone_from(&merged.recipe.sources);
    again.digest = merged.recipe.digest;
    assert_eq!(again, merged.recipe);
}

fn unknown_keys(name: &str, node: &Node, found: &mut BTreeSet<(&'static str, &'static str)>) -> Vec<String> {
    let mut unknown = Vec::new();
    for (key, child) in node.fields().into_iter().flatten() {
        let Some(form) = form_of(name, node, key) else {
            unknown.push(format!("{name}.{key}"));
            continue;
        };
        let known = tables::all().filter(|table| table.name == name).find_map(|t| Some((t.name, t.key(key)?.name)));
        found.extend(known);
        match form {
            Form::Table(below) => unknown.extend(unknown_keys(below, child, found)),
            Form::Tables(below) => {
                for element in child.elements() {
                    unknown.extend(unknown_keys(below, element, found));
                }
            }
            _ => {}
        }
    }
    unknown
}

fn lost_values(path: &str, said: &Json, kept: &Json, lost: &mut Vec<String>) {
    match (said, kept) {
        (Json::Object(said), Json::Object(kept)) => {
            for (key, value) in said {
                lost_values(&format!("{path}.{key}"), value, kept.get(key).unwrap_or(&Json::Null), lost);
            }
        }
        (Json::Array(said), Json::Array(kept)) if said.len() == kept.len() => {
            for (one, other) in said.iter().zip(kept) {
                lost_values(&format!("{path}[]"), one, other, lost);
            }
        }
        (Json::String(one), Json::Array(many)) if many == &[Json::String(one.clone())] => {}
        _ if said == kept => {}
        _ => lost.push(format!("{path}: {said} became {kept}")),
    }
}

/// A tree of values without places; what is null or an empty default is left out.
fn node_of(json: &Json) -> Node {
    let origin = Origin { file: "".into(), line: 1, column: 1 };
    let value = match json {
        Json::Object(fields) => {
            Value::Table(fields.iter().map(|(key, value)| (key.clone(), node_of(value))).collect::<Fields>())
        }
        Json::Array(elements) => Value::List(elements.iter().map(node_of).collect()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => Value::Integer(number.as_i64().unwrap()),
        Json::Bool(value) => Value::Boolean(*value),
        Json::Null => Value::Other("null"),
    };
    Node { key: origin.clone(), origin, value }
}

/// Names that the table refers to are there, and no key stands twice.
#[test]
fn the_table_is_sound() {
    let mut seen = BTreeSet::new();
    for table_ in tables::all() {
        for key in table_.keys {
            assert!(seen.insert((table_.name, format!("{:?}", table_.shape), key.name)), "{} twice", key.name);
            if let Form::Table(name) | Form::Tables(name) = key.form {
                assert!(table(name).is_some(), "no table {name}");
            }
            assert!(key.doc.ends_with(['.', '`']), "{}.{} has no sentence", table_.name, key.name);
        }
    }
}
