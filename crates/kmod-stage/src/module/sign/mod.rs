//! Signs modules as the kernel's `scripts/sign-file` does, for machines with Secure Boot.
//!
//! What is appended is a CMS message (RFC 5652): detached, without certificates and signed attributes, its signer named
//! by issuer and serial number, RSA by PKCS#1 version 1.5. Nothing in it is of the time or by chance, so one key gives one
//! signature for one module, and a build with a key is as reproducible as one without.
//!
//! RSA is that of AWS-LC: the `rsa` crate takes a time that depends on the key (RUSTSEC-2023-0071). The random numbers it
//! is given blind the calculation and are not part of its result.

mod pair;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{self, RsaEncoding};
use cms::cert::IssuerAndSerialNumber;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos};
use oci_assemble::elf::{ElfError, decompress};
use x509_cert::der::asn1::{Any, OctetString, SetOfVec};
use x509_cert::der::{self, Encode};
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier};

pub use pair::{ModuleCertificate, PairError};

use super::signature::{SignatureError, appended, unsigned};

/// What is signed is a SHA-256, which distributions' kernels have built in. `CONFIG_MODULE_SIG_HASH` says what a kernel's own
/// modules are signed with, not what it accepts.
const HASH: (ObjectIdentifier, &dyn RsaEncoding) =
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"), &signature::RSA_PKCS1_SHA256);
/// `rsaEncryption`, which OpenSSL and with it sign-file name as the algorithm of such signatures.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-data`.
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// `id-signedData`.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

/// Signs modules with one key.
pub struct ModuleSigner {
    key: KeyPair,
    certificate: ModuleCertificate,
}

impl std::fmt::Debug for ModuleSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleSigner").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Why a module cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// It is compressed, and the data is damaged.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// It ends with a damaged signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The cryptographic library refuses, which it does when it gets no random numbers.
    #[error("the signature could not be calculated")]
    Calculation,
    /// The signature could not be put into its form.
    #[error("the signature could not be encoded")]
    Encoding(#[source] der::Error),
}

impl ModuleSigner {
    /// The signer with the private key `key`, which must be that of `certificate`: PEM, PKCS#8 or traditional, not
    /// encrypted. The file may hold the certificate beside it, as the kernel's `signing_key.pem` does.
    pub fn new(certificate: ModuleCertificate, key: &[u8]) -> Result<Self, PairError> {
        Ok(Self { key: pair::private(&certificate, key)?, certificate })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &ModuleCertificate {
        &self.certificate
    }

    /// The module, not compressed, with one signature: of this key, in the place of those it had.
    ///
    /// Laws: taking the signature off gives the plain module without signatures; signing what is signed changes nothing;
    /// equal modules give equal bytes.
    pub fn sign(&self, module: &[u8]) -> Result<Vec<u8>, SignError> {
        let plain = decompress(module)?;
        let (plain, _) = unsigned(&plain)?;
        let message = self.message(plain)?;
        Ok(appended(plain, &message)?)
    }

    /// The CMS message about `module`.
    fn message(&self, module: &[u8]) -> Result<Vec<u8>, SignError> {
        let (hash, encoding) = HASH;
        let mut bytes = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(encoding, &random, module, &mut bytes).map_err(|_| SignError::Calculation)?;
        self.encode(hash, bytes).map_err(SignError::Encoding)
    }

    fn encode(&self, hash: ObjectIdentifier, signature: Vec<u8>) -> Result<Vec<u8>, der::Error> {
        // Without parameters: RFC 5754, section 2.
        let digest_alg = AlgorithmIdentifierOwned { oid: hash, parameters: None };
        let (issuer, serial_number) = self.certificate.signer();
        let info = SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber { issuer, serial_number }),
            digest_alg: digest_alg.clone(),
            signed_attrs: None,
            signature_algorithm: AlgorithmIdentifierOwned { oid: RSA, parameters: Some(Any::null()) },
            signature: OctetString::new(signature)?,
            unsigned_attrs: None,
        };
        let data = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::try_from(vec![digest_alg])?,
            encap_content_info: EncapsulatedContentInfo { econtent_type: DATA, econtent: None },
            certificates: None,
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![info])?),
        };
        ContentInfo { content_type: SIGNED_DATA, content: Any::encode_from(&data)? }.to_der()
    }
}

#[cfg(test)]
mod tests;
