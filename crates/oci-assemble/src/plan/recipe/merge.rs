//! A recipe laid over the one it extends.
//!
//! Tables merge key by key and a key that stands in both has the value of the later recipe. Arrays of strings append;
//! what is there already is not repeated. Of arrays of tables, one that is the same thing as an inherited one (the
//! same stage name, the same path) takes its place as a whole, and others append. Inline tables that say one thing
//! together, such as `base.verify`, are replaced as a whole.

use super::document::{Fields, KeyPath, Node, Value};
use super::error::{RecipeError, RecipeFault};
use super::schema::{Form, Shape, form_of, identity, table};

/// `over` laid over `under`; both are checked.
pub(super) fn merge(under: Node, over: Node) -> Node {
    merge_table("", under, over)
}

fn merge_table(name: &str, under: Node, over: Node) -> Node {
    let place = (over.origin.clone(), over.key.clone());
    let shape = over.clone();
    let (Value::Table(mut fields), Value::Table(later)) = (under.value, over.value) else { return shape };
    for (key, child) in later {
        let merged = match (fields.remove(&key), form_of(name, &shape, &key)) {
            (Some(under), Some(form)) => merge_value(form, under, child),
            _ => child,
        };
        fields.insert(key, merged);
    }
    Node { origin: place.0, key: place.1, value: Value::Table(fields) }
}

fn merge_value(form: Form, under: Node, over: Node) -> Node {
    match form {
        Form::Table(name) if table(name).is_some_and(|table| table.shape == Shape::Once) => {
            merge_table(name, under, over)
        }
        Form::Map(..) => merge_map(under, over),
        Form::List(_) => append(under, over, |one, other| one.value == other.value),
        Form::Tables(name) => append(under, over, |one, other| {
            let key = |node: &Node| Some(node.field(identity(name)?)?.value.clone());
            key(one).is_some_and(|own| key(other) == Some(own))
        }),
        _ => over,
    }
}

fn merge_map(under: Node, over: Node) -> Node {
    let shape = over.clone();
    let (Value::Table(mut fields), Value::Table(later)) = (under.value, over.value) else { return shape };
    fields.extend(later);
    Node { value: Value::Table(fields), ..shape }
}

/// What is the same takes the place of what was there.
fn append(under: Node, over: Node, same: impl Fn(&Node, &Node) -> bool) -> Node {
    let shape = over.clone();
    let (Value::List(mut elements), Value::List(later)) = (under.value, over.value) else { return shape };
    for element in later {
        match elements.iter_mut().find(|found| same(found, &element)) {
            // An equal string keeps the place it was first said at.
            Some(found) if found.value == element.value => {}
            Some(found) => *found = element,
            None => elements.push(element),
        }
    }
    Node { value: Value::List(elements), ..shape }
}

/// Moves the keys of `[compression]` to the names they have in `[layers]`. A file that has both contradicts itself.
pub(super) fn fold_compression(document: &mut Node) -> Result<(), RecipeError> {
    let place = document.clone();
    let Value::Table(fields) = &mut document.value else { return Ok(()) };
    let Some(Node { value: Value::Table(given), key, origin }) = fields.remove("compression") else { return Ok(()) };
    let layers = fields.entry("layers".to_owned()).or_insert(Node { origin, key, value: Value::Table(Fields::new()) });
    let Value::Table(layers) = &mut layers.value else { return Ok(()) };
    for (name, canonical) in [("algorithm", "compression"), ("level", "level")] {
        let Some(value) = given.get(name) else { continue };
        let top = KeyPath::default();
        if let Some(other) = layers.insert(canonical.to_owned(), value.clone())
            && place.field("layers").and_then(|layers| layers.field(canonical)).is_some()
        {
            let fault = RecipeFault::Conflict { other: top.key("layers").key(canonical), at: other.origin };
            return Err(RecipeError::new(&value.key, &top.key("compression").key(name), fault));
        }
    }
    Ok(())
}
