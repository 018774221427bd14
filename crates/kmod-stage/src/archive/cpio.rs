//! cpio archives of the newc form (cpio(5)).

use std::io::{self, BufRead, Read};

use super::{ArchiveError, relative};

/// How each entry begins, without and with a checksum.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
/// Size of a header.
const HEADER: usize = 110;
/// The name of the last entry.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Longest name that is read (`PATH_MAX` of linux/limits.h).
const NAME_MAX: u64 = 4096;
/// The bits of a mode that say what kind of file it is, and those of a regular file.
const KIND: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;

/// An entry of an archive, before its bytes.
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    mode: u64,
    size: u64,
}

impl Entry {
    /// Passes over its bytes.
    pub(crate) fn skip(&self, archive: &mut dyn BufRead) -> io::Result<()> {
        skip(archive, self.size + padding(self.size))
    }
}

/// Whether an archive begins here.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    MAGICS.iter().any(|magic| bytes.starts_with(magic))
}

/// The next entry of an archive, whose bytes come next; none at its end.
pub(crate) fn next(archive: &mut dyn BufRead) -> Result<Option<Entry>, ArchiveError> {
    let damaged = |what| ArchiveError::Damaged { what };
    let mut header = [0; HEADER];
    archive.read_exact(&mut header)?;
    if !begins(&header) {
        return Err(damaged("an entry of its archive does not begin as entries do"));
    }
    let field = |number: usize| {
        let digits = header.get(6 + 8 * number..14 + 8 * number).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        value.ok_or(damaged("a number of its archive is none"))
    };
    let (mode, size, length) = (field(1)?, field(6)?, field(11)?);
    if length == 0 || length > NAME_MAX {
        return Err(damaged("a name in its archive has no proper length"));
    }
    let mut name = vec![0; usize::try_from(length).unwrap_or_default()];
    archive.read_exact(&mut name)?;
    skip(archive, padding(HEADER as u64 + length))?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok((name != TRAILER).then_some(Entry { name, mode, size }))
}

pub(super) fn file(
    mut archive: impl BufRead,
    wanted: fn(&str) -> bool,
    limit: u64,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    while let Some(entry) = next(&mut archive)? {
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        if entry.mode & KIND == REGULAR && entry.size > 0 && wanted(relative(&name)) {
            if entry.size > limit {
                return Err(ArchiveError::TooLarge { path: name, limit });
            }
            let mut bytes = vec![0; usize::try_from(entry.size).unwrap_or_default()];
            archive.read_exact(&mut bytes)?;
            return Ok(Some(bytes));
        }
        entry.skip(&mut archive)?;
    }
    Ok(None)
}

/// Bytes up to the next multiple of four.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(4) - size
}

fn skip(archive: &mut dyn BufRead, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut archive.take(count), &mut io::sink())?;
    if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
