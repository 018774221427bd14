//! Private keys as cosign stores them: PKCS#8, in NaCl's secretbox, under a key that scrypt makes of a password.
//!
//! The JSON is that of go-securesystemslib's package `encrypted`.

use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use serde::Deserialize;

use crate::image::json;

/// The largest file of a key, in bytes: ten times a real one.
const LARGEST: usize = 16 << 10;
/// The most memory that opening a key may take, in bytes: sixteen times what cosign asks for. The parameters stand in
/// the file, so whoever made it decides.
const MEMORY: u64 = 1 << 30;

/// Why an encrypted key cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CosignKeyFault {
    /// Not JSON.
    #[error("its content is not strict JSON")]
    Json(#[from] json::JsonError),
    /// JSON of another shape.
    #[error("its content has not the shape of an encrypted key")]
    Shape(#[from] serde_json::Error),
    /// Another way to encrypt.
    #[error("it is encrypted with {found}, not with scrypt and nacl/secretbox")]
    Method {
        /// The names in the file.
        found: String,
    },
    /// scrypt's parameters are invalid or ask for too much.
    #[error("the parameters N={n}, r={r}, p={p} of scrypt are not accepted")]
    Parameters {
        /// Cost.
        n: u64,
        /// Block size.
        r: u32,
        /// Parallelism.
        p: u32,
    },
    /// The nonce has another length.
    #[error("its nonce has {found} bytes instead of 24")]
    Nonce {
        /// Bytes found.
        found: usize,
    },
    /// Wrong password, or damaged.
    #[error("the password is wrong, or the file is damaged")]
    Sealed,
}

#[derive(Deserialize)]
struct File {
    kdf: Kdf,
    cipher: Cipher,
    #[serde(with = "bytes")]
    ciphertext: Vec<u8>,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Parameters,
    #[serde(with = "bytes")]
    salt: Vec<u8>,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    #[serde(with = "bytes")]
    nonce: Vec<u8>,
}

/// The PKCS#8 document in `content`, which is what stands in the PEM block.
pub(super) fn decrypt(content: &[u8], password: &[u8]) -> Result<Vec<u8>, CosignKeyFault> {
    let file: File = serde_json::from_value(json::parse(content, LARGEST)?)?;
    if (file.kdf.name.as_str(), file.cipher.name.as_str()) != ("scrypt", "nacl/secretbox") {
        return Err(CosignKeyFault::Method { found: format!("{} and {}", file.kdf.name, file.cipher.name) });
    }
    let nonce: [u8; 24] = file
        .cipher
        .nonce
        .as_slice()
        .try_into()
        .map_err(|_| CosignKeyFault::Nonce { found: file.cipher.nonce.len() })?;
    let mut key = [0; 32];
    let unlikely = |_| CosignKeyFault::Sealed;
    scrypt::scrypt(password, &file.kdf.salt, &parameters(&file.kdf.params)?, &mut key).map_err(unlikely)?;
    let sealed = XSalsa20Poly1305::new(Key::from_slice(&key));
    sealed.decrypt(Nonce::from_slice(&nonce), file.ciphertext.as_slice()).map_err(|_| CosignKeyFault::Sealed)
}

fn parameters(Parameters { n, r, p }: &Parameters) -> Result<scrypt::Params, CosignKeyFault> {
    let refused = || CosignKeyFault::Parameters { n: *n, r: *r, p: *p };
    // scrypt needs 128·N·r bytes, and p times as long.
    let memory = n.checked_mul(u64::from(*r)).and_then(|blocks| blocks.checked_mul(128));
    if !n.is_power_of_two() || memory.is_none_or(|memory| memory > MEMORY) || *p > 16 {
        return Err(refused());
    }
    let exponent = u8::try_from(n.trailing_zeros()).map_err(|_| refused())?;
    scrypt::Params::new(exponent, *r, *p, 32).map_err(|_| refused())
}

mod bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, de};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_cannot_ask_for_all_memory() {
        let file = |n: u64, r: u32, p: u32, kdf: &str, nonce: &str| {
            format!(
                "{{\"kdf\":{{\"name\":\"{kdf}\",\"params\":{{\"N\":{n},\"r\":{r},\"p\":{p}}},\"salt\":\"\"}},\
                 \"cipher\":{{\"name\":\"nacl/secretbox\",\"nonce\":\"{nonce}\"}},\"ciphertext\":\"\"}}"
            )
        };
        let nonce = "A".repeat(32);
        let error = |text: String| decrypt(text.as_bytes(), b"").unwrap_err().to_string();
        for (n, r, p) in [(1 << 30, 8, 1), (3, 8, 1), (0, 8, 1), (1 << 63, u32::MAX, 1), (1 << 10, 8, 17)] {
            let expected = format!("the parameters N={n}, r={r}, p={p} of scrypt are not accepted");
            assert_eq!(error(file(n, r, p, "scrypt", &nonce)), expected);
        }
        let other = error(file(2, 8, 1, "pbkdf2", &nonce));
        assert_eq!(other, "it is encrypted with pbkdf2 and nacl/secretbox, not with scrypt and nacl/secretbox");
        assert_eq!(error(file(2, 8, 1, "scrypt", "AAAA")), "its nonce has 3 bytes instead of 24");
        assert_eq!(error(file(2, 8, 1, "scrypt", &nonce)), "the password is wrong, or the file is damaged");
        assert_eq!(error("{}".into()), "its content has not the shape of an encrypted key");
    }
}
