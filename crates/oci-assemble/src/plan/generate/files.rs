//! `[[file]]`, `[[symlink]]` and `[[remove]]`.

use std::collections::BTreeMap;

use super::GenerateError;
use crate::image::Epoch;
use crate::plan::nearest::nearest;
use crate::plan::recipe::spec::{Body, File, Owner};
use crate::plan::recipe::{Recipe, RecipePath};
use crate::tree::{Content, FileTree, Inode, Meta, Resolved, TreeDelta, TreePath};

/// The numbers of users and groups by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Users.
    pub users: BTreeMap<String, u32>,
    /// Groups.
    pub groups: BTreeMap<String, u32>,
}

impl Accounts {
    /// The accounts of a tree, from `/usr/lib/{passwd,group}` and `/etc/{passwd,group}`, and those to which the recipe
    /// gives a number. Accounts that get theirs at boot are not among them.
    pub fn of(tree: &FileTree, text: impl Fn(&TreePath) -> Option<String>, recipe: &Recipe) -> Self {
        let read = |names: [&str; 2]| -> BTreeMap<String, u32> {
            let found = names.into_iter().filter_map(|name| text(&tree.lookup(name)?.0));
            found.flat_map(|text| text.lines().filter_map(account).collect::<Vec<_>>()).collect()
        };
        let mut accounts =
            Self { users: read(["usr/lib/passwd", "etc/passwd"]), groups: read(["usr/lib/group", "etc/group"]) };
        for group in &recipe.groups {
            accounts.groups.extend(group.gid.map(|gid| (group.name.clone(), gid)));
        }
        for user in &recipe.users {
            accounts.users.extend(user.uid.map(|uid| (user.name.clone(), uid)));
            if user.group.is_none() {
                accounts.groups.extend(user.uid.map(|uid| (user.name.clone(), uid)));
            }
        }
        accounts.users.insert("root".to_owned(), 0);
        accounts.groups.insert("root".to_owned(), 0);
        accounts
    }
}

/// Name and number of a line of passwd(5) or group(5): the first and third field of both.
fn account(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
}

/// The files, links and removals of `recipe`.
pub fn files(
    recipe: &Recipe,
    tree: &FileTree,
    sources: &BTreeMap<RecipePath, Content>,
    accounts: &Accounts,
    epoch: Epoch,
) -> Result<TreeDelta, GenerateError> {
    let mut delta = TreeDelta::new();
    for remove in &recipe.removes {
        delta.whiteout(removed(&remove.path, tree)?);
    }
    for file in &recipe.files {
        delta.insert(file.path.clone(), inode(file, sources, accounts, epoch)?);
    }
    for symlink in &recipe.symlinks {
        delta.insert(symlink.path.clone(), Inode::symlink(&symlink.target, epoch.seconds()));
    }
    Ok(delta)
}

/// Where a path that is to be removed is, behind the symlinks above it.
fn removed(path: &TreePath, tree: &FileTree) -> Result<TreePath, GenerateError> {
    match tree.resolve_parent(path.as_bytes()) {
        Resolved::Found(found) => Ok(found),
        Resolved::Missing(place) => {
            // Suggestions come from the deepest directory that is there.
            let above =
                |place: &TreePath| place.parent().filter(|parent| parent.is_root() || tree.get(parent).is_some());
            let mut place = place;
            while let (None, Some(parent)) = (above(&place), place.parent()) {
                place = parent;
            }
            let directory = place.parent().unwrap_or_default();
            let names: Vec<String> = tree.children(&directory).map(|(path, _)| path.to_string()).collect();
            let nearest = nearest(&place.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
            Err(GenerateError::NothingToRemove { path: path.clone(), nearest })
        }
        Resolved::Blocked(blocker) => Err(GenerateError::Blocked { path: path.clone(), blocker }),
    }
}

fn inode(
    file: &File,
    sources: &BTreeMap<RecipePath, Content>,
    accounts: &Accounts,
    epoch: Epoch,
) -> Result<Inode, GenerateError> {
    let content = match &file.body {
        Body::Content(text) => Content::of(text.as_bytes()),
        Body::Source(path) => {
            sources.get(path).cloned().ok_or_else(|| GenerateError::NoContent { path: path.clone() })?
        }
    };
    let uid = number(&file.owner, "user", &accounts.users, &file.path)?;
    let gid = number(&file.group, "group", &accounts.groups, &file.path)?;
    let meta = Meta { uid, gid, ..Meta::root_owned(file.mode, epoch.seconds()) };
    Ok(Inode::file(meta, content))
}

fn number(
    owner: &Owner,
    kind: &'static str,
    known: &BTreeMap<String, u32>,
    path: &TreePath,
) -> Result<u64, GenerateError> {
    let name = match owner {
        Owner::Id(id) => return Ok(u64::from(*id)),
        Owner::Name(name) => name,
    };
    known.get(name).copied().map(u64::from).ok_or_else(|| GenerateError::UnknownOwner {
        path: path.clone(),
        kind,
        name: name.clone(),
        nearest: nearest(name, known.keys().map(String::as_str)).map(str::to_owned),
    })
}
