//! What a layout looks like after its writer was killed, its disk was full, its power was cut, or others wrote to it.
//!
//! The writer that is killed is this program again, told by a variable in its environment what to do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, missing_docs)]

use std::error::Error as _;
use std::fs;
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{Descriptor, Digest, Encoding, History, Image, Layer, MediaType};
use oci_assemble::store::{Finding, Layout, StoreError, fsck};
use oci_assemble::testing::image::amd64;

const TASK: &str = "OCI_ASSEMBLE_CRASH_TASK";
const THREADS: NonZero<usize> = NonZero::new(2).unwrap();

fn dir(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap()
}

/// Writes an image of `layers` layers of `size` bytes each that depend on `tag`.
fn write(path: &Path, tag: &str, layers: usize, size: usize) -> Result<Descriptor, StoreError> {
    let transaction = Layout::write(dir(path))?;
    let mut image = Image::scratch(amd64());
    for number in 0..layers {
        let seed = Digest::of(format!("{tag} {number}").as_bytes());
        let bytes: Vec<u8> = seed.bytes().iter().copied().cycle().take(size).collect();
        let mut blob = transaction.blob()?;
        let io = |source| StoreError::Io { action: "write", path: tag.into(), source };
        for part in bytes.chunks(64 << 10) {
            blob.write_all(part).map_err(io)?;
        }
        let (digest, size) = blob.finish()?;
        let descriptor = Descriptor::new(MediaType::layer(Encoding::Plain), digest, size);
        let layer = Layer { descriptor, diff_id: digest, uncompressed_size: None, history: History::default() };
        image = image.append(layer).unwrap();
    }
    let descriptor = transaction.put_image(&image)?;
    transaction.commit(Some(tag), &descriptor)?;
    Ok(descriptor)
}

/// This program as a writer: `PATH TAG LAYERS SIZE COMMITS`.
fn writer(path: &Path, tag: &str, layers: usize, size: usize, commits: usize) -> Child {
    let task = format!("{}\n{tag}\n{layers}\n{size}\n{commits}", path.display());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_writer", "--quiet"]).env(TASK, task).stdout(Stdio::null()).spawn().unwrap()
}

/// Not a test by itself: what [`writer`] runs. Without a task it checks that it would refuse a wrong one.
#[test]
fn the_writer() {
    let Ok(task) = std::env::var(TASK) else {
        assert!(parse_task("too\nshort").is_none());
        return;
    };
    let (path, tag, [layers, size, commits]) = parse_task(&task).unwrap();
    for number in 0..commits {
        write(&path, &format!("{tag}-{number}"), layers, size).unwrap();
    }
}

fn parse_task(task: &str) -> Option<(PathBuf, String, [usize; 3])> {
    let [path, tag, numbers @ ..] = &task.lines().collect::<Vec<_>>()[..] else { return None };
    let numbers: Option<Vec<usize>> = numbers.iter().map(|number| number.parse().ok()).collect();
    Some(((*path).into(), (*tag).into(), numbers?.try_into().ok()?))
}

fn tags(path: &Path) -> Vec<String> {
    let index = Layout::open(dir(path)).and_then(|layout| layout.index());
    let mut tags: Vec<_> = index.map_or(vec![], |index| {
        index.manifests.iter().filter_map(|entry| entry.ref_name().map(str::to_owned)).collect()
    });
    tags.sort();
    tags
}

fn assert_sound(path: &Path, when: &str) {
    // Before the first commit there is no index, and nothing that could be wrong.
    if !path.join("index.json").exists() {
        return;
    }
    let report = fsck(&Layout::open(dir(path)).unwrap(), THREADS).unwrap();
    assert!(report.is_sound(), "{when}: {:?}", report.findings);
}

fn private(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path.join(".assemble"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_killed_writer_leaves_a_sound_layout_and_its_successor_finishes() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path();
    write(path, "before", 2, 1000).unwrap();
    let start = Instant::now();
    assert!(writer(path, "measure", 12, 200_000, 1).wait().unwrap().success());
    let whole = start.elapsed();
    let rounds = 40;
    let mut killed = 0;
    for round in 0..rounds {
        // Spread over the whole run, and a little beyond its end.
        let mut child = writer(path, &format!("r{round}"), 12, 200_000, 1);
        std::thread::sleep(whole * round / (rounds - 4));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        assert_sound(path, &format!("round {round}"));
        assert!(tags(path).contains(&"before".to_owned()));
    }
    assert!(killed > rounds / 4, "only {killed} of {rounds} writers were killed at work");
    for round in 0..rounds {
        write(path, &format!("r{round}-0"), 12, 200_000).unwrap();
    }
    let report = fsck(&Layout::open(dir(path)).unwrap(), THREADS).unwrap();
    assert!(report.findings.is_empty(), "everything is used and nothing is left over: {:?}", report.findings);
    assert_eq!(tags(path).len(), usize::try_from(rounds).unwrap() + 2);
    assert_eq!(private(path), ["lock", "users"]);
}

#[test]
fn writers_beside_each_other_lose_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path();
    let mut children: Vec<Child> = (0..4).map(|number| writer(path, &format!("p{number}"), 3, 5000, 10)).collect();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || {
                for number in 0..10 {
                    write(path, &format!("t{thread}-{number}"), 3, 5000).unwrap();
                }
            });
        }
    });
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let mut expected: Vec<String> =
        (0..4).flat_map(|who| (0..10).map(move |number| format!("p{who}-{number}"))).collect();
    expected.extend((0..3).flat_map(|who| (0..10).map(move |number| format!("t{who}-{number}"))));
    expected.sort();
    assert_eq!(tags(path), expected);
    assert!(fsck(&Layout::open(dir(path)).unwrap(), THREADS).unwrap().findings.is_empty());
    assert_eq!(private(path), ["lock", "users"]);
}

/// A mounted file system, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, after saying why, where mounting is not permitted. With `CI=true` that is an error.
    fn new(path: PathBuf, arguments: &[&str]) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let output = Command::new("mount").args(arguments).arg(&path).output().unwrap();
        if output.status.success() {
            return Some(Self(path));
        }
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{message}");
        eprintln!("left out: {message}");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_trace() {
    let temp = tempfile::tempdir().unwrap();
    for (options, layers, size) in [("size=1m", 3, 600_000), ("size=4m,nr_inodes=26", 30, 100)] {
        let place = temp.path().join(options.replace(['=', ','], "-"));
        let Some(disk) = Mounted::new(place, &["-t", "tmpfs", "-o", options, "tmpfs"]) else { return };
        let path = disk.0.as_path();
        write(path, "before", 1, 1000).unwrap();
        let error = write(path, "large", layers, size).unwrap_err();
        let cause = error.source().and_then(|source| source.downcast_ref::<std::io::Error>()).unwrap();
        assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull, "{error}");
        assert_eq!(tags(path), ["before"]);
        assert_eq!(private(path), ["lock", "users"]);
        assert_sound(path, options);
        // Blobs that were complete stay for the next try; every one of them is whole.
        for entry in fs::read_dir(path.join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            let found = Digest::of(&fs::read(entry.path()).unwrap()).hex();
            assert_eq!(entry.file_name().to_str().unwrap(), found);
        }
        oci_assemble::store::gc(dir(path), oci_assemble::store::GcMode::Delete).unwrap();
        write(path, "after", 1, 1000).unwrap();
        assert_eq!(tags(path), ["after", "before"]);
    }
}

#[test]
fn what_was_committed_survives_a_power_cut() {
    let temp = tempfile::tempdir().unwrap();
    let image = temp.path().join("disk");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfs.ext4 is needed");
    let place = temp.path().join("mounted");
    let source = image.to_str().unwrap();
    let Some(disk) = Mounted::new(place.clone(), &["-o", "loop", source]) else { return };
    write(&place, "first", 20, 50_000).unwrap();
    write(&place, "second", 20, 50_000).unwrap();
    // A writer that has stored blobs but not committed them.
    let unfinished = Layout::write(dir(&place)).unwrap();
    let blob = unfinished.put_bytes(MediaType::Empty, &[7; 10_000]).unwrap();
    // The file system stops without writing its journal (EXT4_IOC_SHUTDOWN, no log flush), as when power fails.
    let shutdown =
        "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
    assert!(Command::new("python3").args(["-c", shutdown]).arg(&place).status().unwrap().success());
    drop(unfinished);
    drop(disk);
    let Some(_disk) = Mounted::new(place.clone(), &["-o", "loop", source]) else { panic!("it was mounted before") };
    assert_eq!(tags(&place), ["first", "second"]);
    assert_sound(&place, "after the power cut");
    // Whatever became of the blob that was not committed, it is whole after it was put again.
    let again = Layout::write(dir(&place)).unwrap();
    again.put_bytes(MediaType::Empty, &[7; 10_000]).unwrap();
    let stored = fs::read(place.join("blobs/sha256").join(blob.digest.hex())).unwrap();
    assert_eq!(Digest::of(&stored), blob.digest);
    drop(again);
    let report = fsck(&Layout::open(dir(&place)).unwrap(), THREADS).unwrap();
    let harmless = |finding: &Finding| matches!(finding, Finding::Unreferenced { .. });
    assert!(report.findings.iter().all(harmless), "{:?}", report.findings);
}
