//! cpio archives of the newc form (cpio(5)).

use std::io::{self, BufRead, Read};

use super::{ArchiveError, relative};

/// How each entry begins.
const MAGIC: &[u8] = b"070701";
/// Size of a header.
const HEADER: usize = 110;
/// The name of the last entry.
const TRAILER: &str = "TRAILER!!!";
/// Longest name that is read (`PATH_MAX` of linux/limits.h).
const NAME_MAX: u64 = 4096;
/// The bits of a mode that say what kind of file it is, and those of a regular file.
const KIND: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;

pub(super) fn file(
    mut archive: impl BufRead,
    wanted: fn(&str) -> bool,
    limit: u64,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    let damaged = |what| ArchiveError::Damaged { what };
    loop {
        let mut header = [0; HEADER];
        archive.read_exact(&mut header)?;
        if !header.starts_with(MAGIC) {
            return Err(damaged("an entry of its payload does not begin as entries do"));
        }
        let field = |number: usize| {
            let digits = header.get(6 + 8 * number..14 + 8 * number).and_then(|bytes| std::str::from_utf8(bytes).ok());
            let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            value.ok_or(damaged("a number of its payload is none"))
        };
        let (mode, size, length) = (field(1)?, field(6)?, field(11)?);
        if length == 0 || length > NAME_MAX {
            return Err(damaged("a name in its payload has no proper length"));
        }
        let mut name = vec![0; usize::try_from(length).unwrap_or_default()];
        archive.read_exact(&mut name)?;
        skip(&mut archive, padding(HEADER as u64 + length))?;
        let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name)).into_owned();
        if name == TRAILER {
            return Ok(None);
        }
        if mode & KIND == REGULAR && size > 0 && wanted(relative(&name)) {
            if size > limit {
                return Err(ArchiveError::TooLarge { path: name, limit });
            }
            let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
            archive.read_exact(&mut bytes)?;
            return Ok(Some(bytes));
        }
        skip(&mut archive, size + padding(size))?;
    }
}

/// Bytes up to the next multiple of four.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(4) - size
}

fn skip(archive: &mut impl Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut archive.take(count), &mut io::sink())?;
    if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
