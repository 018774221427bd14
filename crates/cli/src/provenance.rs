//! How an image was made, from its recipe, the lock beside it and the variables of the pipeline.

use oci_assemble::image::Digest;
use oci_assemble::plan::lock::ImagePin;
use oci_assemble::publish::attest::{Dependency, Provenance, Run};

use crate::args::RecipeArgs;
use crate::env;
use crate::exit::{Class, Failure};
use crate::locks::{self, Held};
use crate::wire;

/// The provenance of what the recipe and its lock make. The lock must fit: what it does not pin nobody could name here.
pub(crate) fn of(args: &RecipeArgs) -> Result<Provenance, Failure> {
    let job = wire::load(args)?;
    let mut held = Held::new(&job, true)?;
    held.check_sources(&job)?;
    let platform = job.platform_name();
    let lock = locks::read(&job)?;
    let locked =
        lock.as_ref().and_then(|lock| Some((Digest::of(lock.render().as_bytes()), lock.platforms.get(&platform)?)));
    let Some((digest, locked)) = locked else {
        return Err(Failure::new(Class::Usage, format!("the lock has nothing for {platform}"))
            .hint("choose one of its platforms with --platform"));
    };
    let image = |name: &str, pin: &ImagePin| Dependency {
        name: name.to_owned(),
        uri: pin.image.to_string(),
        digest: pin.digest,
    };
    let mut dependencies = vec![image("base", &locked.base)];
    dependencies.extend(locked.builder.iter().map(|pin| image("builder", pin)));
    let mut packages = Vec::new();
    for (name, stage) in &locked.stages {
        dependencies.push(Dependency {
            name: format!("stage {name}"),
            uri: format!("urn:assemble:bundle:{name}"),
            digest: stage.key,
        });
        packages.extend(stage.packages.iter().map(|package| Dependency {
            name: format!("package of stage {name}"),
            uri: format!("urn:assemble:package:{}:{}:{}", package.name, package.version, package.arch),
            digest: package.checksum,
        }));
    }
    Ok(Provenance {
        recipe: job.path.as_str().to_owned(),
        recipe_digest: job.recipe().digest(),
        platform,
        epoch: wire::explicit_epoch()?.unwrap_or(locked.epoch).seconds(),
        lock: Some(digest),
        dependencies,
        packages,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run: run(),
    })
}

/// Where this runs: a job of GitLab, of GitHub, or neither.
fn run() -> Run {
    let text = env::text;
    if let Some(project) = text("GITLAB_CI").and_then(|_| text("CI_PROJECT_URL")) {
        return Run {
            builder: text("CI_RUNNER_ID").map(|id| format!("{project}/-/runners/{id}")),
            invocation: text("CI_JOB_URL"),
            source: text("CI_COMMIT_SHA").map(|commit| (project, commit)),
        };
    }
    let (Some(server), Some(repository)) = (text("GITHUB_SERVER_URL"), text("GITHUB_REPOSITORY")) else {
        return Run::default();
    };
    let project = format!("{server}/{repository}");
    let attempt = text("GITHUB_RUN_ATTEMPT").unwrap_or_else(|| "1".to_owned());
    Run {
        builder: text("GITHUB_WORKFLOW_REF").map(|workflow| format!("{server}/{workflow}")),
        invocation: text("GITHUB_RUN_ID").map(|id| format!("{project}/actions/runs/{id}/attempts/{attempt}")),
        source: text("GITHUB_SHA").map(|commit| (project, commit)),
    }
}
