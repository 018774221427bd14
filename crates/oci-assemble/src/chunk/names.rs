//! Names of components come from images (tags of files, package databases, paths, records) and go to terminals.

use std::fmt::Write;

/// The name with each control character as `\xNN` for each of its bytes, as paths are shown; other names stay as they are.
///
/// Law: the result has no control character, so `printable(printable(x)) == printable(x)`.
pub(super) fn printable(name: String) -> String {
    if !name.contains(char::is_control) {
        return name;
    }
    let mut text = String::with_capacity(name.len() + 3);
    for character in name.chars() {
        if character.is_control() {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                // A String takes everything.
                let _ = write!(text, "\\x{byte:02x}");
            }
        } else {
            text.push(character);
        }
    }
    text
}
