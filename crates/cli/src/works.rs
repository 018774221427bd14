//! What the recipe asks builders to do.

use std::path::Path;
use std::sync::Arc;

use kmod_stage::build::dkms::DkmsWork;
use kmod_stage::build::packages::PackagesWork;
use kmod_stage::build::script::Request;
use kmod_stage::build::{Inputs, Work};
use oci_assemble::plan::recipe::{RecipePath, Stage, StageKind};

use crate::exit::{Class, Context, Failure};
use crate::wire::Job;

/// What `[packages]` asks for; nothing when it is empty.
pub(crate) fn packages(job: &Job) -> Result<Option<Arc<dyn Work>>, Failure> {
    let table = &job.recipe().packages;
    if table.install.is_empty() && table.remove.is_empty() && table.downgrade.is_empty() {
        return Ok(None);
    }
    let mut inputs = Inputs::default();
    hand(job, "repositories", &table.repositories, &mut inputs)?;
    let request = Request {
        install: table.install.clone(),
        remove: table.remove.clone(),
        downgrade: table.downgrade.clone(),
        replace_kernel: false,
    };
    Ok(Some(Arc::new(PackagesWork { request, inputs, image: job.recipe().image.name.clone() })))
}

/// What a stage that compiles asks for.
pub(crate) fn compiled(job: &Job, stage: &Stage) -> Result<Arc<dyn Work>, Failure> {
    let (kind, compiled, packages, modules, userspace) = match &stage.kind {
        StageKind::Dkms(dkms) => {
            let exact =
                |name: &String| dkms.version.as_ref().map_or(name.clone(), |version| format!("{name}{version}"));
            let packages: Vec<String> = dkms.packages.iter().map(exact).collect();
            ("dkms", &dkms.compiled, packages, dkms.modules.clone(), dkms.userspace.clone())
        }
        StageKind::Zfs(zfs) => {
            let exact = |name: &str| zfs.version.as_ref().map_or(name.to_owned(), |version| format!("{name}{version}"));
            ("zfs", &zfs.compiled, vec![exact("zfs-dkms")], vec!["zfs".to_owned()], Vec::new())
        }
        StageKind::NvidiaOpen(nvidia) => {
            let exact = |name: &str| format!("{name}{}", nvidia.version);
            let modules = ["nvidia", "nvidia_modeset", "nvidia_uvm", "nvidia_drm"].map(str::to_owned).to_vec();
            ("nvidia-open", &nvidia.compiled, vec![exact("nvidia-open-kernel-dkms")], modules, Vec::new())
        }
        other => {
            return Err(Failure::new(
                Class::Usage,
                format!("stage {} of kind {} compiles nothing", stage.name, other.name()),
            ));
        }
    };
    let mut inputs = Inputs::default();
    hand(job, "repositories", &compiled.repositories, &mut inputs)?;
    hand(job, "patches", &compiled.patches, &mut inputs)?;
    Ok(Arc::new(DkmsWork { kind, packages, modules, userspace, overrides: compiled.overrides.clone(), inputs }))
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
