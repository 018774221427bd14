//! rpm's `SQLite` database, written anew: the same rows always give the same bytes.
//!
//! A file that rpm changed depends on its history: free pages, the order of pages, counters, numbers of the rows of indexes,
//! what the planner of queries counted when. So every row goes into a new database, in an order that follows from
//! its values, and the counters get constants.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use rusqlite::{Connection, params};

use super::sqlite::{PACKAGES_MAX, distrust};

/// The table of packages, as rpm makes it.
const PACKAGES: &str = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)";
/// The tables that `SQLite` makes by itself: numbers that were given, and what the planner of queries counted.
const OWN: [&str; 4] = [
    "CREATE TABLE sqlite_sequence(name,seq)",
    "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    "CREATE TABLE sqlite_stat3(tbl,idx,neq,nlt,ndlt,sample)",
    "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
];
/// The index by transactions. Its keys are their numbers, in the byte order of the machine that rpm ran on.
const TRANSACTIONS: &str = "Installtid";
/// What the file's head says of its history (sqlite.org, "Database File Format", 1.3): the counter of changes, the change
/// for which the size in it is right, and the version of `SQLite`, here the first that keeps the size.
const COUNTERS: [(usize, u32); 3] = [(24, 1), (92, 1), (96, 3_007_000)];
/// Size of the head.
pub(super) const HEAD: usize = 100;

/// Why a database could not be written anew.
pub(super) enum Fault {
    Damaged(&'static str),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A header before and after the change.
pub(super) struct Changed {
    pub(super) blob: Vec<u8>,
    /// The number of its transaction, then and now, where it has one.
    pub(super) transaction: Option<(u32, u32)>,
}

/// The database `bytes` with each header as `change` gives it, and the index by transactions fitting. Needs memory for
/// two databases.
///
/// The schema comes from the image. Only statements that rpm makes are in it afterwards, so nothing else ever runs.
pub(super) fn anew(
    bytes: Vec<u8>,
    change: &mut dyn FnMut(Vec<u8>) -> Result<Changed, Fault>,
) -> Result<Vec<u8>, Fault> {
    let mut database = open(bytes)?;
    let schema = Schema::of(&database)?;
    let order: String = database.query_row("PRAGMA image.quick_check(1)", [], |row| row.get(0))?;
    if order != "ok" {
        return Err(Fault::Damaged("its pages or rows are in disorder"));
    }
    let setting = |name: &str| database.pragma_query_value(Some("image"), name, |row| row.get::<_, i64>(0));
    for name in ["page_size", "user_version", "application_id"] {
        database.pragma_update(Some("main"), name, setting(name)?)?;
    }
    // What is moved within the file leaves no traces in it, and what is sorted is on no disk.
    database.execute_batch("PRAGMA main.secure_delete = ON; PRAGMA temp_store = MEMORY; BEGIN")?;
    database.execute(PACKAGES, [])?;
    let transactions = packages(&database, change)?;
    for (table, statement) in &schema.tables {
        database.execute(statement, [])?;
        if table == TRANSACTIONS {
            by_transaction(&database, &transactions)?;
            continue;
        }
        let rows = format!("SELECT key, hnum, idx FROM image.'{table}' NOT INDEXED ORDER BY hnum, idx, key");
        database.execute(&format!("INSERT INTO main.'{table}'(key, hnum, idx) {rows}"), [])?;
    }
    for statement in &schema.indexes {
        database.execute(statement, [])?;
    }
    database.execute_batch("COMMIT; DETACH image")?;
    let mut bytes = database.serialize("main")?.to_vec();
    for (at, number) in COUNTERS {
        let place = bytes.get_mut(at..at + 4).ok_or(Fault::Damaged("it is too short"))?;
        place.copy_from_slice(&number.to_be_bytes());
    }
    Ok(bytes)
}

/// A new database, with that of `bytes` beside it as `image`, which nothing changes.
fn open(bytes: Vec<u8>) -> rusqlite::Result<Connection> {
    let mut database = Connection::open_in_memory()?;
    database.execute_batch("ATTACH ':memory:' AS image")?;
    distrust(&database)?;
    let size = bytes.len();
    database.deserialize_read_exact(c"image", Cursor::new(bytes), size, true)?;
    Ok(database)
}

/// What rpm makes besides the table of packages.
struct Schema {
    /// The tables of indexes, by name: the statement that makes each.
    tables: BTreeMap<String, String>,
    /// Statements that make indexes of these tables.
    indexes: BTreeSet<String>,
}

impl Schema {
    /// That of `image`, when there is nothing in it but what rpm's own statements make.
    fn of(database: &Connection) -> Result<Self, Fault> {
        let other = || Fault::Damaged("its tables are not those that rpm makes");
        let (mut packages, mut tables, mut indexes) = (0, BTreeMap::new(), BTreeMap::new());
        let mut statement = database.prepare("SELECT type, name, tbl_name, sql FROM image.sqlite_schema")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text = |column| row.get::<_, String>(column).map_err(|_| other());
            let (kind, name, table, made) = (text(0)?, text(1)?, text(2)?, text(3)?);
            let plain = table.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let by = |key| table_of(&table, key) == made;
            let of =
                |column| (format!("{table}_{column}_idx"), index_of(&table, column)) == (name.clone(), made.clone());
            match kind.as_str() {
                "table" if name != table => return Err(other()),
                "table" if made == PACKAGES && name == "Packages" => packages += 1,
                // Numbers of packages that were given, and what the planner counted: made again as it is needed.
                "table" if OWN.contains(&made.as_str()) => {}
                "table" if plain && (by("TEXT") || by("BLOB")) => drop(tables.insert(name, made)),
                "index" if plain && (of("key") || of("hnum")) => drop(indexes.insert(made, table)),
                _ => return Err(other()),
            }
        }
        if packages != 1 || !indexes.values().all(|table| tables.contains_key(table)) {
            return Err(other());
        }
        Ok(Self { tables, indexes: indexes.into_keys().collect() })
    }
}

fn table_of(name: &str, key: &str) -> String {
    format!(
        "CREATE TABLE '{name}' (key '{key}' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, \
         FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))"
    )
}

fn index_of(table: &str, column: &str) -> String {
    format!("CREATE INDEX '{table}_{column}_idx' ON '{table}'({column} ASC)")
}

/// Copies the packages. Gives the numbers of their transactions, then and now.
fn packages(
    database: &Connection,
    change: &mut dyn FnMut(Vec<u8>) -> Result<Changed, Fault>,
) -> Result<BTreeMap<i64, (u32, u32)>, Fault> {
    let mut transactions = BTreeMap::new();
    let mut insert = database.prepare("INSERT INTO main.Packages(hnum, blob) VALUES (?1, ?2)")?;
    let mut statement = database.prepare("SELECT hnum, blob FROM image.Packages ORDER BY hnum")?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if count > PACKAGES_MAX {
            return Err(Fault::Damaged("it has too many packages"));
        }
        let number: i64 = row.get(0)?;
        let changed = change(row.get(1)?)?;
        insert.execute(params![number, changed.blob])?;
        transactions.extend(changed.transaction.map(|both| (number, both)));
    }
    Ok(transactions)
}

/// Writes the index by transactions, whose keys follow the headers.
fn by_transaction(database: &Connection, transactions: &BTreeMap<i64, (u32, u32)>) -> Result<(), Fault> {
    let other = || Fault::Damaged("its index by transactions is not that of its packages");
    let rows = format!("SELECT key, hnum, idx FROM image.'{TRANSACTIONS}' NOT INDEXED ORDER BY hnum, idx, key");
    let mut statement = database.prepare(&rows)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let rows: Vec<(Vec<u8>, i64, i64)> = statement.query_map([], row)?.collect::<Result<_, _>>()?;
    let fits = |order: fn(u32) -> [u8; 4]| {
        let mut rows = rows.iter();
        rows.all(|(key, number, _)| transactions.get(number).is_some_and(|(then, _)| order(*then) == key[..]))
    };
    let orders = [u32::to_le_bytes as fn(u32) -> [u8; 4], u32::to_be_bytes];
    let order = orders.into_iter().find(|order| fits(*order)).ok_or_else(other)?;
    let mut insert =
        database.prepare(&format!("INSERT INTO main.'{TRANSACTIONS}'(key, hnum, idx) VALUES (?1, ?2, ?3)"))?;
    for (_, number, index) in &rows {
        let (_, now) = transactions.get(number).ok_or_else(other)?;
        insert.execute(params![order(*now), number, index])?;
    }
    Ok(())
}
