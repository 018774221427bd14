//! The blobs of table `Packages`, by `SQLite` over a copy in memory.

use std::collections::BTreeSet;
use std::io::Cursor;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use super::{DATABASE_MAX, PkgDbError};
use crate::tree::TreePath;

/// The largest value accepted: a header of rpm has at most 256 MiB.
const BLOB_MAX: i32 = 257 << 20;
/// The most packages accepted: ten times what Fedora has in all its repositories.
const PACKAGES_MAX: usize = 1_000_000;

/// The blobs, by number.
///
/// The schema comes from the image, so it is not trusted: `Packages` must be a plain table whose columns are stored,
/// not computed, and functions in schemas are off.
pub(super) fn blobs(path: &TreePath, mut bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, PkgDbError> {
    let damaged = |what| PkgDbError::Damaged { path: path.clone(), what };
    // A database in memory has no log: say so in the header, as `PRAGMA journal_mode=DELETE` would.
    bytes.get_mut(18..20).ok_or_else(|| damaged("it is too short"))?.fill(1);
    let query = |bytes: Vec<u8>| -> rusqlite::Result<Option<Vec<Vec<u8>>>> {
        let mut database = Connection::open_in_memory()?;
        database.set_limit(Limit::SQLITE_LIMIT_LENGTH, BLOB_MAX)?;
        let size = bytes.len();
        database.deserialize_read_exact(c"main", Cursor::new(bytes), size, true)?;
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        let kind = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'Packages' AND rootpage > 0";
        // This pragma lists stored columns only.
        let mut stored = BTreeSet::new();
        database.pragma(None, "table_info", "Packages", |row| {
            stored.insert(row.get::<_, String>(1)?);
            Ok(())
        })?;
        let tables: i64 = database.query_row(kind, [], |row| row.get(0))?;
        if tables != 1 || !stored.contains("hnum") || !stored.contains("blob") {
            return Ok(None);
        }
        let mut statement = database.prepare("SELECT blob FROM Packages ORDER BY hnum")?;
        let mut rows = statement.query([])?;
        let mut blobs = Vec::new();
        let mut total = 0;
        while let Some(row) = rows.next()? {
            let blob: Vec<u8> = row.get(0)?;
            total += blob.len() as u64;
            blobs.push(blob);
            if blobs.len() > PACKAGES_MAX || total > DATABASE_MAX {
                return Ok(None);
            }
        }
        Ok(Some(blobs))
    };
    query(bytes)
        .map_err(|source| PkgDbError::Sqlite { path: path.clone(), source })?
        .ok_or_else(|| damaged("it has no proper table of packages"))
}
