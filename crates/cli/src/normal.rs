//! Trees whose rpm database has the normal form, where somebody asked for it.

use std::borrow::Cow;

use oci_assemble::chunk::{Settled, settle};
use oci_assemble::layer::Contents;
use oci_assemble::pkgdb::rpm::{BuildTimes, with_build_times};
use oci_assemble::tree::FileTree;
use serde_json::{Value, json};

use crate::exit::{Class, Context, Failure};
use crate::ui::Ui;

/// Whether rpm's database gets the normal form.
#[derive(Clone, Copy)]
pub(crate) struct Normalizing {
    pub(crate) wanted: bool,
    pub(crate) ui: Ui,
}

/// A tree to be cut, with its contents.
pub(crate) struct Normal<'a> {
    tree: Cow<'a, FileTree>,
    own: Option<Settled<'a>>,
    given: &'a dyn Contents,
    wanted: bool,
    done: Option<BuildTimes>,
}

impl Normalizing {
    /// `tree` as it is to be cut. Says what was done, if anything was wanted.
    pub(crate) fn tree<'a>(
        self,
        tree: &'a FileTree,
        contents: &dyn Contents,
    ) -> Result<(Cow<'a, FileTree>, Option<BuildTimes>), Failure> {
        if !self.wanted {
            return Ok((Cow::Borrowed(tree), None));
        }
        let bar = self.ui.bar(None, "normalizing the rpm database");
        let result = with_build_times(tree, contents);
        bar.finish_and_clear();
        let Some((tree, done)) = result.context(Class::Data, "normalizing the rpm database")? else {
            self.ui.say("the image has no rpm database in the format of SQLite: nothing is normalized");
            return Ok((Cow::Borrowed(tree), None));
        };
        self.ui.say(&format!(
            "{}: times of installation of {} packages set to their times of building; what else rpm reads of it is as before",
            done.path, done.packages
        ));
        if done.keys > 0 {
            let (path, keys) = (&done.path, done.keys);
            self.ui.say(&format!("{path}: {keys} public keys keep the time of their import, which a digest covers"));
        }
        Ok((Cow::Owned(tree), Some(done)))
    }

    /// As [`Normalizing::tree`], with the contents of the result.
    pub(crate) fn held<'a>(self, tree: &'a FileTree, given: &'a dyn Contents) -> Result<Normal<'a>, Failure> {
        let (tree, done) = self.tree(tree, given)?;
        if done.is_none() {
            return Ok(Normal { tree, own: None, given, wanted: self.wanted, done });
        }
        let (tree, own) = settle(&tree, given).context(Class::Io, "normalizing the rpm database")?;
        Ok(Normal { tree: Cow::Owned(tree), own: Some(own), given, wanted: self.wanted, done })
    }
}

impl Normal<'_> {
    pub(crate) fn tree(&self) -> &FileTree {
        &self.tree
    }

    pub(crate) fn contents(&self) -> &dyn Contents {
        self.own.as_ref().map_or(self.given, |own| own)
    }

    /// Notes in a document what was done, where anything was wanted.
    pub(crate) fn note(&self, document: &mut Value) {
        if self.wanted {
            let done = self.done.as_ref();
            document["normalized_rpmdb"] = done.map_or(
                Value::Null,
                |done| json!({ "path": done.path.to_string(), "packages": done.packages, "keys": done.keys }),
            );
        }
    }
}
