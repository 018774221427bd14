//! HTTP/1.1 as far as clients of registries speak it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};

/// A request, its body left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The query, decoded.
    pub query: BTreeMap<String, String>,
    /// Headers, with their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// How many requests with this method and path came before.
    pub before: usize,
}

impl Asked {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether method and path are these, where `path` is a part of it.
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path.contains(path)
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("content-type", kind)
    }

    /// An error as the distribution-spec has it.
    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::new(status).body("application/json", format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#))
    }
}

/// Reads the head of a request; `None` at the end of the connection.
pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut asked = Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        before: 0,
    };
    for (key, value) in pairs {
        // Scopes come several times.
        let value = decoded(value);
        asked.query.entry(decoded(key)).and_modify(|all| *all = format!("{all} {value}")).or_insert(value);
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(asked)) };
        asked.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (bytes[at], escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Reads a body, or the first `limit` bytes of it.
pub(super) fn read_body(asked: &Asked, reader: &mut impl BufRead, limit: Option<usize>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let most = limit.map_or(u64::MAX, |limit| limit as u64);
    if asked.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            reader.by_ref().take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 || body.len() as u64 >= most {
                return Ok(body);
            }
        }
    }
    let size: u64 = asked.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    reader.by_ref().take(size.min(most)).read_to_end(&mut body)?;
    Ok(body)
}

/// Writes the head of an answer and gives its body.
pub(super) fn write_head(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} x\r\n", answer.status);
    let named = |name: &str| answer.headers.iter().any(|(known, _)| known == name);
    if !named("content-length") && answer.status != 204 {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }

    head.push_str("\r\n");
    out.write_all(head.as_bytes())
}
