//! The text of a lock: TOML, sorted, one value or package a line, so that its diff reads well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;

use super::{ImagePin, Lock, LockError, LockFault, Package, PlatformLock, StageLock};
use crate::image::{Digest, Epoch, ImageReference, Platform, ReferenceError};
use crate::plan::kernel::KernelChoice;

/// The form of locks that is written and read.
const SCHEMA: i64 = 1;
/// The largest lock, in bytes: a hundred thousand packages.
pub const LOCK_MAX: usize = 16 << 20;
/// The first lines.
const HEAD: &str = "\
# Made by `assemble lock`, not to be edited: `assemble lock --recipe FILE --update` renews what is pinned here.
";

#[derive(Deserialize)]
struct Version {
    schema: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "schema")]
    _schema: i64,
    recipe: Digest,
    compression: String,
    #[serde(default)]
    recipes: BTreeMap<String, Digest>,
    #[serde(default)]
    sources: BTreeMap<String, Digest>,
    #[serde(default)]
    platform: BTreeMap<PlatformName, PlatformTable>,
}

/// A platform in its one spelling.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
struct PlatformName(String);

impl TryFrom<String> for PlatformName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<Platform>() {
            Ok(platform) if platform.to_string() == text => Ok(Self(text)),
            _ => Err(format!("{text:?} is no platform")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformTable {
    epoch: Epoch,
    kernel: Option<KernelChoice>,
    base: ImageTable,
    builder: Option<ImageTable>,
    #[serde(default)]
    stage: BTreeMap<String, StageTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageTable {
    image: ImageName,
    digest: Digest,
    index: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct ImageName(ImageReference);

impl TryFrom<String> for ImageName {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse().map(Self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageTable {
    kind: String,
    request: Digest,
    key: Digest,
    #[serde(default)]
    packages: BTreeSet<Package>,
}

impl Lock {
    /// The text.
    pub fn render(&self) -> String {
        let mut text = HEAD.to_owned();
        let _ = self.write(&mut text); // a String takes everything
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "schema = {SCHEMA}")?;
        writeln!(text, "recipe = {}", quoted(&self.recipe()))?;
        writeln!(text, "compression = {}", quoted(&self.compression))?;
        for (table, digests) in [("recipes", &self.recipes), ("sources", &self.sources)] {
            if !digests.is_empty() {
                writeln!(text, "\n[{table}]")?;
            }
            for (path, digest) in digests {
                writeln!(text, "{} = {}", quoted(&path), quoted(&digest))?;
            }
        }
        for (name, platform) in &self.platforms {
            platform.write(text, &format!("platform.{}", quoted(&name)))?;
        }
        Ok(())
    }

    /// Reads a lock. An unknown key is an error, as is another schema, and a digest of the recipe that is not that of
    /// its files.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.len() > LOCK_MAX {
            return Err(LockError { line: 1, fault: LockFault::TooLarge { limit: LOCK_MAX } });
        }
        let wrong = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().trim_end().replace('\n', ", ");
            LockError { line: line(text, at), fault: LockFault::Form { message } }
        };
        let Version { schema } = toml::from_str(text).map_err(wrong)?;
        if schema != SCHEMA {
            let line = line_of(text, "schema");
            return Err(LockError { line, fault: LockFault::Schema { found: schema, expected: SCHEMA } });
        }
        let document: Document = toml::from_str(text).map_err(wrong)?;
        let lock = Self {
            recipes: document.recipes,
            sources: document.sources,
            compression: document.compression,
            platforms: document.platform.into_iter().map(|(PlatformName(name), table)| (name, table.value())).collect(),
        };
        if lock.recipe() != document.recipe {
            return Err(LockError { line: line_of(text, "recipe"), fault: LockFault::Recipe });
        }
        Ok(lock)
    }
}

impl PlatformLock {
    fn write(&self, text: &mut String, table: &str) -> std::fmt::Result {
        writeln!(text, "\n[{table}]")?;
        writeln!(text, "epoch = {}", self.epoch.seconds())?;
        if let Some(KernelChoice { pin, release, direction, reason, install, remove }) = &self.kernel {
            writeln!(text, "\n[{table}.kernel]")?;
            writeln!(text, "pin = {}", quoted(pin))?;
            writeln!(text, "release = {}", quoted(release))?;
            writeln!(text, "direction = {}", quoted(direction))?;
            writeln!(text, "reason = {}", quoted(reason))?;
            for (key, packages) in [("install", install), ("remove", remove)] {
                if !packages.is_empty() {
                    let packages: Vec<String> = packages.iter().map(quoted).collect();
                    writeln!(text, "{key} = [{}]", packages.join(", "))?;
                }
            }
        }
        let images = [("base", Some(&self.base)), ("builder", self.builder.as_ref())];
        for (name, ImagePin { image, digest, index }) in images.into_iter().filter_map(|(name, pin)| Some((name, pin?)))
        {
            writeln!(text, "\n[{table}.{name}]")?;
            writeln!(text, "image = {}", quoted(&image))?;
            writeln!(text, "digest = {}", quoted(&digest))?;
            if let Some(index) = index {
                writeln!(text, "index = {}", quoted(&index))?;
            }
        }
        for (name, StageLock { kind, request, key, packages }) in &self.stages {
            writeln!(text, "\n[{table}.stage.{}]", quoted(&name))?;
            writeln!(text, "kind = {}", quoted(&kind))?;
            writeln!(text, "request = {}", quoted(&request))?;
            writeln!(text, "key = {}", quoted(&key))?;
            writeln!(text, "packages = [")?;
            for package in packages {
                writeln!(text, "    {},", quoted(&package))?;
            }
            writeln!(text, "]")?;
        }
        Ok(())
    }
}

impl PlatformTable {
    fn value(self) -> PlatformLock {
        let pin = |ImageTable { image: ImageName(image), digest, index }| ImagePin { image, digest, index };
        let stage =
            |(name, StageTable { kind, request, key, packages })| (name, StageLock { kind, request, key, packages });
        PlatformLock {
            base: pin(self.base),
            builder: self.builder.map(pin),
            kernel: self.kernel,
            epoch: self.epoch,
            stages: self.stage.into_iter().map(stage).collect(),
        }
    }
}

/// A basic string (TOML 1.0, "String"), which may be a key as well.
fn quoted(value: &impl ToString) -> String {
    let mut text = String::from("\"");
    for character in value.to_string().chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            _ if character.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ => text.push(character),
        }
    }
    text.push('"');
    text
}

/// The line of a byte, from 1.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The line that gives the key `name`, before the first table.
fn line_of(text: &str, name: &str) -> usize {
    let gives = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='));
    text.lines().position(gives).map_or(1, |number| number + 1)
}
