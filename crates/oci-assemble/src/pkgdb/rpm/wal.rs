//! `SQLite`'s write-ahead log (sqlite.org, "WAL-mode File Format"): pages that are not in the database yet.
//!
//! An image built while the database was open carries one; ignoring it loses the packages installed last.

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The magic for checksums over little-endian words; its last bit set means big-endian.
const MAGIC: u32 = 0x377f_0682;

/// `database` with the committed frames of `log` in place. Frames after the last commit, of an older run of the log,
/// or with a wrong checksum end it, as `SQLite`'s recovery has it.
pub(super) fn applied(mut database: Vec<u8>, log: &[u8]) -> Result<Vec<u8>, &'static str> {
    let word = |at: usize| log.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let short = "the write-ahead log is too short";
    let magic = word(0).ok_or(short)?;
    if magic & !1 != MAGIC {
        return Err("the write-ahead log has no magic");
    }
    let page = word(8).ok_or(short)? as usize;
    if !page.is_power_of_two() || !(512..=65536).contains(&page) {
        return Err("the write-ahead log has an impossible page size");
    }
    let big_endian = magic & 1 == 1;
    let salts = log.get(16..24).ok_or(short)?;
    let mut sum = checksum((0, 0), log.get(..24).ok_or(short)?, big_endian);
    if (word(24), word(28)) != (Some(sum.0), Some(sum.1)) {
        return Ok(database); // a header that was never finished: SQLite starts the log anew
    }
    let mut pending: Vec<(usize, &[u8])> = Vec::new();
    for frame in log.get(HEADER..).ok_or(short)?.chunks_exact(FRAME_HEADER + page) {
        let (head, data) = frame.split_at(FRAME_HEADER);
        let number =
            |at: usize| head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
        sum = checksum(checksum(sum, head.get(..8).unwrap_or_default(), big_endian), data, big_endian);
        if head.get(8..16) != Some(salts) || (number(16), number(20)) != sum {
            break;
        }
        let Some(index) = (number(0) as usize).checked_sub(1) else { break };
        pending.push((index, data));
        let pages = number(4) as usize;
        if pages > 0 {
            commit(&mut database, &mut pending, pages, page)?;
        }
    }
    Ok(database)
}

/// Writes the pages of one transaction and sets the size it leaves.
fn commit(
    database: &mut Vec<u8>,
    pending: &mut Vec<(usize, &[u8])>,
    pages: usize,
    page: usize,
) -> Result<(), &'static str> {
    let size = pages.saturating_mul(page);
    if size as u64 > super::DATABASE_MAX {
        return Err("the write-ahead log makes the database too large");
    }
    database.resize(size, 0);
    for (index, data) in pending.drain(..) {
        // A page beyond the end was cut off by this very transaction.
        let start = index.saturating_mul(page);
        if let Some(place) = database.get_mut(start..start.saturating_add(page)) {
            place.copy_from_slice(data);
        }
    }
    Ok(())
}

fn checksum(mut sum: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let (pairs, _) = bytes.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in pairs.iter().copied() {
        let words = ([a, b, c, d], [e, f, g, h]);
        let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        sum.0 = sum.0.wrapping_add(read(words.0)).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(read(words.1)).wrapping_add(sum.0);
    }
    sum
}
