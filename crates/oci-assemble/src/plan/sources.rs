//! The files and directories that a recipe names, by digest.

use std::collections::BTreeSet;
use std::io;

use cap_std::fs::Dir;

use super::recipe::spec::Body;
use super::recipe::{Compiled, Policy, Recipe, RecipePath, StageKind};
use crate::elf::is_module_name;
use crate::image::{Digest, Hasher};
use crate::layer::Contents;
use crate::store::dir::{DirError, HostContents, file, scan};
use crate::tree::{Content, Kind, TreePath};

/// The first line of what is digested of a directory.
const HEAD: &[u8] = b"assemble directory 1\n";

/// The stage that the tables of a recipe are.
pub const CONFIGURATION: &str = "configuration";
/// The stage that `[packages]` is.
pub const PACKAGES: &str = "packages";

/// What of a source decides about the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The kernel modules in it.
    Modules,
    /// All of it.
    Whole,
}

/// The sources of a recipe; `stage` is the stage they are for: its name, [`PACKAGES`] or [`CONFIGURATION`].
pub fn sources(recipe: &Recipe) -> BTreeSet<(RecipePath, Part, String)> {
    let mut found = BTreeSet::new();
    let mut add = |stage: &str, part, paths: &[RecipePath]| {
        found.extend(paths.iter().map(|path| (path.clone(), part, stage.to_owned())));
    };
    add(PACKAGES, Part::Whole, &recipe.packages.repositories);
    // Packages of the kernel come along with them.
    add(PACKAGES, Part::Whole, &recipe.kernel.repositories);
    for stage in &recipe.stages {
        let mut compiled = |Compiled { repositories, patches, .. }: &Compiled| {
            add(&stage.name, Part::Whole, repositories);
            add(&stage.name, Part::Whole, patches);
        };
        match &stage.kind {
            StageKind::Dkms(dkms) => compiled(&dkms.compiled),
            StageKind::Zfs(zfs) => compiled(&zfs.compiled),
            StageKind::NvidiaOpen(nvidia) => compiled(&nvidia.compiled),
            StageKind::Files(files) => add(&stage.name, Part::Whole, std::slice::from_ref(&files.source)),
            StageKind::Modules(modules) => add(&stage.name, Part::Modules, &modules.source),
        }
    }
    // The image has it, and each signature names it. The key beside it is nobody's to digest.
    if let Some(sign) = &recipe.modules.sign {
        add(CONFIGURATION, Part::Whole, std::slice::from_ref(&sign.certificate));
    }
    if let Some(map) = &recipe.layers.components {
        add(CONFIGURATION, Part::Whole, std::slice::from_ref(map));
    }
    for file in &recipe.files {
        if let Body::Source(path) = &file.body {
            add(CONFIGURATION, Part::Whole, std::slice::from_ref(path));
        }
    }
    for path in recipe.policy.iter().flat_map(Policy::sources) {
        add(CONFIGURATION, Part::Whole, std::slice::from_ref(path));
    }
    found
}

/// The digest of a source below `root`. Of a file, that of its bytes; of a directory, that of its names, kinds, contents
/// and executable bits, or of names and contents of its modules alone. Everything is read.
pub fn digest(root: &Dir, path: &RecipePath, part: Part) -> Result<Digest, DirError> {
    let read = |source| DirError::read(path.as_path(), source);
    let contents = HostContents::new(root.try_clone().map_err(read)?);
    if !root.metadata(path.as_path()).map_err(read)?.is_dir() {
        return content(&contents, &Content::OnDisk(file(root, path.as_path())?)).map_err(read);
    }
    let entries = scan(root, path.as_path(), &TreePath::root(), 0)?;
    let mut hasher = Hasher::default();
    hasher.update(HEAD);
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (place, inode) in entries.entries() {
        let module = is_module_name(place.name()) && inode.content().is_some();
        if part == Part::Modules && !module {
            continue;
        }
        add(place.as_bytes());
        if part == Part::Whole {
            add(format!("{} {:o}", inode.kind.name(), inode.meta.mode).as_bytes());
        }
        match &inode.kind {
            Kind::File(bytes) => add(content(&contents, bytes).map_err(read)?.to_string().as_bytes()),
            Kind::Symlink(target) => add(target),
            _ => {}
        }
    }
    Ok(hasher.finish())
}

fn content(contents: &dyn Contents, content: &Content) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    io::copy(&mut io::BufReader::with_capacity(1 << 18, contents.open(content)?), &mut hasher)?;
    Ok(hasher.finish())
}

/// `path` as it is called from the directory of the recipe file `recipe`.
pub fn relative(recipe: &RecipePath, path: &RecipePath) -> String {
    let from = recipe.directory();
    let parts = |path: &RecipePath| -> Vec<String> {
        path.as_str().split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (from, to) = (parts(&from), parts(path));
    let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    let words: Vec<&str> = up.chain(to.iter().skip(common).map(String::as_str)).collect();
    if words.is_empty() { ".".into() } else { words.join("/") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn paths_are_named_from_the_recipe() {
        let relative = |recipe: &str, path: &str| {
            super::relative(&RecipePath::new(recipe).unwrap(), &RecipePath::new(path).unwrap())
        };
        assert_eq!(relative("a.toml", "files/x"), "files/x");
        assert_eq!(relative("recipes/a.toml", "recipes/files/x"), "files/x");
        assert_eq!(relative("recipes/a.toml", "files/x"), "../files/x");
        assert_eq!(relative("recipes/deep/a.toml", "recipes/base.toml"), "../base.toml");
        assert_eq!(relative("recipes/deep/a.toml", "recipes/deep"), ".");
        assert_eq!(relative("recipes/deep/a.toml", "recipes"), "..");
    }

    #[test]
    fn what_does_not_count_does_not_change_the_digest() {
        let temp = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let tree = RecipePath::new("tree").unwrap();
        let digests = || [Part::Whole, Part::Modules].map(|part| digest(&root, &tree, part).unwrap());
        fs::create_dir_all(temp.path().join("tree/sub")).unwrap();
        fs::write(temp.path().join("tree/sub/a.ko"), "module").unwrap();
        fs::write(temp.path().join("tree/README"), "text").unwrap();
        let mode = |path: &str, mode| {
            fs::set_permissions(temp.path().join(path), PermissionsExt::from_mode(mode)).unwrap();
        };
        mode("tree/README", 0o644);
        let first = digests();
        mode("tree/README", 0o600);
        assert_eq!(digests(), first, "the mode of this machine");
        mode("tree/README", 0o755);
        let [whole, modules] = digests();
        assert!(whole != first[0] && modules == first[1], "the executable bit");
        fs::write(temp.path().join("tree/sub/a.ko"), "Module").unwrap();
        assert!(digests()[1] != modules, "a module");
        fs::rename(temp.path().join("tree/sub/a.ko"), temp.path().join("tree/sub/b.ko")).unwrap();
        let other = digests();
        fs::rename(temp.path().join("tree/sub"), temp.path().join("tree/bus")).unwrap();
        assert!(digests().iter().zip(other).all(|(one, other)| *one != other), "a name");
        let file = RecipePath::new("tree/README").unwrap();
        assert_eq!(digest(&root, &file, Part::Whole).unwrap(), Digest::of(b"text"), "as sha256sum has it");
        assert!(digest(&root, &RecipePath::new("none").unwrap(), Part::Whole).is_err());
    }
}
