//! What of a run is no content of an image, as a table that can be read and printed.

use std::fmt;

use oci_assemble::tree::TreePath;
use oci_assemble::tree::glob::{Pattern, matches};

use Action::{Keep, Machine, Place, Refuse, RefuseContent, Remove, RemoveMade, Restore};

/// What is done with a change at a path that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The base's state stands: what the run added, changed or removed is dropped.
    Restore,
    /// The running system or the machine owns the place: as [`Action::Restore`], but files that packages have there are
    /// named apart, as the image will lack them.
    Place,
    /// It is not in the image: what the run wrote is dropped, and what the base has there is removed if the run touched it.
    /// For files that are wrong beside others that the run changed.
    Remove,
    /// As [`Action::Remove`], for what the run made itself; what a package brought stays.
    RemoveMade,
    /// As [`Action::Remove`]; an error if it has content, which then is missing elsewhere.
    RefuseContent,
    /// It belongs to the machine: as [`Action::Place`], but new directories and symlinks become lines of tmpfiles.d.
    Machine,
    /// An error.
    Refuse,
    /// It stays, whatever a later rule says.
    Keep,
}

/// One rule. The first one that is about a path decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Paths, as [`Pattern`]s; everything below is meant too. With `**/` before it, at any depth.
    pub pattern: &'static str,
    /// What is done.
    pub action: Action,
    /// Why, for people.
    pub reason: &'static str,
}

const fn rule(pattern: &'static str, action: Action, reason: &'static str) -> Rule {
    Rule { pattern, action, reason }
}

const STUB: &str = "podman puts its own file or mount point there";
const PLACE: &str = "the running system mounts something of its own there";
const BACKUP: &str = "copy of the state before the last change, with the time of the run in it";
const RPM_LOCK: &str = "lock and shared memory of rpm";
const RPM_JOURNAL: &str = "journal of the rpm database: with content, the database alone is not complete";
const DPKG_LOCK: &str = "lock and work files of dpkg";
const DPKG_JOURNAL: &str = "journal of dpkg: with content, dpkg was interrupted";
const MISPLACED: &str = "package database below /var, which images do not carry: the packages would not be recorded";
const CACHE: &str = "cache or log of the package manager, with times of the run";
const STATE: &str = "state of the machine, made again there";
const PYC: &str = "byte code compiled in the run, with times of its sources and in no fixed order";

/// All rules, in the order in which they are asked.
pub const RULES: &[Rule] = &[
    rule("/dev", Place, STUB),
    rule("/proc", Place, STUB),
    rule("/sys", Place, STUB),
    rule("/run", Place, STUB),
    rule("/.dockerenv", Restore, STUB),
    rule("/etc/hosts", Restore, STUB),
    rule("/etc/hostname", Restore, STUB),
    rule("/etc/resolv.conf", Restore, STUB),
    rule("/etc/mtab", Restore, STUB),
    rule("/tmp", Place, PLACE),
    rule("/boot", Place, "the boot loader's place: kernels lie beside their modules"),
    rule("/sysroot", Place, PLACE),
    rule("/ostree", Place, PLACE),
    rule("/etc/machine-id", Restore, "names one machine"),
    rule("/etc/.updated", Restore, "time of the last update of one machine"),
    rule("/etc/.pwd.lock", Restore, "lock of the account files"),
    rule("/etc/passwd-", Restore, BACKUP),
    rule("/etc/shadow-", Restore, BACKUP),
    rule("/etc/group-", Restore, BACKUP),
    rule("/etc/gshadow-", Restore, BACKUP),
    rule("/etc/subuid-", Restore, BACKUP),
    rule("/etc/subgid-", Restore, BACKUP),
    rule("/etc/ld.so.cache", Keep, "made of the libraries alone, and programs need it"),
    rule("/etc/ld.so.cache~", Restore, "ldconfig's unfinished cache"),
    rule("/usr/lib/sysimage/rpm/rpmdb.sqlite-wal", RefuseContent, RPM_JOURNAL),
    rule("/usr/lib/sysimage/rpm/rpmdb.sqlite-shm", Remove, RPM_LOCK),
    rule("/usr/lib/sysimage/rpm/.rpm.lock", Restore, RPM_LOCK),
    rule("/usr/share/rpm/rpmdb.sqlite-wal", RefuseContent, RPM_JOURNAL),
    rule("/usr/share/rpm/rpmdb.sqlite-shm", Remove, RPM_LOCK),
    rule("/usr/share/rpm/.rpm.lock", Restore, RPM_LOCK),
    rule("/usr/lib/sysimage/libdnf5/transaction_history.sqlite*", Restore, "history of dnf5, with times of the run"),
    rule("/usr/lib/dpkg/lock", Restore, DPKG_LOCK),
    rule("/usr/lib/dpkg/lock-frontend", Restore, DPKG_LOCK),
    rule("/usr/lib/dpkg/triggers/Lock", Restore, DPKG_LOCK),
    rule("/usr/lib/dpkg/tmp.ci", Restore, DPKG_LOCK),
    rule("/usr/lib/dpkg/parts", Restore, DPKG_LOCK),
    rule("/usr/lib/dpkg/updates/tmp.i", Restore, DPKG_LOCK),
    rule("/usr/lib/dpkg/updates/*", RefuseContent, DPKG_JOURNAL),
    rule("/usr/lib/dpkg/updates", Restore, DPKG_LOCK),
    rule("/usr/lib/dpkg/*-old", Restore, BACKUP),
    rule("/root/.cache", Restore, "cache of the user who ran the installation"),
    rule("/root/.gnupg", Restore, "keys of the user who ran the installation"),
    rule("/root/.wget-hsts", Restore, "cache of the user who ran the installation"),
    rule("/root/.bash_history", Restore, "history of the user who ran the installation"),
    rule("/var/lib/dpkg/status", Refuse, MISPLACED),
    rule("/var/lib/rpm/rpmdb.sqlite", Refuse, MISPLACED),
    rule("/var/lib/rpm/Packages", Refuse, MISPLACED),
    rule("/var/lib/rpm/Packages.db", Refuse, MISPLACED),
    rule("/var/tmp", Place, "temporary files of the machine"),
    rule("/var/cache/apt", Restore, CACHE),
    rule("/var/cache/debconf", Restore, CACHE),
    rule("/var/cache/dnf", Restore, CACHE),
    rule("/var/cache/libdnf5", Restore, CACHE),
    rule("/var/cache/yum", Restore, CACHE),
    rule("/var/cache/ldconfig", Restore, "ldconfig's own cache, with inode numbers and times of the container"),
    rule("/var/lib/apt", Restore, CACHE),
    rule("/var/lib/dnf", Restore, CACHE),
    rule("/var/log/apt", Restore, CACHE),
    rule("/var/log/dpkg.log", Restore, CACHE),
    rule("/var/log/dnf*", Restore, CACHE),
    rule("/var/log/hawkey.log", Restore, CACHE),
    rule("/var/lib/systemd/catalog", Restore, STATE),
    rule("/var/lib/systemd/random-seed", Restore, "a secret of one machine"),
    rule("/var/lib/systemd/deb-systemd-helper-enabled", Restore, STATE),
    rule("/var/lib/systemd/deb-systemd-helper-masked", Restore, STATE),
    rule("/var/lib/systemd/deb-systemd-user-helper-enabled", Restore, STATE),
    rule("/var/lib/systemd/deb-systemd-user-helper-masked", Restore, STATE),
    rule("/var/.updated", Restore, "time of the last update of one machine"),
    rule("/var/roothome", Place, "home directory of the user who ran the installation"),
    rule("/var/home", Place, "home directories belong to the machine"),
    rule(
        "/var/opt",
        Machine,
        "packages that install below /opt do so in /var, which machines get once and never again",
    ),
    rule("/var/**", Machine, "machines get /var once and never again; directories are made by tmpfiles.d"),
    rule("**/__pycache__", RemoveMade, PYC),
    rule("**/*.pyc", RemoveMade, PYC),
    rule("**/*.pyo", RemoveMade, PYC),
];

/// A rule's pattern, read.
#[derive(Debug)]
pub(crate) enum Places {
    At(Pattern),
    Anywhere(&'static [u8]),
}

impl Rule {
    /// The pattern, read.
    pub(super) fn places(&self) -> Places {
        Places::new(self.pattern)
    }
}

impl Places {
    /// Reads a pattern: see [`Rule::pattern`].
    pub(crate) fn new(pattern: &'static str) -> Self {
        match pattern.strip_prefix("**/") {
            Some(name) => Self::Anywhere(name.as_bytes()),
            None => Self::At(Pattern::new(pattern)),
        }
    }

    /// Whether the path, or a directory above it, fits.
    pub(crate) fn has(&self, path: &TreePath) -> bool {
        match self {
            Self::At(pattern) => pattern.matches(path) || path.ancestors().any(|above| pattern.matches(&above)),
            Self::Anywhere(pattern) => path.components().any(|name| matches(pattern, name)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pattern, self.reason)
    }
}
