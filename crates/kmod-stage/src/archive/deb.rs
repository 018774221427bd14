//! deb(5): an ar archive of `debian-binary`, `control.tar` and `data.tar`.

use std::io::Read;

use super::{ArchiveError, relative};
use crate::repository::decompress;

/// How an ar archive begins.
pub(super) const MAGIC: &[u8] = b"!<arch>\n";
/// Size of the header of a member.
const HEADER: usize = 60;

pub(super) fn file(package: &[u8], wanted: fn(&str) -> bool, limit: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
    let data = member(package, "data.tar")?.ok_or(ArchiveError::Damaged { what: "it has no data.tar" })?;
    let mut archive = tar::Archive::new(decompress(data, "data.tar")?);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type().is_file() && wanted(relative(&path)) {
            if entry.size() > limit {
                return Err(ArchiveError::TooLarge { path, limit });
            }
            let mut bytes = Vec::new();
            entry.take(limit).read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The bytes of the first member whose name begins with `name`.
fn member<'a>(package: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, ArchiveError> {
    let damaged = |what| ArchiveError::Damaged { what };
    let mut rest = package.get(MAGIC.len()..).unwrap_or_default();
    while !rest.is_empty() {
        let (header, body) = rest.split_at_checked(HEADER).ok_or(damaged("it ends in the middle of a header"))?;
        let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim().to_owned();
        let size: usize = text(48..58).parse().map_err(|_| damaged("the size of a member is no number"))?;
        let (bytes, after) = body.split_at_checked(size).ok_or(damaged("it ends in the middle of a member"))?;
        if text(0..16).starts_with(name) {
            return Ok(Some(bytes));
        }
        // Members begin at even places.
        rest = after.get(size % 2..).unwrap_or_default();
    }
    Ok(None)
}
