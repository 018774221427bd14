//! Just enough DER (X.690) to write certificates and timestamps, and to read a request for one.

use crate::image::Epoch;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BITS: u8 = 0x03;
pub(super) const BYTES: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERAL_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A value with its tag and length.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    if content.len() < 0x80 {
        out.push(u8::try_from(content.len()).unwrap_or(0));
    } else {
        out.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
        out.extend(length);
    }
    out.extend(content);
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

pub(super) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(OID, content)
}

/// A positive integer of some bytes.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if content.first().is_none_or(|byte| *byte >= 0x80) {
        content.insert(0, 0);
    }
    tlv(INTEGER, &content)
}

pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(BITS, &[&[0], bytes].concat())
}

/// The algorithm of every signature here: ECDSA with SHA-256.
pub(super) fn ecdsa() -> Vec<u8> {
    sequence(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])])
}

pub(super) fn sha256() -> Vec<u8> {
    sequence(&[&oid(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01])])
}

/// A name with an organisation and a common name.
pub(super) fn name(common: &str) -> Vec<u8> {
    let part = |kind: u8, text: &str| tlv(SET, &sequence(&[&oid(&[0x55, 0x04, kind]), &tlv(UTF8, text.as_bytes())]));
    sequence(&[&part(0x0a, "assemble tests"), &part(0x03, common)])
}

fn digits(seconds: i64) -> String {
    let text = Epoch::new(seconds).map(|epoch| epoch.to_string()).unwrap_or_default();
    format!("{}Z", text.chars().filter(char::is_ascii_digit).collect::<String>())
}

/// A time as certificates have it, until 2049.
pub(super) fn utc_time(seconds: i64) -> Vec<u8> {
    tlv(UTC_TIME, &digits(seconds).as_bytes()[2..])
}

pub(super) fn general_time(seconds: i64) -> Vec<u8> {
    tlv(GENERAL_TIME, digits(seconds).as_bytes())
}

/// The first value of `input`: tag, content, and what follows.
pub(super) fn read(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().try_fold(0_usize, |sum, byte| Some(sum.checked_mul(256)? + usize::from(*byte)))?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// All values of `input`.
pub(super) fn values(mut input: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((tag, content, rest)) = read(input) {
        found.push((tag, content));
        input = rest;
    }
    found
}
