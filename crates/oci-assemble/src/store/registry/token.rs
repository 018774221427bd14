//! Tokens of a registry's token server.
//!
//! distribution's token specification: GET with scopes and, if there is one, name and password; with an identity token
//! POST as OAuth 2 has it. A token is used for four fifths of its life, counted from when it came; no clock has a part
//! in it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::credential::Credential;
use crate::image::json;

/// Bytes of a token server's answer that are read: tokens have one or two thousand.
pub(super) const MAX_TOKEN: usize = 64 << 10;
/// Life of a token that does not say it (distribution's token specification).
const USUAL_LIFE: Duration = Duration::from_mins(1);

/// A token, and until when it is used.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) bearer: String,
    until: Instant,
}

impl Token {
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Reads a token server's answer that came `now`.
    pub(super) fn parse(answer: &[u8], now: Instant) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let value = json::parse(answer, MAX_TOKEN)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let bearer = text("token").or_else(|| text("access_token")).ok_or("there is no token in it")?;
        if !bearer.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
            return Err("its token is no word".into());
        }
        let life = value.get("expires_in").and_then(Value::as_u64).filter(|life| *life > 0);
        // A day is more than any push takes, and keeps the sum below what an instant can be.
        let life = life.map_or(USUAL_LIFE, |life| Duration::from_secs(life.min(86_400)));
        Ok(Self { bearer: bearer.to_owned(), until: now + life * 4 / 5 })
    }
}

/// A request for a token, as far as it does not depend on where the server is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenRequest {
    /// GET with this query, and this `Authorization`.
    Get { query: Vec<(String, String)>, authorization: Option<String> },
    /// POST of this form.
    Post { form: Vec<(String, String)> },
}

/// What to ask the token server of `service` for: tokens for `scopes`, by whom the credential names.
pub(super) fn request(
    service: Option<&str>,
    scopes: &[String],
    credential: Option<&Credential>,
    client: &str,
) -> TokenRequest {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut words: Vec<(String, String)> = service.map(|service| pair("service", service)).into_iter().collect();
    match credential {
        Some(Credential::Identity { token }) => {
            words.push(pair("scope", &scopes.join(" ")));
            words.extend([
                pair("grant_type", "refresh_token"),
                pair("refresh_token", token),
                pair("client_id", client),
            ]);
            TokenRequest::Post { form: words }
        }
        other => {
            words.extend(scopes.iter().map(|scope| pair("scope", scope)));
            if let Some(Credential::Password { name, .. }) = other {
                words.push(pair("account", name));
            }
            TokenRequest::Get { query: words, authorization: other.and_then(Credential::basic) }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_used_for_four_fifths_of_its_life() {
        let now = Instant::now();
        for (answer, life) in [
            (r#"{"token":"t"}"#, 48),
            (r#"{"access_token":"t","expires_in":300,"issued_at":"2001-01-01T00:00:00Z"}"#, 240),
            (r#"{"token":"t","expires_in":0}"#, 48),
            (r#"{"token":"t","expires_in":18446744073709551615}"#, 69_120),
        ] {
            let token = Token::parse(answer.as_bytes(), now).unwrap();
            assert!(token.is_fresh(now + Duration::from_secs(life - 1)), "{answer}");
            assert!(!token.is_fresh(now + Duration::from_secs(life)), "{answer}");
        }
        for answer in
            ["", "{}", r#"{"token":7}"#, r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":"a","token":"b"}"#]
        {
            assert!(Token::parse(answer.as_bytes(), now).is_err(), "{answer}");
        }
    }

    #[test]
    fn passwords_stand_in_the_header_and_identity_tokens_in_the_body() {
        let scopes = ["repository:a:pull".to_owned(), "repository:b:pull,push".to_owned()];
        let password = Credential::Password { name: "me".into(), password: "pw".into() };
        let words = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(
            request(Some("s"), &scopes, Some(&password), "assemble"),
            TokenRequest::Get {
                query: words(&[
                    ("service", "s"),
                    ("scope", "repository:a:pull"),
                    ("scope", "repository:b:pull,push"),
                    ("account", "me")
                ]),
                authorization: Some("Basic bWU6cHc=".into()),
            }
        );
        let identity = Credential::Identity { token: "r".into() };
        assert_eq!(
            request(None, &scopes, Some(&identity), "assemble"),
            TokenRequest::Post {
                form: words(&[
                    ("scope", "repository:a:pull repository:b:pull,push"),
                    ("grant_type", "refresh_token"),
                    ("refresh_token", "r"),
                    ("client_id", "assemble")
                ]),
            }
        );
    }
}
