//! The blobs of table `Packages`, by `SQLite` over a copy in memory.

use std::collections::BTreeSet;
use std::io::{self, Cursor, ErrorKind, Read};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use super::{DATABASE_MAX, PkgDbError, VERSION_PLAIN, VERSIONS};
use crate::layer::WholeError;
use crate::tree::TreePath;

/// The largest value accepted: a header of rpm has at most 256 MiB.
pub(super) const BLOB_MAX: i32 = 257 << 20;
/// The longest statement accepted, in bytes: rpm's have 150, and ours less than 200.
const STATEMENT_MAX: i32 = 512;
/// The most packages accepted: ten times what Fedora has in all its repositories.
pub(super) const PACKAGES_MAX: usize = 1_000_000;

/// Makes `database` ready for what comes from an image: call it before that is loaded, for `SQLite` runs expressions of a
/// schema before anybody can look at it: generated columns of the planner's statistics when it reads the schema, checks when
/// it looks at rows. rpm's schema has no functions and short statements, and what operators alone can do in those has an end.
/// So triggers, views and functions are off, those that `VACUUM` and `ATTACH` call among them, and `SQLite` refuses statements
/// of more than 512 bytes and values of more than 257 MiB. The errors are those of a setting that it does not take.
pub fn distrust(database: &Connection) -> rusqlite::Result<()> {
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
    ] {
        database.set_db_config(setting, value)?;
    }
    database.set_limit(Limit::SQLITE_LIMIT_LENGTH, BLOB_MAX)?;
    database.set_limit(Limit::SQLITE_LIMIT_FUNCTION_ARG, 0)?;
    database.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_MAX)?;
    Ok(())
}

/// Passes the blobs on, by number. The database is `bytes`, of `size` bytes; `SQLite` has the only copy of it.
///
/// The schema comes from the image, so it is not trusted: `Packages` must be a plain table whose columns are stored,
/// not computed, and functions in schemas are off.
pub(super) fn blobs(
    path: &TreePath,
    size: usize,
    mut bytes: impl Read,
    each: &mut dyn FnMut(Vec<u8>) -> Result<(), PkgDbError>,
) -> Result<(), PkgDbError> {
    let damaged = |what| PkgDbError::Damaged { path: path.clone(), what };
    // A database in memory has no log: say so in the header, as `PRAGMA journal_mode=DELETE` would.
    let mut head = [0; VERSIONS.end];
    let unread = |source| PkgDbError::Read(WholeError::Read { path: path.clone(), source });
    bytes.read_exact(&mut head).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => damaged("it is too short"),
        _ => unread(error),
    })?;
    // What SQLite says of an error while it reads is less than the error.
    let mut failed = None;
    let mut bytes = Noting { bytes, failed: &mut failed };
    head[VERSIONS].fill(VERSION_PLAIN);
    let mut query = || -> rusqlite::Result<Option<Result<(), PkgDbError>>> {
        let mut database = Connection::open_in_memory()?;
        distrust(&database)?;
        database.deserialize_read_exact(c"main", Cursor::new(head).chain(&mut bytes), size, true)?;
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
        let (mut count, mut total) = (0, 0);
        while let Some(row) = rows.next()? {
            let blob: Vec<u8> = row.get(0)?;
            total += blob.len() as u64;
            count += 1;
            if count > PACKAGES_MAX || total > DATABASE_MAX {
                return Ok(None);
            }
            if let Err(error) = each(blob) {
                return Ok(Some(Err(error)));
            }
        }
        Ok(Some(Ok(())))
    };
    let result = query();
    if let Some(error) = failed {
        return Err(unread(error));
    }
    result
        .map_err(|source| PkgDbError::Sqlite { path: path.clone(), source })?
        .ok_or_else(|| damaged("it has no proper table of packages"))?
}

/// Keeps the error that ended a stream.
struct Noting<'a, R> {
    bytes: R,
    failed: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Noting<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(out).map_err(|error| {
            let kind = error.kind();
            // One that is tried again is none.
            if kind != ErrorKind::Interrupted {
                *self.failed = Some(error);
            }
            kind.into()
        })
    }
}
