//! Content digests as values, not strings.
//!
//! The wire form is `algorithm:lowercase-hex` (OCI image-spec, descriptor.md, "Digests"). Parsing is strict:
//! an unregistered algorithm, upper case, a wrong length or any other character is an error, so a digest
//! can be used as a file name without further thought.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// A content digest: the algorithm and its bytes.
///
/// Law: `digest.to_string().parse() == Ok(digest)`, and no other text parses to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256, what everything new is named by.
    Sha256([u8; 32]),
    /// SHA-512, accepted and verified in inputs.
    Sha512([u8; 64]),
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// The name of the algorithm: the part before the colon, and the folder below `blobs/` of a layout.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The raw bytes: 32 or 64 of them.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// Lowercase hexadecimal digits: the file name of the blob in a layout.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(self.bytes().len() * 2);
        for byte in self.bytes() {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }

    /// An empty hasher of this digest's algorithm.
    pub fn hasher(&self) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::default(),
            Self::Sha512(_) => Hasher(State::Sha512(sha2::Sha512::new())),
        }
    }
}

/// Bytes of one block of SHA-256 (FIPS 180-4, section 5.2.1).
const BLOCK: usize = 64;

const HEX: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest {text:?}: {reason}")]
pub struct DigestError {
    /// The text, cut to 160 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: DigestFault,
}

/// What is wrong with a digest's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestFault {
    /// No `algorithm:` in front.
    #[error("no colon between algorithm and digits")]
    NoColon,
    /// Neither sha256 nor sha512.
    #[error("only sha256 and sha512 are accepted")]
    Algorithm,
    /// Too few or too many digits.
    #[error("expected {expected} hexadecimal digits, found {found}")]
    Length {
        /// Digits of the algorithm.
        expected: usize,
        /// Digits in the text.
        found: usize,
    },
    /// A character other than `0-9a-f`.
    #[error("only the digits 0-9 and a-f are accepted")]
    Digit,
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        parse(text).map_err(|reason| DigestError { text: text.chars().take(160).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Digest, DigestFault> {
    let (algorithm, digits) = text.split_once(':').ok_or(DigestFault::NoColon)?;
    match algorithm {
        "sha256" => decode(digits).map(Digest::Sha256),
        "sha512" => decode(digits).map(Digest::Sha512),
        _ => Err(DigestFault::Algorithm),
    }
}

fn decode<const N: usize>(digits: &str) -> Result<[u8; N], DigestFault> {
    if digits.len() != N * 2 {
        return Err(DigestFault::Length { expected: N * 2, found: digits.len() });
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Result<u8, DigestFault> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestFault::Digit),
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Computes a digest of what is written to it.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Default for Hasher {
    /// A SHA-256 hasher.
    fn default() -> Self {
        Self(State::Sha256(sha2::Sha256::new()))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Adds `bytes` to `self` and to `other`, in about four fifths of the time that one after the other takes: each block
    /// of SHA-256 waits for the block before, and the processor works on the other digest meanwhile.
    pub fn update_both(&mut self, other: &mut Self, bytes: &[u8]) {
        if let (State::Sha256(one), State::Sha256(other)) = (&mut self.0, &mut other.0) {
            for block in bytes.chunks(BLOCK) {
                one.update(block);
                other.update(block);
            }
        } else {
            self.update(bytes);
            other.update(bytes);
        }
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest::Sha256(state.finalize().into()),
            State::Sha512(state) => Digest::Sha512(state.finalize().into()),
        }
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn display_is_the_only_text_that_parses(bytes: [u8; 32]) {
            let digest = Digest::Sha256(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            let upper = digest.to_string().to_uppercase();
            prop_assert!(upper.parse::<Digest>().is_err());
        }
    }

    proptest! {
        #[test]
        fn two_hashers_at_once_find_what_each_finds_alone(
            ahead in prop::collection::vec(any::<u8>(), 0..200),
            bytes in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let (mut one, mut other) = (Hasher::default(), Digest::Sha512([0; 64]).hasher());
            let mut third = Hasher::default();
            one.update(&ahead);
            one.update_both(&mut other, &bytes);
            third.update_both(&mut Hasher::default(), &bytes);
            prop_assert_eq!(one.finish(), Digest::of(&[ahead, bytes.clone()].concat()));
            prop_assert_eq!(third.finish(), Digest::of(&bytes));
            let mut alone = Digest::Sha512([0; 64]).hasher();
            alone.update(&bytes);
            prop_assert_eq!(other.finish(), alone.finish());
        }
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let hex = "0".repeat(64);
        let table = [
            (String::new(), DigestFault::NoColon),
            (format!("md5:{}", "0".repeat(32)), DigestFault::Algorithm),
            (format!("SHA256:{hex}"), DigestFault::Algorithm),
            ("sha256:00".into(), DigestFault::Length { expected: 64, found: 2 }),
            (format!("sha256:{}", "A".repeat(64)), DigestFault::Digit),
            (format!("sha256:../{}", "0".repeat(61)), DigestFault::Digit),
            (format!("sha512:{hex}"), DigestFault::Length { expected: 128, found: 64 }),
        ];
        for (text, reason) in table {
            let error = text.parse::<Digest>().unwrap_err();
            assert_eq!(error.reason, reason, "{text}");
        }
    }

    #[test]
    fn hashes_the_empty_string() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        let mut hasher = Digest::Sha512([0; 64]).hasher();
        hasher.update(b"");
        assert!(hasher.finish().hex().starts_with("cf83e1357eefb8bd"));
    }
}
