//! The tables of EROFS directories.
//!
//! Each block of a table stands for itself: entries of 12 bytes, then their names. The entries of all blocks are in the
//! order of the names' bytes, `.` and `..` among them, for kernels find names by bisection.

use super::erofs::BLOCK;

/// Bytes of an entry.
const ENTRY: usize = 12;

/// One name of a directory.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    /// Number of the inode.
    pub(super) place: u64,
    /// `EROFS_FT_*`.
    pub(super) kind: u8,
}

/// Bytes of the table of a directory with these names.
pub(super) fn table_size(mut names: Vec<&[u8]>) -> usize {
    names.sort_unstable();
    let blocks = split(&names);
    let last = blocks.last().map_or(0, |block| bytes(&names[block.clone()]));
    blocks.len().saturating_sub(1) * BLOCK + last
}

/// The table.
pub(super) fn table(mut entries: Vec<Entry<'_>>) -> Vec<u8> {
    entries.sort_unstable_by_key(|entry| entry.name);
    let names: Vec<&[u8]> = entries.iter().map(|entry| entry.name).collect();
    let mut table = Vec::new();
    for block in split(&names) {
        // The block before is filled up.
        table.resize(table.len().next_multiple_of(BLOCK), 0);
        let entries = &entries[block];
        let mut name_at = entries.len() * ENTRY;
        for entry in entries {
            table.extend(entry.place.to_le_bytes());
            table.extend(u16::try_from(name_at).unwrap_or(0).to_le_bytes());
            table.extend([entry.kind, 0]);
            name_at += entry.name.len();
        }
        for entry in entries {
            table.extend(entry.name);
        }
    }
    table
}

/// Which of the sorted names stand in which block.
fn split(names: &[&[u8]]) -> Vec<std::ops::Range<usize>> {
    let mut blocks = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (position, name) in names.iter().enumerate() {
        let size = ENTRY + name.len();
        if used + size > BLOCK {
            blocks.push(start..position);
            (start, used) = (position, 0);
        }
        used += size;
    }
    blocks.push(start..names.len());
    blocks
}

fn bytes(names: &[&[u8]]) -> usize {
    names.iter().map(|name| ENTRY + name.len()).sum()
}
