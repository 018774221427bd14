//! What lints read, and what is written of them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use super::*;

/// Everything that the lints read is announced by `wanted`.
#[test]
fn reads_only_what_is_wanted() {
    struct Only(BTreeSet<Digest>);
    impl Contents for Only {
        fn open<'a>(&'a self, content: &'a crate::tree::Content) -> io::Result<Box<dyn io::Read + 'a>> {
            assert!(self.0.contains(&content.digest().unwrap()));
            match content {
                crate::tree::Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }
    let case = Case::clean();
    let wanted = wanted(&case.tree, case.added.as_ref());
    assert!(!wanted.contains(&TreePath::new(format!("{KERNEL}/vmlinuz")).unwrap()));
    let digests = wanted.iter().map(|path| case.tree.content(path).unwrap().digest().unwrap());
    let contents = Only(digests.collect());
    let input = LintInput {
        tree: &case.tree,
        contents: &contents,
        image: &case.image,
        layers: &case.layers,
        added: case.added.as_ref(),
        packages: None,
        forbid: &case.forbid,
    };
    assert!(lint(&input, &LintOptions::default()).unwrap().passed);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_no_finding() {
    let mut case = Case::clean();
    let digest = Digest::of(b"elsewhere");
    let path = TreePath::new("etc/passwd").unwrap();
    let mut inode = case.tree.get(&path).unwrap().clone();
    inode.kind = crate::tree::Kind::File(crate::tree::Content::Stored { digest, size: 9 });
    case.tree.insert(path, inode);
    let error = case.report(&LintOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the files of the image");
}

#[test]
fn the_documentation_lists_every_lint() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lints.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let origin = |origin| if origin == Origin::Bootc { "bootc" } else { "own" };
    let lints = LINTS
        .iter()
        .map(|lint| format!("| `{}` | {} | {} | {} |", lint.name, lint.severity, origin(lint.origin), lint.about));
    let packages = PACKAGES.iter().map(|rule| format!("| `{}` | {} | {} |", rule.name, rule.severity, rule.reason));
    let when = |when| match when {
        When::Present => "always",
        When::Added => "when added",
        When::Resolves => "when its target is there",
    };
    let paths = PATHS
        .iter()
        .map(|rule| format!("| `{}` | {} | {} | {} |", rule.path, rule.severity, when(rule.when), rule.reason));
    let expected: Vec<String> = lints.chain(packages).chain(paths).collect();
    assert_eq!(rows, expected, "the tables of docs/lints.md:\n{}", expected.join("\n"));
}
