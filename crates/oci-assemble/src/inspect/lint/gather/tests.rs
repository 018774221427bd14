#![allow(clippy::unwrap_used)]
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Forbid, ImageFacts};
use super::*;
use crate::image::Digest;
use crate::testing::memory::add;
use crate::tree::{Inode, Meta};

/// Every file is as long as it says, and full of comments.
#[derive(Default)]
struct Endless {
    read: AtomicU64,
}

impl Contents for Endless {
    fn open<'a>(&'a self, content: &'a Content) -> io::Result<Box<dyn Read + 'a>> {
        self.read.fetch_add(content.size(), Ordering::Relaxed);
        Ok(Box::new(io::repeat(b'#').take(content.size())))
    }
}

/// What gathering from files of these sizes gives, and how much of them was opened.
fn gathered(files: &[(String, u64)]) -> (Result<usize, LintError>, u64) {
    let mut tree = FileTree::default();
    for (path, size) in files {
        let content = Content::Stored { digest: Digest::of(path.as_bytes()), size: *size };
        add(&mut tree, path, Inode::file(Meta::root_owned(0o644, 0), content));
    }
    let contents = Endless::default();
    let input = LintInput {
        tree: &tree,
        contents: &contents,
        image: &ImageFacts::default(),
        layers: &[],
        added: None,
        packages: None,
        forbid: &Forbid::default(),
    };
    let result = Facts::gather(&input).map(|facts| facts.contents.whole.values().map(Vec::len).sum());
    (result, contents.read.into_inner())
}

#[test]
fn keeps_no_more_than_a_reader_takes() {
    let large = |path: &str, size| [("etc/passwd".to_owned(), 7), (path.to_owned(), size)];
    for (path, limit) in [
        ("usr/lib/bootc/kargs.d/x.toml", CONFIG_MAX),
        ("etc/tmpfiles.d/x.conf", CONFIG_MAX),
        ("etc/group", CONFIG_MAX),
        ("usr/lib/modules/6.12/modules.dep", INDEX_MAX),
    ] {
        let (kept, read) = gathered(&large(path, limit));
        assert_eq!((kept.unwrap() as u64, read), (limit + 7, limit + 7), "{path}");
        let (kept, read) = gathered(&large(path, limit + 1));
        assert_eq!((kept.unwrap(), read), (7, 7), "{path}");
    }
}

#[test]
fn keeps_no_more_than_the_budget_in_all() {
    let many = |folder: &str, count: u64, size| -> Vec<_> {
        (0..count).map(|number| (format!("{folder}/{number:03}.conf"), size)).collect()
    };
    let refused = |files: &[(String, u64)]| {
        let (result, read) = gathered(files);
        assert_eq!(read, 0, "nothing is read of what is too much");
        result.unwrap_err().to_string()
    };
    let text = "with /etc/tmpfiles.d/064.conf the files that lints read have more than 268435456 bytes";
    let mut configs = many("etc/tmpfiles.d", CONFIGS_MAX / CONFIG_MAX + 1, CONFIG_MAX);
    assert_eq!(refused(&configs), text);
    configs.truncate(4);
    assert_eq!(gathered(&configs).1, 4 * CONFIG_MAX);
    let mut packages = vec![("var/lib/dpkg/status".to_owned(), 1), ("var/lib/dpkg/info/a.list".to_owned(), 1)];
    assert_eq!(gathered(&packages).1, 2);
    for (_, size) in &mut packages {
        *size = DATABASES_MAX;
    }
    assert!(refused(&packages).ends_with("more than 1073741824 bytes"));
}
