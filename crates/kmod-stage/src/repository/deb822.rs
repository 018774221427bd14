//! Paragraphs of `Field: value` lines, as deb822(5) has them.

use std::io::BufRead;

use super::error::{RepositoryError, RepositoryFault};
use super::lines::Lines;

/// Most bytes of a paragraph; Debian's Release files, one paragraph, have some 250 KiB.
const PARAGRAPH_MAX: usize = 16 << 20;

/// Most fields of a paragraph; packages have some 30.
const FIELDS_MAX: usize = 500;

/// One paragraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// The line it begins at, counted from 1.
    pub line: u64,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    value: String,
    line: u64,
}

impl Paragraph {
    /// The value of a field, whose name is read in either case; later lines of it begin after a line break, without
    /// the first blank. The line number is that of the field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.field(name).map(|field| field.value.as_str())
    }

    /// The line of a field, or that of the paragraph.
    pub fn line_of(&self, name: &str) -> u64 {
        self.field(name).map_or(self.line, |field| field.line)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

/// The paragraphs of a file.
#[derive(Debug)]
pub struct Paragraphs<'a, R> {
    lines: Lines<'a, R>,
}

impl<'a, R: BufRead> Paragraphs<'a, R> {
    /// Paragraphs of `reader`; errors name `file`.
    pub fn new(reader: R, file: &'a str) -> Self {
        Self { lines: Lines::new(reader, file) }
    }

    /// An error at a line.
    pub fn error_at(&self, line: u64, fault: RepositoryFault) -> RepositoryError {
        self.lines.error_at(line, fault)
    }

    /// The next paragraph.
    pub fn next_paragraph(&mut self) -> Result<Option<Paragraph>, RepositoryError> {
        let mut fields: Vec<Field> = Vec::new();
        let mut size = 0;
        while let Some(line) = self.lines.next_line()? {
            let line = line.trim_end();
            if line.starts_with('#') {
                continue;
            }
            if line.is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            size += line.len();
            if size > PARAGRAPH_MAX {
                let limit = u64::try_from(PARAGRAPH_MAX).unwrap_or(u64::MAX);
                return Err(self.lines.error(RepositoryFault::TooMuch { limit, what: "bytes in a paragraph" }));
            }
            if let Some(rest) = line.strip_prefix([' ', '\t']) {
                let expected = "a field name before a continued line";
                let field = fields.last_mut().ok_or_else(|| self.lines.error(RepositoryFault::Syntax { expected }))?;
                field.value.push('\n');
                field.value.push_str(rest);
                continue;
            }
            let field = self.field(line)?;
            if fields.iter().any(|other| other.name.eq_ignore_ascii_case(&field.name)) {
                return Err(self.lines.error(RepositoryFault::Twice(field.name)));
            }
            if fields.len() == FIELDS_MAX {
                let limit = u64::try_from(FIELDS_MAX).unwrap_or(u64::MAX);
                return Err(self.lines.error(RepositoryFault::TooMuch { limit, what: "fields in a paragraph" }));
            }
            fields.push(field);
        }
        Ok(fields.first().map(|first| first.line).map(|line| Paragraph { line, fields }))
    }

    fn field(&self, line: &str) -> Result<Field, RepositoryError> {
        let (name, value) = line.split_once(':').unwrap_or_default();
        // Policy 5.1: printable characters other than the colon, not beginning with a dash or hash.
        if name.is_empty() || name.starts_with('-') || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.lines.error(RepositoryFault::Syntax { expected: "\"Field: value\"" }));
        }
        Ok(Field { name: name.to_owned(), value: value.trim().to_owned(), line: self.lines.number() })
    }
}
