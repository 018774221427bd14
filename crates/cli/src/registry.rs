//! Clients of registries: where credentials, certificates and proxies of this machine are.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;
use oci_assemble::image::{ImageReference, RegistryReference};
use oci_assemble::store::registry::{
    AuthFile, AuthFiles, Client, ClientOptions, Credential, Event, MAX_AUTH_FILE, Proxies,
};
use serde_json::Value;

use crate::args::SourceArgs;
use crate::credential_helper::Helpers;
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::ui::Ui;

/// Bytes of a policy or a certificate that are read.
const MAX_FILE: u64 = 1 << 20;

/// Who is told of bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// Shows what is sent.
    pub(crate) bar: Option<ProgressBar>,
    /// Counts what is fetched.
    pub(crate) received: Arc<AtomicU64>,
}

/// A client for one registry. Certificates that this machine has for it are trusted for it alone.
/// `watch` is told of bytes.
pub(crate) fn client(host: &str, source: &SourceArgs, ui: Ui, watch: Watch) -> Result<Client, Failure> {
    let mut files = Vec::new();
    match &source.authfile {
        Some(path) => files.push(auth_file(path)?.ok_or_else(|| {
            Failure::new(Class::Usage, format!("there is no file {} with credentials", path.display()))
        })?),
        None => {
            for path in env::auth_files() {
                files.extend(auth_file(&path)?);
            }
        }
    }
    let mut token_hosts: BTreeSet<String> = source.token_hosts.iter().cloned().collect();
    if let Some(job) = env::gitlab_job() {
        let password = Credential::Password { name: job.user, password: job.password };
        files.push(AuthFile::of("the variables of the GitLab job", &job.registry, password));
        // The registry of a GitLab has its token server in that GitLab.
        if job.registry == host {
            token_hosts.extend(job.server);
        }
    }
    let proxy = env::proxies();
    let named =
        |low: &str, high: &str| proxy.get(low).or_else(|| proxy.get(high)).filter(|url| !url.is_empty()).cloned();
    let Watch { bar, received } = watch;
    let listener = move |event: &Event| match (event, &bar) {
        (Event::Retry { cause, wait }, _) => ui.say(&format!("{cause}; trying again in {:.1} s", wait.as_secs_f32())),
        (Event::Sent { bytes }, Some(bar)) => bar.inc(*bytes),
        (Event::Received { bytes }, _) => drop(received.fetch_add(*bytes, Ordering::Relaxed)),
        _ => {}
    };
    let options = ClientOptions {
        plain_http: is_plain(host, source),
        roots: certificates(host),
        token_hosts,
        proxies: Proxies {
            http: named("http_proxy", "HTTP_PROXY"),
            https: named("https_proxy", "HTTPS_PROXY"),
            except: named("no_proxy", "NO_PROXY"),
        },
        seed: env::seed(),
        listener: Some(Arc::new(listener)),
        ..ClientOptions::default()
    };
    Ok(Client::new(options, AuthFiles::new(files, Helpers)))
}

/// Whether a registry is talked to without TLS: it was named, or, where no name was given, it is on this machine. A password
/// goes along, so that one registry without TLS is no reason to do without it elsewhere.
pub(crate) fn is_plain(host: &str, source: &SourceArgs) -> bool {
    source.insecure.iter().any(|named| if named.is_empty() { is_loopback(host) } else { named == host })
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn auth_file(path: &Path) -> Result<Option<AuthFile>, Failure> {
    let context = || format!("reading credentials from {}", path.display());
    let bytes = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::of(Class::Io, context(), error)),
        Ok(file) => bounded(file, MAX_AUTH_FILE as u64 + 1).context(Class::Io, context())?,
    };
    AuthFile::parse(&path.display().to_string(), &bytes).map(Some).context(Class::Usage, context())
}

fn bounded(file: std::fs::File, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Certificates to trust for a registry (containers-certs.d(5)): every `.crt` in its directories.
fn certificates(host: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for directory in env::certificate_dirs() {
        let entries = std::fs::read_dir(directory.join(host)).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
        paths.sort();
        found.extend(paths.iter().filter_map(|path| bounded(std::fs::File::open(path).ok()?, MAX_FILE).ok()));
    }
    found
}

/// Whether this machine's signature policy could refuse the image: then skopeo must fetch it, which enforces the policy.
pub(crate) fn is_policed(reference: &RegistryReference) -> bool {
    let policy = env::policy_files().into_iter().find_map(|path| std::fs::File::open(path).ok());
    let Some(bytes) = policy.and_then(|file| bounded(file, MAX_FILE).ok()) else { return false };
    // What cannot be read skopeo shall refuse.
    serde_json::from_slice(&bytes)
        .map_or(true, |policy| polices(&policy, &format!("{}/{}", reference.host, reference.repository)))
}

/// Whether a policy (containers-policy.json(5)) asks more of `name` than that it is there. A scope that might apply
/// counts: whoever wrote one wants to have it looked at.
fn polices(policy: &Value, name: &str) -> bool {
    let accepts = |rules: &Value| {
        let rules = rules.as_array().map(Vec::as_slice).unwrap_or_default();
        !rules.is_empty() && rules.iter().all(|rule| rule["type"] == "insecureAcceptAnything")
    };
    let applies = |scope: &str| is_in(scope, name) || scope.starts_with(name);
    let scopes = policy["transports"]["docker"].as_object();
    let demanding = scopes.into_iter().flatten().any(|(scope, rules)| applies(scope) && !accepts(rules));
    demanding || !accepts(&policy["default"])
}

/// Whether this machine looks a name up somewhere else, or not at all: mirrors, other places, blocks. skopeo knows how.
fn is_redirected(reference: &RegistryReference) -> bool {
    let mut texts = Vec::new();
    for path in env::registries_files() {
        let Ok(file) = std::fs::File::open(&path) else { continue };
        texts.push(bounded(file, MAX_FILE));
        let mut parts: Vec<PathBuf> = std::fs::read_dir(path.with_extension("conf.d"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
            .collect();
        parts.sort();
        texts.extend(parts.iter().map(|path| bounded(std::fs::File::open(path)?, MAX_FILE)));
        break;
    }
    let name = format!("{}/{}", reference.host, reference.repository);
    texts.into_iter().flatten().any(|text| redirects(&String::from_utf8_lossy(&text), &name))
}

/// Whether a `registries.conf` says something of `name`. What cannot be read skopeo shall refuse.
fn redirects(text: &str, name: &str) -> bool {
    let Ok(table) = text.parse::<toml::Table>() else { return true };
    let registries = table.get("registry").and_then(toml::Value::as_array);
    registries.into_iter().flatten().any(|registry| {
        let text = |key: &str| registry.get(key).and_then(toml::Value::as_str);
        text("prefix").or_else(|| text("location")).is_some_and(|scope| is_in(scope, name))
    })
}

/// Whether a scope of policies and registries (a host, a name or part of one, `*.DOMAIN`) has `name` in it.
fn is_in(scope: &str, name: &str) -> bool {
    let host = name.split('/').next().unwrap_or(name);
    match scope.strip_prefix("*.") {
        Some(domain) => host.ends_with(domain),
        None => name.starts_with(scope),
    }
}

/// The registry of a reference that is spoken to by our own client.
pub(crate) fn native(reference: &ImageReference) -> Option<&RegistryReference> {
    match reference {
        ImageReference::Registry(name) if !is_policed(name) && !is_redirected(name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_looked_up_elsewhere_is_skopeos() {
        let registry = |keys: &str| format!("[[registry]]\n{keys}\n");
        for (text, expected) in [
            (String::new(), false),
            ("unqualified-search-registries = [\"docker.io\"]\n".into(), false),
            (registry("location = \"quay.io\"\ninsecure = true"), true),
            (registry("prefix = \"quay.io/team\"\nlocation = \"mirror.example.com/team\""), true),
            (registry("prefix = \"*.io\"\nlocation = \"mirror.example.com\""), true),
            (registry("location = \"quay.io/team\"\n[[registry.mirror]]\nlocation = \"mirror.example.com\""), true),
            (registry("prefix = \"ghcr.io\"\nlocation = \"quay.io/team\""), false),
            ("[[registry\n".into(), true),
        ] {
            assert_eq!(redirects(&text, "quay.io/team/app"), expected, "{text}");
        }
    }

    #[test]
    fn one_registry_without_tls_says_nothing_of_others() {
        let plain = |insecure: &[&str], host: &str| {
            let insecure = insecure.iter().map(|&host| host.to_owned()).collect();
            is_plain(host, &SourceArgs { insecure, ..SourceArgs::default() })
        };
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.3.2.1", "[::1]:5000", "[::1]"] {
            assert!(plain(&[""], host) && plain(&["other", host], host), "{host}");
            assert!(!plain(&[], host) && !plain(&["other"], host), "{host}");
        }
        for host in [
            "registry.lan:5000",
            "127.0.0.1.example.com",
            "10.0.0.1:5000",
            "[2001:db8::1]:5000",
            "localhost.example.com",
        ] {
            assert!(!plain(&[""], host) && plain(&["", host], host), "{host}");
        }
        assert!(!plain(&["registry.lan:5000"], "registry.lan"), "another port is another registry");
    }

    #[test]
    fn a_policy_that_could_refuse_is_skopeos() {
        let accept = json!([{ "type": "insecureAcceptAnything" }]);
        let signed = json!([{ "type": "sigstoreSigned", "keyPath": "/k.pub" }]);
        for (policy, expected) in [
            (json!({ "default": accept }), false),
            (json!({ "default": [{ "type": "reject" }] }), true),
            (json!({}), true),
            (json!({ "default": accept, "transports": { "docker": { "quay.io/team": signed } } }), true),
            (json!({ "default": accept, "transports": { "docker": { "quay.io/team/app": signed } } }), true),
            (json!({ "default": accept, "transports": { "docker": { "quay.io/team/app:1": signed } } }), true),
            (json!({ "default": accept, "transports": { "docker": { "*.io": signed } } }), true),
            (json!({ "default": accept, "transports": { "docker": { "": signed } } }), true),
            (json!({ "default": accept, "transports": { "docker": { "ghcr.io": signed } } }), false),
            (json!({ "default": accept, "transports": { "docker": { "quay.io": accept } } }), false),
            (json!({ "default": accept, "transports": { "docker-daemon": { "": signed } } }), false),
        ] {
            assert_eq!(polices(&policy, "quay.io/team/app"), expected, "{policy}");
        }
    }
}
