//! What a whole recipe must satisfy, after everything it extends was merged in.

use std::collections::BTreeMap;

use super::check::{complete, element_path};
use super::document::{KeyPath, Node};
use super::error::{RecipeError, RecipeFault};
use super::schema::{Need, Shape};
use super::tables;
use crate::tree::TreePath;

type Checked = Result<(), RecipeError>;

/// Statements by what they speak of: the first of each, with its name.
type Said<T> = BTreeMap<T, (KeyPath, Node)>;

/// Checks a merged recipe.
pub(super) fn check(recipe: &Node) -> Checked {
    let top = KeyPath::default();
    complete("", recipe, &top)?;
    for table in tables::all().filter(|table| table.shape == Shape::Once) {
        let path = top.key(table.name);
        let required = table.keys.iter().find(|key| key.need == Need::Required);
        match (recipe.field(table.name), required) {
            (Some(node), _) => complete(table.name, node, &path)?,
            (None, Some(key)) => {
                return Err(RecipeError::new(&recipe.origin, &path, RecipeFault::Missing { name: key.name }));
            }
            (None, None) => {}
        }
    }
    paths(recipe)?;
    exclusive(recipe, "services", &["disable", "mask"], "enable")?;
    exclusive(recipe, "modules", &["blacklist"], "load")
}

/// No path has two statements, and nothing is placed below a file or symlink.
fn paths(recipe: &Node) -> Checked {
    let mut said: Said<TreePath> = BTreeMap::new();
    for table in ["file", "symlink", "remove"] {
        let list = recipe.field(table);
        for (number, element) in list.map(Node::elements).unwrap_or_default().iter().enumerate() {
            let own = element_path(&KeyPath::default().key(table), table, number, element);
            let path = element.field("path").and_then(Node::text).and_then(|text| TreePath::new(text).ok());
            let Some(path) = path else { continue };
            if let Some((other, first)) = said.get(&path) {
                return Err(conflict(element, &own, other, first));
            }
            said.insert(path, (own, element.clone()));
        }
    }
    for (path, (own, element)) in &said {
        if let Some((other, above)) = path.ancestors().find_map(|above| said.get(&above)) {
            return Err(conflict(element, own, other, above));
        }
    }
    Ok(())
}

/// What is listed under `wanted` is under none of `unwanted`.
fn exclusive(recipe: &Node, table: &str, unwanted: &[&str], wanted: &str) -> Checked {
    let top = KeyPath::default().key(table);
    let list = |name: &str| recipe.field(table).and_then(|table| table.field(name)).map(Node::elements);
    let mut said: Said<&str> = BTreeMap::new();
    for name in unwanted {
        for (number, element) in list(name).unwrap_or_default().iter().enumerate() {
            let Some(text) = element.text() else { continue };
            said.insert(text, (top.key(name).element(number), element.clone()));
        }
    }
    for (number, element) in list(wanted).unwrap_or_default().iter().enumerate() {
        if let Some((other, first)) = element.text().and_then(|text| said.get(text)) {
            return Err(conflict(element, &top.key(wanted).element(number), other, first));
        }
    }
    Ok(())
}

fn conflict(node: &Node, own: &KeyPath, other: &KeyPath, at: &Node) -> RecipeError {
    RecipeError::new(&node.origin, own, RecipeFault::Conflict { other: other.clone(), at: at.origin.clone() })
}
