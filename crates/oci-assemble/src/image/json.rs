//! Strict JSON, and one canonical form of it.
//!
//! Image documents must be I-JSON (image-spec, "considerations.md"): two readers may not see different values in
//! one text. `serde_json` alone keeps the last of two equal keys, where others keep the first, so [`parse`] refuses
//! them. [`canonical`] writes keys sorted by their bytes and no white space, whatever order of keys `serde_json` was
//! built with: what this crate writes is a function of the value alone.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Nesting beyond which no image document is read. Real ones stay below ten.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not the JSON that is accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// More bytes than are read of such a document.
    #[error("{found} bytes are more than the {limit} that are read")]
    TooLarge {
        /// Bytes accepted.
        limit: usize,
        /// Bytes found.
        found: usize,
    },
    /// Not JSON, a key twice in one object, nested too deeply, or something after the value.
    #[error("not strict JSON")]
    Syntax(#[source] serde_json::Error),
}

/// Reads one JSON value of at most `limit` bytes: no key twice in an object, no nesting beyond [`MAX_DEPTH`],
/// nothing but white space after it.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Value, JsonError> {
    if bytes.len() > limit {
        return Err(JsonError::TooLarge { limit, found: bytes.len() });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).map_err(JsonError::Syntax)?;
    deserializer.end().map_err(JsonError::Syntax)?;
    Ok(value)
}

/// The canonical form of `value`.
///
/// Law: equal values give equal bytes, and `parse(canonical(v)) == v`.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = String::new();
    write(value, &mut text);
    text.into_bytes()
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_bytes());
            text.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}

/// Builds a [`Value`] and counts how deep it is.
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")))
        } else {
            Ok(Self { depth })
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self.deeper()?)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("key {key:?} stands twice in one object")));
            }
            map.insert(key, access.next_value_seed(self.deeper()?)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::image::arbitrary_json;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn canonical_is_read_back(value in arbitrary_json()) {
            let bytes = canonical(&value);
            let again = parse(&bytes, bytes.len()).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(canonical(&again), bytes);
        }
    }

    #[test]
    fn sorts_keys_at_every_depth() {
        let value = parse(br#" {"b":{"z":1,"Z":"\u00e9\n"}, "a":[{"y":null,"x":-1.5}]} "#, 100).unwrap();
        assert_eq!(
            String::from_utf8(canonical(&value)).unwrap(),
            "{\"a\":[{\"x\":-1.5,\"y\":null}],\"b\":{\"Z\":\"é\\n\",\"z\":1}}"
        );
    }

    #[test]
    fn refuses_what_readers_may_see_differently() {
        for (text, message) in [
            (r#"{"a":1,"a":1}"#.to_owned(), "key \"a\" stands twice"),
            (r#"[{"x":{"a":1,"\u0061":2}}]"#.to_owned(), "key \"a\" stands twice"),
            (r#"{"a":1} {"#.to_owned(), "trailing characters"),
            ("[".repeat(65) + &"]".repeat(65), "nested deeper than 64"),
            ("\u{feff}{}".to_owned(), "expected value"),
            ("{'a':1}".to_owned(), "key must be a string"),
            ("[1,]".to_owned(), "trailing comma"),
            ("NaN".to_owned(), "expected value"),
        ] {
            match parse(text.as_bytes(), 1000).unwrap_err() {
                JsonError::Syntax(error) => assert!(error.to_string().contains(message), "{text}: {error}"),
                JsonError::TooLarge { .. } => panic!("{text}"),
            }
        }
        assert!(matches!(parse(b"\"\xff\"", 10), Err(JsonError::Syntax(_))));
        assert!(matches!(parse(b"[1, 2]", 5), Err(JsonError::TooLarge { limit: 5, found: 6 })));
        assert!(parse(("[".repeat(64) + &"]".repeat(64)).as_bytes(), 1000).is_ok());
    }
}
