//! `.repo` files: where rpm repositories are (dnf.conf(5), "Repo options").

use std::collections::BTreeMap;

use super::error::{RepositoryError, RepositoryFault};
use super::lines::Lines;
use super::variables::Variables;

/// One section of a `.repo` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmRepository {
    /// The name in brackets.
    pub id: String,
    /// The line it begins at.
    pub line: u64,
    /// For people.
    pub name: Option<String>,
    /// URLs of the directory that holds `repodata`; any of them will do.
    pub baseurl: Vec<String>,
    /// URL of a list of such URLs.
    pub mirrorlist: Option<String>,
    /// URL of a list of such URLs with digests of repomd.xml.
    pub metalink: Option<String>,
    /// Whether it is used.
    pub enabled: bool,
    /// Whether signatures of packages are required; where the file does not say, dnf's configuration does.
    pub gpgcheck: Option<bool>,
    /// Whether the signature of repomd.xml is required; the same.
    pub repo_gpgcheck: Option<bool>,
    /// URLs of keys.
    pub gpgkey: Vec<String>,
    /// Lower goes first; 99 where the file does not say.
    pub priority: i32,
    /// What else it says, by key and as written.
    pub other: BTreeMap<String, String>,
}

/// The line and text of a value.
type Value = (u64, String);

struct Section {
    id: String,
    line: u64,
    values: BTreeMap<String, Value>,
}

/// Reads a `.repo` file, called `file` in errors; sections in the order of the file.
pub fn parse(bytes: &[u8], file: &str, variables: &Variables) -> Result<Vec<RpmRepository>, RepositoryError> {
    let mut lines = Lines::new(bytes, file);
    let mut sections: Vec<Section> = Vec::new();
    let mut key: Option<String> = None;
    while let Some(line) = lines.next_line()? {
        let text = line.trim_end();
        if text.trim().is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        let section = sections.last_mut();
        if text.starts_with([' ', '\t']) {
            let value = section.zip(key.as_ref()).and_then(|(section, key)| section.values.get_mut(key));
            let expected = "a key before a continued line";
            let (_, value) = value.ok_or_else(|| lines.error(RepositoryFault::Syntax { expected }))?;
            value.push('\n');
            value.push_str(text.trim());
        } else if let Some(id) = text.strip_prefix('[') {
            let id = id.strip_suffix(']').filter(|id| is_id(id));
            let id = id.ok_or_else(|| lines.error(RepositoryFault::Syntax { expected: "[ID]" }))?;
            let id = variables.expand(id).map_err(|fault| lines.error(fault))?;
            if sections.iter().any(|section| section.id == id) {
                return Err(lines.error(RepositoryFault::Twice(format!("[{id}]"))));
            }
            sections.push(Section { id, line: lines.number(), values: BTreeMap::new() });
            key = None;
        } else {
            let expected = "[ID] or \"key=value\"";
            let parts = section.zip(text.split_once('='));
            let (section, (name, value)) = parts.ok_or_else(|| lines.error(RepositoryFault::Syntax { expected }))?;
            let name = name.trim().to_ascii_lowercase();
            if section.values.insert(name.clone(), (lines.number(), value.trim().to_owned())).is_some() {
                return Err(lines.error(RepositoryFault::Twice(name)));
            }
            key = Some(name);
        }
    }
    let finish = |section: Section| section.finish(variables);
    sections.into_iter().map(finish).collect::<Result<_, _>>().map_err(|(line, fault)| lines.error_at(line, fault))
}

/// Ids become names of directories and variables of dnf.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:${}".contains(c))
}

impl Section {
    fn finish(mut self, variables: &Variables) -> Result<RpmRepository, (u64, RepositoryFault)> {
        let line = self.line;
        let at = |line| move |fault| (line, fault);
        let mut take = |key: &str| self.values.remove(key);
        let expand = |value: Option<Value>| -> Result<Option<String>, (u64, RepositoryFault)> {
            value.map(|(line, text)| variables.expand(&text).map_err(at(line))).transpose()
        };
        // Lists are divided by blanks, commas or lines.
        let list = |value| {
            let words = |text: &str| -> Vec<String> {
                let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
                words.map(str::to_owned).collect()
            };
            Ok(expand(value)?.map(|text| words(&text)).unwrap_or_default())
        };
        let boolean = |key, value: Option<Value>| value.map(|(line, text)| truth(key, &text).map_err(at(line)));
        let repository = RpmRepository {
            line,
            name: expand(take("name"))?,
            baseurl: list(take("baseurl"))?,
            mirrorlist: expand(take("mirrorlist"))?,
            metalink: expand(take("metalink"))?,
            enabled: boolean("enabled", take("enabled")).transpose()?.unwrap_or(true),
            gpgcheck: boolean("gpgcheck", take("gpgcheck")).transpose()?,
            repo_gpgcheck: boolean("repo_gpgcheck", take("repo_gpgcheck")).transpose()?,
            gpgkey: list(take("gpgkey"))?,
            priority: take("priority").map_or(Ok(99), |(line, text)| {
                let refuse = || RepositoryFault::Value { key: "priority", value: text.clone(), expected: "a number" };
                text.parse().map_err(|_| (line, refuse()))
            })?,
            other: self.values.into_iter().map(|(key, (_, text))| (key, text)).collect(),
            id: self.id,
        };
        if repository.baseurl.is_empty() && repository.mirrorlist.is_none() && repository.metalink.is_none() {
            let owner = format!("[{}]", repository.id);
            return Err((line, RepositoryFault::Missing { owner, key: "baseurl, mirrorlist or metalink" }));
        }
        Ok(repository)
    }
}

/// A truth value as dnf writes them.
fn truth(key: &'static str, text: &str) -> Result<bool, RepositoryFault> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(RepositoryFault::Value { key, value: text.chars().take(64).collect(), expected: "0 or 1" }),
    }
}
