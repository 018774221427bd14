//! How podman is called on this machine: table `[builder]` of the recipe.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// How podman is called on this machine. The default calls `podman` found by the search path, without options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodmanSettings {
    /// The program.
    pub program: PathBuf,
    /// Options in front of the subcommand of every call, such as `--root=/storage`; each a word of its own.
    pub global: Vec<String>,
    /// OCI runtime, such as `runc`; podman's choice when absent.
    pub runtime: Option<String>,
    /// Options for podman-create(1). Those about networks apply to containers that may fetch, never to others.
    pub arguments: Vec<PodmanArgument>,
}

impl Default for PodmanSettings {
    fn default() -> Self {
        Self { program: "podman".into(), global: Vec::new(), runtime: None, arguments: Vec::new() }
    }
}

impl PodmanSettings {
    /// The words of a call of podman, the program left out.
    pub fn command(&self, words: impl IntoIterator<Item = String>) -> Vec<String> {
        let runtime = self.runtime.iter().map(|runtime| format!("--runtime={runtime}"));
        self.global.iter().cloned().chain(runtime).chain(words).collect()
    }
}

/// An option for podman-create(1) in one word: `--NAME=VALUE`.
///
/// One word, so that no part of it can be taken for the image or the command. Which options are harmless is decided
/// where they come from: the recipe accepts limits and networks only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodmanArgument(String);

/// A text that is no option in one word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no podman option of the form --NAME=VALUE")]
pub struct ArgumentError {
    /// The text.
    pub text: String,
}

impl PodmanArgument {
    /// The option's name, with its dashes.
    pub fn name(&self) -> &str {
        self.0.split_once('=').map_or(&self.0, |(name, _)| name)
    }

    /// The whole word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it makes sense only with a network. podman refuses a second `--network`, and name servers or hosts
    /// without a network.
    pub(super) fn is_about_network(&self) -> bool {
        let name = self.name();
        name.starts_with("--net") || name.starts_with("--dns") || matches!(name, "--add-host" | "--ip" | "--publish")
    }
}

impl fmt::Display for PodmanArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PodmanArgument {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        let name = text.strip_prefix("--").and_then(|rest| rest.split_once('=')).map_or("", |(name, _)| name);
        let allowed = |character: char| character.is_ascii_lowercase() || character == '-';
        if name.is_empty() || !name.chars().all(allowed) || text.contains('\0') {
            return Err(ArgumentError { text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_argument_is_one_word_with_a_value() {
        let argument: PodmanArgument = "--ulimit=nofile=1024:1024".parse().unwrap();
        assert_eq!((argument.name(), argument.to_string().as_str()), ("--ulimit", "--ulimit=nofile=1024:1024"));
        for text in ["", "--privileged", "--network", "host", "-v=/:/host", "--=x", "--a b=c", "--a=\0"] {
            assert_eq!(text.parse::<PodmanArgument>(), Err(ArgumentError { text: text.into() }));
        }
    }

    #[test]
    fn options_of_every_call_come_first() {
        let settings = PodmanSettings {
            global: vec!["--root=/r".into()],
            runtime: Some("runc".into()),
            ..PodmanSettings::default()
        };
        assert_eq!(settings.command(["version".into()]), ["--root=/r", "--runtime=runc", "version"]);
        assert_eq!(PodmanSettings::default().command(["version".into()]), ["version"]);
    }
}
