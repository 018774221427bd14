//! Words, assignments and operators of a bash fragment (bash(1), "DEFINITIONS", "QUOTING").

use std::iter::Peekable;
use std::str::Chars;

use super::NotUnderstood;

/// Deepest nesting of quotes and expansions inside each other.
const DEPTH_MAX: usize = 64;

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// For certain this text.
    Text(String),
    /// An element of a variable.
    Variable(String, usize),
    /// What only bash can evaluate.
    Opaque(String),
}

/// A word, or the value of an assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) parts: Vec<Part>,
    /// Whether part of it is quoted: it is then no reserved word.
    pub(super) quoted: bool,
}

impl Word {
    /// Its text, where it has no other parts.
    pub(super) fn text(&self) -> Option<String> {
        self.parts.iter().map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
    }

    fn push(&mut self, character: char) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push(character),
            _ => self.parts.push(Part::Text(character.to_string())),
        }
    }
}

/// What is assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Assigned {
    One(Word),
    /// `NAME=(…)`.
    All(Vec<Word>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// `NAME=`, `NAME[INDEX]=`, `NAME+=`; no index stands for 0.
    Assign {
        name: String,
        index: Option<String>,
        append: bool,
        value: Assigned,
    },
    /// `; & | && || ;; ( )` and the end of a line.
    Operator(String),
}

/// Reads tokens.
pub(super) struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    pub(super) line: u64,
    /// Ends of the here-documents that begin after this line; whether tabs before them count.
    documents: Vec<(String, bool)>,
    depth: usize,
}

type Lexed<T> = Result<T, NotUnderstood>;

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable(), line: 1, documents: Vec::new(), depth: 0 }
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next();
        self.line += u64::from(character == Some('\n'));
        character
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.rest.peek() == Some(&wanted);
        if there {
            self.next();
        }
        there
    }

    /// The next token and its line. Errors are what has no end, and where it begins.
    pub(super) fn token(&mut self) -> Lexed<Option<(u64, Token)>> {
        loop {
            let line = self.line;
            let Some(character) = self.rest.peek().copied() else { return Ok(None) };
            match character {
                ' ' | '\t' | '\r' => {
                    self.next();
                }
                '#' => {
                    while self.rest.peek().is_some_and(|c| *c != '\n') {
                        self.next();
                    }
                }
                '\\' if self.rest.clone().nth(1) == Some('\n') => {
                    self.next();
                    self.next();
                }
                '\n' => {
                    self.next();
                    self.skip_documents()?;
                    return Ok(Some((line, Token::Operator("\n".to_owned()))));
                }
                ';' | '&' | '|' => {
                    self.next();
                    let double = self.take(character);
                    let text = character.to_string().repeat(1 + usize::from(double));
                    return Ok(Some((line, Token::Operator(text))));
                }
                '(' | ')' => {
                    self.next();
                    return Ok(Some((line, Token::Operator(character.to_string()))));
                }
                '<' | '>' => self.redirection()?,
                _ => return Ok(Some((line, self.word_or_assignment()?))),
            }
        }
    }

    /// `< > >> >& <<END`: the operator; its target is a word like any other.
    fn redirection(&mut self) -> Lexed<()> {
        let mut operator = String::new();
        while let Some(c) = self.rest.peek().copied().filter(|c| "<>&|-".contains(*c)) {
            operator.push(c);
            self.next();
        }
        if operator == "<<" || operator == "<<-" {
            while self.take(' ') {}
            let end = self.word()?.text().unwrap_or_default();
            self.documents.push((end, operator == "<<-"));
        }
        Ok(())
    }

    fn skip_documents(&mut self) -> Lexed<()> {
        for (end, tabs) in std::mem::take(&mut self.documents) {
            let begin = NotUnderstood { line: self.line, what: format!("<<{end}") };
            loop {
                if self.rest.peek().is_none() {
                    return Err(begin);
                }
                let mut line = String::new();
                while let Some(c) = self.next().filter(|c| *c != '\n') {
                    line.push(c);
                }
                if end == if tabs { line.trim_start_matches('\t') } else { &line } {
                    break;
                }
            }
        }
        Ok(())
    }

    fn word_or_assignment(&mut self) -> Lexed<Token> {
        let start = self.rest.clone();
        let line = self.line;
        let mut name = String::new();
        while let Some(c) = self.rest.peek().copied().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
            self.next();
        }
        let index = if self.take('[') {
            let mut index = String::new();
            while let Some(c) = self.rest.peek().copied().filter(|c| *c != ']' && *c != '\n') {
                index.push(c);
                self.next();
            }
            self.take(']').then_some(index)
        } else {
            None
        };
        let append = self.take('+');
        if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && self.take('=') {
            let value = if self.take('(') { Assigned::All(self.words()?) } else { Assigned::One(self.word()?) };
            return Ok(Token::Assign { name, index, append, value });
        }
        (self.rest, self.line) = (start, line);
        self.word().map(Token::Word)
    }

    /// The words of `NAME=(…)`.
    fn words(&mut self) -> Lexed<Vec<Word>> {
        let open = NotUnderstood { line: self.line, what: "=(".to_owned() };
        let mut words = Vec::new();
        loop {
            match self.rest.peek().copied() {
                None => return Err(open),
                Some(')') => {
                    self.next();
                    return Ok(words);
                }
                Some('#') => {
                    while self.rest.peek().is_some_and(|c| *c != '\n') {
                        self.next();
                    }
                }
                Some(c) if c.is_whitespace() || "(;&|<>".contains(c) => {
                    self.next();
                }
                Some('\\') if self.rest.clone().nth(1) == Some('\n') => {
                    self.next();
                    self.next();
                }
                Some(_) => words.push(self.word()?),
            }
        }
    }

    fn word(&mut self) -> Lexed<Word> {
        let mut word = Word::default();
        while let Some(c) = self.rest.peek().copied().filter(|c| !c.is_whitespace() && !";&|()<>".contains(*c)) {
            let line = self.line;
            self.next();
            match c {
                '\\' => {
                    word.quoted = true;
                    // A continued line continues the word, too.
                    if let Some(c) = self.next().filter(|c| *c != '\n') {
                        word.push(c);
                    }
                }
                '\'' => {
                    word.quoted = true;
                    word.parts.push(Part::Text(self.until('\'', line)?));
                }
                '"' => {
                    word.quoted = true;
                    self.double_quoted(&mut word, line)?;
                }
                '$' | '`' => word.parts.extend(self.expansion(c)?),
                '~' if word.parts.is_empty() => word.parts.push(Part::Opaque("~".to_owned())),
                c => word.push(c),
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word, line: u64) -> Lexed<()> {
        let open = || NotUnderstood { line, what: "\"".to_owned() };
        word.parts.push(Part::Text(String::new()));
        loop {
            match self.next().ok_or_else(open)? {
                '"' => return Ok(()),
                '\\' => match self.next().ok_or_else(open)? {
                    '\n' => {}
                    c if "$`\"\\".contains(c) => word.push(c),
                    c => {
                        word.push('\\');
                        word.push(c);
                    }
                },
                c @ ('$' | '`') => word.parts.extend(self.expansion(c)?),
                c => word.push(c),
            }
        }
    }

    /// What follows `$`, or what is between backticks.
    fn expansion(&mut self, first: char) -> Lexed<Option<Part>> {
        let line = self.line;
        if first == '`' {
            self.skip_to('`', line, "`")?;
            return Ok(Some(Part::Opaque("`…`".to_owned())));
        }
        match self.rest.peek().copied() {
            Some('(') => {
                self.next();
                self.skip_to(')', line, "$(")?;
                Ok(Some(Part::Opaque("$(…)".to_owned())))
            }
            Some('{') => {
                self.next();
                let start = self.rest.clone();
                self.skip_to('}', line, "${")?;
                let inside: String = start.take_while(|c| *c != '}').collect();
                Ok(Some(reference(&inside).unwrap_or_else(|| Part::Opaque(format!("${{{inside}}}")))))
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.rest.peek().copied().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.next();
                }
                Ok(Some(Part::Variable(name, 0)))
            }
            Some('\'') => {
                self.next();
                self.skip_to('\'', line, "$'")?;
                Ok(Some(Part::Opaque("$'…'".to_owned())))
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.next();
                Ok(Some(Part::Opaque(format!("${c}"))))
            }
            _ => Ok(Some(Part::Text("$".to_owned()))),
        }
    }

    fn until(&mut self, end: char, line: u64) -> Lexed<String> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == end => return Ok(text),
                Some(c) => text.push(c),
                None => return Err(NotUnderstood { line, what: end.to_string() }),
            }
        }
    }

    /// Skips to `end`, over quotes and brackets inside; `begin` is what it ends.
    fn skip_to(&mut self, end: char, line: u64, begin: &str) -> Lexed<()> {
        let open = || NotUnderstood { line, what: begin.to_owned() };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(open());
        }
        // Inside these quotes nothing but a backslash means anything.
        let plain = begin == "$'" || begin == "`";
        let mut before = ' ';
        loop {
            let c = self.next().ok_or_else(open)?;
            match c {
                c if c == end => break,
                '\\' => {
                    self.next();
                }
                _ if plain => {}
                '\'' if begin != "\"" => {
                    let quoted = self.line;
                    self.until('\'', quoted)?;
                }
                '"' => self.skip_to('"', self.line, "\"")?,
                '`' => self.skip_to('`', self.line, "`")?,
                '(' if end == ')' => self.skip_to(')', self.line, "(")?,
                '$' if self.rest.peek() == Some(&'(') => {
                    self.next();
                    self.skip_to(')', self.line, "$(")?;
                }
                '$' if self.rest.peek() == Some(&'{') => {
                    self.next();
                    self.skip_to('}', self.line, "${")?;
                }
                '#' if end == ')' && before.is_whitespace() => {
                    while self.rest.peek().is_some_and(|c| *c != '\n') {
                        self.next();
                    }
                }
                _ => {}
            }
            before = c;
        }
        self.depth -= 1;
        Ok(())
    }
}

/// `NAME` or `NAME[INDEX]` between braces.
fn reference(inside: &str) -> Option<Part> {
    let (name, index) = match inside.split_once('[') {
        Some((name, index)) => (name, index.strip_suffix(']')?.parse().ok()?),
        None => (inside, 0),
    };
    let name_like = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (name_like && begins).then(|| Part::Variable(name.to_owned(), index))
}
