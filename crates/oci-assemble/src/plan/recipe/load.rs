//! Reading a recipe with all it extends, keeping the place of every value.

use std::collections::BTreeMap;
use std::io::{self, Read};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use serde_json::json;

use super::document::{self, KeyPath, Node, Origin, Value};
use super::error::{RecipeError, RecipeFault};
use super::path::RecipePath;
use super::rule::Rule;
use super::{Recipe, check, consistency, merge, render};
use crate::image::Digest;

/// The most recipes that may extend one another: deeper than that nobody can review.
pub const EXTENDS_MAX: usize = 8;
/// The largest recipe file, in bytes: a hundred times the longest sensible one.
pub const RECIPE_MAX: u64 = 256 << 10;

/// A recipe together with the place each of its values came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The recipe.
    pub recipe: Recipe,
    /// Where each value that stands in a file stands.
    pub provenance: BTreeMap<KeyPath, Origin>,
    pub(super) document: Node,
}

impl Merged {
    /// Reads a recipe that extends no other: see [`Recipe::parse`].
    pub fn parse(text: &str, file: &str) -> Result<Self, RecipeError> {
        let source = Source::parse(text, file)?;
        if let Some((path, origin)) = source.extends {
            return Err(RecipeError::new(&origin, &extends_key(), RecipeFault::Extends { path }));
        }
        finish(source.document, &BTreeMap::from([(source.path, Digest::of(text.as_bytes()))]))
    }

    /// Reads the recipe at `path` below `root` and those it extends. Symlinks that lead out of `root` are refused.
    pub fn load(root: &Dir, path: &RecipePath) -> Result<Self, RecipeError> {
        Self::load_with(path, |path| read(root, path))
    }

    /// As [`Merged::load`], with the texts given by `read`.
    pub fn load_with(
        path: &RecipePath,
        mut read: impl FnMut(&RecipePath) -> io::Result<String>,
    ) -> Result<Self, RecipeError> {
        let mut chain: Vec<RecipePath> = Vec::new();
        let mut documents = Vec::new();
        let mut digests = BTreeMap::new();
        let start = Origin { file: path.as_str().into(), line: 1, column: 1 };
        let mut next = Some((path.clone(), start, KeyPath::default()));
        while let Some((path, origin, key)) = next.take() {
            let refuse = |fault| RecipeError::new(&origin, &key, fault);
            if chain.contains(&path) {
                chain.push(path);
                return Err(refuse(RecipeFault::Cycle { chain }));
            }
            if chain.len() == EXTENDS_MAX {
                return Err(refuse(RecipeFault::Depth { limit: EXTENDS_MAX }));
            }
            let text = read(&path).map_err(|source| refuse(unreadable(&path, source)))?;
            let source = Source::parse(&text, path.as_str())?;
            digests.insert(path.clone(), Digest::of(text.as_bytes()));
            chain.push(path);
            documents.push(source.document);
            next = source.extends.map(|(path, origin)| (path, origin, extends_key()));
        }
        let merged = documents.into_iter().rev().reduce(merge::merge);
        let empty =
            || Node { origin: Origin::start(path), key: Origin::start(path), value: Value::Table(BTreeMap::new()) };
        finish(merged.unwrap_or_else(empty), &digests)
    }

    /// The merged recipe as TOML, each value with the place it came from. Paths are relative to the recipe root, so
    /// the text is itself a recipe, for the directory that is the root.
    pub fn render(&self) -> String {
        render::render(&self.document)
    }
}

impl Origin {
    fn start(path: &RecipePath) -> Self {
        Self { file: path.as_str().into(), line: 1, column: 1 }
    }
}

fn extends_key() -> KeyPath {
    KeyPath::default().key("extends")
}

/// One recipe file, checked by itself.
struct Source {
    path: RecipePath,
    document: Node,
    extends: Option<(RecipePath, Origin)>,
}

impl Source {
    fn parse(text: &str, file: &str) -> Result<Self, RecipeError> {
        let mut document = document::parse(text, file)?;
        let refuse = |reason, origin: &Origin, key: &KeyPath, found: &str| {
            let expected = Rule::RecipePath.name();
            RecipeError::new(origin, key, RecipeFault::Value { expected, found: format!("{found:?}"), reason })
        };
        let path = RecipePath::new(file);
        let path = path.map_err(|reason| refuse(reason, &document.origin, &KeyPath::default(), file))?;
        check::check(&mut document, &path.directory())?;
        merge::fold_compression(&mut document)?;
        let extends = match &mut document.value {
            Value::Table(fields) => fields.remove("extends"),
            _ => None,
        };
        let extends = match extends {
            Some(Node { value: Value::Text(text), origin, .. }) => {
                let other = RecipePath::new(&text);
                Some((other.map_err(|reason| refuse(reason, &origin, &extends_key(), &text))?, origin))
            }
            _ => None,
        };
        Ok(Self { path, document, extends })
    }
}

fn finish(document: Node, digests: &BTreeMap<RecipePath, Digest>) -> Result<Merged, RecipeError> {
    consistency::check(&document)?;
    let mut value = json_of(&document);
    if let Some(fields) = value.as_object_mut() {
        let sources: serde_json::Map<_, _> =
            digests.iter().map(|(path, digest)| (path.as_str().to_owned(), json!(digest.to_string()))).collect();
        fields.insert("sources".to_owned(), sources.into());
        let canonical = serde_json::Value::Object(fields.clone()).to_string();
        fields.insert("digest".to_owned(), json!(Digest::of(canonical.as_bytes()).to_string()));
    }
    let recipe = serde_json::from_value(value).map_err(|error| {
        let fault = RecipeFault::Shape { message: error.to_string() };
        RecipeError::new(&document.origin, &KeyPath::default(), fault)
    })?;
    let mut provenance = BTreeMap::new();
    trace("", &document, &KeyPath::default(), &mut provenance);
    Ok(Merged { recipe, provenance, document })
}

/// The values without their places. Keys come sorted.
fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Boolean(value) => json!(value),
        Value::List(elements) => elements.iter().map(json_of).collect(),
        Value::Table(fields) => {
            serde_json::Value::Object(fields.iter().map(|(name, node)| (name.clone(), json_of(node))).collect())
        }
        Value::Other(_) => serde_json::Value::Null,
    }
}

fn trace(name: &str, node: &Node, path: &KeyPath, provenance: &mut BTreeMap<KeyPath, Origin>) {
    match &node.value {
        Value::Table(fields) => {
            for (key, child) in fields {
                let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                trace(&below, child, &path.key(key), provenance);
            }
        }
        Value::List(elements) => {
            for (number, element) in elements.iter().enumerate() {
                let path = check::element_path(path, name, number, element);
                trace(name, element, &path, provenance);
            }
        }
        _ => {
            provenance.insert(path.clone(), node.origin.clone());
        }
    }
}

fn unreadable(path: &RecipePath, source: io::Error) -> RecipeFault {
    let path = path.clone();
    // A `Dir` refuses paths that leave it with an error of its own, which has no number of the system.
    match (source.kind(), source.raw_os_error()) {
        (io::ErrorKind::PermissionDenied, None) => RecipeFault::Outside { path },
        _ => RecipeFault::Read { path, source },
    }
}

fn read(root: &Dir, path: &RecipePath) -> io::Result<String> {
    let mut options = OpenOptions::new();
    // A pipe must not make the open wait for a writer.
    options.read(true).custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0));
    let file = root.open_with(path.as_path(), &options)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    file.take(RECIPE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > RECIPE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256 KiB"));
    }
    Ok(text)
}
