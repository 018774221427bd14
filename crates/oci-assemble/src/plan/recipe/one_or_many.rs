//! A string or an array of strings; always an array once it is read.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::path::RecipePath;

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(RecipePath),
    Many(Vec<RecipePath>),
}

pub(super) fn serialize<S: Serializer>(paths: &[RecipePath], serializer: S) -> Result<S::Ok, S::Error> {
    paths.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RecipePath>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(path) => vec![path],
        OneOrMany::Many(paths) => paths,
    })
}
