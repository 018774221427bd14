//! Users and tmpfiles.
//!
//! Users are made by systemd-sysusers at boot, not by editing `/etc/passwd`: that file belongs to the machine and would
//! not follow upgrades of the image.

use std::fmt::Write as _;

use super::{GenerateError, generated};
use crate::image::Epoch;
use crate::plan::recipe::spec::{Group, Tmpfile, User};
use crate::tree::TreeDelta;

/// `/usr/lib/sysusers.d/50-assemble-IMAGE.conf` (sysusers.d(5)): groups first, because users may name them.
pub fn sysusers(image: &str, users: &[User], groups: &[Group], epoch: Epoch) -> Result<TreeDelta, GenerateError> {
    let mut text = String::new();
    for group in groups {
        let _ = writeln!(text, "g {} {}", group.name, number(group.gid));
    }
    for user in users {
        let id = match &user.group {
            Some(group) => format!("{}:{group}", number(user.uid)),
            None => number(user.uid),
        };
        let mut fields = vec![user.description.as_deref().map(quoted), user.home.as_deref().map(quoted)];
        fields.push(user.shell.as_deref().map(quoted));
        while fields.last() == Some(&None) {
            fields.pop();
        }
        let _ = write!(text, "u {} {id}", user.name);
        for field in fields {
            let _ = write!(text, " {}", field.unwrap_or_else(|| "-".to_owned()));
        }
        text.push('\n');
        for group in &user.groups {
            let _ = writeln!(text, "m {} {group}", user.name);
        }
    }
    generated(&format!("usr/lib/sysusers.d/50-assemble-{image}.conf"), &text, epoch)
}

fn number(id: Option<u32>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

/// A field of sysusers.d(5): quoted where it has to be, specifiers taken literally.
fn quoted(field: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-@+,".contains(&byte);
    // A lone dash would mean that the field is absent.
    if !field.is_empty() && field != "-" && field.bytes().all(plain) {
        return field.to_owned();
    }
    let escaped = field.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{escaped}\"")
}

/// `/usr/lib/tmpfiles.d/50-assemble-IMAGE.conf` (tmpfiles.d(5)): the lines as they are.
pub fn tmpfiles(image: &str, lines: &[Tmpfile], epoch: Epoch) -> Result<TreeDelta, GenerateError> {
    let text: String = lines.iter().flat_map(|tmpfile| [&tmpfile.line, "\n"]).collect();
    generated(&format!("usr/lib/tmpfiles.d/50-assemble-{image}.conf"), &text, epoch)
}
