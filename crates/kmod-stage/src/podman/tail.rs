//! The last lines of a log of any length.

use std::collections::VecDeque;

/// How many lines are kept.
const LINES: usize = 40;
/// How many bytes are kept: lines of compilers may be long.
const BYTES: usize = 16 << 10;

/// Keeps the end of what is added.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let excess = self.0.len().saturating_sub(BYTES);
        self.0.drain(..excess);
    }

    /// The last lines, fit for a terminal: no control characters, and of lines that were written over the last text.
    pub(super) fn lines(&self) -> Vec<String> {
        let (front, back) = self.0.as_slices();
        let text = String::from_utf8_lossy(&[front, back].concat()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].iter().map(|line| shown(line)).collect()
    }
}

fn shown(line: &str) -> String {
    let last = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    let printable = |character: char| if character.is_control() && character != '\t' { '\u{fffd}' } else { character };
    last.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end() {
        let mut tail = Tail::default();
        assert!(tail.lines().is_empty());
        for number in 0..1000 {
            tail.add(format!("line {number}\n").as_bytes());
        }
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[39].as_str()), (40, "line 960", "line 999"));
        tail.add(&vec![b'x'; 1 << 20]);
        assert_eq!(tail.lines().concat().len(), BYTES);
    }

    #[test]
    fn is_fit_for_a_terminal() {
        let mut tail = Tail::default();
        tail.add(b"10%\r50%\r100%\r\n\x1b[31mred\xff\tlast");
        assert_eq!(tail.lines(), ["100%", "\u{fffd}[31mred\u{fffd}\tlast"]);
    }
}
