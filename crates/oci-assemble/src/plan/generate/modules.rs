//! Modules at run time: modules-load.d(5) and modprobe.d(5).

use std::fmt::Write as _;

use super::{GenerateError, generated};
use crate::image::Epoch;
use crate::plan::recipe::spec::Modules;
use crate::tree::TreeDelta;

/// `/usr/lib/modules-load.d/50-assemble-IMAGE.conf` and `/usr/lib/modprobe.d/50-assemble-IMAGE.conf`.
pub fn modules(image: &str, modules: &Modules, epoch: Epoch) -> Result<TreeDelta, GenerateError> {
    let load: String = modules.load.iter().flat_map(|name| [name, "\n"]).collect();
    let mut modprobe = String::new();
    for (name, options) in modules.options.iter().filter(|(_, options)| !options.trim().is_empty()) {
        let _ = writeln!(modprobe, "options {name} {}", options.trim());
    }
    for name in &modules.blacklist {
        let _ = writeln!(modprobe, "blacklist {name}");
    }
    let delta = generated(&format!("usr/lib/modules-load.d/50-assemble-{image}.conf"), &load, epoch)?;
    Ok(delta.then(&generated(&format!("usr/lib/modprobe.d/50-assemble-{image}.conf"), &modprobe, epoch)?))
}
