//! Lists that registries give page by page.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Url};
use serde_json::Value;

use super::client::{Answer, Request, origin};
use super::error::{RegistryError, Result};
use super::origin::check_step;
use super::repository::Repository;
use crate::image::{Descriptor, Digest, Index, MAX_MANIFEST, MediaType, json};

/// Pages of one list that are read: a thousand tags each, more than any repository has.
const MAX_PAGES: usize = 1000;

/// What refers to a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// Manifests with that subject, as the registry or the fallback tag lists them. Nothing in these entries but digest
    /// and size is to be believed before the manifest is read: other programs write wrong artifact types there.
    pub manifests: Vec<Descriptor>,
    /// Whether the registry keeps the list by itself.
    pub api: bool,
}

impl Repository {
    /// All tags, sorted.
    pub fn tags(&self) -> Result<Vec<String>> {
        let mut url = self.place.tags();
        url.query_pairs_mut().append_pair("n", "1000");
        let mut tags = Vec::new();
        let pages = self.pages(url, "application/json", |request, answer| {
            let value = parse(request, &answer.body)?;
            let page = value.get("tags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            tags.extend(page.iter().filter_map(|tag| tag.as_str().map(str::to_owned)));
            Ok(())
        });
        match pages {
            Err(error) if error.is_missing() => {}
            other => other?,
        }
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    /// What refers to the manifest of that digest: by the registry's own list, else by the fallback tag (distribution-spec,
    /// "Unavailable Referrers API").
    pub fn referrers(&self, subject: &Digest) -> Result<Referrers> {
        let mut manifests = Vec::new();
        let kind = MediaType::ImageIndex;
        let listed = self.pages(self.place.referrers(subject), kind.as_str(), |request, answer| {
            let said = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if said.split(';').next().map(str::trim) != Some(kind.as_str()) {
                // Somebody else answers for this path.
                return Err(RegistryError::Status {
                    request: request.name(),
                    status: 404,
                    message: "no list of referrers".into(),
                    retry_after: None,
                });
            }
            let index = Index::parse(&answer.body, Some(&kind));
            let index = index.map_err(|source| RegistryError::Document { request: request.name(), source })?;
            manifests.extend(index.manifests);
            Ok(())
        });
        match listed {
            Ok(()) => return Ok(Referrers { manifests, api: true }),
            // 404 is what the specification says, 400 and 405 what some registries do.
            Err(error) if matches!(error.status(), Some(400 | 404 | 405)) => {}
            Err(error) => return Err(error),
        }
        Ok(Referrers {
            manifests: self.fallback(subject)?.map(|index| index.manifests).unwrap_or_default(),
            api: false,
        })
    }

    /// Asks for pages until there are no more. Where the next one is the registry says, on its own host.
    fn pages(&self, first: Url, accept: &str, mut take: impl FnMut(&Request<'_>, &Answer) -> Result<()>) -> Result<()> {
        let mut next = Some(first);
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { return Ok(()) };
            let mut request = Request::new(Method::GET, url);
            request.headers.extend(HeaderValue::from_str(accept).map(|accept| (ACCEPT, accept)));
            let answer = self.ask(&request, MAX_MANIFEST)?;
            take(&request, &answer)?;
            next = follow(&answer.headers, &request.url);
            if let Some(url) = &next {
                let own = check_step(&self.place.base, url);
                if !own.map_err(|fault| origin(&self.place, "list", url, fault))? {
                    let fault = super::origin::OriginFault::Foreign;
                    return Err(origin(&self.place, "list", url, fault));
                }
            }
        }
        Err(RegistryError::Protocol { request: "the list".into(), missing: "an end" })
    }
}

/// The next page: `Link: <…>; rel="next"` (RFC 8288).
fn follow(headers: &HeaderMap, url: &Url) -> Option<Url> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|text| {
        let (target, words) = text.trim().strip_prefix('<')?.split_once('>')?;
        let next = words.split(';').any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next"));
        if next { url.join(target).ok() } else { None }
    })
}

fn parse(request: &Request<'_>, body: &[u8]) -> Result<Value> {
    let value = json::parse(body, MAX_MANIFEST);
    value.map_err(|source| RegistryError::Json { request: request.name(), source: source.into() })
}
