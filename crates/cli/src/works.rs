//! What the recipe asks builders to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kmod_stage::build::dkms::DkmsWork;
use kmod_stage::build::kinds::{ByFamily, Kind, nvidia_open, zfs};
use kmod_stage::build::packages::PackagesWork;
use kmod_stage::build::script::Request;
use kmod_stage::build::{Earlier, Inputs, Work};
use kmod_stage::manifest::Accounts;
use oci_assemble::image::Digest;
use oci_assemble::plan::recipe::spec::{Group, KernelPin, User};
use oci_assemble::plan::recipe::{RecipePath, Record, Stage, StageKind};

use crate::exit::{Class, Context, Failure};
use crate::wire::Job;

pub(crate) use oci_assemble::plan::sources::PACKAGES;
use oci_assemble::plan::sources::{self, Part};

/// Everything that the recipe asks builders to do, by the name of the stage.
pub(crate) fn all(job: &Job) -> Result<BTreeMap<String, Arc<dyn Work>>, Failure> {
    let mut works = BTreeMap::new();
    let own = packages(job)?.map(|work| (PACKAGES.to_owned(), Arc::new(work) as Arc<dyn Work>));
    works.extend(own);
    for stage in &job.recipe().stages {
        if matches!(stage.kind, StageKind::Files(_) | StageKind::Modules(_)) {
            continue;
        }
        if works.insert(stage.name.clone(), compiled(job, stage)?).is_some() {
            let text = format!("the stage {} has the name of what the table [packages] asks for", stage.name);
            return Err(Failure::new(Class::Usage, text).hint("give the stage another name"));
        }
    }
    Ok(works)
}

/// What comes before a stage in the image, in order. Modules and what is generated come behind all stages.
pub(crate) fn earlier(job: &Job, name: &str) -> Result<Vec<Earlier>, Failure> {
    if name == PACKAGES {
        return Ok(Vec::new());
    }
    let mut earlier = vec![Earlier::Built(PACKAGES.to_owned())];
    for stage in job.recipe().stages.iter().take_while(|stage| stage.name != name) {
        match &stage.kind {
            StageKind::Modules(_) => {}
            StageKind::Files(files) => {
                let root = job.root.try_clone().context(Class::Io, "opening the recipe's directory again")?;
                let (source, into) = (files.source.clone(), files.into.clone());
                let digest = move || {
                    let source = sources::digest(&root, &source, Part::Whole)?;
                    Ok(Digest::of(format!("files {into} {source}").as_bytes()))
                };
                earlier.push(Earlier::Given(stage.name.clone(), Arc::new(digest)));
            }
            _ => earlier.push(Earlier::Built(stage.name.clone())),
        }
    }
    Ok(earlier)
}

/// Whether packages decide about the kernel: a release alone only says what the base must have.
pub(crate) fn moves_kernel(job: &Job) -> bool {
    let kernel = &job.recipe().kernel;
    match kernel.pin {
        KernelPin::Base => false,
        KernelPin::Devel => true,
        KernelPin::Exact(_) => !kernel.repositories.is_empty(),
    }
}

/// What `[packages]` asks for; nothing when that is nothing and the kernel stays.
pub(crate) fn packages(job: &Job) -> Result<Option<PackagesWork>, Failure> {
    let table = &job.recipe().packages;
    let empty = table.install.is_empty() && table.remove.is_empty() && table.downgrade.is_empty();
    if empty && !moves_kernel(job) {
        return Ok(None);
    }
    let mut inputs = Inputs::default();
    hand(job, "repositories", &table.repositories, &mut inputs)?;
    if moves_kernel(job) {
        hand(job, "repositories", &job.recipe().kernel.repositories, &mut inputs)?;
    }
    let request = Request {
        install: table.install.clone(),
        remove: table.remove.clone(),
        downgrade: table.downgrade.clone(),
        ..Request::default()
    };
    Ok(Some(PackagesWork { request, inputs }))
}

/// What a stage that compiles asks for.
pub(crate) fn compiled(job: &Job, stage: &Stage) -> Result<Arc<dyn Work>, Failure> {
    let (kind, compiled, ready) = match &stage.kind {
        StageKind::Dkms(dkms) => {
            let exact = |name: &String| format!("{name}{}", dkms.version.as_deref().unwrap_or_default());
            let packages: Vec<String> = dkms.packages.iter().map(exact).collect();
            let userspace = ByFamily::same(&dkms.userspace);
            let packages = ByFamily::same(&packages);
            ("dkms", &dkms.compiled, Kind { packages, userspace, modules: ByFamily::same(&dkms.modules) })
        }
        StageKind::Zfs(stage) => ("zfs", &stage.compiled, zfs(&stage.branch, stage.version.as_deref())),
        StageKind::NvidiaOpen(stage) => {
            let named = |path: &RecipePath| path.as_str().contains("container-toolkit");
            let toolkit = stage.toolkit.is_some() || stage.compiled.repositories.iter().any(named);
            ("nvidia-open", &stage.compiled, nvidia_open(&stage.version, stage.toolkit.as_deref(), toolkit))
        }
        other => {
            let text = format!("stage {} of kind {} compiles nothing", stage.name, other.name());
            return Err(Failure::new(Class::Usage, text));
        }
    };
    let mut inputs = Inputs::default();
    hand(job, "repositories", &compiled.repositories, &mut inputs)?;
    // They have the kernel's headers.
    hand(job, "repositories", &job.recipe().kernel.repositories, &mut inputs)?;
    hand(job, "patches", &compiled.patches, &mut inputs)?;
    Ok(Arc::new(DkmsWork {
        stage: stage.name.clone(),
        kind,
        packages: ready.packages,
        modules: ready.modules,
        userspace: ready.userspace,
        overrides: compiled.overrides.clone(),
        accounts: accounts(&job.recipe().users, &job.recipe().groups),
        record: compiled.record == Record::Justdb,
        inputs,
    }))
}

/// The users and groups that the recipe declares.
fn accounts(users: &[User], groups: &[Group]) -> Accounts {
    let mut accounts = Accounts::default();
    for group in groups {
        accounts.group(&group.name, group.gid.map(u64::from));
    }
    for user in users {
        let number = user.uid.map(u64::from);
        accounts.user(&user.name, number);
        // A user without a group has one of its own name and number.
        match &user.group {
            None => accounts.group(&user.name, number),
            Some(group) => accounts.group(group, None),
        }
    }
    accounts
}

/// Reads files of the recipe that scripts need. Patches keep their order by a number in front.
fn hand(job: &Job, place: &str, paths: &[RecipePath], inputs: &mut Inputs) -> Result<(), Failure> {
    for (number, path) in paths.iter().enumerate() {
        let file: &Path = path.as_path();
        let bytes = job.root.read(file).context(Class::Usage, format!("reading {}", file.display()))?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = if place == "patches" { format!("{place}/{number:03}-{name}") } else { format!("{place}/{name}") };
        inputs.add(&name, bytes).context(Class::Usage, format!("handing {} to a builder", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_packages_may_belong_to_users_of_the_recipe() {
        let user = |name: &str, uid, group: Option<&str>| User {
            name: name.into(),
            uid,
            group: group.map(str::to_owned),
            ..User::default()
        };
        let users = vec![user("own", Some(600), None), user("other", None, Some("shared"))];
        let groups = vec![Group { name: "shared".into(), gid: Some(700) }];
        let accounts = accounts(&users, &groups);
        let numbers = |accounts: &BTreeMap<String, Option<u64>>| {
            accounts.iter().map(|(name, number)| (name.clone(), *number)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&accounts.users), [("other".into(), None), ("own".into(), Some(600))]);
        assert_eq!(numbers(&accounts.groups), [("own".into(), Some(600)), ("shared".into(), Some(700))]);
    }
}
