//! The text form in which an index is cached: a head, the broken rules, the offsets, the delta's dump.

use std::fmt::Write;

use super::LayerIndex;
use crate::image::Digest;
use crate::layer::gate::{Rule, Violation, Violations};
use crate::tree::{Escaped, TreeDelta, unescape};

/// First line; a change of anything below changes it, so that an old cache is read anew.
const MAGIC: &str = "assemble layer index 1";

impl LayerIndex {
    /// The index as text. Law: `LayerIndex::parse(&index.render()) == Some(index)`.
    pub fn render(&self) -> String {
        let mut text = format!("{MAGIC}\n{} {}\n", self.diff_id, self.size);
        // Writing to a String cannot fail.
        for (rule, count, kept) in self.violations.iter() {
            let _ = write!(text, "! {} {count}", rule.code());
            for Violation { offset, path, .. } in kept {
                let _ = write!(text, " {offset}:{}", Escaped(path));
            }
            text.push('\n');
        }
        for (digest, offset) in &self.offsets {
            let _ = writeln!(text, "@ {offset} {digest}");
        }
        text.push_str(&self.delta.dump());
        text
    }

    /// Reads what [`LayerIndex::render`] wrote; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix(MAGIC)?.strip_prefix('\n')?;
        let (head, tail) = rest.split_once('\n')?;
        rest = tail;
        let (diff_id, size) = head.split_once(' ')?;
        let mut index = Self {
            diff_id: diff_id.parse().ok()?,
            size: size.parse().ok()?,
            delta: TreeDelta::new(),
            offsets: std::collections::BTreeMap::new(),
            violations: Violations::default(),
        };
        while let Some((line, tail)) = rest.split_once('\n') {
            if let Some(line) = line.strip_prefix("! ") {
                read_rule(line, &mut index.violations)?;
            } else if let Some(line) = line.strip_prefix("@ ") {
                let (offset, digest) = line.split_once(' ')?;
                index.offsets.insert(digest.parse::<Digest>().ok()?, offset.parse().ok()?);
            } else {
                break;
            }
            rest = tail;
        }
        index.delta = TreeDelta::parse(rest).ok()?;
        Some(index)
    }
}

fn read_rule(line: &str, violations: &mut Violations) -> Option<()> {
    let mut words = line.split(' ');
    let code = words.next()?;
    let rule = *Rule::ALL.iter().find(|rule| rule.code() == code)?;
    let count = words.next()?.parse().ok()?;
    let mut kept = Vec::new();
    for word in words {
        let (offset, path) = word.split_once(':')?;
        kept.push(Violation { rule, offset: offset.parse().ok()?, path: unescape(path)? });
    }
    violations.restore(rule, count, kept);
    Some(())
}
