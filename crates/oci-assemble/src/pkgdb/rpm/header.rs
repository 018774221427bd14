//! The header of an rpm package: an index of typed, tagged values over a store of bytes.
//!
//! In the database it stands without the magic that it has in a package file: the number of index entries, the size
//! of the store, sixteen bytes an entry (tag, type, offset, count), the store; all numbers big endian
//! (rpm's `docs/manual/hregions.md` and `format_header.md`).

/// The largest store accepted: rpm's own limit.
const STORE_MAX: usize = 256 << 20;
/// The most index entries accepted: rpm's own limit.
const ENTRIES_MAX: usize = 0xffff;
/// Tags of regions: one that stands first in the index covers what was there when the package was built.
const REGIONS: std::ops::RangeInclusive<u32> = 61..=63;
/// The type of 32-bit numbers.
const INT32: u32 = 4;
/// The type of bytes.
const BINARY: u32 = 7;
/// Bytes of an index entry, also of the one that ends a region's part of the store.
const ENTRY: usize = 16;

/// Why bytes are not a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged rpm header: {what}")]
pub struct HeaderError {
    /// What is wrong.
    pub what: &'static str,
}

/// A header. Values are read when asked for; a value of another type than asked for is no value.
#[derive(Clone, Debug)]
pub struct Header {
    blob: Vec<u8>,
    entries: usize,
}

struct Entry {
    tag: u32,
    kind: u32,
    offset: usize,
    count: usize,
}

impl Header {
    /// Checks the sizes of index and store, and that every value lies within the store.
    pub fn parse(blob: Vec<u8>) -> Result<Self, HeaderError> {
        let fault = |what| HeaderError { what };
        let entries = be32(&blob, 0).ok_or(fault("it is too short"))? as usize;
        let store = be32(&blob, 4).ok_or(fault("it is too short"))? as usize;
        if entries == 0 || entries > ENTRIES_MAX || store > STORE_MAX {
            return Err(fault("its sizes are beyond the limits of rpm"));
        }
        if blob.len() != 8 + entries * 16 + store {
            return Err(fault("its sizes do not add up"));
        }
        let header = Self { blob, entries };
        // Values do not overlap, so together they are no longer than the store; twice that is left for tail pieces.
        let mut budget = store.saturating_mul(2);
        for entry in header.index() {
            let value = header.value(&entry).ok_or(fault("a value lies outside of it"))?;
            budget = budget.checked_sub(value.len()).ok_or(fault("its values overlap"))?;
        }
        Ok(header)
    }

    /// The first text of a string, string array or translated string. Bytes that are not UTF-8 are replaced.
    pub fn text(&self, tag: u32) -> Option<String> {
        self.texts(tag).first().map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// All texts of a tag; none when it is absent or has numbers.
    pub fn texts(&self, tag: u32) -> Vec<&[u8]> {
        let entry = self.find(tag).filter(|entry| matches!(entry.kind, 6 | 8 | 9));
        let Some((entry, value)) = entry.and_then(|entry| self.value(&entry).map(|value| (entry, value))) else {
            return Vec::new();
        };
        value.split(|byte| *byte == 0).take(entry.count).collect()
    }

    /// All numbers of a tag, 8 to 64 bit; none when it is absent or has texts.
    pub fn numbers(&self, tag: u32) -> Vec<u64> {
        let Some((entry, value)) = self.find(tag).and_then(|entry| self.value(&entry).map(|value| (entry, value)))
        else {
            return Vec::new();
        };
        let Some(width) = width(entry.kind) else { return Vec::new() };
        value.chunks_exact(width).map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).collect()
    }

    /// The bytes of a binary tag, such as a checksum or signature.
    pub fn bytes(&self, tag: u32) -> Option<&[u8]> {
        self.find(tag).filter(|entry| entry.kind == BINARY).and_then(|entry| self.value(&entry))
    }

    /// Puts `number` into the place of the one 32-bit number of `tag`, and says which was there; `None` where the header
    /// has none, and is not changed.
    ///
    /// Law: every other value stays, and so does each byte of the region, which digests and signatures are of. A value
    /// that lies there, shares bytes with another or is of another type is an error.
    pub fn set(&mut self, tag: u32, number: u32) -> Result<Option<u32>, HeaderError> {
        let fault = |what| HeaderError { what };
        let (entries, bytes) = self.region().ok_or(fault("its region has no proper end"))?;
        let Some((place, entry)) = self.index().enumerate().find(|(_, entry)| entry.tag == tag) else {
            return Ok(None);
        };
        if self.index().filter(|entry| entry.tag == tag).count() > 1 {
            return Err(fault("a tag stands in it twice"));
        }
        if place < entries || entry.offset < bytes {
            return Err(fault("a value to change lies in its region"));
        }
        if entry.kind != INT32 || entry.count != 1 {
            return Err(fault("a value to change is no 32-bit number"));
        }
        let own = entry.offset..entry.offset.saturating_add(4);
        let meets = |other: &Entry| {
            let length = self.value(other).map_or(0, <[u8]>::len) + usize::from(matches!(other.kind, 6 | 8 | 9));
            other.offset < own.end && own.start < other.offset + length
        };
        if self.index().enumerate().any(|(at, other)| at != place && meets(&other)) {
            return Err(fault("its values overlap"));
        }
        let store = 8 + self.entries * ENTRY;
        let value = self.blob.get_mut(store + own.start..store + own.end);
        let value = value.ok_or(fault("a value lies outside of it"))?;
        let before = be32(value, 0);
        value.copy_from_slice(&number.to_be_bytes());
        Ok(before)
    }

    /// The header as the database has it.
    pub fn into_bytes(self) -> Vec<u8> {
        self.blob
    }

    /// How many entries and how many bytes of the store the region covers: none where there is no region. Its end is an
    /// entry in the store, whose offset is minus the size of its part of the index.
    fn region(&self) -> Option<(usize, usize)> {
        let first = self.index().next()?;
        if !REGIONS.contains(&first.tag) {
            return Some((0, 0));
        }
        let end = self.value(&first).filter(|end| first.kind == BINARY && end.len() == ENTRY)?;
        let size = be32(end, 8)?.wrapping_neg() as usize;
        let entries = size / ENTRY;
        let sound = size.is_multiple_of(ENTRY) && (1..=self.entries).contains(&entries);
        sound.then_some((entries, first.offset + ENTRY))
    }

    fn index(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..self.entries).filter_map(|number| {
            let field = |at| be32(&self.blob, 8 + number * 16 + at);
            Some(Entry { tag: field(0)?, kind: field(4)?, offset: field(8)? as usize, count: field(12)? as usize })
        })
    }

    fn find(&self, tag: u32) -> Option<Entry> {
        self.index().find(|entry| entry.tag == tag)
    }

    /// The bytes of a value: numbers without padding, texts up to and without the last NUL.
    fn value(&self, entry: &Entry) -> Option<&[u8]> {
        let rest = self.blob.get(8 + self.entries * 16..)?.get(entry.offset..)?;
        match entry.kind {
            0 => Some(&[]),
            6 | 8 | 9 => {
                // Each text is at least its NUL, so a count beyond the store ends the search.
                let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
                let last = ends.nth(entry.count.checked_sub(1)?)?;
                rest.get(..last)
            }
            BINARY => rest.get(..entry.count),
            kind => rest.get(..entry.count.checked_mul(width(kind)?)?),
        }
    }
}

/// Bytes of a number of this type.
fn width(kind: u32) -> Option<usize> {
    match kind {
        1 | 2 => Some(1),
        3 => Some(2),
        INT32 => Some(4),
        5 => Some(8),
        _ => None,
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn blob(index: &[(u32, u32, u32, u32)], store: &[u8]) -> Vec<u8> {
        let mut blob = Vec::new();
        for number in [u32::try_from(index.len()).unwrap(), u32::try_from(store.len()).unwrap()] {
            blob.extend(number.to_be_bytes());
        }
        for (tag, kind, offset, count) in index {
            for number in [tag, kind, offset, count] {
                blob.extend(number.to_be_bytes());
            }
        }
        blob.extend(store);
        blob
    }

    fn sample() -> Vec<u8> {
        let index =
            [(1000, 6, 0, 1), (1117, 8, 5, 3), (1003, 4, 12, 2), (1030, 3, 12, 1), (261, 7, 0, 4), (1004, 9, 0, 1)];
        blob(&index, b"bash\0a\0\0bc\0\0\x00\x00\x00\x07\xff\xff\xff\xff")
    }

    #[test]
    fn reads_values_of_all_types() {
        let header = Header::parse(sample()).unwrap();
        assert_eq!(header.text(1000).as_deref(), Some("bash"));
        assert_eq!(header.texts(1117), [&b"a"[..], b"", b"bc"]);
        assert_eq!(header.numbers(1003), [7, 0xffff_ffff]);
        assert_eq!(header.numbers(1030), [0]);
        assert_eq!(header.bytes(261), Some(&b"bash"[..]));
        assert_eq!((header.text(1003), header.numbers(1000), header.bytes(1000)), (None, vec![], None));
        assert_eq!(header.text(9999), None);
    }

    #[test]
    fn refuses_sizes_that_do_not_fit() {
        let short = sample()[..50].to_vec();
        for (bytes, what) in [
            (Vec::new(), "it is too short"),
            (short, "its sizes do not add up"),
            (vec![0xff; 64], "its sizes are beyond the limits of rpm"),
            (blob(&[(1000, 6, 9, 1)], b"bash\0"), "a value lies outside of it"),
            (blob(&[(1000, 8, 0, u32::MAX)], b"bash\0"), "a value lies outside of it"),
            (blob(&[(1003, 5, 0, u32::MAX)], b"bash\0"), "a value lies outside of it"),
            (blob(&[(1003, 77, 0, 1)], b"bash\0"), "a value lies outside of it"),
            (blob(&[(1000, 6, 0, 1)], b"bash"), "a value lies outside of it"),
        ] {
            assert_eq!(Header::parse(bytes).unwrap_err(), HeaderError { what });
        }
    }

    /// A region with the name, and a number behind it.
    fn sealed(index: &[(u32, u32, u32, u32)], entries: u32) -> Vec<u8> {
        let mut store = b"bash\0".to_vec();
        for number in [63, 7, (entries * 16).wrapping_neg(), 16_u32] {
            store.extend(number.to_be_bytes());
        }
        store.extend(*b"\0\0\0\x00\x00\x00\x07abc\0");
        blob(&[&[(63, 7, 5, 16), (1000, 6, 0, 1)], index].concat(), &store)
    }

    #[test]
    fn sets_a_number_behind_the_region_and_nothing_else() {
        let bytes = sealed(&[(1008, 4, 24, 1), (1001, 6, 28, 1)], 2);
        let mut header = Header::parse(bytes.clone()).unwrap();
        assert_eq!(header.set(1128, 9), Ok(None));
        assert_eq!(header.blob, bytes);
        assert_eq!(header.set(1008, 0x0102_0304), Ok(Some(7)));
        assert_eq!((header.numbers(1008), header.text(1001).as_deref()), (vec![0x0102_0304], Some("abc")));
        let changed: Vec<usize> = (0..bytes.len()).filter(|at| header.blob[*at] != bytes[*at]).collect();
        assert_eq!(changed, (bytes.len() - 8..bytes.len() - 4).collect::<Vec<_>>());
        assert_eq!(header.set(1008, 7), Ok(Some(0x0102_0304)));
        assert_eq!(header.blob, bytes);
    }

    #[test]
    fn sets_no_number_that_is_sealed_or_shared() {
        let twice = (1008, 4, 24, 1);
        for (index, entries, what) in [
            (&[twice][..], 3, "a value to change lies in its region"),
            (&[(1008, 4, 17, 1)], 2, "a value to change lies in its region"),
            (&[twice, twice], 2, "a tag stands in it twice"),
            (&[(1008, 4, 24, 2)], 2, "a value to change is no 32-bit number"),
            (&[(1008, 6, 28, 1)], 2, "a value to change is no 32-bit number"),
            (&[twice, (1128, 4, 24, 1)], 2, "its values overlap"),
            (&[twice, (1001, 6, 27, 1)], 2, "its values overlap"),
            (&[twice], 4, "its region has no proper end"),
            (&[twice], 0, "its region has no proper end"),
        ] {
            let mut header = Header::parse(sealed(index, entries)).unwrap();
            assert_eq!(header.set(1008, 9), Err(HeaderError { what }), "{index:?}");
            assert_eq!(header.blob, sealed(index, entries));
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = sample();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(mut header) = Header::parse(bytes) {
                for tag in [1000, 1117, 1003, 1030, 261] {
                    let _ = (header.text(tag), header.texts(tag), header.numbers(tag), header.bytes(tag));
                    let _ = header.set(tag, 1);
                }
            }
        }
    }
}
