//! Kernel arguments of the image: `/usr/lib/bootc/kargs.d/*.toml`.

use serde::Deserialize;

use super::super::report::Note;
use super::super::{LintError, Subject, config};

/// The whole format. A key that bootc does not know makes the deployment fail.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Fragment {
    #[serde(default)]
    kargs: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "its type is checked, its value is the client's affair")]
    match_architectures: Option<Vec<String>>,
}

/// The arguments of a fragment; `Err` is what is wrong with it, in one line.
pub(in super::super) fn kargs(text: &str) -> Result<Vec<String>, String> {
    toml::from_str::<Fragment>(text).map(|fragment| fragment.kargs).map_err(|error| {
        let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{place}{}", error.message().lines().next().unwrap_or_default())
    })
}

pub(in super::super) fn bootc_kargs(subject: &Subject) -> Result<Vec<Note>, LintError> {
    let Some((folder, _)) = subject.tree.lookup("usr/lib/bootc/kargs.d") else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    for (path, inode) in subject.tree.children(&folder).filter(|(path, _)| path.name().ends_with(b".toml")) {
        if inode.is_directory() {
            notes.push(Note::at(path, "not a file"));
        } else if let Err(why) = kargs(&config::text(subject, path)?) {
            notes.push(Note::at(path, why));
        }
    }
    Ok(notes)
}
