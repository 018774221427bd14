//! One 512-byte header of a tar stream (POSIX.1-1988 ustar, with GNU's numbers and magic).

use super::gate::Rule;

/// Size of a header, and of the unit that contents are padded to.
pub(super) const BLOCK: usize = 512;

/// A header's fields, as they are written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Prefix and name joined.
    pub(super) name: Vec<u8>,
    pub(super) mode: u64,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) kind: u8,
    pub(super) link: Vec<u8>,
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// Reads a header. The rules it breaks go to `broken`; a field that cannot be read then is zero.
pub(super) fn parse(block: &[u8; BLOCK], broken: &mut Vec<Rule>) -> Header {
    let unsigned: u64 =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    if octal(&block[148..156]) != Some(unsigned) {
        broken.push(Rule::Checksum);
    }
    let gnu = &block[257..265] == b"ustar  \0";
    if !gnu && &block[257..265] != b"ustar\x0000" {
        broken.push(Rule::Magic);
    }
    let prefix = text(&block[345..500]);
    let mut name = Vec::new();
    if gnu && !prefix.is_empty() && is_text(prefix) {
        // Old GNU puts times there; only bytes that look like a path make readers differ.
        broken.push(Rule::PrefixInGnu);
    } else if !gnu && !prefix.is_empty() {
        name.extend_from_slice(prefix);
        name.push(b'/');
    }
    name.extend_from_slice(text(&block[..100]));
    let kind = block[156];
    let mut number = |field: &[u8]| {
        self::number(field).unwrap_or_else(|| {
            broken.push(Rule::Number);
            0
        })
    };
    let (mode, uid, gid, size) =
        (number(&block[100..108]), number(&block[108..116]), number(&block[116..124]), number(&block[124..136]));
    let device = matches!(kind, b'3' | b'4');
    let (major, minor) = if device { (number(&block[329..337]), number(&block[337..345])) } else { (0, 0) };
    let mtime = signed(&block[136..148]).unwrap_or_else(|| {
        broken.push(Rule::Number);
        0
    });
    Header {
        name,
        mode,
        uid,
        gid,
        size,
        mtime,
        kind,
        link: text(&block[157..257]).to_vec(),
        major: u32::try_from(major).unwrap_or(u32::MAX),
        minor: u32::try_from(minor).unwrap_or(u32::MAX),
    }
}

fn is_text(prefix: &[u8]) -> bool {
    // GNU's atime and ctime fields are octal digits, spaces and NULs.
    prefix.iter().any(|byte| !matches!(byte, b'0'..=b'7' | b' ' | 0))
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits, padded by spaces and closed by space or NUL; an empty field is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1);
    let start = field.iter().take_while(|byte| **byte == b' ').count().min(end);
    let mut value: u64 = 0;
    for digit in &field[start..end] {
        if !matches!(digit, b'0'..=b'7') {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value)
}

/// A number up to 2^63-1, octal or GNU's base-256.
fn number(field: &[u8]) -> Option<u64> {
    match field.first()? {
        0x80 => base256(&field[1..], 0),
        0x81..=0xff => None,
        _ => octal(field).filter(|value| i64::try_from(*value).is_ok()),
    }
}

fn base256(bytes: &[u8], start: u64) -> Option<u64> {
    let mut value = start;
    for byte in bytes {
        value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
    }
    i64::try_from(value).ok().map(i64::cast_unsigned)
}

/// A time: like a number, and negative in base-256.
fn signed(field: &[u8]) -> Option<i64> {
    if field.first() == Some(&0xff) {
        let mut value: i64 = -1;
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(i64::from(*byte))?;
        }
        return Some(value);
    }
    number(field).and_then(|value| i64::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_every_reader_does() {
        let table: [(&[u8], Option<u64>); 9] = [
            (b"0000644\0", Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"7777777 ", Some(0o777_7777)),
            (b"-000001\0", None),
            (b"00009\0\0\0", None),
            (b"12 4\0\0\0\0", None),
            (&[0x80, 0, 0, 0, 0, 0, 1, 0], Some(256)),
            (&[0xff; 8], None),
        ];
        for (field, value) in table {
            assert_eq!(number(field), value, "{field:?}");
        }
        assert_eq!(number(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(signed(&[0xff; 12]), Some(-1));
    }
}
