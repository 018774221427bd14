//! XML as a stream of elements with short texts, in bounded memory.

use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::repository::error::{Place, RepositoryError, RepositoryFault};

/// Most bytes of one tag or text; the longest descriptions of packages have some 20 KiB.
const EVENT_MAX: u64 = 1 << 20;
/// Deepest nesting; the metadata have five levels.
const DEPTH_MAX: usize = 16;
/// Most bytes of text that one element of interest has.
const TEXT_MAX: usize = 4096;

/// What happens in a document.
#[derive(Debug)]
pub(super) enum Step {
    /// An element begins. Its attributes are those of [`Document::attribute`].
    Start,
    /// An element ends; with its own text, not that of elements inside, cut to 4 KiB and trimmed.
    End(String),
    /// The document is complete.
    Complete,
}

/// An XML document that is read once.
pub(super) struct Document<'a, R> {
    reader: Reader<Metered<R>>,
    file: &'a str,
    buffer: Vec<u8>,
    /// Names of the open elements without their prefix, and the text so far.
    open: Vec<(String, String)>,
    attributes: Vec<(String, String)>,
    /// Whether the innermost element ends with the next step.
    empty: bool,
    /// Whether an element has been seen.
    begun: bool,
}

impl<'a, R: BufRead> Document<'a, R> {
    pub(super) fn new(reader: R, file: &'a str) -> Self {
        let reader = Reader::from_reader(Metered { inner: reader, left: EVENT_MAX });
        let (buffer, open, attributes) = (Vec::new(), Vec::new(), Vec::new());
        Self { reader, file, buffer, open, attributes, empty: false, begun: false }
    }

    /// An error here.
    pub(super) fn error(&self, fault: RepositoryFault) -> RepositoryError {
        RepositoryError::new(self.file, Place::Byte(self.reader.buffer_position()), fault)
    }

    /// Names of the open elements, outermost first; at [`Step::End`] the ended one is still among them.
    pub(super) fn path(&self) -> Vec<&str> {
        self.open.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// An attribute of the element that began last.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Goes on. After [`Step::End`] call [`Document::close`].
    pub(super) fn step(&mut self) -> Result<Step, RepositoryError> {
        if std::mem::take(&mut self.empty) {
            return Ok(Step::End(String::new()));
        }
        loop {
            self.reader.get_mut().left = EVENT_MAX;
            self.buffer.clear();
            let event = match self.reader.read_event_into(&mut self.buffer) {
                Ok(event) => event.into_owned(),
                Err(error) => return Err(self.broken(error)),
            };
            match event {
                Event::Start(tag) => return self.begin(&tag).map(|()| Step::Start),
                Event::Empty(tag) => {
                    self.begin(&tag)?;
                    self.empty = true;
                    return Ok(Step::Start);
                }
                Event::End(_) => {
                    return Ok(Step::End(self.open.last().map_or("", |(_, text)| text.trim()).to_owned()));
                }
                Event::Text(text) => self.say(&text.xml10_content())?,
                Event::CData(text) => self.say(&text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|error| self.broken(error))?;
                    let character = character.or_else(|| match reference.xml10_content().as_ref() {
                        "amp" => Some('&'),
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "apos" => Some('\''),
                        "quot" => Some('"'),
                        _ => None,
                    });
                    let expected = "no entity but those of XML";
                    let character = character.ok_or_else(|| self.error(RepositoryFault::Syntax { expected }))?;
                    self.say(character.encode_utf8(&mut [0; 4]))?;
                }
                // Entities that expand to entities: nothing in the format needs them.
                Event::DocType(_) => {
                    return Err(self.error(RepositoryFault::Syntax { expected: "no document type" }));
                }
                Event::Eof if self.open.is_empty() && self.begun => return Ok(Step::Complete),
                Event::Eof => return Err(self.error(RepositoryFault::Truncated)),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
    }

    /// Leaves the ended element.
    pub(super) fn close(&mut self) {
        self.open.pop();
    }

    fn begin(&mut self, tag: &BytesStart<'_>) -> Result<(), RepositoryError> {
        if self.open.len() == DEPTH_MAX {
            let limit = u64::try_from(DEPTH_MAX).unwrap_or(u64::MAX);
            return Err(self.error(RepositoryFault::TooMuch { limit, what: "levels of elements" }));
        }
        self.begun = true;
        self.attributes.clear();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| self.broken(error.into()))?;
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
            let value = value.map_err(|error| self.broken(error))?.into_owned();
            self.attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        self.open.push((tag.local_name().as_ref().to_owned(), String::new()));
        Ok(())
    }

    /// Adds to the text of the innermost element.
    fn say(&mut self, said: &str) -> Result<(), RepositoryError> {
        let Some((_, text)) = self.open.last_mut() else {
            if said.trim().is_empty() {
                return Ok(());
            }
            return Err(self.error(RepositoryFault::Syntax { expected: "an element" }));
        };
        text.extend(said.chars().take(TEXT_MAX.saturating_sub(text.len())));
        Ok(())
    }

    fn broken(&self, error: quick_xml::Error) -> RepositoryError {
        self.error(match error {
            quick_xml::Error::Io(error) if error.get_ref().is_some_and(is_too_long) => {
                RepositoryFault::TooMuch { limit: EVENT_MAX, what: "bytes in one tag or text" }
            }
            quick_xml::Error::Io(error) => RepositoryFault::Bytes(io::Error::new(error.kind(), error)),
            other => RepositoryFault::Xml(Box::new(other)),
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("one tag or text is too long")]
struct EventTooLong;

fn is_too_long(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<EventTooLong>()
}

/// Lets a limited number of bytes through, so that a tag without an end cannot fill the memory.
struct Metered<R> {
    inner: R,
    left: u64,
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer.iter_mut().zip(available).for_each(|(to, from)| *to = *from);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(EventTooLong));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        self.inner.consume(count);
    }
}
