//! Which kernel the image gets, as far as that is known without a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use kmod_stage::build::packages::PackagesWork;
use kmod_stage::build::{BuildError, Inputs, Survey, Work, base_kernel, survey};
use kmod_stage::kernel::{KernelRelease, Kernels, PinError, decide};
use oci_assemble::plan::kernel::{Direction, KernelChoice, KernelPlan};
use oci_assemble::plan::recipe::spec::KernelPin;
use oci_assemble::plan::step::View;
use oci_assemble::tree::FileTree;

use crate::exit::{Class, Context, Failure};
use crate::locks::Held;
use crate::wire::Job;
use crate::works;

/// What the recipe pins the kernel to, as plans and locks say it.
pub(crate) fn pin(job: &Job) -> String {
    String::from(job.recipe().kernel.pin.clone())
}

/// The one kernel of a tree.
fn only(tree: &FileTree) -> Option<KernelRelease> {
    let mut kernels = Kernels::find(tree).bootable;
    if kernels.len() == 1 { kernels.pop() } else { None }
}

/// The kernel of a recipe that leaves the base's where it is.
pub(crate) fn kept(job: &Job, tree: &FileTree) -> Option<KernelChoice> {
    let release = only(tree)?;
    let why = match job.recipe().kernel.pin {
        KernelPin::Exact(_) => "the recipe names it, and it is the base's",
        _ => "it is the base's kernel",
    };
    let reason = format!("kernel {release} stays: {why}");
    let (release, direction) = (release.to_string(), Direction::Keep);
    Some(KernelChoice { pin: pin(job), release, direction, reason, install: Vec::new(), remove: Vec::new() })
}

/// What a plan says about the kernel.
///
/// A repository that cannot be read here makes no error: it is named, and what it could change stays open.
pub(crate) fn plan(job: &Job, held: &Held, view: View<'_>) -> Result<KernelPlan, Failure> {
    let own = &job.recipe().kernel.pin;
    let Some(release) = only(view.tree) else {
        let there = Kernels::find(view.tree).bootable.len();
        let reason = if there == 0 { "the base has no kernel" } else { "the base has several kernels" };
        return Ok(KernelPlan::open(pin(job), None, reason.to_owned()));
    };
    let base = Some(release.to_string());
    if let Some(choice) = held.kernel(job)? {
        let reason = format!("as locked, {}", choice.reason);
        return Ok(KernelPlan::chosen(base, KernelChoice { reason, ..choice.clone() }));
    }
    let moves = works::moves_kernel(job);
    let all = works::all(job)?;
    let asked = match works::packages(job)? {
        Some(packages) if moves => vec![Arc::new(packages) as Arc<dyn Work>],
        _ => all.into_values().filter(|work| work.kind() != PackagesWork::KIND).collect(),
    };
    let kept = kept(job, view.tree).filter(|_| !moves);
    if let Some(choice) = kept.clone().filter(|_| asked.is_empty()) {
        return Ok(KernelPlan::chosen(base, choice));
    }
    // Without a say of the package database there is nothing to compare with.
    let installed = match base_kernel(&release, view) {
        Ok(installed) => installed,
        Err(error) => {
            let reason = format!("{error}, so what repositories have cannot be compared with it");
            return Ok(KernelPlan { reason, ..open(job, base, kept) });
        }
    };
    let inputs: Vec<&Inputs> = asked.iter().map(|work| work.inputs()).collect();
    let Survey { offers, unread } = survey(&inputs, view).context(Class::Data, "looking at repositories")?;
    let decision = decide(own, &installed, &offers);
    let unread: BTreeMap<String, String> =
        unread.into_iter().map(|unread| (unread.name.clone(), unread.to_string())).collect();
    let plan = match decision {
        // More repositories could have a newer one.
        Ok(decision) if own == &KernelPin::Devel && !unread.is_empty() => {
            let reason = format!("builders choose; by the repositories that were read, {}", decision.reason);
            KernelPlan { reason, ..open(job, base, kept) }
        }
        Ok(decision) => KernelPlan::chosen(base, decision.choice(own)),
        Err(error) if unread.is_empty() => return Err(refused(error)),
        Err(error) => {
            let reason = match &kept {
                Some(choice) => format!("{}; builders look for its kernel-devel", choice.reason),
                None => format!("builders choose; of the repositories that were read, {}", lacks(&error)),
            };
            KernelPlan { reason, ..open(job, base, kept) }
        }
    };
    Ok(KernelPlan { unread, ..plan })
}

/// What is known before repositories are asked: the kernel that stays, or nothing.
fn open(job: &Job, base: Option<String>, kept: Option<KernelChoice>) -> KernelPlan {
    match kept {
        Some(choice) => KernelPlan::chosen(base, choice),
        None => KernelPlan::open(pin(job), base, String::new()),
    }
}

fn lacks(error: &PinError) -> &'static str {
    match error {
        PinError::NotAvailable { .. } => "none has it",
        _ => "none has a kernel with kernel-devel",
    }
}

/// Every repository was read, so a build would come to the same end.
fn refused(error: PinError) -> Failure {
    let error = BuildError::Pin { hint: error.hint(), source: error };
    Failure::of(Class::Data, "choosing the kernel", error)
}
