//! Paths of the image in JSON and TOML: text with a leading slash. A recipe is UTF-8, so its paths are.

use serde::{Deserialize, Deserializer, Serializer, de, ser};

use crate::tree::TreePath;

pub(super) fn serialize<S: Serializer>(path: &TreePath, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(path)?)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TreePath, D::Error> {
    TreePath::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn text<E: ser::Error>(path: &TreePath) -> Result<String, E> {
    path.to_str().map(|text| format!("/{text}")).ok_or_else(|| E::custom("a path that is not UTF-8"))
}

/// The same for lists of paths.
pub(super) mod list {
    use super::{Deserialize, Deserializer, Serializer, TreePath, de, text};

    pub(in super::super) fn serialize<S: Serializer>(paths: &[TreePath], serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Result<Vec<String>, S::Error> = paths.iter().map(text).collect();
        serializer.collect_seq(texts?)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TreePath>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| TreePath::new(text).map_err(de::Error::custom)).collect()
    }
}
