//! A certificate authority as Fulcio is one: a root, an intermediate, leaves with an identity and the stamp of a
//! certificate log.

use sigstore_crypto::KeyPair;

use super::der::{BYTES, SEQUENCE, bits, ecdsa, integer, name, oid, sequence, tlv, utc_time};
use crate::image::Digest;

/// What a leaf is for.
#[derive(Clone, Debug)]
pub(super) enum Leaf<'a> {
    /// An intermediate authority.
    Authority,
    /// Signatures by an identity: its name, and the issuer of its token.
    Signer { identity: &'a str, issuer: &'a str },
    /// Timestamps.
    Timestamps,
}

/// A key with a certificate.
pub(super) struct Holder {
    pub(super) key: KeyPair,
    pub(super) name: Vec<u8>,
    /// DER.
    pub(super) certificate: Vec<u8>,
}

/// What stands in a certificate.
pub(super) struct Request<'a> {
    pub(super) subject: Vec<u8>,
    pub(super) public: Vec<u8>,
    pub(super) serial: [u8; 8],
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) leaf: Leaf<'a>,
}

pub(super) fn key() -> KeyPair {
    KeyPair::generate_ecdsa_p256().expect("the random source works")
}

pub(super) fn public(key: &KeyPair) -> Vec<u8> {
    key.public_key_der().expect("a P-256 key has a public half").into_bytes()
}

pub(super) fn signature(key: &KeyPair, bytes: &[u8]) -> Vec<u8> {
    key.sign(bytes).expect("a P-256 key signs").into_bytes()
}

impl Holder {
    /// A root: an authority that certifies itself.
    pub(super) fn root(common: &str, from: i64, to: i64) -> Self {
        let key = key();
        let name = name(common);
        let request =
            Request { subject: name.clone(), public: public(&key), serial: [1; 8], from, to, leaf: Leaf::Authority };
        let tbs = request.to_be_signed(&name, None);
        Self { certificate: signed(&key, &tbs), key, name }
    }

    /// Certifies a new key.
    pub(super) fn below(&self, common: &str, from: i64, to: i64, leaf: Leaf<'_>) -> Self {
        let key = key();
        let subject = name(common);
        let request = Request { subject: subject.clone(), public: public(&key), serial: [2; 8], from, to, leaf };
        Self { certificate: self.certify(&request, None), key, name: subject }
    }

    /// Certifies a request; with a certificate log, its stamp is put in.
    pub(super) fn certify(&self, request: &Request<'_>, log: Option<(&KeyPair, i64)>) -> Vec<u8> {
        let stamp = log.map(|(log, now)| {
            let tbs = request.to_be_signed(&self.name, None);
            stamp(log, now, &public(&self.key), &tbs)
        });
        signed(&self.key, &request.to_be_signed(&self.name, stamp.as_deref()))
    }
}

fn signed(key: &KeyPair, tbs: &[u8]) -> Vec<u8> {
    sequence(&[tbs, &ecdsa(), &bits(&signature(key, tbs))])
}

impl Request<'_> {
    fn to_be_signed(&self, issuer: &[u8], stamp: Option<&[u8]>) -> Vec<u8> {
        let mut extensions = match &self.leaf {
            Leaf::Authority => vec![
                extension(&[0x55, 0x1d, 0x0f], true, &[0x03, 0x02, 0x01, 0x06]),
                extension(&[0x55, 0x1d, 0x13], true, &sequence(&[&[0x01, 0x01, 0xff]])),
            ],
            Leaf::Signer { identity, issuer } => vec![
                extension(&[0x55, 0x1d, 0x0f], true, &[0x03, 0x02, 0x07, 0x80]),
                usage(3, false),
                // SubjectAltName: an e-mail address or a URI.
                extension(
                    &[0x55, 0x1d, 0x11],
                    true,
                    &tlv(SEQUENCE, &tlv(if identity.contains("://") { 0x86 } else { 0x81 }, identity.as_bytes())),
                ),
                // Fulcio's issuer: bare text, and as a string.
                extension(&fulcio(1), false, issuer.as_bytes()),
                extension(&fulcio(8), false, &tlv(super::der::UTF8, issuer.as_bytes())),
            ],
            Leaf::Timestamps => {
                vec![extension(&[0x55, 0x1d, 0x0f], true, &[0x03, 0x02, 0x07, 0x80]), usage(8, true)]
            }
        };
        if let Some(stamp) = stamp {
            extensions.push(extension(&[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02], false, stamp));
        }
        sequence(&[
            &tlv(0xa0, &integer(&[2])),
            &integer(&self.serial),
            &ecdsa(),
            issuer,
            &sequence(&[&utc_time(self.from), &utc_time(self.to)]),
            &self.subject,
            &self.public,
            &tlv(0xa3, &tlv(SEQUENCE, &extensions.concat())),
        ])
    }
}

/// An arc of Fulcio's: 1.3.6.1.4.1.57264.1.N.
fn fulcio(number: u8) -> Vec<u8> {
    vec![0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, number]
}

/// An extended key usage: 1.3.6.1.5.5.7.3.N.
fn usage(number: u8, critical: bool) -> Vec<u8> {
    let purpose = oid(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, number]);
    extension(&[0x55, 0x1d, 0x25], critical, &sequence(&[&purpose]))
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let mark: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    sequence(&[&oid(id), mark, &tlv(BYTES, value)])
}

/// The list of one stamp of a certificate log over a certificate without stamp (RFC 6962, 3.2 and 3.3).
fn stamp(log: &KeyPair, now: i64, issuer: &[u8], tbs: &[u8]) -> Vec<u8> {
    let time = (u64::try_from(now).unwrap_or(0) * 1000).to_be_bytes();
    let length = u32::try_from(tbs.len()).unwrap_or(0).to_be_bytes();
    let covered = [&[0, 0][..], &time, &[0, 1], Digest::of(issuer).bytes(), &length[1..], tbs, &[0, 0]].concat();
    let signature = signature(log, &covered);
    let size = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    let one =
        [&[0][..], Digest::of(&public(log)).bytes(), &time, &[0, 0, 4, 3], &size(&signature), &signature].concat();
    let entry = [&size(&one)[..], &one].concat();
    tlv(BYTES, &[&size(&entry)[..], &entry].concat())
}
