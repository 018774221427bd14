//! `WWW-Authenticate` (RFC 9110, section 11.6.1; the Bearer scheme as distribution's token specification has it).

use std::collections::BTreeMap;

use reqwest::Url;

/// How a registry wants to be authenticated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password in each request.
    Basic,
    /// A token from a server.
    Bearer {
        /// Where tokens are.
        realm: Url,
        /// Whom they are for.
        service: Option<String>,
    },
}

/// Why a challenge cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// There is none.
    #[error("it says nothing about it")]
    Absent,
    /// Neither Basic nor Bearer.
    #[error("neither Basic nor Bearer is among {offered:?}")]
    Unknown {
        /// The schemes offered.
        offered: Vec<String>,
    },
    /// Not the syntax.
    #[error("it is malformed at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
    },
    /// Bearer without a realm that is a URL.
    #[error("its realm is no URL")]
    Realm,
}

/// The challenge to answer among those of the header's `values`: Bearer before Basic.
pub(super) fn choose<'a>(values: impl Iterator<Item = &'a str>) -> Result<Challenge, ChallengeError> {
    let mut all = Vec::new();
    for value in values {
        all.extend(parse(value)?);
    }
    let named = |name: &str| all.iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(name)).map(|(_, words)| words);
    if let Some(words) = named("bearer") {
        let realm = words.get("realm").and_then(|text| Url::parse(text).ok()).filter(Url::has_host);
        let realm = realm.ok_or(ChallengeError::Realm)?;
        // What it says of scopes is what this one request needs; we know better what we will do.
        return Ok(Challenge::Bearer { realm, service: words.get("service").cloned() });
    }
    if named("basic").is_some() {
        return Ok(Challenge::Basic);
    }
    match all.len() {
        0 => Err(ChallengeError::Absent),
        _ => Err(ChallengeError::Unknown { offered: all.into_iter().map(|(scheme, _)| scheme).collect() }),
    }
}

type Words = BTreeMap<String, String>;

/// Reads `SCHEME key=value, key="value", SCHEME …`.
fn parse(text: &str) -> Result<Vec<(String, Words)>, ChallengeError> {
    let mut found: Vec<(String, Words)> = Vec::new();
    let mut cursor = Cursor { text, at: 0 };
    loop {
        cursor.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        if cursor.rest().is_empty() {
            return Ok(found);
        }
        let word = cursor.token()?;
        cursor.skip(|byte| matches!(byte, b' ' | b'\t'));
        let is_key = cursor.rest().starts_with('=') && !found.is_empty();
        if !is_key {
            found.push((word, Words::new()));
            continue;
        }
        cursor.at += 1;
        cursor.skip(|byte| matches!(byte, b' ' | b'\t'));
        let value = if cursor.rest().starts_with('"') { cursor.quoted()? } else { cursor.token()? };
        if let Some((_, words)) = found.last_mut() {
            words.entry(word.to_ascii_lowercase()).or_insert(value);
        }
    }
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        self.at += self.rest().bytes().take_while(|byte| wanted(*byte)).count();
    }

    /// A word of RFC 9110, where other clients also take what strictly must be quoted: `/` and `:`.
    fn token(&mut self) -> Result<String, ChallengeError> {
        let start = self.at;
        self.skip(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/:".contains(&byte));
        if self.at == start { Err(ChallengeError::Syntax { at: start }) } else { Ok(self.text[start..self.at].into()) }
    }

    fn quoted(&mut self) -> Result<String, ChallengeError> {
        let mut value = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += at + 1;
                    return Ok(value);
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        Err(ChallengeError::Syntax { at: self.text.len() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.parse().unwrap(), service: service.map(str::to_owned) }
    }

    #[test]
    fn what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let table: [(&[&str], _); 9] = [
            (&[hub], Ok(bearer("https://auth.docker.io/token", Some("registry.docker.io")))),
            (&["Basic realm=\"Registry, Realm\""], Ok(Challenge::Basic)),
            (&["Basic realm=x", "bearer realm=\"https://h/\""], Ok(bearer("https://h/", None))),
            (&["Basic realm=\"x\", Bearer realm = \"https://h/t\""], Ok(bearer("https://h/t", None))),
            (&[r#"Bearer realm="https://h/\"t""#], Ok(bearer("https://h/%22t", None))),
            (&["Bearer realm=\"not a url\""], Err(ChallengeError::Realm)),
            (&["Bearer realm=\"https://h"], Err(ChallengeError::Syntax { at: 23 })),
            (&["Negotiate"], Err(ChallengeError::Unknown { offered: vec!["Negotiate".into()] })),
            (&[], Err(ChallengeError::Absent)),
        ];
        for (values, expected) in table {
            assert_eq!(choose(values.iter().copied()), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = choose([text.as_str()].into_iter());
        }

        #[test]
        fn a_quoted_value_is_read_back(value in "[ -~]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let found = parse(&format!("Bearer a=\"{quoted}\", b=c")).unwrap();
            prop_assert_eq!(&found[0].1["a"], &value);
            prop_assert_eq!(&found[0].1["b"], "c");
        }
    }
}
