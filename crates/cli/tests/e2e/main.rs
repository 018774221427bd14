//! The program as users run it: recipes and layouts in, layouts, words and exit codes out.
#![allow(clippy::print_stderr, clippy::unwrap_used, missing_docs)]

mod archives;
mod base;
mod bed;
mod boot;
mod cache;
mod files;
mod full;
mod indexed;
mod killed;
mod links;
mod lock;
mod messages;
mod modules;
mod normal;
mod own_bootc;
mod plans;
mod previous;
mod publish;
mod push;
mod rechunk;
mod reproducible;
mod rpm;
mod rpm_kernel;
mod scene;
mod signed;
mod system;
mod trust;
mod trusted;
mod unchanged;
mod untouched;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A file without a `mod` line is never compiled, and its tests pass by never running.
#[test]
fn every_file_of_tests_is_compiled() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let names = |folder: &Path| -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let declared = |text: &str| -> BTreeSet<String> {
        let modules = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        modules.map(|name| format!("{name}.rs")).collect()
    };
    let mut own = declared(include_str!("main.rs"));
    own.extend(["main.rs", "golden", "messages"].map(str::to_owned));
    assert_eq!(names(&here.join("e2e")), own);
    assert_eq!(names(&here.join("e2e/messages")), declared(include_str!("messages.rs")));
    assert_eq!(names(&here), ["e2e".to_owned()].into(), "one test binary");
}
