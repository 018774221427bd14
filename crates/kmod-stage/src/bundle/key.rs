//! The key of a bundle: a digest of everything that decides its content.

use std::collections::BTreeMap;
use std::fmt;

use oci_assemble::image::Digest;

use super::error::KeyError;

/// The first line of what is digested. Another form of keys, or of what a bundle holds, gets another line.
const HEAD: &str = "assemble bundle key 1\n";

/// Named inputs and their digest.
///
/// What belongs into it: the kind of the stage, the version of this program, the digests of base and builder image, the
/// kernel's release, every package with version and checksum, every patch and script by digest. What does not: paths of
/// this machine, times, the number of processors, the compressor.
///
/// Law: two keys are equal exactly if their inputs are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BundleKey {
    digest: Digest,
    inputs: BTreeMap<String, String>,
}

impl BundleKey {
    /// The key of these inputs, in whatever order they come. A name is printable ASCII without white space and `=`; one
    /// that comes twice is an error, as one of its values would not count.
    pub fn new<N: Into<String>, V: Into<String>>(inputs: impl IntoIterator<Item = (N, V)>) -> Result<Self, KeyError> {
        let mut all = BTreeMap::new();
        for (name, value) in inputs {
            let name = name.into();
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=') {
                return Err(KeyError::Name { name });
            }
            if all.contains_key(&name) {
                return Err(KeyError::Twice { name });
            }
            all.insert(name, value.into());
        }
        Ok(Self { digest: Digest::of(text(&all).as_bytes()), inputs: all })
    }

    /// The digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The inputs by name.
    pub fn inputs(&self) -> &BTreeMap<String, String> {
        &self.inputs
    }

    /// What is digested, for people too: a line for each input with its name, the bytes of its value, and the value.
    pub fn text(&self) -> String {
        text(&self.inputs)
    }

    /// The tag of its bundle: the digest's hexadecimal digits.
    pub fn tag(&self) -> String {
        self.digest.hex()
    }

    /// The inputs that changed from `before` to this key, by name.
    pub fn explain(&self, before: &Self) -> Vec<Difference> {
        let mut names: Vec<&String> = self.inputs.keys().chain(before.inputs.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let difference = |name: &String| {
            let (was, is) = (before.inputs.get(name).cloned(), self.inputs.get(name).cloned());
            (was != is).then(|| Difference { name: name.clone(), was, is })
        };
        names.into_iter().filter_map(difference).collect()
    }
}

fn text(inputs: &BTreeMap<String, String>) -> String {
    let mut text = HEAD.to_owned();
    for (name, value) in inputs {
        // The length says where a value ends that has line breaks.
        text.push_str(&format!("{name} {} {value}\n", value.len()));
    }
    text
}

/// An input that two keys do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Its value before, when there was one.
    pub was: Option<String>,
    /// Its value now, when there is one.
    pub is: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match (&self.was, &self.is) {
            (Some(was), Some(is)) => write!(f, "{name} was {was:?} and is {is:?}"),
            (Some(was), None) => write!(f, "{name} was {was:?} and is gone"),
            (None, Some(is)) => write!(f, "{name} is new: {is:?}"),
            (None, None) => write!(f, "{name} is the same"),
        }
    }
}
