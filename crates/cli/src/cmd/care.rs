//! `assemble fsck`, `assemble gc`: care for layouts.

use oci_assemble::store::{Finding, GcMode, Layout, StoreError, fsck as check, gc as collect};
use serde_json::{Value, json};

use crate::args::{FsckArgs, GcArgs};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::ui::{Ui, bytes};
use crate::wire;

pub(crate) fn fsck(args: &FsckArgs, ui: Ui) -> Result<(), Failure> {
    let name = args.layout.display();
    let dir = wire::open_dir(&args.layout, Class::Usage)?;
    let layout = Layout::open(dir).context(Class::Data, format!("opening the layout {name}"))?;
    let bar = ui.bar(None, "reading blobs");
    let report = check(&layout, env::processors());
    bar.finish_and_clear();
    let report = report.context(Class::Data, format!("checking {name}"))?;
    let findings: Vec<(bool, String)> =
        report.findings.iter().map(|finding| (finding.is_error(), chain(finding))).collect();
    if ui.json {
        let findings: Vec<Value> =
            findings.iter().map(|(error, text)| json!({ "error": error, "text": text })).collect();
        let sound = report.is_sound();
        ui.document(
            "fsck",
            json!({ "sound": sound, "blobs": report.blobs, "bytes": report.bytes, "findings": findings }),
        )?;
    } else {
        let mut text = String::new();
        for (error, finding) in &findings {
            text.push_str(if *error { "error  " } else { "note   " });
            text.push_str(finding);
            text.push('\n');
        }
        ui.data(&format!("{text}{} blobs read, {}\n", report.blobs, bytes(report.bytes)))?;
    }
    if report.is_sound() {
        return Ok(());
    }
    Err(Failure::new(Class::Negative, format!("{name} is damaged")))
}

/// A finding with its causes, in one line.
fn chain(finding: &Finding) -> String {
    let mut text = finding.to_string();
    let mut next = std::error::Error::source(finding);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

pub(crate) fn gc(args: &GcArgs, ui: Ui) -> Result<(), Failure> {
    let dir = wire::open_dir(&args.layout, Class::Usage)?;
    let mode = if args.remove { GcMode::Delete } else { GcMode::DryRun };
    let report = collect(dir, mode).map_err(|error| {
        let busy = matches!(error, StoreError::InUse);
        let class = if busy { Class::Transient } else { Class::Data };
        Failure::of(class, format!("cleaning {}", args.layout.display()), error)
    })?;
    if ui.json {
        let blobs: Vec<Value> =
            report.unreferenced.iter().map(|(digest, size)| json!({ "digest": digest, "size": size })).collect();
        let value = json!({
            "removed": args.remove,
            "unreferenced": blobs,
            "abandoned": report.abandoned,
            "kept": report.kept,
            "bytes": report.bytes(),
        });
        return ui.document("gc", value);
    }
    let mut text = String::new();
    for (digest, size) in &report.unreferenced {
        text.push_str(&format!("{digest} {}\n", bytes(*size)));
    }
    for path in &report.abandoned {
        text.push_str(&format!("{path}, left by a writer that is gone\n"));
    }
    ui.data(&text)?;
    let (verb, hint) = if args.remove { ("removed", "") } else { ("would be removed", "; --remove does it") };
    let count = report.unreferenced.len() + report.abandoned.len();
    ui.say(&format!("{count} {verb}, {}; {} blobs stay{hint}", bytes(report.bytes()), report.kept));
    Ok(())
}
