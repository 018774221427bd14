//! `assemble policy`: the files that make a host demand signatures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use oci_assemble::image::Epoch;
use oci_assemble::plan::generate::policy;
use oci_assemble::plan::recipe::{Match, Policy, PolicyDefault, RecipePath, Trust, TrustedSigner};
use oci_assemble::tree::{Content, FileTree, Kind, TreeDelta};
use serde_json::json;

use crate::args::{Matching, PolicyArgs, RecipeArgs};
use crate::exit::{Class, Context, Failure};
use crate::signers;
use crate::ui::Ui;
use crate::wire;

/// The largest key, certificate or program that is put beside a policy, in bytes.
const LARGEST: u64 = 256 << 20;
/// What is printed when nothing is written.
const POLICY: &str = "etc/containers/policy.json";

pub(crate) fn run(args: &PolicyArgs, ui: Ui) -> Result<(), Failure> {
    let (name, policy, sources) = match &args.recipe {
        Some(recipe) => of_recipe(recipe)?,
        None => of_arguments(args)?,
    };
    warn(&policy, ui);
    let epoch = wire::explicit_epoch()?.map_or_else(|| Epoch::new(0).context(Class::Usage, "dating the files"), Ok)?;
    let files = files(&name, &policy, &sources, epoch)?;
    if let Some(directory) = &args.output {
        write(directory, &files)?;
    }
    if ui.json {
        let listed: BTreeMap<&str, _> = files
            .iter()
            .map(|(path, (mode, bytes))| {
                let text = std::str::from_utf8(bytes).ok();
                (path.as_str(), json!({ "mode": format!("{mode:04o}"), "size": bytes.len(), "text": text }))
            })
            .collect();
        let warnings: Vec<String> = policy.warnings().iter().map(ToString::to_string).collect();
        return ui.document("policy", json!({ "files": listed, "warnings": warnings }));
    }
    if args.output.is_some() {
        let paths: Vec<String> = files.keys().map(|path| format!("/{path}")).collect();
        return ui.data(&paths.join("\n"));
    }
    for path in files.keys().filter(|path| *path != POLICY) {
        ui.say(&format!("belongs to it: /{path} (--output DIR writes all of them)"));
    }
    let text = files.get(POLICY).map(|(_, text)| String::from_utf8_lossy(text)).unwrap_or_default();
    ui.data(&text)
}

/// Says loudly what a policy lets in.
pub(crate) fn warn(policy: &Policy, ui: Ui) {
    for warning in policy.warnings() {
        ui.complain(&format!("warning: {warning}"));
    }
}

type Sources = BTreeMap<RecipePath, Content>;

fn of_recipe(recipe: &Path) -> Result<(String, Policy, Sources), Failure> {
    let args = RecipeArgs { recipe: Some(recipe.to_owned()), root: None, platform: None };
    let job = wire::read(&args)?;
    let policy = job.recipe().policy.clone().ok_or_else(|| {
        Failure::new(Class::Usage, format!("{} has no [policy] table", recipe.display()))
            .hint("every key of it is described in docs/recipe.md")
    })?;
    let mut sources = Sources::new();
    for path in policy.sources() {
        let bytes = read_below(&job.root, path)?;
        sources.insert(path.clone(), Content::of(bytes));
    }
    Ok((job.recipe().image.name.clone(), policy, sources))
}

fn read_below(root: &Dir, path: &RecipePath) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let what = || format!("reading {path}");
    let mut bytes = Vec::new();
    let file = root.open(path.as_path()).context(Class::Usage, what())?;
    file.take(LARGEST).read_to_end(&mut bytes).context(Class::Io, what())?;
    Ok(bytes)
}

fn of_arguments(args: &PolicyArgs) -> Result<(String, Policy, Sources), Failure> {
    let mut sources = Sources::new();
    let mut trust = Vec::new();
    for pair in &args.trust {
        let Some((scope, file)) = pair.split_once('=') else {
            return Err(Failure::new(Class::Usage, format!("{pair:?} does not say which key a scope is trusted by"))
                .hint("write SCOPE=FILE, such as registry.example.com/images=host.pub"));
        };
        if trust.iter().any(|other: &Trust| other.scope == scope) || args.accept.iter().any(|other| other == scope) {
            return Err(Failure::new(Class::Usage, format!("the scope {scope} is named twice"))
                .hint("a scope has one rule; name a repository below it for another one"));
        }
        let file = PathBuf::from(file);
        signers::public_key(&file)?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let key = RecipePath::new(name).context(Class::Usage, format!("naming the key {}", file.display()))?;
        let bytes = Content::of(signers::read(&file, LARGEST)?);
        if sources.insert(key.clone(), bytes.clone()).is_some_and(|old| old != bytes) {
            return Err(Failure::new(Class::Usage, format!("two different keys are called {name}")));
        }
        let matching = match args.matching {
            Matching::Repository => Match::Repository,
            Matching::Tag => Match::Tag,
        };
        trust.push(Trust { scope: scope.to_owned(), matching, signer: TrustedSigner::Key { key } });
    }
    let default = if args.accept_others { PolicyDefault::Accept } else { PolicyDefault::Reject };
    let policy = Policy { default, accept: args.accept.clone(), trust, upgrade: None };
    Ok(("policy".into(), policy, sources))
}

fn files(
    name: &str,
    table: &Policy,
    sources: &Sources,
    epoch: Epoch,
) -> Result<BTreeMap<String, (u32, Vec<u8>)>, Failure> {
    // The image's own program is there or not; whoever asks for the files gets them either way.
    let mut tree = FileTree::default();
    if let Ok(path) = oci_assemble::tree::TreePath::new("usr/bin/assemble") {
        let meta = oci_assemble::tree::Meta::root_owned(0o755, 0);
        tree.insert(path, oci_assemble::tree::Inode::file(meta, Content::of(Vec::new())));
    }
    let delta: TreeDelta =
        policy(name, table, &tree, |_| None, sources, epoch).context(Class::Usage, "making the policy")?;
    let mut files = BTreeMap::new();
    for (path, inode) in delta.entries() {
        if let Kind::File(Content::Bytes(bytes)) = &inode.kind {
            files.insert(path.to_string().trim_start_matches('/').to_owned(), (inode.meta.mode, bytes.to_vec()));
        }
    }
    Ok(files)
}

/// Writes each file beside its place, then renames it.
fn write(directory: &Path, files: &BTreeMap<String, (u32, Vec<u8>)>) -> Result<(), Failure> {
    use cap_std::fs::{OpenOptions, OpenOptionsExt};
    use std::io::Write;
    let root = wire::make_dir(directory)?;
    for (path, (mode, bytes)) in files {
        let what = || format!("writing {}", directory.join(path).display());
        let part = format!("{path}.part");
        let folder = Path::new(path).parent().unwrap_or(Path::new("."));
        root.create_dir_all(folder).context(Class::Io, what())?;
        let put = || -> std::io::Result<()> {
            let mut file =
                root.open_with(&part, OpenOptions::new().write(true).create(true).truncate(true).mode(*mode))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            root.rename(&part, &root, path)
        };
        put().context(Class::Io, what())?;
    }
    Ok(())
}
