//! Times of installation, set to times of building: what rpm says of the result, and what is refused.
use std::io;
use std::path::PathBuf;

use proptest::prelude::*;
use rpm::{BuildTimes, normal, with_build_times};

use super::*;

const AT: &str = "usr/lib/sysimage/rpm/rpmdb.sqlite";
/// When the packages are built; the first bytes of none are its last.
const BUILT: [(&str, u32); 3] = [("one", 1_000_000_001), ("two", 1_000_000_002), ("three", 1_000_000_003)];

/// A system that rpm installs packages into.
struct System<'a> {
    packages: &'a Path,
    root: PathBuf,
}

impl<'a> System<'a> {
    fn new(packages: &'a Path, name: &str) -> Self {
        let root = packages.join(name);
        fs::create_dir_all(&root).unwrap();
        Self { packages, root }
    }

    fn rpm(&self, words: &[&str]) -> Command {
        let mut command = Command::new("rpm");
        command.args(["--define", "_dbpath /usr/lib/sysimage/rpm", "--root"]).arg(&self.root).args(words);
        command
    }

    fn said(&self, words: &[&str]) -> String {
        stdout(&mut self.rpm(words)).unwrap()
    }

    fn install(&self, name: &str, time: &str) {
        let file = self.packages.join(format!("top/RPMS/noarch/{name}-1-1.noarch.rpm"));
        stdout(self.rpm(&["-i", "--nodeps"]).arg(file).env("SOURCE_DATE_EPOCH", time)).unwrap();
    }

    fn times(&self) -> String {
        let said = self.said(&["-qa", "--qf", "%{DBINSTANCE} %{NAME} %{INSTALLTIME} %{INSTALLTID}\n"]);
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    fn tree(&self) -> FileTree {
        let mut tree = FileTree::new();
        add_directory(&mut tree, &self.root.join("usr/lib/sysimage/rpm"), "usr/lib/sysimage/rpm");
        tree
    }

    /// Puts another database into the place of the system's own.
    fn put(&self, bytes: &[u8]) {
        let file = self.root.join(AT);
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{end}", file.display()));
        }
        fs::write(file, bytes).unwrap();
    }
}

/// Builds the packages; `None` where rpm is not installed.
fn packages() -> Option<tempfile::TempDir> {
    stdout(Command::new("rpmbuild").arg("--version"))?;
    let root = tempfile::tempdir().unwrap();
    for (name, built) in BUILT {
        let spec = root.path().join(format!("{name}.spec"));
        let text = format!(
            "Name: {name}\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n%install\n\
             mkdir -p %{{buildroot}}/usr/share\necho {name} > %{{buildroot}}/usr/share/{name}\n%files\n/usr/share/{name}\n"
        );
        fs::write(&spec, text).unwrap();
        let build = &mut Command::new("rpmbuild");
        build.args(["-bb", "--quiet", "--define", "use_source_date_epoch_as_buildtime 1", "--define"]);
        build.arg(format!("_topdir {}", root.path().join("top").display())).arg(&spec);
        stdout(build.env("SOURCE_DATE_EPOCH", built.to_string()))?;
    }
    Some(root)
}

fn file(tree: &FileTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    let content = tree.content(&path(AT)).unwrap();
    io::Read::read_to_end(&mut Memory::default().open(content).unwrap(), &mut bytes).unwrap();
    bytes
}

#[test]
fn the_same_packages_have_the_same_database_whenever_they_were_installed() {
    let Some(packages) = packages() else { return };
    let (early, late) = (System::new(packages.path(), "early"), System::new(packages.path(), "late"));
    for name in ["one", "two"] {
        early.install(name, "1500000000");
        late.install(name, "1600000000");
    }
    late.install("three", "1600000001");
    late.said(&["-e", "three"]);
    assert_eq!(late.times(), "1 one 1600000000 1600000000\n2 two 1600000000 1600000000");
    let (first, said) = with_build_times(&early.tree(), &Memory::default()).unwrap().unwrap();
    let (second, _) = with_build_times(&late.tree(), &Memory::default()).unwrap().unwrap();
    assert_eq!(said, changed(2));
    assert_ne!(file(&early.tree()), file(&late.tree()));
    assert!(file(&first) == file(&second), "another history, another file");
    for end in ["-wal", "-shm"] {
        assert!(second.get(&path(&format!("{AT}{end}"))).is_none());
    }
    let (again, said) = with_build_times(&first, &Memory::default()).unwrap().unwrap();
    assert_eq!((said.packages, again), (0, first.clone()), "the normal form is its own");

    // rpm takes it for its own, finds packages by their transaction, and goes on with it.
    let bytes = file(&first);
    assert_eq!(bytes[18..20], [1, 1], "readable where nobody can write a log");
    late.put(&bytes);
    let normal = "1 one 1000000001 1000000001\n2 two 1000000002 1000000002";
    assert_eq!(late.times(), normal);
    assert_eq!(late.said(&["-q", "--tid", "1000000002"]), "two-1-1.noarch\n");
    assert_eq!(late.said(&["-qf", "/usr/share/one", "/usr/share/two"]), "one-1-1.noarch\ntwo-1-1.noarch\n");
    let check = || [&["-V", "one", "two"][..], &["--verifydb"]].map(|words| late.said(words)).concat();
    assert_eq!(check(), "");
    late.install("three", "1700000000");
    assert_eq!(late.times(), format!("{normal}\n3 three 1700000000 1700000000"));
    assert_eq!(late.said(&["-q", "--tid", "1700000000"]), "three-1-1.noarch\n");
    late.said(&["-e", "three"]);
    assert_eq!((check(), late.times().as_str()), (String::new(), normal));
    let (back, said) = with_build_times(&late.tree(), &Memory::default()).unwrap().unwrap();
    assert_eq!(said.packages, 0);
    assert!(file(&back) == bytes, "what came and went leaves no trace");
    // Digests are of the headers as they were built: rpm complains of one that does not fit, and so not of ours.
    let complaints = || String::from_utf8(late.rpm(&["-qa"]).output().unwrap().stderr).unwrap();
    late.put(&bytes);
    assert_eq!(complaints(), "");
    let at = bytes.windows(8).position(|window| window == b"one\x001\x001\x00").unwrap();
    let forged: Vec<u8> = bytes.iter().enumerate().map(|(place, byte)| byte ^ u8::from(place == at)).collect();
    late.put(&forged);
    assert!(complaints().contains("digest: BAD"), "{}", complaints());
}

/// A header with times of building and installation, and a region around the former.
fn header(name: &str, built: u32, installed: [u32; 2]) -> Vec<u8> {
    let mut text = name.as_bytes().to_vec();
    text.resize((name.len() + 1).next_multiple_of(4), 0);
    let at = u32::try_from(text.len()).unwrap();
    let index = [(63, 7, at + 4, 16), (1000, 6, 0, 1), (1006, 4, at, 1), (1008, 4, at + 20, 1), (1128, 4, at + 24, 1)];
    let store =
        [&text[..], &built.to_be_bytes(), &trailer(3), &installed[0].to_be_bytes(), &installed[1].to_be_bytes()];
    let store = store.concat();
    let numbers = [5, u32::try_from(store.len()).unwrap()].into_iter();
    let numbers = numbers.chain(index.into_iter().flat_map(|(tag, kind, offset, count)| [tag, kind, offset, count]));
    numbers.flat_map(u32::to_be_bytes).chain(store).collect()
}

fn trailer(entries: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, number) in [63, 7, (entries * 16).wrapping_neg(), 16].into_iter().enumerate() {
        bytes[place * 4..place * 4 + 4].copy_from_slice(&u32::to_be_bytes(number));
    }
    bytes
}

const SCHEMA: &str = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL); \
    CREATE TABLE 'Installtid' (key 'BLOB' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, \
    FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum)); \
    CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, \
    FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum)); CREATE INDEX 'Name_key_idx' ON 'Name'(key ASC);";

/// A database of one package as rpm makes it, and then what `more` does to it.
fn database(key: [u8; 4], more: &str) -> Vec<u8> {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.execute("INSERT INTO Packages VALUES (1, ?1)", [header("one", 7, [8, 9])]).unwrap();
    connection.execute("INSERT INTO Installtid VALUES (?1, 1, 0)", [key]).unwrap();
    connection.execute_batch("INSERT INTO Name VALUES ('one', 1, 0)").unwrap();
    connection.execute_batch(more).unwrap();
    connection.serialize("main").unwrap().to_vec()
}

/// The keys of the index by transactions.
fn keys(bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    let size = bytes.len();
    connection.deserialize_read_exact("main", io::Cursor::new(bytes), size, true).unwrap();
    let mut statement = connection.prepare("SELECT key FROM Installtid").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_index_follows_in_the_byte_order_of_the_machine() {
    for order in [u32::to_le_bytes, u32::to_be_bytes] {
        let (bytes, done) = normal(&path(AT), database(order(9), "")).unwrap();
        assert_eq!((keys(bytes.clone()), done), (vec![order(7).to_vec()], changed(1)));
        assert_eq!(normal(&path(AT), bytes.clone()).unwrap(), (bytes, changed(0)));
    }
    let (bytes, _) = normal(&path(AT), database([0; 4], "DROP TABLE Installtid")).unwrap();
    assert_eq!(normal(&path(AT), bytes.clone()).unwrap(), (bytes, changed(0)));
}

fn changed(packages: usize) -> BuildTimes {
    BuildTimes { path: path(AT), packages, keys: 0 }
}

#[test]
fn public_keys_are_counted() {
    // rpm dates the entry of a key by its import, within the region.
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    for (name, built) in [("one", 7), ("gpg-pubkey", 9)] {
        connection.execute("INSERT INTO Packages(blob) VALUES (?1)", [header(name, built, [8, 9])]).unwrap();
    }
    let bytes = connection.serialize("main").unwrap().to_vec();
    let (_, done) = normal(&path(AT), bytes).unwrap();
    assert_eq!(done, BuildTimes { keys: 1, ..changed(2) });
}

#[test]
fn what_rpm_does_not_make_is_refused() {
    let own = 9_u32.to_le_bytes();
    let other = "its tables are not those that rpm makes";
    let index = "its index by transactions is not that of its packages";
    for (more, what) in [
        ("CREATE TRIGGER t AFTER INSERT ON Packages BEGIN SELECT 1; END", other),
        ("CREATE VIEW v AS SELECT 1", other),
        ("CREATE TABLE Other (x)", other),
        ("CREATE TABLE 'Sum' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx AS (hnum))", other),
        ("CREATE INDEX i ON Name(hnum + 1)", other),
        ("CREATE INDEX 'Name_hnum_idx' ON 'Name'(hnum ASC) WHERE hnum > 1", other),
        ("DROP TABLE Packages", other),
        ("UPDATE Installtid SET key = x'01020304'", index),
        ("UPDATE Installtid SET hnum = 2", index),
        ("UPDATE Packages SET blob = x'00'", "it is too short"),
    ] {
        let error = normal(&path(AT), database(own, more)).unwrap_err();
        assert_eq!(error.to_string(), format!("/{AT} is damaged: {what}"), "{more}");
    }
    // Two trees of pages that share one.
    let mut bytes = database(own, "");
    let text = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).rposition(|window| window == text).unwrap();
    let place = text(&bytes, b"NameName") + 8;
    bytes[place] = 2;
    let error = normal(&path(AT), bytes).unwrap_err().to_string();
    assert!(error.contains("is damaged") || error.contains("no usable"), "{error}");
}

/// SQLite runs expressions of a schema before anybody can look at it; these would take hours.
#[test]
fn expressions_of_a_schema_do_not_run() {
    let slow = "instr(hex(zeroblob(20000000)), hex(zeroblob(10000000))||'1')";
    for (name, columns) in [
        ("sqlite_stat1", format!("tbl,idx,stat AS ({slow})")),
        ("sqlite_sequence", format!("name,seq,CHECK({slow}=0)")),
        ("Name", format!("key 'TEXT' NOT NULL, hnum INTEGER, idx INTEGER, CHECK({slow}=0)")),
        ("Packages", format!("hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB, b AS ({slow})")),
        ("sqlite_stat1", format!("tbl,idx,stat AS (tbl{})", "||tbl".repeat(200))),
    ] {
        let columns = columns.replace('\'', "''");
        let bytes = database(
            9_u32.to_le_bytes(),
            &format!(
                "ANALYZE; PRAGMA writable_schema = ON; \
                 UPDATE sqlite_schema SET sql = 'CREATE TABLE {name}({columns})' WHERE name = '{name}'"
            ),
        );
        normal(&path(AT), bytes.clone()).unwrap_err();
        let mut tree = FileTree::new();
        add_file(&mut tree, AT, 0o644, bytes);
        read(&tree, &Memory::default()).unwrap_err();
    }
}

#[test]
fn a_tree_keeps_the_names_of_its_database() {
    let mut tree = FileTree::new();
    assert_eq!(with_build_times(&tree, &Memory::default()).unwrap(), None);
    add_file(&mut tree, "usr/lib/dpkg/status", 0o644, STATUS);
    assert_eq!(with_build_times(&tree, &Memory::default()).unwrap(), None, "dpkg has no such times");
    let mut tree = FileTree::new();
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite", 0o600, database(9_u32.to_le_bytes(), ""));
    let mut inode = tree.get(&path("usr/share/rpm/rpmdb.sqlite")).unwrap().clone();
    inode.meta.xattrs.insert(b"security.ima".as_slice().into(), b"x".as_slice().into());
    inode.meta.xattrs.insert(b"user.x".as_slice().into(), b"x".as_slice().into());
    tree.insert(path("usr/share/rpm/rpmdb.sqlite"), inode.clone());
    let kind = crate::tree::Kind::Hardlink(path("usr/share/rpm/rpmdb.sqlite"));
    for name in ["usr/lib/sysimage/base/rpmdb.sqlite", "usr/share/rpm/other"] {
        add(&mut tree, name, Inode { kind: kind.clone(), ..inode.clone() });
    }
    add(&mut tree, "usr/lib/sysimage/rpm", Inode::symlink("../../share/rpm", 0));
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite-shm", 0o644, "x");
    let names = tree.names(&path("usr/share/rpm/rpmdb.sqlite"));
    assert_eq!(names.len(), 3);
    let (after, said) = with_build_times(&tree, &Memory::default()).unwrap().unwrap();
    assert_eq!((said.path, said.packages), (path("usr/share/rpm/rpmdb.sqlite"), 1));
    assert_eq!(after.names(&path("usr/share/rpm/other")), names);
    let owner = after.get(&names[0]).unwrap();
    let attributes: Vec<_> = owner.meta.xattrs.keys().map(|name| &name[..]).collect();
    assert_eq!((owner.meta.mode, attributes), (0o600, vec![&b"user.x"[..]]));
    assert_eq!(after.len(), tree.len() - 1);
    assert_eq!(with_build_times(&after, &Memory::default()).unwrap().unwrap().0, after);
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite-journal", 0o644, "x");
    let error = with_build_times(&tree, &Memory::default()).unwrap_err().to_string();
    assert!(error.starts_with("/usr/share/rpm/rpmdb.sqlite-journal is damaged"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_never_panics(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = database(9_u32.to_le_bytes(), "");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((bytes, _)) = normal(&path(AT), bytes) {
            let (again, done) = normal(&path(AT), bytes.clone()).unwrap();
            prop_assert_eq!((again, done.packages), (bytes, 0));
        }
    }
}
