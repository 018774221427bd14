//! Kernel modules: built for the kernel of the image, and known to its indices.

use std::collections::{BTreeMap, BTreeSet};

use super::kernel::{is_module, releases};
use super::report::Note;
use super::{LintError, Subject};
use crate::elf::module_name;
use crate::layer::whole;
use crate::tree::{Escaped, TreePath};

/// Indices that depmod writes and modprobe needs.
const INDICES: [&str; 6] =
    ["modules.dep", "modules.dep.bin", "modules.alias", "modules.alias.bin", "modules.symbols", "modules.symbols.bin"];
/// The largest index read: real ones have about 1 MB.
pub(super) const INDEX_MAX: u64 = 64 << 20;

/// Every directory of modules belongs to the one kernel, and the modules say that they were built for it and its
/// machine: the added ones, or all when it is not known which were added.
pub(super) fn kernel_modules_match(subject: &Subject) -> Vec<Note> {
    let releases = releases(subject.tree);
    let mut notes = Vec::new();
    for (path, _) in releases.iter().filter(|(_, image)| !image && releases.len() > 1) {
        notes.push(Note::at(path, "modules of a kernel that is not in the image"));
    }
    let architecture = subject.input.image.architecture.as_str();
    for (path, fact) in &subject.facts.modules {
        let Some(release) = releases.iter().map(|(release, _)| release).find(|release| path.is_below(release)) else {
            continue;
        };
        let release = String::from_utf8_lossy(release.name());
        match fact {
            Err(why) => notes.push(Note::at(path, format!("no usable module: {why}"))),
            Ok(module) if module.release != release => {
                notes.push(Note::at(path, format!("built for kernel {}, not {release}", module.release)));
            }
            Ok(module) if !architecture.is_empty() && module.identity.machine.architecture() != Some(architecture) => {
                notes.push(Note::at(path, format!("built for {}, not {architecture}", module.identity.machine)));
            }
            Ok(_) => {}
        }
    }
    notes
}

/// The indices of depmod are there, and `modules.dep` names the modules of the tree: all of them, and no others.
///
/// Of several files with one module name depmod lists the preferred one, so a file is also listed by its namesake.
pub(super) fn depmod_complete(subject: &Subject) -> Result<Vec<Note>, LintError> {
    let mut notes = Vec::new();
    for (release, image) in releases(subject.tree) {
        let modules: Vec<&TreePath> =
            subject.tree.below(&release).map(|(path, _)| path).filter(|path| is_module(path)).collect();
        if modules.is_empty() && !image {
            continue;
        }
        for index in INDICES.iter().filter_map(|name| release.join(name).ok()) {
            match subject.tree.content(&index).map(crate::tree::Content::size) {
                None => notes.push(Note::at(&index, "missing: depmod was not run")),
                Some(0) if !modules.is_empty() => notes.push(Note::at(&index, "empty: depmod was not run")),
                Some(_) => {}
            }
        }
        let Ok(dep) = release.join("modules.dep") else { continue };
        if subject.tree.content(&dep).is_some() {
            let bytes = whole(subject.tree, &subject.facts.contents, &dep, INDEX_MAX)?;
            compare(subject, &release, &dep, &bytes, &modules, &mut notes);
        }
    }
    Ok(notes)
}

fn compare(
    subject: &Subject,
    release: &TreePath,
    dep: &TreePath,
    bytes: &[u8],
    modules: &[&TreePath],
    notes: &mut Vec<Note>,
) {
    // Text of the index → whether the tree has it; the same dependencies appear on many lines.
    let mut named: BTreeMap<&[u8], bool> = BTreeMap::new();
    let mut listed: BTreeSet<Vec<u8>> = BTreeSet::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            notes.push(Note::at(dep, format!("line without a colon: {}", Escaped(line))));
            continue;
        };
        let (module, needs) = (&line[..colon], &line[colon + 1..]);
        listed.extend(module_name(module.rsplit(|byte| *byte == b'/').next().unwrap_or_default()));
        for name in [module].into_iter().chain(needs.split(|byte| *byte == b' ')).filter(|name| !name.is_empty()) {
            named.entry(name).or_insert_with(|| {
                let absolute = name.first() == Some(&b'/');
                let path = if absolute { name.to_vec() } else { [release.as_bytes(), b"/", name].concat() };
                subject.tree.lookup(path).is_some_and(|(found, _)| subject.tree.content(&found).is_some())
            });
        }
    }
    for (name, _) in named.iter().filter(|(_, found)| !**found) {
        notes.push(Note::at(dep, format!("names {}, which is not in the image", Escaped(name))));
    }
    for module in modules {
        if module_name(module.name()).is_some_and(|name| !listed.contains(&name)) {
            notes.push(Note::at(module, "not in modules.dep: modprobe will not find it"));
        }
    }
}
