//! Kernel arguments, as fragments of bootc's `kargs.d`.
//!
//! A fragment knows two keys, `kargs` and `match-architectures`; any other is fatal when the image is deployed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{GenerateError, generated};
use crate::image::{Digest, Epoch, Hasher};
use crate::plan::recipe::spec::Kargs;
use crate::tree::{TreeDelta, TreePath};

/// `/usr/lib/bootc/kargs.d/50-assemble-IMAGE.toml`, one argument a line, so that updates show what changed.
pub fn kargs(image: &str, kargs: &Kargs, epoch: Epoch) -> Result<TreeDelta, GenerateError> {
    let mut text = String::new();
    if !kargs.append.is_empty() {
        array("kargs", &kargs.append, &mut text);
        if !kargs.match_architectures.is_empty() {
            array("match-architectures", &kargs.match_architectures, &mut text);
        }
    }
    generated(&format!("usr/lib/bootc/kargs.d/50-assemble-{image}.toml"), &text, epoch)
}

fn array(key: &str, words: &[String], text: &mut String) {
    let _ = writeln!(text, "{key} = [");
    for word in words {
        let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(text, "  \"{escaped}\",");
    }
    text.push_str("]\n");
}

/// The kernel argument that names a set of modules by the first twelve digits of a digest over their paths and bytes.
///
/// A client that compares kernel, initramfs and arguments takes an update of modules alone for one that needs no
/// reboot, and would run new tools on the old, loaded modules. This argument makes such an update visible; the kernel
/// itself ignores it.
pub fn module_set_karg(modules: &BTreeMap<TreePath, Digest>) -> String {
    let mut hasher = Hasher::default();
    for (path, digest) in modules {
        hasher.update(path.as_bytes());
        hasher.update(b"\0");
        hasher.update(digest.to_string().as_bytes());
        hasher.update(b"\n");
    }
    format!("assemble.kmods={}", hasher.finish().short())
}

/// `/usr/lib/bootc/kargs.d/50-assemble-kmods.toml` with [`module_set_karg`]. The name does not depend on the image: an
/// image that changes the modules of the one it is built upon replaces the argument.
pub fn module_set_delta(modules: &BTreeMap<TreePath, Digest>, epoch: Epoch) -> Result<TreeDelta, GenerateError> {
    let mut text = String::new();
    array("kargs", &[module_set_karg(modules)], &mut text);
    generated("usr/lib/bootc/kargs.d/50-assemble-kmods.toml", &text, epoch)
}
