//! rpm's database, held against rpm.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::disallowed_methods)]
use std::fmt::Write as _;

use super::*;

const QUERY: &str = "%{NAME} %{EPOCH} %{VERSION} %{RELEASE} %{ARCH} %{SOURCERPM} %{LICENSE} %{SIZE} %{INSTALLTIME}\n";

fn spec(name: &str, epoch: &str, files: &[&str]) -> String {
    let mut text = format!(
        "Name: {name}\nVersion: 1.2~rc1\nRelease: 3.el10\n{epoch}Summary: s\nLicense: MIT AND Apache-2.0\n\
         BuildArch: noarch\n%description\nd\n%install\n"
    );
    for file in files {
        let _ = writeln!(text, "mkdir -p %{{buildroot}}$(dirname {file}); echo {name} > %{{buildroot}}{file}");
    }
    let _ = writeln!(text, "%files\n{}\n%ghost /var/ghost-{name}", files.join("\n%config(noreplace) "));
    text.replace("%files", &format!("mkdir -p %{{buildroot}}/var; touch %{{buildroot}}/var/ghost-{name}\n%files"))
}

/// Builds two packages and installs them into a new root; `None` where rpm is not installed.
fn installed(root: &Path) -> Option<String> {
    stdout(Command::new("rpmbuild").arg("--version"))?;
    let names = ["one", "two"];
    let lists: [&[&str]; 2] = [&["/sbin/shared-dir/f-one"], &["/sbin/shared-dir/f-two", "/usr/share/plain"]];
    for ((name, epoch), files) in names.iter().zip(["", "Epoch: 7\n"]).zip(lists) {
        let file = root.join(format!("{name}.spec"));
        fs::write(&file, spec(name, epoch, files)).unwrap();
        stdout(
            Command::new("rpmbuild")
                .args(["-bb", "--quiet", "--define"])
                .arg(format!("_topdir {}", root.join("top").display()))
                .args(["--define", "_build_id_links none", "--define", "__os_install_post %{nil}"])
                .arg(&file),
        )?;
    }
    let system = root.join("system");
    let rpms = names.map(|name| root.join(format!("top/RPMS/noarch/{name}-1.2~rc1-3.el10.noarch.rpm")));
    let database = ["--define", "_dbpath /usr/lib/sysimage/rpm", "--root"];
    fs::create_dir_all(&system).unwrap();
    stdout(Command::new("rpm").args(database).arg(&system).args(["-i", "--nodeps"]).args(rpms))?;
    stdout(Command::new("rpm").args(database).arg(&system).args(["-qa", "--qf", QUERY]))
}

fn line(package: &Package) -> String {
    let epoch = package.epoch.map_or("(none)".into(), |epoch| epoch.to_string());
    let text = |value: &Option<String>| value.clone().unwrap_or("(none)".into());
    format!(
        "{} {epoch} {} {} {} {} {} {} {}",
        package.name,
        package.version,
        text(&package.release),
        text(&package.arch),
        text(&package.source),
        text(&package.license),
        package.size.unwrap(),
        package.installed.unwrap()
    )
}

#[test]
fn agrees_with_rpm() {
    let root = tempfile::tempdir().unwrap();
    let Some(expected) = installed(root.path()) else { return };
    let mut tree = FileTree::new();
    add(&mut tree, "sbin", Inode::symlink("usr/sbin", 0));
    add_file(&mut tree, "usr/sbin/shared-dir/f-one", 0o644, "");
    add_directory(&mut tree, &root.path().join("system/usr/lib/sysimage/rpm"), "usr/lib/sysimage/rpm");
    let packages = read(&tree, &Memory::default()).unwrap().unwrap();
    let ours: Vec<String> = packages.packages().iter().map(line).collect();
    let mut expected: Vec<&str> = expected.lines().collect();
    expected.sort_unstable();
    assert_eq!(expected.len(), 2);
    assert_eq!(ours, expected);
    let owned: Vec<String> = packages.owned().map(|(at, package)| format!("{at} {}", package.name)).collect();
    assert_eq!(
        owned,
        [
            "/usr/sbin/shared-dir/f-one one",
            "/usr/sbin/shared-dir/f-two two",
            "/usr/share/plain two",
            "/var/ghost-one one",
            "/var/ghost-two two"
        ]
    );
    let said = packages.owned().map(|(at, package)| packages.flags(at, package).to_string());
    assert_eq!(said.collect::<Vec<_>>(), ["-", "-", "config,noreplace", "ghost", "ghost"]);
}

/// A database whose last package is only in the write-ahead log, as a crash or an open connection leaves it.
#[test]
fn applies_the_write_ahead_log() {
    let root = tempfile::tempdir().unwrap();
    let Some(_) = installed(root.path()) else { return };
    let from = root.path().join("system/usr/lib/sysimage/rpm");
    let file = from.join("rpmdb.sqlite");
    let database = rusqlite::Connection::open(&file).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let name_at = |blob: &[u8]| blob.windows(5).position(|window| window == b"\0one\0" || window == b"Cone\0");
    let blob: Vec<u8> = (1..=2)
        .map(|number| {
            let sql = "SELECT blob FROM Packages WHERE hnum = ?1";
            database.query_row(sql, [number], |row| row.get::<_, Vec<u8>>(0)).unwrap()
        })
        .find(|blob| name_at(blob).is_some())
        .unwrap();
    let at = name_at(&blob).unwrap() + 1;
    let mut third = blob;
    third[at..at + 3].copy_from_slice(b"six");
    database.execute("INSERT INTO Packages (blob) VALUES (?1)", [third]).unwrap();
    let mut tree = FileTree::new();
    add_directory(&mut tree, &from, "usr/share/rpm");
    assert!(tree.content(&path("usr/share/rpm/rpmdb.sqlite-wal")).unwrap().size() > 0);
    let listed = ["one-1.2~rc1-3.el10.noarch", "six-1.2~rc1-3.el10.noarch", "two-7:1.2~rc1-3.el10.noarch"];
    assert_eq!(names(&tree), listed);
    // As one file it is a sound database that SQLite reads where nothing can be written.
    let settled = rpm::settled(&tree, &Memory::default(), &path("usr/share/rpm/rpmdb.sqlite")).unwrap();
    let alone = root.path().join("alone.sqlite");
    fs::write(&alone, &settled).unwrap();
    let reader = rusqlite::Connection::open_with_flags(&alone, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let text = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    let said = ["PRAGMA journal_mode", "PRAGMA integrity_check", "SELECT count(*) || '' FROM Packages"].map(text);
    assert_eq!(said, ["delete", "ok", "3"]);
    assert!(!root.path().join("alone.sqlite-wal").exists());
    // A frame with one wrong byte was not written to the end: the log stops before it.
    let mut log = fs::read(from.join("rpmdb.sqlite-wal")).unwrap();
    log[100] ^= 1;
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite-wal", 0o644, log);
    assert_eq!(names(&tree), [listed[0], listed[2]]);
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite-wal", 0o644, "noise that is no log");
    let error = read(&tree, &Memory::default()).unwrap_err();
    assert_eq!(error.to_string(), "/usr/share/rpm/rpmdb.sqlite-wal is damaged: the write-ahead log has no magic");
}

#[test]
fn refuses_what_is_no_database_of_rpm() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("x.sqlite");
    for (schema, message) in [
        ("CREATE TABLE Other (x)", "is damaged: it has no proper table of packages"),
        ("CREATE VIEW Packages AS SELECT 1 AS hnum, x'00' AS blob", "is damaged: it has no proper table of packages"),
        (
            "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (hnum || 'x'))",
            "is damaged: it has no proper table of packages",
        ),
        (
            "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (zeroblob(1000000000)))",
            "is no usable SQLite database",
        ),
        (
            "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB); INSERT INTO Packages VALUES (1, x'0011')",
            "is damaged: it is too short",
        ),
    ] {
        let _ = fs::remove_file(&file);
        let database = rusqlite::Connection::open(&file).unwrap();
        database.execute_batch(schema).unwrap();
        drop(database);
        let mut tree = FileTree::new();
        add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite", 0o644, fs::read(&file).unwrap());
        let error = read(&tree, &Memory::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("/usr/share/rpm/rpmdb.sqlite {message}"));
    }
    let mut tree = FileTree::new();
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite", 0o644, "not a database, but long enough");
    let error = read(&tree, &Memory::default()).unwrap_err();
    assert_eq!(error.to_string(), "/usr/share/rpm/rpmdb.sqlite is no usable SQLite database");
}

/// A layer that cannot be read is not a damaged database.
#[test]
fn errors_of_the_source_are_told_as_they_are() {
    struct Broken(u64);
    impl crate::layer::Contents for Broken {
        fn open<'a>(&'a self, _: &'a crate::tree::Content) -> std::io::Result<Box<dyn std::io::Read + 'a>> {
            struct Ends(u64);
            impl std::io::Read for Ends {
                fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                    if self.0 == 0 {
                        return Err(std::io::Error::other("the network is gone"));
                    }
                    let amount = out.len().min(usize::try_from(self.0).unwrap());
                    out[..amount].fill(b'x');
                    self.0 -= amount as u64;
                    Ok(amount)
                }
            }
            Ok(Box::new(Ends(self.0)))
        }
    }
    let mut tree = FileTree::new();
    add_file(&mut tree, "usr/share/rpm/rpmdb.sqlite", 0o644, vec![0; 4096]);
    for after in [0, 1000] {
        let error = read(&tree, &Broken(after)).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(
            (error.to_string().as_str(), cause.as_str()),
            ("cannot read /usr/share/rpm/rpmdb.sqlite", "the network is gone")
        );
    }
}
