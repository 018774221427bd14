//! Which kernels repositories offer, without a container: by what the base says of its repositories and the recipe of
//! others, and by the metadata that can be read here.

use std::collections::BTreeMap;

use oci_assemble::layer::{Contents, whole};
use oci_assemble::plan::step::View;
use oci_assemble::tree::{FileTree, TreePath};

use super::offers::{OffersError, architecture};
use super::{Family, Inputs};
use crate::kernel::Offers;
use crate::repository::{Fetch, FetchError, LocalFiles, Unread, Variables, configured, file_path};
use crate::version;

/// The largest file of a configuration; Debian's own has 1 KB.
const CONFIG_MAX: u64 = 1 << 20;

/// What repositories offer, as far as it is known.
#[derive(Debug)]
pub struct Survey {
    /// Kernels of the repositories that were read.
    pub offers: Offers,
    /// Repositories, and files of the configuration, that were not.
    pub unread: Vec<Unread>,
}

/// Reads what the repositories of the base and of `inputs` offer. `file:` URLs are paths of the base, where containers
/// start, and where it has no such file, of this machine.
pub fn survey(inputs: &[&Inputs], view: View<'_>) -> Result<Survey, OffersError> {
    let family = Family::of(view.base).ok_or(OffersError::NoDatabase)?;
    let files = Image { tree: view.base, contents: view.contents };
    let architecture = architecture(family, view.architecture);
    let (family, variables) = match family {
        Family::Rpm => (version::Family::Rpm, files.variables(architecture)?),
        Family::Debian => (version::Family::Debian, Variables::new().with("ARCH", architecture)),
    };
    let mut config = files.configuration()?;
    for inputs in inputs {
        // As in the builder, a file of the recipe takes the place of one of that name.
        config.extend(inputs.below("repositories").map(|(path, bytes)| {
            let name = path.rsplit('/').next().unwrap_or(path);
            (name.to_owned(), bytes.to_vec())
        }));
    }
    let (repositories, mut unread) = configured(family, &config, architecture, &variables);
    let mut offers = Offers::new(architecture);
    for repository in repositories {
        match repository.packages(&files, Offers::wanted) {
            Ok(packages) => offers.add(&repository.name, &packages),
            Err(error) => unread.push(Unread { name: repository.name, error }),
        }
    }
    Ok(Survey { offers, unread })
}

/// The files of an image, and of the machine where the image has none.
struct Image<'a> {
    tree: &'a FileTree,
    contents: &'a dyn Contents,
}

impl Image<'_> {
    fn text(&self, path: &TreePath) -> Result<Vec<u8>, OffersError> {
        Ok(whole(self.tree, self.contents, path, CONFIG_MAX)?)
    }

    /// The files in a directory by their names.
    fn below(&self, directory: &str) -> Result<BTreeMap<String, Vec<u8>>, OffersError> {
        let Some((directory, _)) = self.tree.lookup(directory) else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        for (path, _) in self.tree.children(&directory) {
            let Some((file, _)) = self.tree.lookup(path.as_bytes()) else { continue };
            if self.tree.content(&file).is_some() {
                found.insert(String::from_utf8_lossy(path.name()).into_owned(), self.text(&file)?);
            }
        }
        Ok(found)
    }

    /// What the image says of repositories.
    fn configuration(&self) -> Result<BTreeMap<String, Vec<u8>>, OffersError> {
        let mut files = self.below("etc/yum.repos.d")?;
        files.extend(self.below("etc/apt/sources.list.d")?);
        if let Some((path, _)) =
            self.tree.lookup("etc/apt/sources.list").filter(|(path, _)| self.tree.content(path).is_some())
        {
            files.insert("image.list".into(), self.text(&path)?);
        }
        Ok(files)
    }

    /// The variables of dnf: its own, and those that the image gives it (dnf.conf(5), "Variables").
    fn variables(&self, architecture: &str) -> Result<Variables, OffersError> {
        let mut variables = Variables::new().with("basearch", architecture).with("arch", architecture);
        if let Some((path, _)) = self.tree.lookup("etc/os-release") {
            let text = self.text(&path)?;
            let text = String::from_utf8_lossy(&text);
            let value = text.lines().find_map(|line| line.strip_prefix("VERSION_ID="));
            variables = variables.with("releasever", value.unwrap_or_default().trim_matches(['"', '\'']));
        }
        for directory in ["etc/yum/vars", "etc/dnf/vars"] {
            for (name, value) in self.below(directory)? {
                variables = variables.with(&name, String::from_utf8_lossy(&value).trim());
            }
        }
        Ok(variables)
    }
}

impl Fetch for Image<'_> {
    fn fetch(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let path = file_path(url)?;
        let path = path.to_str().unwrap_or_default().trim_start_matches('/');
        let inside = self.tree.lookup(path).filter(|(path, _)| self.tree.content(path).is_some());
        let Some((path, _)) = inside else { return LocalFiles.fetch(url, limit) };
        let bytes = whole(self.tree, self.contents, &path, limit);
        let read = |error| FetchError::Read { url: url.to_owned(), source: std::io::Error::other(error) };
        bytes.map(Some).map_err(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use oci_assemble::image::Epoch;
    use oci_assemble::testing::memory::{Memory, add_file};

    use super::*;

    #[test]
    fn repositories_of_image_and_recipe_are_read_as_in_the_builder() {
        let mut tree = FileTree::new();
        for (path, text) in [
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", "database"),
            ("usr/lib/os-release", "ID=x\nVERSION_ID=\"10\"\n"),
            ("etc/yum.repos.d/own.repo", "[own]\nbaseurl=file:///srv/$releasever/$stream/$basearch\n"),
            ("etc/yum.repos.d/both.repo", "[image]\nbaseurl=https://example.com\n"),
            ("etc/dnf/vars/stream", "10-stream\n"),
        ] {
            add_file(&mut tree, path, 0o644, text);
        }
        oci_assemble::testing::memory::add(
            &mut tree,
            "etc/os-release",
            oci_assemble::tree::Inode::symlink("../usr/lib/os-release", 0),
        );
        let mut inputs = Inputs::default();
        inputs.add("repositories/both.repo", "[recipe]\nbaseurl=http://example.com\n").unwrap();
        let epoch = Epoch::new(0).unwrap();
        let view = View { base: &tree, tree: &tree, contents: &Memory::default(), epoch, architecture: "amd64" };
        let Survey { offers, unread } = survey(&[&inputs], view).unwrap();
        assert_eq!(offers, Offers::new("x86_64"));
        let unread: Vec<String> = unread.iter().map(|unread| format!("{}: {unread}", unread.name)).collect();
        assert_eq!(
            unread,
            [
                "recipe: http: is fetched by builder containers only",
                "own: there is no file:///srv/10/10-stream/x86_64/repodata/repomd.xml"
            ]
        );
        assert!(matches!(
            survey(&[], View { base: &FileTree::new(), tree: &FileTree::new(), ..view }),
            Err(OffersError::NoDatabase)
        ));
    }
}
