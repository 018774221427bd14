//! PAX extended headers (POSIX.1-2001, "pax Extended Header").

use std::collections::{BTreeMap, BTreeSet};

use super::gate::Rule;

/// What an extended header says of the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// How many records one header may have: an inode's attributes are a handful, and 64 KiB of names on most file systems.
const RECORDS: usize = 10_000;

/// Splits records `LENGTH KEY=VALUE\n`.
fn records(mut bytes: &[u8], broken: &mut Vec<Rule>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut known = BTreeSet::new();
    while !bytes.is_empty() {
        let Some((key, value, rest)) = record(bytes).filter(|_| all.len() < RECORDS) else {
            broken.push(Rule::PaxRecord);
            return all;
        };
        if !known.insert(key) {
            broken.push(Rule::PaxTwice);
        }
        all.push((key.to_vec(), value.to_vec()));
        bytes = rest;
    }
    all
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(&bytes[..space]).ok()?;
    if digits.is_empty() || digits.bytes().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    let length: usize = digits.parse().ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then(|| (&body[..equals], &body[equals + 1..], &bytes[length..]))
}

/// Reads an extended header. The rules it breaks go to `broken`.
pub(super) fn parse(bytes: &[u8], broken: &mut Vec<Rule>) -> Pax {
    let mut pax = Pax::default();
    for (key, value) in records(bytes, broken) {
        let xattr = key.strip_prefix(b"SCHILY.xattr.");
        if value.is_empty() && xattr.is_none() {
            broken.push(Rule::PaxEmpty);
            continue;
        }
        match key.as_slice() {
            b"path" => pax.path = Some(name(value, broken)),
            b"linkpath" => pax.link = Some(name(value, broken)),
            b"size" => pax.size = decimal(&value, broken),
            b"uid" => pax.uid = decimal(&value, broken),
            b"gid" => pax.gid = decimal(&value, broken),
            b"mtime" => pax.mtime = seconds(&value, broken),
            key if key.starts_with(b"GNU.sparse.") => broken.push(Rule::Sparse),
            _ => {
                if let Some(attribute) = xattr {
                    pax.xattrs.insert(attribute.into(), value.into());
                }
            }
        }
    }
    pax
}

/// Checks a global header: comments and times change nothing that we use, everything else divides readers.
pub(super) fn check_global(bytes: &[u8], broken: &mut Vec<Rule>) {
    for (key, _) in records(bytes, broken) {
        if !matches!(key.as_slice(), b"comment" | b"mtime" | b"atime" | b"ctime") {
            broken.push(Rule::PaxGlobal);
        }
    }
}

fn name(value: Vec<u8>, broken: &mut Vec<Rule>) -> Vec<u8> {
    if value.contains(&0) {
        broken.push(Rule::PaxNul);
    }
    value
}

fn decimal(value: &[u8], broken: &mut Vec<Rule>) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse::<u64>().ok()).filter(|number| i64::try_from(*number).is_ok());
    if number.is_none() {
        broken.push(Rule::PaxRecord);
    }
    number
}

/// Whole seconds, rounded down; a fraction may follow.
fn seconds(value: &[u8], broken: &mut Vec<Rule>) -> Option<i64> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let sound = fraction.bytes().all(|digit| digit.is_ascii_digit());
        let whole_seconds: i64 = whole.parse().ok().filter(|_| sound && !whole.starts_with('+'))?;
        let below = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
        whole_seconds.checked_sub(i64::from(below))
    });
    if parsed.is_none() {
        broken.push(Rule::PaxRecord);
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_by(bytes: &[u8]) -> Vec<Rule> {
        let mut broken = Vec::new();
        parse(bytes, &mut broken);
        broken
    }

    #[test]
    fn reads_what_writers_write() {
        let mut broken = Vec::new();
        let pax = parse(b"12 path=a/b\n20 mtime=1700.25000\n26 SCHILY.xattr.user.a=\x00=\n", &mut broken);
        assert_eq!(broken, []);
        assert_eq!((pax.path.as_deref(), pax.mtime), (Some(&b"a/b"[..]), Some(1700)));
        assert_eq!(pax.xattrs.get(&b"user.a"[..]).map(|value| &**value), Some(&b"\x00="[..]));
        assert_eq!(seconds(b"-1.5", &mut broken), Some(-2));
    }

    #[test]
    fn names_the_rule_that_a_record_breaks() {
        let table: [(&[u8], Rule); 10] = [
            (b"99 path=a\n", Rule::PaxRecord),
            (b"9 path=a", Rule::PaxRecord),
            (b"x path=a\n", Rule::PaxRecord),
            (b"10 size=-1\n", Rule::PaxRecord),
            (b"11 size=1e3\n", Rule::PaxRecord),
            (b"10 path=a\n10 path=b\n", Rule::PaxTwice),
            (b"12 path=a\0b\n", Rule::PaxNul),
            (b"8 path=\n", Rule::PaxEmpty),
            (b"22 GNU.sparse.major=1\n", Rule::Sparse),
            (b"5 =a\n", Rule::PaxRecord),
        ];
        for (bytes, rule) in table {
            assert_eq!(broken_by(bytes), [rule], "{}", String::from_utf8_lossy(bytes));
        }
        let mut broken = Vec::new();
        check_global(b"13 comment=x\n10 path=a\n", &mut broken);
        assert_eq!(broken, [Rule::PaxGlobal]);
    }

    #[test]
    fn reads_many_records_in_linear_time_and_no_more_than_the_cap() {
        let of = |count: usize| -> Vec<u8> {
            (0..count).flat_map(|number| format!("27 SCHILY.xattr.u{number:08}=\n").into_bytes()).collect()
        };
        let mut broken = Vec::new();
        assert_eq!(parse(&of(RECORDS), &mut broken).xattrs.len(), RECORDS);
        assert_eq!(broken, []);
        assert_eq!(parse(&of(RECORDS + 1), &mut broken).xattrs.len(), RECORDS);
        assert_eq!(broken, [Rule::PaxRecord]);
    }
}
