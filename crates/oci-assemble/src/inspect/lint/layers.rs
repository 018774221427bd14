//! Layers and labels: what clients rely on before they look at a file.

use std::collections::BTreeMap;

use super::Subject;
use super::report::Note;
use crate::tree::Escaped;

/// Media types that clients unpack. Docker's mean the same as those of OCI.
const MEDIA_TYPES: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
];
/// The label and annotation that makes clients read the layers up to that diff_id as parts of an ostree commit.
const FINAL_DIFFID: &str = "ostree.final-diffid";
/// The label and annotation that names that commit.
const COMMIT: &str = "ostree.commit";

/// Every layer is encoded so that all readers see the same files in it. What layers of others break is a warning.
pub(super) fn layer_encoding(subject: &Subject) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut seen: BTreeMap<_, bool> = BTreeMap::new();
    for layer in subject.input.layers {
        let theirs = !layer.ours;
        for (rule, count, places) in layer.violations.iter() {
            for place in places {
                let name = if place.path.is_empty() { String::new() } else { format!(" of {}", Escaped(&place.path)) };
                let value = format!("{} ({}), byte {}{name}", rule.text(), rule.code(), place.offset);
                notes.push(Note::in_layer(layer.digest, value).warning_if(theirs));
            }
            if count > places.len() as u64 {
                let value = format!("{} ({}), {count} times in all", rule.text(), rule.code());
                notes.push(Note::in_layer(layer.digest, value).warning_if(theirs));
            }
        }
        if !MEDIA_TYPES.contains(&layer.media_type.as_str()) {
            let value = format!("media type {:?}, which clients do not unpack", layer.media_type);
            notes.push(Note::in_layer(layer.digest, value));
        }
        // Clients keep layers by digest and by diff_id, so one is there once or in two guises.
        if let Some(earlier) = seen.insert(layer.diff_id, layer.ours) {
            notes.push(Note::in_layer(layer.digest, "in the image twice").warning_if(theirs && !earlier));
        }
    }
    notes
}

/// What bootc demands or shows: a mark that the image boots, version, date, architecture and system.
pub(super) fn required_labels(subject: &Subject) -> Vec<Note> {
    let image = subject.input.image;
    let label = |name: &str| image.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let mut notes = Vec::new();
    if label("containers.bootc") != Some("1") && label("ostree.bootable").is_none() {
        notes.push(Note::of("neither label containers.bootc=1 nor ostree.bootable: clients refuse to deploy it"));
    }
    if label("org.opencontainers.image.version").is_none() {
        notes.push(Note::of("no label org.opencontainers.image.version: clients show the base's version, or none"));
    }
    match image.created.as_deref() {
        None | Some("") => notes.push(Note::of("no date of creation: every client makes another commit of it")),
        Some(date) if !is_date(date) => notes.push(Note::of(format!("created {date:?} is no date of RFC 3339"))),
        Some(_) => {}
    }
    if image.architecture.is_empty() {
        notes.push(Note::of("no architecture"));
    }
    if image.os != "linux" {
        notes.push(Note::of(format!("os {:?}, not \"linux\"", image.os)));
    }
    notes
}

/// `2026-11-20T12:00:00[.5]Z` or with an offset, by its shape.
fn is_date(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zone = rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches('0'));
    matches!(zone, "Z" | "+00:00" | "-00:00")
}

/// Labels of an ostree base fit the layers: a label that names a layer which is gone makes clients fail, and layers of
/// an ostree commit without the label leave its object store in the image as plain files.
pub(super) fn ostree_labels(subject: &Subject) -> Vec<Note> {
    let image = subject.input.image;
    let mut notes = Vec::new();
    let mut named = false;
    for (place, map) in [("label", &image.labels), ("annotation", &image.annotations)] {
        let Some(value) = map.get(FINAL_DIFFID) else {
            if map.contains_key(COMMIT) {
                notes.push(Note::of(format!("{place} {COMMIT} without {FINAL_DIFFID}")).warning());
            }
            continue;
        };
        named = named || place == "label";
        if !subject.input.layers.iter().any(|layer| layer.diff_id.to_string() == *value) {
            notes.push(Note::of(format!("{place} {FINAL_DIFFID} names {value}, which is no layer of the image")));
        }
    }
    let objects = subject.tree.lookup("sysroot/ostree/repo/objects").map(|(path, _)| path);
    if let Some(objects) = objects.filter(|_| !named)
        && subject.tree.below(&objects).any(|(path, _)| subject.tree.content(path).is_some())
    {
        notes.push(Note::at(&objects, format!("objects of an ostree commit, but no label {FINAL_DIFFID}")));
    }
    notes
}
