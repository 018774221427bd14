//! Manifests as text.

use std::fmt::Write as _;

use oci_assemble::tree::{Escaped, Inode, Kind};

use super::{Entry, Manifest, Omission};

impl Manifest {
    /// A line for each entry and each path that was left out, in path order; for people and tests. Fields of entries:
    /// `+`, path, kind, mode, `user:group`, size, digest or target, capabilities, flags, package; of others: `=` (the base
    /// has it) or `-`, path, rule, package. The fields have no white space.
    pub fn dump(&self) -> String {
        let mut lines: Vec<(&[u8], String)> =
            self.entries.iter().map(|entry| (entry.path.as_bytes(), line(entry))).collect();
        lines.extend(self.omitted.iter().map(|omitted| {
            let text = match omitted.reason {
                Omission::InBase => format!("= {} {}", omitted.path, omitted.package),
                Omission::Rule(rule) => format!("- {} {} {}", omitted.path, rule.name, omitted.package),
            };
            (omitted.path.as_bytes(), text)
        }));
        lines.sort();
        lines.into_iter().fold(String::new(), |mut text, (_, line)| {
            let _ = writeln!(text, "{line}");
            text
        })
    }
}

fn line(entry: &Entry) -> String {
    let Inode { meta, kind } = &entry.inode;
    let mut text =
        format!("+ {} {} {:04o} {}:{}", entry.path, kind.name(), meta.mode & 0o7777, entry.user, entry.group);
    match kind {
        Kind::File(content) => {
            let digest = content.digest().map(|digest| digest.to_string());
            let _ = write!(text, " {} {}", content.size(), digest.unwrap_or_else(|| "-".to_owned()));
        }
        Kind::Symlink(target) => {
            let _ = write!(text, " to={}", Escaped(target));
        }
        Kind::Hardlink(target) => {
            let _ = write!(text, " to={target}");
        }
        _ => {}
    }
    if let Some(capability) = meta.xattrs.get(b"security.capability".as_slice()) {
        let _ = write!(text, " security.capability={}", Escaped(capability));
    }
    if !entry.flags.is_empty() {
        let _ = write!(text, " {}", entry.flags);
    }
    if entry.replaces {
        text.push_str(" replaces");
    }
    let _ = write!(text, " {}", entry.package.as_deref().unwrap_or("-"));
    text
}
