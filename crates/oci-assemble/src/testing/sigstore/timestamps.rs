//! A timestamp authority (RFC 3161): a request in, a token in CMS (RFC 5652) out.

use super::authority::{Holder, signature};
use super::der::{
    BYTES, INTEGER, SEQUENCE, SET, ecdsa, general_time, integer, oid, read, sequence, sha256, tlv, values,
};
use crate::image::Digest;

/// id-ct-TSTInfo
const TST_INFO: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
/// id-signedData
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// A policy of nobody's.
const POLICY: [u8; 4] = [0x2a, 0x03, 0x04, 0x01];

/// The answer to `request` by `authority` at `now`. `None` when it is no request.
pub(super) fn answer(request: &[u8], authority: &Holder, now: i64) -> Option<Vec<u8>> {
    let (SEQUENCE, fields, _) = read(request)? else { return None };
    let fields = values(fields);
    let (_, imprint) = fields.iter().find(|(tag, _)| *tag == SEQUENCE)?;
    let nonce = fields.iter().skip(1).find(|(tag, _)| *tag == INTEGER).map(|(tag, content)| tlv(*tag, content));
    let info = sequence(&[
        &integer(&[1]),
        &oid(&POLICY),
        &tlv(SEQUENCE, imprint),
        &integer(&[0x11, 0x22]),
        &general_time(now),
        &nonce.unwrap_or_default(),
    ]);
    let attribute = |id: &[u8], value: &[u8]| sequence(&[&oid(id), &tlv(SET, value)]);
    let certificate = Digest::of(&authority.certificate);
    let mut attributes = [
        // contentType, messageDigest, signingCertificateV2 (RFC 5816)
        attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03], &oid(&TST_INFO)),
        attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04], &tlv(BYTES, Digest::of(&info).bytes())),
        attribute(
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f],
            &sequence(&[&sequence(&[&sequence(&[&tlv(BYTES, certificate.bytes())])])]),
        ),
    ];
    attributes.sort();
    let attributes = attributes.concat();
    let signature = signature(&authority.key, &tlv(SET, &attributes));
    let (issuer, serial) = issuer_and_serial(&authority.certificate)?;
    let signer = sequence(&[
        &integer(&[1]),
        &sequence(&[&issuer, &serial]),
        &sha256(),
        &tlv(0xa0, &attributes),
        &ecdsa(),
        &tlv(BYTES, &signature),
    ]);
    let data = sequence(&[
        &integer(&[3]),
        &tlv(SET, &sha256()),
        &sequence(&[&oid(&TST_INFO), &tlv(0xa0, &tlv(BYTES, &info))]),
        &tlv(0xa0, &authority.certificate),
        &tlv(SET, &signer),
    ]);
    let token = sequence(&[&oid(&SIGNED_DATA), &tlv(0xa0, &data)]);
    Some(sequence(&[&sequence(&[&integer(&[0])]), &token]))
}

fn issuer_and_serial(certificate: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate, _) = read(certificate)?;
    let (_, tbs, _) = read(certificate)?;
    let fields = values(tbs);
    let of = |place: usize| fields.get(place).map(|(tag, content)| tlv(*tag, content));
    Some((of(3)?, of(1)?))
}
