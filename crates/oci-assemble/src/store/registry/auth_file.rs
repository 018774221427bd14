//! Files of credentials: containers-auth.json(5), and Docker's config.json, which has the same form.
//!
//! In one file a helper that is named for the registry goes first, then the entry with the longest key that the
//! repository lies below, then the general helper. Files are looked through in the order they are given.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::credential::{Credential, CredentialHelper, Keychain, KeychainError};
use crate::image::json;

/// Bytes of such a file that are read: it has a few hundred for each registry.
pub const MAX_AUTH_FILE: usize = 1 << 20;

/// The names under which Docker Hub is in these files.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// What Docker asks helpers for when it means Docker Hub.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// One file of credentials.
#[derive(Debug, Default)]
pub struct AuthFile {
    name: String,
    entries: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    general: Option<String>,
}

/// What a file says of a repository.
#[derive(Debug, PartialEq, Eq)]
enum Found<'f> {
    Credential(&'f Credential),
    Helper { name: &'f str, server: String },
    Nothing,
}

impl AuthFile {
    /// Reads a file's bytes; `name` is for errors. Entries without a secret, which Docker writes beside a helper, say
    /// nothing.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, KeychainError> {
        let fault = |what| KeychainError::File { file: name.to_owned(), what };
        let value =
            json::parse(bytes, MAX_AUTH_FILE).map_err(|_| fault("not JSON, or with a key twice, or too large"))?;
        let Value::Object(fields) = value else { return Err(fault("not a JSON object")) };
        let mut file = Self { name: name.to_owned(), ..Self::default() };
        if let Some(auths) = fields.get("auths").filter(|auths| !auths.is_null()) {
            for (key, entry) in auths.as_object().ok_or_else(|| fault("auths is not an object"))? {
                if let Some(credential) = credential(entry).map_err(fault)? {
                    file.entries.insert(normal(key), credential);
                }
            }
        }
        if let Some(helpers) = fields.get("credHelpers").filter(|helpers| !helpers.is_null()) {
            for (key, helper) in helpers.as_object().ok_or_else(|| fault("credHelpers is not an object"))? {
                let helper = helper.as_str().ok_or_else(|| fault("a helper in credHelpers is not a name"))?;
                file.helpers.insert(normal(key), helper.to_owned());
            }
        }
        let general = fields.get("credsStore").and_then(Value::as_str);
        file.general = general.filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(file)
    }

    /// What is known from elsewhere: one credential for one registry. `name` is for errors.
    pub fn of(name: &str, host: &str, credential: Credential) -> Self {
        Self { name: name.to_owned(), entries: BTreeMap::from([(normal(host), credential)]), ..Self::default() }
    }

    fn find(&self, host: &str, repository: &str) -> Found<'_> {
        let host = if HUB.contains(&host) { HUB[0] } else { host };
        let server = || if host == HUB[0] { HUB_SERVER.to_owned() } else { host.to_owned() };
        if let Some(name) = self.helpers.get(host) {
            return Found::Helper { name, server: server() };
        }
        let full = format!("{host}/{repository}");
        let mut key = full.as_str();
        loop {
            if let Some(credential) = self.entries.get(key) {
                return Found::Credential(credential);
            }
            match key.rsplit_once('/') {
                Some((shorter, _)) => key = shorter,
                None => break,
            }
        }
        match &self.general {
            Some(name) => Found::Helper { name, server: server() },
            None => Found::Nothing,
        }
    }
}

/// The key of an entry without what only Docker writes: the scheme, and behind it the path.
fn normal(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let key = bare.map_or(key, |rest| rest.split('/').next().unwrap_or(rest)).trim_end_matches('/');
    let (host, rest) = key.split_once('/').map_or((key, None), |(host, rest)| (host, Some(rest)));
    let host = if HUB.contains(&host) { HUB[0] } else { host };
    rest.map_or_else(|| host.to_owned(), |rest| format!("{host}/{rest}"))
}

fn credential(entry: &Value) -> Result<Option<Credential>, &'static str> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credential::Identity { token: token.to_owned() }));
    }
    let (name, password) = match (text("auth"), text("username"), text("password")) {
        (Some(auth), ..) => {
            let plain = STANDARD.decode(auth.trim()).map_err(|_| "an auth in auths is not base64")?;
            let plain = String::from_utf8(plain).map_err(|_| "an auth in auths is not text")?;
            let (name, password) = plain.split_once(':').ok_or("an auth in auths has no colon")?;
            (name.to_owned(), password.trim_end_matches('\0').to_owned())
        }
        (None, Some(name), Some(password)) => (name.to_owned(), password.to_owned()),
        _ => return Ok(None),
    };
    Ok(Some(Credential::Password { name, password }))
}

/// Files of credentials, and who runs the helpers they name.
pub struct AuthFiles {
    files: Vec<AuthFile>,
    helper: Box<dyn CredentialHelper>,
}

impl std::fmt::Debug for AuthFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.files.iter().map(|file| &file.name).collect();
        f.debug_struct("AuthFiles").field("files", &names).finish_non_exhaustive()
    }
}

impl AuthFiles {
    /// The first file that knows a repository decides.
    pub fn new(files: Vec<AuthFile>, helper: impl CredentialHelper + 'static) -> Self {
        Self { files, helper: Box::new(helper) }
    }
}

impl Keychain for AuthFiles {
    fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, KeychainError> {
        for file in &self.files {
            match file.find(host, repository) {
                Found::Credential(credential) => return Ok(Some(credential.clone())),
                Found::Helper { name, server } => {
                    // The name becomes a part of a program's name.
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                    if !name.bytes().all(plain) || name.starts_with(['-', '.']) {
                        return Err(KeychainError::Name { name: name.to_owned() });
                    }
                    if let Some(answer) = self.helper.ask(name, &server)? {
                        return helped(name, &answer).map(Some);
                    }
                }
                Found::Nothing => {}
            }
        }
        Ok(None)
    }
}

/// Reads what a helper wrote: `{"ServerURL", "Username", "Secret"}`, where the name `<token>` says that the secret is
/// an identity token.
fn helped(name: &str, answer: &[u8]) -> Result<Credential, KeychainError> {
    let fault =
        || KeychainError::Helper { name: name.to_owned(), source: "its answer has no Username and Secret".into() };
    let value = json::parse(answer, MAX_AUTH_FILE).map_err(|_| fault())?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(fault);
    let (name, password) = (text("Username")?, text("Secret")?);
    Ok(match name.as_str() {
        "<token>" => Credential::Identity { token: password },
        _ => Credential::Password { name, password },
    })
}

#[cfg(test)]
mod tests;
