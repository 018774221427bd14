//! Image configurations.

use std::collections::BTreeMap;

use serde_json::Value;

use super::digest::Digest;
use super::document::{self, Document, DocumentError, DocumentFault, Fields, MAX_CONFIG};
use super::json;
use super::platform::Platform;

/// An image configuration (image-spec, "config.md"). What this program has no word for stays in the `rest` maps.
///
/// Law: `Config::parse(&c.to_bytes())` gives `c` back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Operating system, architecture and variant, with `os.version` and `os.features` in its `rest`.
    pub platform: Platform,
    /// When the image was made, RFC 3339.
    pub created: Option<String>,
    /// `config.Labels`.
    pub labels: BTreeMap<String, String>,
    /// The other fields of `config`: what a runtime executes (`Cmd`, `Env`, `Entrypoint`).
    pub exec: BTreeMap<String, Value>,
    /// Digests of the layers' tars, from the bottom up.
    pub diff_ids: Vec<Digest>,
    /// What made each layer, and steps that made none.
    pub history: Vec<History>,
    /// Other fields, kept as they are.
    pub rest: BTreeMap<String, Value>,
}

/// One entry of an image's history. All fields are for people; `empty_layer` counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When, RFC 3339.
    pub created: Option<String>,
    /// The command or the content that made the layer.
    pub created_by: Option<String>,
    /// Who.
    pub author: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// Whether no layer belongs to this entry.
    pub empty_layer: bool,
    /// Other fields, kept as they are.
    pub rest: BTreeMap<String, Value>,
}

impl Config {
    /// A configuration without layers.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            created: None,
            labels: BTreeMap::new(),
            exec: BTreeMap::new(),
            diff_ids: Vec::new(),
            history: Vec::new(),
            rest: BTreeMap::new(),
        }
    }

    /// Reads a configuration, OCI's or Docker's.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        read(bytes).map_err(|fault| fault.within(Document::Config))
    }

    /// The canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut map = document::object(&self.rest);
        if let Value::Object(platform) = self.platform.to_value() {
            map.extend(platform);
        }
        if let Some(created) = &self.created {
            map.insert("created".into(), created.as_str().into());
        }
        let mut exec = document::object(&self.exec);
        if !self.labels.is_empty() {
            exec.insert("Labels".into(), document::strings(&self.labels));
        }
        map.insert("config".into(), Value::Object(exec));
        let diff_ids: Vec<String> = self.diff_ids.iter().map(Digest::to_string).collect();
        map.insert("rootfs".into(), serde_json::json!({ "type": "layers", "diff_ids": diff_ids }));
        if !self.history.is_empty() {
            map.insert("history".into(), self.history.iter().map(History::to_value).collect());
        }
        json::canonical(&Value::Object(map))
    }

    /// The history entries that belong to layers, in their order.
    pub fn layer_history(&self) -> impl Iterator<Item = &History> {
        self.history.iter().filter(|entry| !entry.empty_layer)
    }
}

const PLATFORM_KEYS: [&str; 3] = ["os.version", "os.features", "variant"];

fn read(bytes: &[u8]) -> Result<Config, DocumentFault> {
    let mut fields = Fields::parse(bytes, MAX_CONFIG)?;
    let mut platform = Platform::new(fields.required_text("os")?, fields.required_text("architecture")?);
    for key in PLATFORM_KEYS {
        if key == "variant" {
            platform.variant = fields.text(key)?;
        } else if let Some(value) = fields.take(key) {
            platform.rest.insert(key.to_owned(), value);
        }
    }
    let (mut labels, mut exec) = (BTreeMap::new(), BTreeMap::new());
    if let Some(mut inner) = fields.object("config")? {
        labels = inner.string_map("Labels")?;
        exec = inner.rest()?;
    }
    let mut rootfs = fields.required_object("rootfs")?;
    let kind = rootfs.required_text("type")?;
    if kind != "layers" {
        return Err(DocumentFault::Type { at: rootfs.at("type"), expected: "\"layers\"" });
    }
    let mut diff_ids = Vec::new();
    for (index, text) in rootfs.texts("diff_ids")?.into_iter().enumerate() {
        let digest = text.parse();
        diff_ids
            .push(digest.map_err(|source| DocumentFault::Digest { at: format!("/rootfs/diff_ids/{index}"), source })?);
    }
    rootfs.rest()?;
    let mut history = Vec::new();
    for (index, value) in fields.array("history")?.unwrap_or_default().into_iter().enumerate() {
        history.push(History::read(Fields::new(value, format!("/history/{index}"))?)?);
    }
    Ok(Config { platform, created: fields.text("created")?, labels, exec, diff_ids, history, rest: fields.rest()? })
}

impl History {
    /// The entry of a layer made by `created_by`.
    pub fn of(created_by: impl Into<String>) -> Self {
        Self { created_by: Some(created_by.into()), ..Self::default() }
    }

    fn read(mut fields: Fields) -> Result<Self, DocumentFault> {
        Ok(Self {
            created: fields.text("created")?,
            created_by: fields.text("created_by")?,
            author: fields.text("author")?,
            comment: fields.text("comment")?,
            empty_layer: fields.flag("empty_layer")?,
            rest: fields.rest()?,
        })
    }

    fn to_value(&self) -> Value {
        let mut map = document::object(&self.rest);
        let texts = [
            ("created", &self.created),
            ("created_by", &self.created_by),
            ("author", &self.author),
            ("comment", &self.comment),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                map.insert(key.into(), value.as_str().into());
            }
        }
        if self.empty_layer {
            map.insert("empty_layer".into(), true.into());
        }
        Value::Object(map)
    }
}
