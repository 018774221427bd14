//! Variables in the URLs of repository files.

use std::collections::BTreeMap;

use super::error::RepositoryFault;

/// Values of variables: `releasever`, `basearch`, `arch` and what else `/etc/dnf/vars` has; `ARCH` of apt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Replaces `$name` and `${name}` as dnf does (dnf.conf(5), "Variables"), and `$(name)` as apt does. Unlike both it
    /// refuses what has no value: a URL with a dollar sign leads nowhere.
    pub fn expand(&self, text: &str) -> Result<String, RepositoryFault> {
        let mut pieces = text.split('$');
        let mut expanded = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = if let Some(braced) = piece.strip_prefix('{') {
                braced.split_once('}').unwrap_or((braced, ""))
            } else if let Some(braced) = piece.strip_prefix('(') {
                braced.split_once(')').unwrap_or((braced, ""))
            } else {
                let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
                piece.split_at(end)
            };
            let value = self.0.get(name).ok_or_else(|| RepositoryFault::Variable(format!("${name}")))?;
            expanded.push_str(value);
            expanded.push_str(rest);
        }
        Ok(expanded)
    }
}
