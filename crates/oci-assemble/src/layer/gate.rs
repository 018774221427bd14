//! The gate: what a tar stream must satisfy so that every reader sees the same files in it.
//!
//! Readers of tar disagree about crafted archives (a payload behind a directory entry, two sources of one name, sizes that
//! contradict each other): the same layer can show other files to a container engine than to the booted host. A stream
//! that breaks one of the *ambiguous* rules is refused; what is merely unwise for bootc images is recorded for the lints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::tree::{Escaped, TreePath};

macro_rules! rules {
    ($($variant:ident $code:literal $ambiguous:literal $text:literal;)*) => {
        /// One rule of the gate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Rule { $(#[doc = $text] $variant,)* }

        impl Rule {
            /// All rules.
            pub const ALL: &[Rule] = &[$(Rule::$variant,)*];

            /// The rule's name in messages and reports.
            pub fn code(self) -> &'static str {
                match self { $(Rule::$variant => $code,)* }
            }

            /// Whether readers disagree about what a stream that breaks it holds; such a stream is refused.
            pub fn is_ambiguous(self) -> bool {
                match self { $(Rule::$variant => $ambiguous,)* }
            }

            /// What the rule says of a stream that breaks it.
            pub fn text(self) -> &'static str {
                match self { $(Rule::$variant => $text,)* }
            }
        }
    };
}

rules! {
    Checksum "checksum" true "a header's checksum is wrong";
    Magic "magic" true "a header is neither ustar nor GNU";
    Number "number" true "a numeric field is neither octal nor positive base-256";
    Type "type" true "an entry's type is unknown";
    Sparse "sparse" true "a sparse file";
    Payload "payload" true "an entry that is no regular file has a size";
    TrailingSlash "trailing-slash" true "a regular file's name ends in a slash";
    PrefixInGnu "prefix-in-gnu" true "a GNU header uses the prefix field";
    PaxRecord "pax-record" true "a PAX record is malformed";
    PaxTwice "pax-twice" true "a PAX key appears twice";
    PaxNul "pax-nul" true "a PAX name has a NUL byte";
    PaxEmpty "pax-empty" true "a PAX value is empty";
    PaxGlobal "pax-global" true "a global PAX header says more than a comment or times";
    PaxSize "pax-size" true "PAX and the header give different sizes";
    TwoNames "two-names" true "an entry's name or target has two sources";
    Extension "extension" true "two extension headers of one kind before one entry";
    LongName "long-name" true "a GNU long name is malformed";
    EndMarker "end-marker" true "a single zero block stands between entries";
    Trailing "trailing" true "something follows the end of the archive";
    Truncated "truncated" true "the stream ends inside an entry";
    Name "name" true "a name is absolute, empty, climbs with .. or has a NUL byte, or it or a link target is too long";
    RootEntry "root-entry" true "the root is something else than a directory";
    WhiteoutName "whiteout-name" true "a whiteout has no name, or a reserved one";
    LinkTarget "link-target" true "a hardlink points at a directory or out of the image";
    LinkFirst "link-first" true "an entry takes the place of what a hardlink before it points at";
    Duplicate "duplicate" false "a path appears twice";
    OwnWhiteout "own-whiteout" false "a path and its whiteout stand in one layer";
    WhiteoutOrder "whiteout-order" false "a whiteout or opaque mark comes after entries it could hide";
    ImplicitParent "implicit-parent" false "a parent directory is not listed before its entry";
    LinkLeaves "link-leaves" false "a hardlink points at something of a lower layer";
    LinkChain "link-chain" false "a hardlink points at another hardlink";
    Device "device" false "a device or named pipe";
    NotUtf8 "not-utf8" false "a name or symlink target is not UTF-8";
    LongPaxPath "long-pax-path" false "a name below /etc stands in a PAX header, where old clients misplace it";
    SystemPlace "system-place" false "something below a place that the running system owns";
    SelinuxLabel "selinux-label" false "a security.selinux attribute, which the host's policy sets itself";
    OverlayAttribute "overlay-attribute" false "an overlay or IMA attribute";
    NoEndMarker "no-end-marker" false "the archive does not end in two zero blocks";
    GzipMembers "gzip-members" false "several gzip members, of which bootc reads only the first";
    ZstdFrames "zstd-frames" false "several zstd frames, of which composefs clients read only the first";
}

/// A place in a layer that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{} (rule {}) at byte {offset}{}", .rule.text(), .rule.code(), place(.path))]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Byte offset of the header in the uncompressed layer.
    pub offset: u64,
    /// The entry's name as it is written, empty when it is not known.
    pub path: Vec<u8>,
}

fn place(path: &[u8]) -> String {
    if path.is_empty() { String::new() } else { format!(", entry {}", Escaped(path)) }
}

/// What the gate does with a stream that readers disagree about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// Refuses it: the default wherever a layer's content is used.
    #[default]
    Refuse,
    /// Records it and reads on as POSIX says: for reports on images of others.
    Record,
}

/// How many places are kept for one rule; the others are only counted.
pub(super) const KEPT: usize = 16;

/// The rules that a layer breaks, each with its first places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(BTreeMap<Rule, (u64, Vec<Violation>)>);

impl Violations {
    /// Adds one.
    pub fn record(&mut self, violation: Violation) {
        let (count, kept) = self.0.entry(violation.rule).or_default();
        *count += 1;
        if kept.len() < KEPT {
            kept.push(violation);
        }
    }

    /// Rules in order, each with how often it is broken and its first places.
    pub fn iter(&self) -> impl Iterator<Item = (Rule, u64, &[Violation])> {
        self.0.iter().map(|(rule, (count, kept))| (*rule, *count, kept.as_slice()))
    }

    /// Whether no rule is broken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts back a rule with its count and places, as the index cache stored them.
    pub(super) fn restore(&mut self, rule: Rule, count: u64, kept: Vec<Violation>) {
        self.0.insert(rule, (count, kept));
    }

    /// How often `rule` is broken.
    pub fn count(&self, rule: Rule) -> u64 {
        self.0.get(&rule).map_or(0, |(count, _)| *count)
    }
}

/// The violation of `rule` by a whole tree path.
pub(super) fn at(rule: Rule, offset: u64, path: &TreePath) -> Violation {
    Violation { rule, offset, path: path.as_bytes().to_vec() }
}
