//! What a registry of the tests has, and how it answers from that.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Settings;
use super::http::{Answer, Asked};
use crate::image::Digest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Default)]
pub(super) struct State {
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<u64, (String, Vec<u8>)>,
    tokens: BTreeMap<String, (String, usize)>,
    counter: u64,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
}

pub(super) struct Manifest {
    pub(super) kind: String,
    pub(super) bytes: Vec<u8>,
}

impl Manifest {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Digests of blobs and of manifests that must be there.
    fn needs(&self) -> (Vec<String>, Vec<String>) {
        let value = self.json();
        let digest = |entry: &Value| entry["digest"].as_str().map(str::to_owned);
        let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
        let layers = list("layers").iter().filter_map(digest).chain(digest(&value["config"])).collect();
        (layers, list("manifests").iter().filter_map(digest).collect())
    }
}

impl State {
    pub(super) fn blobs(&self, repository: &str) -> Vec<String> {
        self.repositories.get(repository).map(|own| own.blobs.keys().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn manifest(&self, repository: &str, name: &str) -> Option<(String, &Manifest)> {
        let own = self.repositories.get(repository)?;
        let digest = own.tags.get(name).map_or(name, String::as_str);
        own.manifests.get(digest).map(|manifest| (digest.to_owned(), manifest))
    }

    pub(super) fn is_whole(&self, repository: &str) -> bool {
        let Some(own) = self.repositories.get(repository) else { return true };
        own.tags
            .values()
            .chain(own.manifests.keys())
            .all(|digest| own.manifests.get(digest).is_some_and(|one| own.has(one)))
    }

    pub(super) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    pub(super) fn lose(&mut self, repository: &str, digest: &str) {
        if let Some(own) = self.repositories.get_mut(repository) {
            own.blobs.remove(digest);
        }
    }

    pub(super) fn issue(&mut self, scope: String, uses: usize) -> String {
        self.counter += 1;
        let token = format!("token-{}", self.counter);
        self.tokens.insert(token.clone(), (scope, uses));
        token
    }

    /// Uses a token once; `false` when it is not good for the request.
    pub(super) fn spend(&mut self, token: &str, asked: &Asked, writes: bool) -> bool {
        let Some((scope, uses)) = self.tokens.get_mut(token).filter(|(_, uses)| *uses > 0) else { return false };
        *uses -= 1;
        let repository = asked.path.trim_start_matches("/v2/");
        scope.split_whitespace().any(|scope| {
            let mut parts = scope.split(':');
            let (Some("repository"), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next()) else {
                return false;
            };
            repository.starts_with(&format!("{name}/")) && (!writes || actions.contains("push"))
        })
    }

    pub(super) fn serve(&mut self, asked: &Asked, rest: &str, body: Vec<u8>, settings: &Settings) -> Answer {
        for (kind, middle) in [
            ("upload", "/blobs/uploads/"),
            ("blob", "/blobs/"),
            ("manifest", "/manifests/"),
            ("referrers", "/referrers/"),
            ("tags", "/tags/list"),
        ] {
            let Some((name, last)) = rest.split_once(middle) else { continue };
            return match kind {
                "upload" => self.upload(asked, name, last, body),
                "blob" => self.blob(asked, name, last),
                "manifest" => self.manifests(asked, name, last, body, settings),
                "referrers" if settings.referrers => self.referrers(asked, name, last, settings),
                "tags" => self.tags(asked, name, settings),
                _ => Answer::error(404, "NOT_FOUND"),
            };
        }
        Answer::error(404, "NAME_UNKNOWN")
    }

    fn blob(&self, asked: &Asked, name: &str, digest: &str) -> Answer {
        let Some(bytes) = self.repositories.get(name).and_then(|own| own.blobs.get(digest)) else {
            return Answer::error(404, "BLOB_UNKNOWN");
        };
        let from = asked.header("range").and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let answer = match from {
            Some(from) if from < bytes.len() => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                Answer::new(206).with("content-range", range).body("application/octet-stream", &bytes[from..])
            }
            _ => Answer::new(200).body("application/octet-stream", bytes.clone()),
        };
        answer.with("docker-content-digest", digest)
    }

    fn upload(&mut self, asked: &Asked, name: &str, id: &str, body: Vec<u8>) -> Answer {
        let place = |digest: &str| format!("/v2/{name}/blobs/{digest}");
        if asked.method == "POST" {
            if let (Some(digest), Some(from)) = (asked.query.get("mount"), asked.query.get("from"))
                && let Some(bytes) = self.repositories.get(from).and_then(|own| own.blobs.get(digest)).cloned()
            {
                self.repositories.entry(name.to_owned()).or_default().blobs.insert(digest.clone(), bytes);
                return Answer::new(201).with("location", place(digest));
            }
            self.counter += 1;
            self.uploads.insert(self.counter, (name.to_owned(), Vec::new()));
            return Answer::new(202).with("location", format!("/v2/{name}/blobs/uploads/{}?state=x", self.counter));
        }
        let id: u64 = id.parse().unwrap_or(0);
        let Some((_, bytes)) = self.uploads.get_mut(&id) else { return Answer::error(404, "BLOB_UPLOAD_UNKNOWN") };
        bytes.extend(body);
        match asked.method.as_str() {
            "PATCH" => {
                let range = format!("0-{}", bytes.len().saturating_sub(1));
                Answer::new(202).with("location", asked.path.clone()).with("range", range)
            }
            "PUT" => {
                let (_, bytes) = self.uploads.remove(&id).unwrap_or_default();
                let digest = asked.query.get("digest").cloned().unwrap_or_default();
                if !matches(&digest, &bytes) {
                    return Answer::error(400, "DIGEST_INVALID");
                }
                self.repositories.entry(name.to_owned()).or_default().blobs.insert(digest.clone(), bytes);
                Answer::new(201).with("location", place(&digest)).with("docker-content-digest", digest)
            }
            "DELETE" => {
                self.uploads.remove(&id);
                Answer::new(204)
            }
            _ => Answer::error(405, "UNSUPPORTED"),
        }
    }

    fn manifests(&mut self, asked: &Asked, name: &str, reference: &str, body: Vec<u8>, settings: &Settings) -> Answer {
        if asked.method != "PUT" {
            return match self.manifest(name, reference) {
                None => Answer::error(404, "MANIFEST_UNKNOWN"),
                Some((digest, manifest)) => {
                    Answer::new(200).body(&manifest.kind, manifest.bytes.clone()).with("docker-content-digest", digest)
                }
            };
        }
        let own = self.repositories.entry(name.to_owned()).or_default();
        let manifest = Manifest { kind: asked.header("content-type").unwrap_or_default().to_owned(), bytes: body };
        if !own.has(&manifest) {
            return Answer::error(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let digest =
            if reference.contains(':') { reference.to_owned() } else { Digest::of(&manifest.bytes).to_string() };
        if !matches(&digest, &manifest.bytes) {
            return Answer::error(400, "DIGEST_INVALID");
        }
        if !reference.contains(':') {
            own.tags.insert(reference.to_owned(), digest.clone());
        }
        let subject = manifest.json()["subject"]["digest"].as_str().map(str::to_owned);
        own.manifests.insert(digest.clone(), manifest);
        let answer = Answer::new(201).with("location", format!("/v2/{name}/manifests/{digest}"));
        let answer = answer.with("docker-content-digest", digest);
        match subject.filter(|_| settings.referrers) {
            Some(subject) => answer.with("oci-subject", subject),
            None => answer,
        }
    }

    fn referrers(&self, asked: &Asked, name: &str, subject: &str, settings: &Settings) -> Answer {
        let manifests = self.repositories.get(name).map(|own| &own.manifests);
        let all = manifests.into_iter().flatten().filter(|(_, one)| one.json()["subject"]["digest"] == subject);
        let all = all.map(|(digest, one)| {
            let value = one.json();
            let artifact =
                [&value["artifactType"], &value["config"]["mediaType"]].into_iter().find(|one| one.is_string());
            json!({ "mediaType": one.kind, "digest": digest, "size": one.bytes.len(), "artifactType": artifact })
        });
        let (page, next) = paged(asked, all.collect(), settings);
        let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": page });
        linked(Answer::new(200).body(INDEX, body.to_string()), &asked.path, next)
    }

    fn tags(&self, asked: &Asked, name: &str, settings: &Settings) -> Answer {
        let Some(own) = self.repositories.get(name) else { return Answer::error(404, "NAME_UNKNOWN") };
        let (page, next) = paged(asked, own.tags.keys().map(|tag| json!(tag)).collect(), settings);
        let body = json!({ "name": name, "tags": page });
        linked(Answer::new(200).body("application/json", body.to_string()), &asked.path, next)
    }
}

impl Repository {
    fn has(&self, manifest: &Manifest) -> bool {
        let (blobs, manifests) = manifest.needs();
        blobs.iter().all(|digest| self.blobs.contains_key(digest))
            && manifests.iter().all(|digest| self.manifests.contains_key(digest))
    }
}

/// A page, and where the next one begins.
fn paged(asked: &Asked, all: Vec<Value>, settings: &Settings) -> (Vec<Value>, Option<usize>) {
    let from: usize = asked.query.get("from").and_then(|text| text.parse().ok()).unwrap_or(0);
    let size = settings.page.unwrap_or(usize::MAX);
    let next = from.saturating_add(size);
    let more = (next < all.len()).then_some(next);
    (all.into_iter().skip(from).take(size).collect(), more)
}

fn linked(answer: Answer, path: &str, next: Option<usize>) -> Answer {
    match next {
        Some(next) => answer.with("link", format!("<{path}?from={next}>; rel=\"next\"")),
        None => answer,
    }
}

fn matches(digest: &str, bytes: &[u8]) -> bool {
    digest.parse::<Digest>().is_ok_and(|digest| {
        let mut hasher = digest.hasher();
        hasher.update(bytes);
        hasher.finish() == digest
    })
}
