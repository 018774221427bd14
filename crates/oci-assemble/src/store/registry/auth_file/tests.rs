#![allow(clippy::unwrap_used)]
use super::*;

fn password(name: &str, password: &str) -> Credential {
    Credential::Password { name: name.into(), password: password.into() }
}

fn auth(text: &str) -> String {
    format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(text))
}

/// Answers for the servers it knows, and writes down who asked.
struct Known(&'static [(&'static str, &'static str, &'static str)]);

impl CredentialHelper for Known {
    fn ask(&self, name: &str, server: &str) -> Result<Option<Vec<u8>>, KeychainError> {
        let found = self.0.iter().find(|(helper, known, _)| (*helper, *known) == (name, server));
        Ok(found.map(|(_, _, answer)| answer.as_bytes().to_vec()))
    }
}

#[test]
fn the_longest_key_that_the_repository_lies_below_wins() {
    let text = format!(
        r#"{{"auths":{{"quay.io":{},"quay.io/team":{},"quay.io/team/app":{},"https://index.docker.io/v1/":{},
           "http://plain.example.org:5000/v2/":{},"empty.example.org":{{}},"id.example.org":{{"identitytoken":"t","auth":"eDp5"}}}}}}"#,
        auth("all:1"),
        auth("team:2"),
        auth("app:with:colon"),
        auth("hub:4"),
        auth("plain:5")
    );
    let keychain = AuthFiles::new(vec![AuthFile::parse("a.json", text.as_bytes()).unwrap()], Known(&[]));
    for (host, repository, expected) in [
        ("quay.io", "other/app", Some(password("all", "1"))),
        ("quay.io", "team/x/y", Some(password("team", "2"))),
        ("quay.io", "team/app", Some(password("app", "with:colon"))),
        ("quay.io", "team/app2", Some(password("team", "2"))),
        ("quay.io", "teams", Some(password("all", "1"))),
        ("docker.io", "library/debian", Some(password("hub", "4"))),
        ("plain.example.org:5000", "x", Some(password("plain", "5"))),
        ("plain.example.org", "x", None),
        ("empty.example.org", "x", None),
        ("id.example.org", "x", Some(Credential::Identity { token: "t".into() })),
    ] {
        assert_eq!(keychain.find(host, repository).unwrap(), expected, "{host}/{repository}");
    }
}

#[test]
fn helpers_are_asked_for_their_registry_and_the_general_one_last() {
    let first = r#"{"credHelpers":{"ecr.example.org":"ecr"},"credsStore":"store","auths":{"a.example.org":{}}}"#;
    let second = format!(r#"{{"auths":{{"a.example.org":{},"b.example.org":{}}}}}"#, auth("a:1"), auth("b:2"));
    let files =
        [("first", first), ("second", &second)].map(|(name, text)| AuthFile::parse(name, text.as_bytes()).unwrap());
    let helper = Known(&[
        ("ecr", "ecr.example.org", r#"{"ServerURL":"x","Username":"AWS","Secret":"s"}"#),
        ("store", "a.example.org", r#"{"Username":"<token>","Secret":"t"}"#),
        ("store", HUB_SERVER, r#"{"Username":"hub","Secret":"h"}"#),
        ("store", "odd.example.org", r#"{"Username":"x"}"#),
    ]);
    let keychain = AuthFiles::new(files.into(), helper);
    for (host, expected) in [
        ("ecr.example.org", Some(password("AWS", "s"))),
        ("a.example.org", Some(Credential::Identity { token: "t".into() })),
        ("docker.io", Some(password("hub", "h"))),
        ("b.example.org", Some(password("b", "2"))),
        ("c.example.org", None),
    ] {
        assert_eq!(keychain.find(host, "x").unwrap(), expected, "{host}");
    }
    assert!(matches!(keychain.find("odd.example.org", "x"), Err(KeychainError::Helper { .. })));
}

#[test]
fn what_is_wrong_is_said_without_the_secret() {
    for (text, what) in [
        ("{", "not JSON, or with a key twice, or too large"),
        ("[]", "not a JSON object"),
        (r#"{"auths":[]}"#, "auths is not an object"),
        (r#"{"auths":{"a.b":{"auth":"%secret%"}}}"#, "an auth in auths is not base64"),
        (r#"{"auths":{"a.b":{"auth":"c2VjcmV0"}}}"#, "an auth in auths has no colon"),
    ] {
        let error = AuthFile::parse("f.json", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("cannot read f.json: {what}"));
    }
    let file = AuthFile::parse("f", br#"{"credsStore":"../../bin/sh"}"#).unwrap();
    let keychain = AuthFiles::new(vec![file], Known(&[]));
    assert!(matches!(keychain.find("a.b", "x"), Err(KeychainError::Name { .. })));
    assert!(!format!("{:?}", password("me", "secret")).contains("secret"));
}
