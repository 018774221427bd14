//! Text files line by line, with their numbers and without surprises of memory.

use std::io::{BufRead, Read};

use super::error::{Place, RepositoryError, RepositoryFault};

/// Longest line; `Depends` of Debian's largest metapackages have some 20 KiB.
const LINE_MAX: u64 = 1 << 20;

/// Numbered lines of a text file.
#[derive(Debug)]
pub struct Lines<'a, R> {
    reader: R,
    file: &'a str,
    number: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    /// Lines of `reader`; errors name `file`.
    pub fn new(reader: R, file: &'a str) -> Self {
        Self { reader, file, number: 0 }
    }

    /// An error at the line read last.
    pub fn error(&self, fault: RepositoryFault) -> RepositoryError {
        self.error_at(self.number, fault)
    }

    /// An error at a line read earlier.
    pub fn error_at(&self, line: u64, fault: RepositoryFault) -> RepositoryError {
        RepositoryError::new(self.file, Place::Line(line), fault)
    }

    /// The number of the line read last, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end.
    pub fn next_line(&mut self) -> Result<Option<String>, RepositoryError> {
        let mut line = Vec::new();
        self.number += 1;
        let read = (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| self.error(RepositoryFault::Bytes(error)))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if u64::try_from(line.len()).unwrap_or(u64::MAX) == LINE_MAX {
            return Err(self.error(RepositoryFault::TooMuch { limit: LINE_MAX, what: "bytes in a line" }));
        }
        let text = String::from_utf8(line).ok().filter(|text| !text.contains('\0'));
        text.map(Some).ok_or_else(|| self.error(RepositoryFault::Syntax { expected: "UTF-8 text" }))
    }
}
