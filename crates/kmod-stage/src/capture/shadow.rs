//! The day of the last password change in `/etc/shadow`.

use std::collections::BTreeMap;

/// Number of the field with the day (shadow(5)), from 0.
const CHANGED: usize = 2;

/// `new` with days that do not tell when the run was.
///
/// A line that differs from the one of the same account in `old` by the day alone becomes that line. Any other line
/// that `old` does not have loses its day, as rpm-ostree takes it off: such passwords do not age. It keeps a 0 (must be
/// changed at the next login). Order, other fields and lines that are no entries stay as they are.
pub fn last_changes(old: &[u8], new: &[u8]) -> Vec<u8> {
    let known: BTreeMap<&[u8], &[u8]> = lines(old).map(|line| (name(line), line)).collect();
    let dated = |line: &[u8]| -> Vec<u8> {
        let known = known.get(name(line)).copied();
        if known == Some(line) {
            return line.to_vec();
        }
        let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, &b"\n"[..]));
        let mut fields: Vec<&[u8]> = text.split(|byte| *byte == b':').collect();
        let Some(field) = fields.get_mut(CHANGED) else { return line.to_vec() };
        if field.is_empty() || field.iter().any(|byte| !byte.is_ascii_digit()) || field.iter().all(|byte| *byte == b'0')
        {
            return line.to_vec();
        }
        *field = b"";
        let dated = [fields.join(&b':'), end.to_vec()].concat();
        known.filter(|known| without_day(known) == without_day(line)).map_or(dated, <[u8]>::to_vec)
    };
    lines(new).flat_map(dated).collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn name(line: &[u8]) -> &[u8] {
    line.split(|byte| matches!(byte, b':' | b'\n')).next().unwrap_or_default()
}

fn without_day(line: &[u8]) -> Vec<&[u8]> {
    let fields = line.strip_suffix(b"\n").unwrap_or(line).split(|byte| *byte == b':');
    fields.enumerate().filter(|(number, _)| *number != CHANGED).map(|(_, field)| field).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_are_the_bases_or_none() {
        let old = "root:*:19000:0:99999:7:::\nbin:!:19000::::::\nsame:*:19000:0:::::\n";
        let new = "root:*:20777:0:99999:7:::\nsame:*:19000:0:::::\nbin:!!:20777::::::\nnew:!*:20777::::::\nold:!*:::::::\nnow:!*:0::::::\n+\nlast:!:20777:";
        let expected = "root:*:19000:0:99999:7:::\nsame:*:19000:0:::::\nbin:!!:::::::\nnew:!*:::::::\nold:!*:::::::\nnow:!*:0::::::\n+\nlast:!::";
        let dated = last_changes(old.as_bytes(), new.as_bytes());
        assert_eq!(String::from_utf8(dated).unwrap(), expected);
    }
}
