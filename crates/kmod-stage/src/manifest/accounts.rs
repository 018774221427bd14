//! Who owns files: numbers of the builder, names, and numbers of the image.

use std::collections::BTreeMap;

use oci_assemble::tree::{Inode, TreePath};

use super::{ManifestError, Root, TEXT_MAX};
use crate::capture::{Names, in_force};

/// Users and groups that an image will have, with their numbers where these are the same on every machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Users.
    pub users: BTreeMap<String, Option<u64>>,
    /// Groups.
    pub groups: BTreeMap<String, Option<u64>>,
}

/// Where sysusers.d is, the first folder counts most.
const SYSUSERS: [&str; 2] = ["etc/sysusers.d", "usr/lib/sysusers.d"];
const PASSWD: [(&str, &str); 2] = [("etc/passwd", "etc/group"), ("usr/lib/passwd", "usr/lib/group")];

impl Accounts {
    /// Adds a user. A number that is known stays.
    pub fn user(&mut self, name: &str, number: Option<u64>) {
        let known = self.users.entry(name.to_owned()).or_default();
        *known = known.or(number);
    }

    /// Adds a group. A number that is known stays.
    pub fn group(&mut self, name: &str, number: Option<u64>) {
        let known = self.groups.entry(name.to_owned()).or_default();
        *known = known.or(number);
    }

    /// Adds what a file of sysusers.d(5) makes: `u` a user and, unless another is named with the number, a group of the
    /// same name and number; `g` a group; `m` both sides.
    pub fn sysusers(&mut self, text: &str) {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
            let [kind, name, rest @ ..] = words.as_slice() else { continue };
            let id = rest.first().copied().unwrap_or("-");
            match kind.trim_end_matches(['!', '+', '-']) {
                "u" => {
                    let (number, group) = id.split_once(':').map_or((id, None), |(id, group)| (id, Some(group)));
                    let number = number.parse().ok();
                    self.user(name, number);
                    match group {
                        None => self.group(name, number),
                        Some(group) if group.parse::<u64>().is_err() => self.group(group, None),
                        Some(_) => {}
                    }
                }
                "g" => self.group(name, id.parse().ok()),
                "m" => {
                    self.user(name, None);
                    self.group(id, None);
                }
                _ => {}
            }
        }
    }

    /// Those of `base`: its account files, what `declared` adds (the recipe), its sysusers.d, and `fragments` of the
    /// packages. What comes first counts.
    pub(super) fn of(base: Root<'_>, declared: &Self, fragments: &[String]) -> Result<Self, ManifestError> {
        let mut accounts = Self::default();
        accounts.user("root", Some(0));
        accounts.group("root", Some(0));
        let names = names(base)?;
        names.users.iter().for_each(|(number, name)| accounts.user(name, Some(*number)));
        names.groups.iter().for_each(|(number, name)| accounts.group(name, Some(*number)));
        declared.users.iter().for_each(|(name, number)| accounts.user(name, *number));
        declared.groups.iter().for_each(|(name, number)| accounts.group(name, *number));
        for path in in_force(base.tree, &SYSUSERS, b".conf") {
            accounts.sysusers(&base.text(&path)?);
        }
        for text in fragments {
            accounts.sysusers(text);
        }
        Ok(accounts)
    }
}

/// Whether a path is a file of sysusers.d.
pub(super) fn is_sysusers(path: &TreePath) -> bool {
    let folder = path.parent().unwrap_or_default();
    SYSUSERS.iter().any(|place| place.as_bytes() == folder.as_bytes()) && path.name().ends_with(b".conf")
}

/// The names that the account files of a tree give numbers. Of two names of one number the first counts.
pub(super) fn names(root: Root<'_>) -> Result<Names, ManifestError> {
    let mut names = Names::default();
    for (passwd, group) in PASSWD {
        let read = |name: &str| -> Result<String, ManifestError> {
            match root.tree.lookup(name) {
                Some((path, _)) if root.tree.content(&path).is_some() => root.text(&path),
                _ => Ok(String::new()),
            }
        };
        names.add(&read(passwd)?, &read(group)?);
    }
    names.users.entry(0).or_insert_with(|| "root".to_owned());
    names.groups.entry(0).or_insert_with(|| "root".to_owned());
    Ok(names)
}

/// An owner whom the image will not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {account}{}", match .dynamic { true => ", whose number differs between machines", false => "" })]
pub struct UnknownOwner {
    /// `user` or `group`.
    pub kind: &'static str,
    /// Its name in the builder, or its number where it has none.
    pub account: String,
    /// Whether the image will have the name, with a number chosen on each machine.
    pub dynamic: bool,
}

/// Leads owners from the builder to the image.
#[derive(Debug)]
pub(super) struct Owners {
    /// Names in the builder.
    pub(super) names: Names,
    /// Accounts of the image.
    pub(super) accounts: Accounts,
}

impl Owners {
    /// Gives `inode` the owners' numbers of the image.
    pub(super) fn lead(&self, inode: &mut Inode) -> Result<(), UnknownOwner> {
        inode.meta.uid = number("user", inode.meta.uid, &self.names.users, &self.accounts.users)?;
        inode.meta.gid = number("group", inode.meta.gid, &self.names.groups, &self.accounts.groups)?;
        Ok(())
    }

    /// Whether the image will have the owners of `inode`, with whatever numbers.
    pub(super) fn known(&self, inode: &Inode) -> Result<(), UnknownOwner> {
        for (kind, id, names, accounts) in [
            ("user", inode.meta.uid, &self.names.users, &self.accounts.users),
            ("group", inode.meta.gid, &self.names.groups, &self.accounts.groups),
        ] {
            match number(kind, id, names, accounts) {
                Err(unknown) if !unknown.dynamic => return Err(unknown),
                _ => {}
            }
        }
        Ok(())
    }

    /// Names of user and group of an inode of the builder.
    pub(super) fn named(&self, inode: &Inode) -> (String, String) {
        let name = |names: &BTreeMap<u64, String>, id: u64| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
        (name(&self.names.users, inode.meta.uid), name(&self.names.groups, inode.meta.gid))
    }
}

fn number(
    kind: &'static str,
    id: u64,
    names: &BTreeMap<u64, String>,
    accounts: &BTreeMap<String, Option<u64>>,
) -> Result<u64, UnknownOwner> {
    let Some(name) = names.get(&id) else {
        return Err(UnknownOwner { kind, account: id.to_string(), dynamic: false });
    };
    match accounts.get(name) {
        Some(Some(number)) => Ok(*number),
        found => Err(UnknownOwner { kind, account: name.clone(), dynamic: found.is_some() }),
    }
}

impl Root<'_> {
    /// A text of at most [`TEXT_MAX`] bytes.
    pub(super) fn text(&self, path: &TreePath) -> Result<String, ManifestError> {
        let bytes = oci_assemble::layer::whole(self.tree, self.contents, path, TEXT_MAX)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
