//! What becomes of one file of a package.

use std::collections::BTreeSet;

use oci_assemble::elf::{ELF_MAX, Needed};
use oci_assemble::image::Epoch;
use oci_assemble::layer::whole;
use oci_assemble::pkgdb::{FileFlag, FileFlags, Package};
use oci_assemble::tree::glob::matches;
use oci_assemble::tree::{FileTree, Inode, Kind, Resolved, TreePath};

use super::accounts::Owners;
use super::rules::{Judgement, Means, RULES, Rule, Verdict};
use super::{ManifestError, Problem, Root};
use crate::capture::{Places, is_exported, same};

/// A path that a package lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed<'p> {
    /// Where it is in the builder.
    pub(super) path: &'p TreePath,
    /// The first package asked for that owns it, one that does not just claim it before one that does.
    pub(super) package: &'p Package,
    /// What that package says of it.
    pub(super) flags: FileFlags,
}

/// What becomes of it.
#[derive(Debug)]
pub(super) enum Decision {
    /// It goes into the image.
    Kept {
        /// Where.
        path: TreePath,
        /// As what. Hardlinks are files.
        inode: Inode,
        /// Whether it takes the place of something of the base.
        replaces: bool,
    },
    /// The base has it.
    InBase {
        /// Where.
        path: TreePath,
        /// Whether the base's is another, which layers cannot change.
        differs: bool,
    },
    /// A rule leaves it out.
    Excluded {
        /// Where it would be.
        path: TreePath,
        /// The rule.
        rule: &'static Rule,
    },
    /// It can go nowhere.
    Problem(Problem),
}

/// All that is known before the first decision.
pub(super) struct Judge<'a> {
    pub(super) builder: Root<'a>,
    pub(super) base: Root<'a>,
    pub(super) owners: Owners,
    /// Paths that may be replaced, with what is below them.
    pub(super) overrides: Vec<TreePath>,
    /// Names of units that packages and base have.
    pub(super) units: BTreeSet<String>,
    /// The start of the run.
    pub(super) started: i64,
    rules: Vec<(&'static Rule, Vec<Places>)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        (builder, base): (Root<'a>, Root<'a>),
        owners: Owners,
        overrides: Vec<TreePath>,
        units: BTreeSet<String>,
        started: i64,
    ) -> Self {
        let places = |rule: &Rule| match rule.means {
            Means::Paths(patterns) | Means::Named { below: patterns, .. } => {
                patterns.iter().map(|pattern| Places::new(pattern)).collect()
            }
            _ => Vec::new(),
        };
        let rules = RULES.iter().map(|rule| (rule, places(rule))).collect();
        Self { builder, base, owners, overrides, units, started, rules }
    }

    /// What becomes of a listed path.
    pub(super) fn decide(&self, listed: Listed<'_>) -> Result<Decision, ManifestError> {
        let found = self.builder.tree.behind(listed.path);
        let package = listed.package.to_string();
        let place = match place(self.base.tree, listed.path, found.is_some_and(Inode::is_directory)) {
            Ok(place) => place,
            Err(blocker) => {
                let path = listed.path.clone();
                let missing = Problem::Missing { path: path.clone(), package: package.clone() };
                let impossible = Problem::Blocked { path, package, blocker };
                return Ok(Decision::Problem(if found.is_some() { impossible } else { missing }));
            }
        };
        let known = self.base.tree.behind(&place);
        let led = found.map(|inode| self.led(inode));
        let equal = |known: &Inode| led.as_ref().is_some_and(|led| self.equals(known, found, led));
        let below_var = place.as_bytes().starts_with(b"var/");
        let directories = known.is_some_and(Inode::is_directory) && found.is_some_and(Inode::is_directory);
        if directories && (below_var || known.is_some_and(equal)) {
            return Ok(Decision::InBase { path: place, differs: false });
        }
        if let Some(rule) = self.rule(&place, listed, found)? {
            return Ok(Decision::Excluded { path: place, rule });
        }
        let (Some(found), Some(led)) = (found, &led) else {
            return Ok(Decision::Problem(Problem::Missing { path: listed.path.clone(), package }));
        };
        if known.is_some_and(equal) {
            return Ok(Decision::InBase { path: place, differs: false });
        }
        let inode = match led {
            Ok(inode) => inode.clone(),
            Err(owner) => return Ok(Decision::Problem(Problem::Owner { path: place, package, owner: owner.clone() })),
        };
        let Some(known) = known else { return Ok(Decision::Kept { path: place, inode, replaces: false }) };
        Ok(if !self.overrides.iter().any(|over| place == *over || place.is_below(over)) {
            let difference = difference(known, &inode);
            Decision::Problem(Problem::InBase { path: place, package, owner: None, difference })
        } else if directories {
            Decision::InBase { path: place, differs: true }
        } else if known.is_directory() || found.is_directory() {
            let (new, known) = (inode.kind.name(), known.kind.name());
            Decision::Problem(Problem::Kind { path: place, package, new, known })
        } else {
            Decision::Kept { path: place, inode, replaces: true }
        })
    }

    /// An inode of the builder as it would be in the image, with the image's numbers of its owners. Directories, whose time
    /// is that of the installation, and what was written in the builder have no time of their own.
    pub(super) fn led(&self, inode: &Inode) -> Result<Inode, super::UnknownOwner> {
        let mut led = inode.clone();
        led.meta.xattrs.retain(|name, _| is_exported(name));
        if led.is_directory() || led.meta.mtime >= self.started {
            led.meta.mtime = Epoch::UNDATED.seconds();
        }
        if matches!(led.kind, Kind::Symlink(_)) {
            led.meta.mode = 0o777;
        }
        self.owners.lead(&mut led)?;
        Ok(led)
    }

    /// Whether the base's inode is the builder's. One whose owner has no name anywhere is compared by number.
    fn equals(&self, known: &Inode, found: Option<&Inode>, led: &Result<Inode, super::UnknownOwner>) -> bool {
        match led {
            Ok(led) => same(self.base.tree, known, led),
            Err(_) => found.is_some_and(|found| same(self.base.tree, known, found)),
        }
    }

    /// The first rule about a path, when it excludes it.
    fn rule(
        &self,
        place: &TreePath,
        listed: Listed<'_>,
        found: Option<&Inode>,
    ) -> Result<Option<&'static Rule>, ManifestError> {
        for (rule, places) in &self.rules {
            let is_about = match rule.means {
                Means::Flag(flag) => listed.flags.has(flag),
                Means::Paths(_) => places.iter().any(|places| places.has(place)),
                Means::Named { names, .. } => {
                    !found.is_some_and(Inode::is_directory)
                        && names.iter().any(|name| matches(name.as_bytes(), place.name()))
                        && places.iter().any(|places| places.has(place))
                }
                Means::Judged(judgement) => self.judged(judgement, place, listed, found)?,
            };
            if is_about {
                return Ok((rule.verdict == Verdict::Exclude).then_some(*rule));
            }
        }
        Ok(None)
    }

    fn judged(
        &self,
        judgement: Judgement,
        place: &TreePath,
        listed: Listed<'_>,
        found: Option<&Inode>,
    ) -> Result<bool, ManifestError> {
        let kind = found.map(|inode| &inode.kind);
        Ok(match judgement {
            Judgement::Special => {
                matches!(kind, Some(Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo))
            }
            Judgement::VarState => {
                place.as_bytes().starts_with(b"var/") && matches!(kind, Some(Kind::Directory | Kind::Symlink(_)))
            }
            Judgement::DevelopmentLink => matches!(kind, Some(Kind::Symlink(_))) && self.is_for_linkers(listed.path)?,
            Judgement::SysvScript => {
                sysv_name(place).is_some_and(|name| self.units.contains(&format!("{name}.service")))
            }
            Judgement::MayBeAbsent => found.is_none() && listed.flags.has(FileFlag::MissingOk),
            Judgement::AbsentLocale => found.is_none() && place.as_bytes().starts_with(b"usr/share/locale/"),
            Judgement::SelfLink => match kind {
                Some(Kind::Symlink(target)) => self.is_self_link(place, target),
                _ => false,
            },
            Judgement::SamePath => false, // seen when all paths are known
        })
    }

    /// Whether the symlink `path` of the builder is a `lib*.so` that leads to a library which is loaded by another name,
    /// and that name stands beside it or beside the library.
    fn is_for_linkers(&self, path: &TreePath) -> Result<bool, ManifestError> {
        let tree = self.builder.tree;
        let library =
            |path: &TreePath| path.as_bytes().split(|byte| *byte == b'/').any(|part| part.starts_with(b"lib"));
        if !matches(b"lib*.so", path.name()) || !path.parent().as_ref().is_some_and(library) {
            return Ok(false);
        }
        let Some((end, _)) = tree.lookup(path.as_bytes()) else { return Ok(false) };
        if tree.content(&end).is_none_or(|content| content.size() > ELF_MAX) {
            return Ok(false);
        }
        let bytes = whole(tree, self.builder.contents, &end, ELF_MAX)?;
        let Some(soname) = Needed::parse(&bytes).ok().and_then(|needed| needed.soname) else { return Ok(false) };
        let beside = |path: &TreePath| path.parent().and_then(|folder| folder.join(&soname).ok());
        let there = [beside(path), beside(&end)].into_iter().flatten().any(|name| tree.get(&name).is_some());
        Ok(soname != path.name() && there)
    }

    fn is_self_link(&self, place: &TreePath, target: &[u8]) -> bool {
        let folder = place.parent().unwrap_or_default();
        let from = if target.starts_with(b"/") { &[][..] } else { folder.as_bytes() };
        let spelled = [from, b"/", target].concat();
        matches!(self.base.tree.resolve_parent(spelled), Resolved::Found(end) | Resolved::Missing(end) if end == *place)
    }
}

/// Where something at `path` is in a tree with the base's symlinks; what is in the way when it can be nowhere.
pub(super) fn place(base: &FileTree, path: &TreePath, directory: bool) -> Result<TreePath, TreePath> {
    if directory
        && let Resolved::Found(end) | Resolved::Missing(end) = base.resolve(path.as_bytes())
        && base.get(&end).is_none_or(Inode::is_directory)
    {
        return Ok(end);
    }
    match base.resolve_parent(path.as_bytes()) {
        Resolved::Found(end) | Resolved::Missing(end) => Ok(end),
        Resolved::Blocked(blocker) => Err(blocker),
    }
}

/// The service that a script of System V init is, as systemd-sysv-generator names it.
fn sysv_name(place: &TreePath) -> Option<String> {
    let mut parts = place.to_str()?.strip_prefix("etc/")?.split('/');
    let folder = parts.next().filter(|part| *part != "rc.d").or_else(|| parts.next())?;
    let script = parts.next().filter(|_| parts.next().is_none())?;
    let level = folder.strip_prefix("rc").and_then(|rest| rest.strip_suffix(".d"));
    let name = match level {
        _ if folder == "init.d" => script,
        Some(level) if level.len() == 1 => script.get(3..)?, // S01name
        _ => return None,
    };
    Some(name.strip_suffix(".sh").unwrap_or(name).to_owned())
}

/// In what the base's inode differs from that of the builder.
fn difference(known: &Inode, new: &Inode) -> String {
    if known.kind.name() != new.kind.name() {
        return format!("a {} in place of a {}", known.kind.name(), new.kind.name());
    }
    let mut words = Vec::new();
    if let (Kind::Symlink(one), Kind::Symlink(other)) = (&known.kind, &new.kind) {
        if one != other {
            words.push("another target".to_owned());
        }
    } else if known.meta.mode & 0o7777 != new.meta.mode & 0o7777 {
        words.push(format!("mode {:04o} in place of {:04o}", known.meta.mode & 0o7777, new.meta.mode & 0o7777));
    }
    let digest = |content: Option<&oci_assemble::tree::Content>| content.and_then(oci_assemble::tree::Content::digest);
    if new.content().is_some() && digest(known.content()) != digest(new.content()) {
        words.push("other content".to_owned());
    }
    if (known.meta.uid, known.meta.gid) != (new.meta.uid, new.meta.gid) {
        let (old, new) = (&known.meta, &new.meta);
        words.push(format!("owner {}:{} in place of {}:{}", old.uid, old.gid, new.uid, new.gid));
    }
    if words.is_empty() { "other attributes".to_owned() } else { words.join(" and ") }
}
