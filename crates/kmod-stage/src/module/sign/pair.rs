//! The certificate that machines know, and the private key that belongs to it.

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use oci_assemble::image::Digest;
use pkcs8::{PrivateKeyInfo, SecretDocument};
use x509_cert::Certificate;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::{self, Decode, Document, Encode, Reader, SliceReader};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::ObjectIdentifier;

use super::RSA;

/// Sizes of RSA keys in bits that every kernel verifies (`rsa_check_key_length` in `crypto/rsa.c`: none above, and with
/// FIPS none below).
const SIZES: [usize; 3] = [2048, 3072, 4096];

/// What is wrong with a key or its certificate. No text of a key is part of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The certificate is neither PEM nor DER.
    #[error("it is no X.509 certificate, neither PEM nor DER")]
    Certificate(#[source] der::Error),
    /// The certificate is not in the one form that signatures have, so no kernel would find it by its issuer.
    #[error("the certificate is not encoded as DER asks for")]
    Form,
    /// The certificate or key is for another algorithm.
    #[error("the {what} is for {found}; modules are signed with RSA")]
    NotRsa {
        /// Certificate or key.
        what: &'static str,
        /// The algorithm.
        found: String,
    },
    /// The key has a size that kernels do not accept.
    #[error("the RSA key has {bits} bits; kernels accept 2048, 3072 and 4096")]
    Size {
        /// Its size.
        bits: usize,
    },
    /// There is no private key in the file.
    #[error("there is no private key in it; PEM is expected, with BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY")]
    NoKey,
    /// A passphrase would be needed.
    #[error("the private key is encrypted, and nothing here asks for passphrases; decrypt it with openssl pkey")]
    Encrypted,
    /// The private key cannot be parsed, or its numbers do not fit together.
    #[error("the private key is damaged")]
    Damaged,
    /// The two do not belong together.
    #[error("the private key is not that of the certificate {subject}")]
    Mismatch {
        /// Subject of the certificate.
        subject: String,
    },
}

/// A certificate for the signing of modules.
#[derive(Clone)]
pub struct ModuleCertificate {
    der: Vec<u8>,
    certificate: Box<Certificate>,
}

impl std::fmt::Debug for ModuleCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleCertificate").field("subject", &self.subject()).field("digest", &self.digest()).finish()
    }
}

impl ModuleCertificate {
    /// Reads a certificate, PEM or DER. It must be of an RSA key that kernels accept. Its dates do not matter to kernels.
    pub fn parse(bytes: &[u8]) -> Result<Self, PairError> {
        let der = match block(bytes, |label| label == "CERTIFICATE") {
            Some((_, pem)) => Document::from_pem(pem).map_err(PairError::Certificate)?.1.into_vec(),
            None => bytes.to_vec(),
        };
        let certificate = Certificate::from_der(&der).map_err(PairError::Certificate)?;
        if certificate.to_der().ok().as_deref() != Some(&*der) {
            return Err(PairError::Form);
        }
        let key = &certificate.tbs_certificate.subject_public_key_info;
        rsa("certificate", key.algorithm.oid)?;
        let bits = modulus(key.subject_public_key.raw_bytes()).map_err(PairError::Certificate)?;
        if !SIZES.contains(&bits) {
            return Err(PairError::Size { bits });
        }
        Ok(Self { der, certificate: Box::new(certificate) })
    }

    /// Its bytes: DER, as `mokutil --import` takes them.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Digest of [`ModuleCertificate::der`]. It stands for the key pair: one certificate has one key.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Whom it names, for people: `CN=example`.
    pub fn subject(&self) -> String {
        self.certificate.tbs_certificate.subject.to_string()
    }

    /// What signatures name it by.
    pub(super) fn signer(&self) -> (Name, SerialNumber) {
        let certificate = &self.certificate.tbs_certificate;
        (certificate.issuer.clone(), certificate.serial_number.clone())
    }
}

/// The private key in `pem`, which must be that of `certificate`.
pub(super) fn private(certificate: &ModuleCertificate, pem: &[u8]) -> Result<KeyPair, PairError> {
    let (label, pem) = block(pem, |label| label.ends_with("PRIVATE KEY")).ok_or(PairError::NoKey)?;
    // Traditional keys say in a header that they are encrypted: RFC 1421, section 4.6.1.1.
    if label.starts_with("ENCRYPTED") || pem.lines().any(|line| line.starts_with("Proc-Type:")) {
        return Err(PairError::Encrypted);
    }
    let key = match label {
        "PRIVATE KEY" => {
            let (_, document) = SecretDocument::from_pem(pem).map_err(|_| PairError::Damaged)?;
            let info: PrivateKeyInfo<'_> = document.decode_msg().map_err(|_| PairError::Damaged)?;
            rsa("private key", info.algorithm.oid)?;
            KeyPair::from_pkcs8(document.as_bytes())
        }
        "RSA PRIVATE KEY" => {
            let (_, document) = SecretDocument::from_pem(pem).map_err(|_| PairError::Damaged)?;
            KeyPair::from_der(document.as_bytes())
        }
        other => {
            let found = other.trim_end_matches("PRIVATE KEY").trim_end().to_owned();
            return Err(PairError::NotRsa { what: "private key", found });
        }
    };
    // Of another size than the certificate's, it cannot be its key, whatever else is wrong with it.
    let key = key.map_err(|_| PairError::Damaged)?;
    let public = &certificate.certificate.tbs_certificate.subject_public_key_info.subject_public_key;
    if key.public_key().as_ref() != public.raw_bytes() {
        return Err(PairError::Mismatch { subject: certificate.subject() });
    }
    Ok(key)
}

/// The first PEM block whose label is `wanted`, with its label; files may have others before it, and text between them.
fn block(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = std::str::from_utf8(bytes).ok()?;
    while let Some(at) = rest.find(BEGIN) {
        rest = &rest[at..];
        let label = rest[BEGIN.len()..].split("-----").next()?;
        let end = format!("-----END {label}-----");
        let length = rest.find(&end)? + end.len();
        if wanted(label) {
            return Some((label, &rest[..length]));
        }
        rest = &rest[length..];
    }
    None
}

/// An error unless `oid` is RSA's.
fn rsa(what: &'static str, oid: ObjectIdentifier) -> Result<(), PairError> {
    let found = match oid.to_string().as_str() {
        _ if oid == RSA => return Ok(()),
        "1.2.840.10045.2.1" => "EC".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.2.840.113549.1.1.10" => "RSA with PSS only".to_owned(),
        other => other.to_owned(),
    };
    Err(PairError::NotRsa { what, found })
}

/// Bits of the modulus of a public key (`RSAPublicKey`, RFC 8017 appendix A.1.1).
fn modulus(key: &[u8]) -> Result<usize, der::Error> {
    let mut reader = SliceReader::new(key)?;
    let bits = reader.sequence(|numbers| {
        let modulus = UintRef::decode(numbers)?;
        UintRef::decode(numbers)?;
        let bytes = modulus.as_bytes();
        let unused = bytes.first().map_or(0, |first| first.leading_zeros() as usize);
        Ok(8 * bytes.len() - unused)
    })?;
    reader.finish(bits)
}
