//! rpm's SQLite database: a header in `Packages`, and rows with its number in one table each index.
//!
//! The entries were written by rpm itself, in the builder. Here they are copied from table to table, under numbers that
//! are free in the image.

use std::collections::BTreeSet;
use std::io::Cursor;

use oci_assemble::image::Epoch;
use oci_assemble::pkgdb::rpm::{Header, distrust, settled};
use oci_assemble::plan::step::View;
use oci_assemble::tree::{Content, Inode, Meta, TreeDelta, TreePath};
use rusqlite::{Connection, params};

use super::{Kept, RECORD, RecordError};
use crate::capture::Export;

/// Name of the database below [`RECORD`].
const DATABASE: &str = "rpmdb.sqlite";
/// The largest database that is read; real ones have 20 to 150 MB.
const DATABASE_MAX: u64 = 1 << 30;
/// Tag of the name in a header (`rpmtag.h` of rpm).
const NAME: u32 = 1000;

/// A database in memory; nothing in its schema runs when it is changed.
fn open(bytes: Vec<u8>) -> rusqlite::Result<Connection> {
    let mut database = Connection::open_in_memory()?;
    distrust(&database)?;
    let size = bytes.len();
    database.deserialize_read_exact(c"main", Cursor::new(bytes), size, false)?;
    Ok(database)
}

/// The tables of indexes: plain ones with the columns that all of rpm's have.
fn indexes(database: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name != 'Packages'";
    let mut statement = database.prepare(query)?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut found = BTreeSet::new();
    for name in names.into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        let mut columns = Vec::new();
        database.pragma(None, "table_info", &name, |row| {
            columns.push(row.get::<_, String>(1)?);
            Ok(())
        })?;
        if columns == ["key", "hnum", "idx"] {
            found.insert(name);
        }
    }
    Ok(found)
}

/// The numbers and names of packages.
fn packages(database: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut statement = database.prepare("SELECT hnum, blob FROM Packages ORDER BY hnum")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name = Header::parse(row.get(1)?).ok().and_then(|header| header.text(NAME)).unwrap_or_default();
        found.push((row.get(0)?, name));
    }
    Ok(found)
}

fn remove(database: &Connection, tables: &BTreeSet<String>, number: i64) -> rusqlite::Result<()> {
    for table in tables {
        database.execute(&format!("DELETE FROM \"{table}\" WHERE hnum = ?1"), params![number])?;
    }
    database.execute("DELETE FROM Packages WHERE hnum = ?1", params![number]).map(drop)
}

/// Copies the package `number` and its rows of `tables`; it becomes `under`, or what is free.
fn copy(
    from: &Connection,
    number: i64,
    to: &Connection,
    under: Option<i64>,
    tables: &BTreeSet<String>,
) -> rusqlite::Result<()> {
    let blob: Vec<u8> =
        from.query_row("SELECT blob FROM Packages WHERE hnum = ?1", params![number], |row| row.get(0))?;
    to.execute("INSERT INTO Packages(hnum, blob) VALUES (?1, ?2)", params![under, blob])?;
    let here = to.last_insert_rowid();
    for table in tables {
        let mut rows = from.prepare(&format!("SELECT key, idx FROM \"{table}\" WHERE hnum = ?1 ORDER BY rowid"))?;
        let mut rows = rows.query(params![number])?;
        let mut insert = to.prepare(&format!("INSERT INTO \"{table}\"(key, hnum, idx) VALUES (?1, ?2, ?3)"))?;
        while let Some(row) = rows.next()? {
            let (key, index): (rusqlite::types::Value, i64) = (row.get(0)?, row.get(1)?);
            insert.execute(params![key, here, index])?;
        }
    }
    Ok(())
}

pub(super) fn taken(
    names: &[String],
    export: &Export,
    path: &TreePath,
    epoch: Epoch,
) -> Result<TreeDelta, RecordError> {
    let wrong = |source| RecordError::Sqlite { path: path.clone(), source };
    let bytes = settled(&export.tree, &export.contents, path)?;
    let database = open(bytes).map_err(wrong)?;
    let known = packages(&database).map_err(wrong)?;
    if let Some(name) = names.iter().find(|name| known.iter().all(|(_, own)| own != *name)) {
        return Err(RecordError::NoPackage { name: name.clone() });
    }
    let wanted: Vec<i64> = known.iter().filter(|(_, name)| names.contains(name)).map(|(number, _)| *number).collect();
    let bytes = alone(&database, &wanted).map_err(wrong)?;
    let mut delta = TreeDelta::new();
    let meta = Meta::root_owned(0o644, epoch.seconds());
    delta.insert(TreePath::new(RECORD)?.join(DATABASE)?, Inode::file(meta, Content::of(bytes)));
    Ok(delta)
}

pub(super) fn entered(kept: &Kept<'_>, path: &TreePath, view: View<'_>) -> Result<TreeDelta, RecordError> {
    let wrong = |source| RecordError::Sqlite { path: path.clone(), source };
    let damaged = |what| RecordError::Damaged { path: path.clone(), what };
    let own =
        kept.bytes(DATABASE, DATABASE_MAX)?.ok_or(damaged("what a builder noted of packages is of another kind"))?;
    let image = settled(view.tree, view.contents, path)?;
    let bytes = merged(image, own).map_err(wrong)?;
    let mut delta = TreeDelta::new();
    let meta = view.tree.get(path).map_or_else(|| Meta::root_owned(0o644, 0), |inode| inode.meta.clone());
    let meta = Meta { mtime: Epoch::UNDATED.seconds(), ..meta };
    delta.insert(path.clone(), Inode::file(meta.clone(), Content::of(bytes)));
    // What stood in the log is in the database.
    let log = TreePath::new([path.as_bytes(), b"-wal"].concat())?;
    if view.tree.content(&log).is_some_and(|content| content.size() > 0) {
        delta.insert(log, Inode::file(meta, Content::of("")));
    }
    Ok(delta)
}

/// A database of the packages with these numbers; it has tables for [`merged`] to read, and nothing else of rpm's.
fn alone(database: &Connection, numbers: &[i64]) -> rusqlite::Result<Vec<u8>> {
    let mut own = Connection::open_in_memory()?;
    let tables = indexes(database)?;
    own.execute_batch("BEGIN; CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")?;
    for table in &tables {
        own.execute_batch(&format!(
            "CREATE TABLE \"{table}\"(key, hnum, idx); CREATE INDEX \"{table}_hnum\" ON \"{table}\"(hnum)"
        ))?;
    }
    for number in numbers {
        copy(database, *number, &own, Some(*number), &tables)?;
    }
    own.execute_batch("COMMIT")?;
    Ok(own.serialize(c"main")?.to_vec())
}

/// The database `image` with the packages of `own`; one of the same name gives way.
fn merged(image: Vec<u8>, own: Vec<u8>) -> rusqlite::Result<Vec<u8>> {
    let own = open(own)?;
    let mut database = open(image)?;
    let tables = indexes(&database)?;
    let new = packages(&own)?;
    database.execute_batch("BEGIN")?;
    for (number, _) in packages(&database)?.iter().filter(|(_, name)| new.iter().any(|(_, own)| own == name)) {
        remove(&database, &tables, *number)?;
    }
    let tables = indexes(&own)?.intersection(&tables).cloned().collect();
    for (number, _) in &new {
        copy(&own, *number, &database, None, &tables)?;
    }
    database.execute_batch("COMMIT")?;
    Ok(database.serialize(c"main")?.to_vec())
}
