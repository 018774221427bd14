//! What this version of the program reads in a recipe but cannot carry out yet.
//!
//! A key that is understood and then not acted upon would be worse than an unknown one: a package that is not there. So a
//! build refuses it by name.

use super::Recipe;

/// A table or key that this version cannot carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} needs {needs}, which this version does not have")]
pub struct Unavailable {
    /// The key, as in the documentation.
    pub key: &'static str,
    /// What is missing.
    pub needs: &'static str,
}

impl Recipe {
    /// The first thing in the recipe that a build cannot carry out.
    pub fn available(&self) -> Result<(), Unavailable> {
        let sealed = |given: bool, key, needs| if given { Err(Unavailable { key, needs }) } else { Ok(()) };
        sealed(!self.vex.statements.is_empty(), "vex", "attestation of statements on vulnerabilities")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_that_is_asked_for_is_left_undone_in_silence() {
        let head = "schema = 1\n[image]\nname = \"x\"\n[base]\nimage = \"oci:x\"\n";
        let check = |text: &str| Recipe::parse(&format!("{head}{text}"), "x.toml").unwrap().available();
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("[vex]\nstatements = [\"v.json\"]\n").unwrap_err().key, "vex");
    }
}
