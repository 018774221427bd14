//! Keys that stay: a private one that signs, a public one that verifies.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sigstore_crypto::{KeyPair, VerificationKey};
use sigstore_types::{DerPublicKey, SignatureBytes};

use super::cosign_key::{self, CosignKeyFault};

/// Why bytes are not a key that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM block.
    #[error("there is no PEM block in it")]
    Pem(#[source] pem::PemError),
    /// A PEM block of something else.
    #[error("a block {found:?} is no {expected}")]
    Block {
        /// What was asked for.
        expected: &'static str,
        /// The label.
        found: String,
    },
    /// A private key in a form that names no algorithm.
    #[error("a key in the form {found:?} is not accepted, only PKCS#8 and cosign's own")]
    Form {
        /// The label.
        found: String,
    },
    /// An encrypted key without a password.
    #[error("the key is encrypted, and there is no password")]
    NoPassword,
    /// An encrypted key that cannot be opened.
    #[error("the key cannot be decrypted")]
    Encrypted(#[from] CosignKeyFault),
    /// The key itself is not usable.
    #[error("the key is not usable (private keys are ECDSA on P-256)")]
    Key(#[source] sigstore_crypto::Error),
}

/// A private key: ECDSA on P-256, as cosign makes them and policies of hosts accept them.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<KeyPair>,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_ecdsa_p256().map_err(KeyError::Key).and_then(Self::of)
    }

    /// Reads a private key: PKCS#8 in PEM (`openssl genpkey`), or as cosign stores it, encrypted with `password`.
    pub fn parse(text: &[u8], password: Option<&[u8]>) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(KeyError::Pem)?;
        let found = block.tag().to_owned();
        let pair = match found.as_str() {
            "PRIVATE KEY" => KeyPair::from_pkcs8_der(block.contents()),
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let password = password.ok_or(KeyError::NoPassword)?;
                KeyPair::from_pkcs8_der(&cosign_key::decrypt(block.contents(), password)?)
            }
            "EC PRIVATE KEY" | "RSA PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Form { found }),
            _ => return Err(KeyError::Block { expected: "private key", found }),
        };
        pair.map_err(KeyError::Key).and_then(Self::of)
    }

    fn of(pair: KeyPair) -> Result<Self, KeyError> {
        let public = PublicKey { der: pair.public_key_der().map_err(KeyError::Key)? };
        Ok(Self { pair: Arc::new(pair), public })
    }

    /// What verifies its signatures.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the SHA-256 digest of `bytes`.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<SignatureBytes, KeyError> {
        self.pair.sign(bytes).map_err(KeyError::Key)
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }
}

/// A public key: ECDSA on P-256 or P-384, RSA (PKCS#1 v1.5, SHA-256) or Ed25519.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    der: DerPublicKey,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.hint()).finish()
    }
}

impl PublicKey {
    /// Reads a public key in PEM (`PUBLIC KEY`).
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(KeyError::Pem)?;
        if block.tag() != "PUBLIC KEY" {
            return Err(KeyError::Block { expected: "public key", found: block.tag().to_owned() });
        }
        let der = DerPublicKey::new(block.into_contents());
        VerificationKey::from_spki(&der).map_err(KeyError::Key)?;
        Ok(Self { der })
    }

    /// The key in PEM, with the line ends that cosign writes.
    pub fn to_pem(&self) -> String {
        pem_text("PUBLIC KEY", self.der.as_bytes())
    }

    /// The base64 of the SHA-256 digest of the key: how bundles name it. Nothing proves that a bundle names the right one.
    pub fn hint(&self) -> String {
        STANDARD.encode(crate::image::Digest::of(self.der.as_bytes()).bytes())
    }

    /// Whether `signature` over `bytes` is by this key.
    pub(super) fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), sigstore_crypto::Error> {
        VerificationKey::from_spki(&self.der)?.verify(bytes, &SignatureBytes::from_bytes(signature))
    }

    pub(super) fn der(&self) -> &DerPublicKey {
        &self.der
    }
}

/// A PEM block with line feeds. The types of the family write carriage returns, too, and then the bytes of a
/// signature would differ from those that cosign makes.
pub(super) fn pem_text(label: &str, contents: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, contents), config)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and `openssl pkey -pubout` of it.
    const PKCS8: &str = include_str!("tests/key.pem");
    const PKCS8_PUBLIC: &str = include_str!("tests/key.pub");
    /// `cosign generate-key-pair` (2.5) with the password `secret`.
    const COSIGN: &str = include_str!("tests/cosign.key");
    const COSIGN_PUBLIC: &str = include_str!("tests/cosign.pub");
    /// `COSIGN_PASSWORD= cosign generate-key-pair` (2.5): the password is empty.
    const UNGUARDED: &str = include_str!("tests/cosign-empty.key");
    const UNGUARDED_PUBLIC: &str = include_str!("tests/cosign-empty.pub");

    #[test]
    fn each_form_of_a_key_fits_its_public_half() {
        let plain = SigningKey::parse(PKCS8.as_bytes(), None).unwrap();
        let opened = SigningKey::parse(COSIGN.as_bytes(), Some(b"secret")).unwrap();
        let unguarded = SigningKey::parse(UNGUARDED.as_bytes(), Some(b"")).unwrap();
        for (key, public) in [(plain, PKCS8_PUBLIC), (opened, COSIGN_PUBLIC), (unguarded, UNGUARDED_PUBLIC)] {
            let read = PublicKey::parse(public.as_bytes()).unwrap();
            assert_eq!(key.public(), &read);
            assert_eq!(read.to_pem(), public);
            read.verify(b"message", key.sign(b"message").unwrap().as_bytes()).unwrap();
            assert!(read.verify(b"other", key.sign(b"message").unwrap().as_bytes()).is_err());
        }
    }

    #[test]
    fn what_is_no_key_says_what_it_is() {
        let error = |text: &str, password| SigningKey::parse(text.as_bytes(), password).unwrap_err().to_string();
        assert_eq!(error(COSIGN, None), "the key is encrypted, and there is no password");
        assert_eq!(error(COSIGN, Some(b"wrong")), "the key cannot be decrypted");
        assert_eq!(error(PKCS8_PUBLIC, None), "a block \"PUBLIC KEY\" is no private key");
        assert_eq!(error("no key", None), "there is no PEM block in it");
        let sec1 = pem_text("EC PRIVATE KEY", b"");
        assert_eq!(
            error(&sec1, None),
            "a key in the form \"EC PRIVATE KEY\" is not accepted, only PKCS#8 and cosign's own"
        );
        let public = |text: &str| PublicKey::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(public(PKCS8), "a block \"PRIVATE KEY\" is no public key");
    }
}
