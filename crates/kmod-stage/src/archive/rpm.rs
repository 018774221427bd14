//! An rpm: lead, signature, header, payload.

use super::{ArchiveError, cpio};
use crate::repository::decompress;

/// How the lead begins.
pub(super) const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Size of the lead.
const LEAD: usize = 96;
/// How a header begins.
const HEADER: [u8; 3] = [0x8e, 0xad, 0xe8];
/// Size of what stands before the index of a header, and of an entry of the index.
const ENTRY: usize = 16;

pub(super) fn file(package: &[u8], wanted: fn(&str) -> bool, limit: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
    let damaged = || ArchiveError::Damaged { what: "its headers do not end inside of it" };
    let signature = LEAD.checked_add(header(package.get(LEAD..).ok_or_else(damaged)?)?).ok_or_else(damaged)?;
    let main = signature.next_multiple_of(8);
    let rest = package.get(main..).ok_or_else(damaged)?;
    let payload = rest.get(header(rest)?..).ok_or_else(damaged)?;
    cpio::file(decompress(payload, "its payload")?, wanted, limit)
}

/// The size of the header that `bytes` begin with.
fn header(bytes: &[u8]) -> Result<usize, ArchiveError> {
    let damaged = ArchiveError::Damaged { what: "a header does not begin as headers do" };
    let number = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    let size = || number(8)?.checked_mul(ENTRY)?.checked_add(number(12)?)?.checked_add(ENTRY);
    size().filter(|_| bytes.starts_with(&HEADER)).ok_or(damaged)
}
