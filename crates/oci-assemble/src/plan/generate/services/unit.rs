//! Unit files of a tree: their names, where they are, and their `[Install]` sections with drop-ins.

use std::collections::{BTreeMap, BTreeSet};

use super::super::GenerateError;
use crate::plan::nearest::nearest;
use crate::tree::{FileTree, Inode, Kind, TreePath};

/// Where units are looked for, the first match counts (systemd.unit(5), "UNIT FILE LOAD PATH"; what is below `/run` is
/// no part of an image).
pub(super) const SEARCH: [&str; 4] =
    ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// A unit's name in its parts: `prefix@instance.suffix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) prefix: &'a str,
    /// Empty for a template.
    pub(super) instance: Option<&'a str>,
    pub(super) suffix: &'a str,
}

impl<'a> Name<'a> {
    pub(super) fn new(name: &'a str) -> Self {
        let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
        match stem.split_once('@') {
            Some((prefix, instance)) => Self { prefix, instance: Some(instance), suffix },
            None => Self { prefix: stem, instance: None, suffix },
        }
    }

    pub(super) fn is_template(&self) -> bool {
        self.instance == Some("")
    }

    pub(super) fn is_instance(&self) -> bool {
        self.instance.is_some_and(|instance| !instance.is_empty())
    }

    /// The name of the template of an instance.
    pub(super) fn template(&self) -> String {
        format!("{}@.{}", self.prefix, self.suffix)
    }

    /// The name of the instance of a template.
    pub(super) fn with(&self, instance: &str) -> String {
        format!("{}@{instance}.{}", self.prefix, self.suffix)
    }
}

/// What `[Install]` says, drop-ins included.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Install {
    pub(super) wanted_by: Vec<String>,
    pub(super) required_by: Vec<String>,
    pub(super) upheld_by: Vec<String>,
    pub(super) alias: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) default_instance: Option<String>,
}

impl Install {
    pub(super) fn is_empty(&self) -> bool {
        let lists = [&self.wanted_by, &self.required_by, &self.upheld_by, &self.alias, &self.also];
        lists.iter().all(|list| list.is_empty())
    }

    /// Adds what a file says: words append, an empty value takes back what was said (systemd.syntax(7)).
    pub(super) fn read(&mut self, text: &str) {
        let mut section = "";
        let text = joined(text);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            } else if let ("Install", Some((key, value))) = (section, line.split_once('=')) {
                self.set(key.trim_end(), value.trim_start());
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let list = match key {
            "WantedBy" => &mut self.wanted_by,
            "RequiredBy" => &mut self.required_by,
            "UpheldBy" => &mut self.upheld_by,
            "Alias" => &mut self.alias,
            "Also" => &mut self.also,
            "DefaultInstance" => {
                self.default_instance = (!value.is_empty()).then(|| value.to_owned());
                return;
            }
            _ => return,
        };
        if value.is_empty() {
            list.clear();
        }
        list.extend(value.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()));
    }
}

/// Lines that end in a backslash go on in the next; comments between them do not end them (systemd.syntax(7)).
fn joined(text: &str) -> String {
    let mut whole = String::new();
    let mut open = false;
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let part = line.strip_suffix('\\');
        whole.push_str(part.unwrap_or(line));
        open = part.is_some();
        whole.push(if open { ' ' } else { '\n' });
    }
    if open {
        whole.push('\n');
    }
    whole
}

/// A unit that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// The name asked for.
    pub(super) name: String,
    /// Where it was found, as it is written in links: below one of [`SEARCH`].
    pub(super) path: TreePath,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A file, at this path once symlinks are followed.
    File(TreePath),
    /// Linked to `/dev/null`, or empty.
    Masked,
    /// A link to a unit of another name.
    Alias(String),
}

/// The units of a tree.
pub(super) struct Units<'a> {
    tree: &'a FileTree,
    text: &'a dyn Fn(&TreePath) -> Option<String>,
}

impl<'a> Units<'a> {
    pub(super) fn new(tree: &'a FileTree, text: &'a dyn Fn(&TreePath) -> Option<String>) -> Self {
        Self { tree, text }
    }

    /// The unit of a name; an instance may stand for its template.
    pub(super) fn find(&self, name: &str) -> Result<Unit, GenerateError> {
        let template = Name::new(name).is_instance().then(|| Name::new(name).template());
        let files = std::iter::once(name.to_owned()).chain(template);
        let found = files.into_iter().find_map(|file| self.locate(name, &file));
        found.ok_or_else(|| {
            let known = self.names();
            GenerateError::UnknownUnit {
                unit: name.to_owned(),
                nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
            }
        })
    }

    fn locate(&self, name: &str, file: &str) -> Option<Unit> {
        SEARCH.into_iter().find_map(|directory| {
            let path = TreePath::new(format!("{directory}/{file}")).ok()?;
            let (place, _) = self.tree.lookup(directory)?;
            let state = self.state(&place.join(file).ok()?, name, file)?;
            Some(Unit { name: name.to_owned(), path, state })
        })
    }

    fn state(&self, place: &TreePath, name: &str, file: &str) -> Option<State> {
        match &self.tree.behind(place)?.kind {
            Kind::Symlink(target) => {
                let target = String::from_utf8_lossy(target).into_owned();
                if target == "/dev/null" {
                    return Some(State::Masked);
                }
                let base = target.rsplit('/').next().unwrap_or_default();
                let own_template = Name::new(name).is_instance() && base == Name::new(name).template();
                if base != file && base != name && !own_template {
                    return Some(State::Alias(base.to_owned()));
                }
                let above = place.parent().unwrap_or_default();
                let from = if target.starts_with('/') { TreePath::root() } else { above };
                let (end, inode) = self.tree.lookup([from.as_bytes(), b"/", target.as_bytes()].concat())?;
                file_state(end, inode, self.tree)
            }
            _ => file_state(place.clone(), self.tree.get(place)?, self.tree),
        }
    }

    /// What `[Install]` of a unit and its drop-ins says.
    pub(super) fn install(&self, unit: &Unit, file: &TreePath) -> Result<Install, GenerateError> {
        let unreadable = |path: &TreePath| GenerateError::UnreadableUnit { path: path.clone() };
        let mut install = Install::default();
        install.read(&(self.text)(file).ok_or_else(|| unreadable(file))?);
        for path in self.drop_ins(&unit.name) {
            install.read(&(self.text)(&path).ok_or_else(|| unreadable(&path))?);
        }
        Ok(install)
    }

    /// Drop-ins in the order of their names; of two with one name, that of the first directory counts.
    fn drop_ins(&self, name: &str) -> Vec<TreePath> {
        let mut owners = vec![format!("{name}.d")];
        if Name::new(name).is_instance() {
            owners.push(format!("{}.d", Name::new(name).template()));
        }
        let mut found: BTreeMap<Vec<u8>, Option<TreePath>> = BTreeMap::new();
        for owner in &owners {
            for directory in SEARCH {
                let Some((place, _)) = self.tree.lookup(format!("{directory}/{owner}")) else { continue };
                for (path, _) in self.tree.children(&place).filter(|(path, _)| path.name().ends_with(b".conf")) {
                    // A link to /dev/null hides those of the same name.
                    let file = self.tree.lookup(path.as_bytes()).map(|(end, _)| end);
                    let file = file.filter(|end| self.tree.content(end).is_some());
                    found.entry(path.name().to_vec()).or_insert(file);
                }
            }
        }
        found.into_values().flatten().collect()
    }

    /// The names of all units.
    fn names(&self) -> BTreeSet<String> {
        let places = SEARCH.into_iter().filter_map(|directory| Some(self.tree.lookup(directory)?.0));
        let files = places.flat_map(|place| {
            let units = self.tree.children(&place).filter(|(_, inode)| !inode.is_directory());
            units.filter_map(|(path, _)| std::str::from_utf8(path.name()).ok().map(str::to_owned)).collect::<Vec<_>>()
        });
        files.collect()
    }
}

fn file_state(path: TreePath, inode: &Inode, tree: &FileTree) -> Option<State> {
    if inode.is_directory() {
        return None;
    }
    match tree.content(&path)?.size() {
        0 => Some(State::Masked),
        _ => Some(State::File(path)),
    }
}
