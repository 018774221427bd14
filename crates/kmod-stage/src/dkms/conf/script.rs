//! What a bash fragment assigns for certain.

use std::collections::{BTreeMap, BTreeSet};

use super::lex::{Assigned, Lexer, Part, Token, Word};
use super::{NotUnderstood, Setting};

/// Largest index that is read; more is no list of modules.
const INDEX_MAX: usize = 10_000;
/// Builtins that assign to the variables whose names they are given.
const ASSIGNING: [&str; 12] = [
    "read",
    "unset",
    "let",
    "declare",
    "typeset",
    "local",
    "mapfile",
    "readarray",
    "getopts",
    "printf",
    "for",
    "select",
];
/// What begins and ends compound commands. A brace may be the body of a function, which can run at any time.
const COMPOUND: [(&str, &str); 7] = [
    ("if", "fi"),
    ("case", "esac"),
    ("for", "done"),
    ("while", "done"),
    ("until", "done"),
    ("select", "done"),
    ("{", "}"),
];
/// Words after which a command begins.
const CONTINUING: [&str; 6] = ["then", "else", "elif", "do", "!", "time"];

/// A variable: in bash each is an array.
#[derive(Clone, Debug, Default)]
pub(super) struct Variable {
    /// Elements by index.
    pub(super) elements: BTreeMap<usize, Setting>,
    /// Why there may be others.
    pub(super) others: Option<NotUnderstood>,
}

/// The variables of a fragment after it has run.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) not_understood: Vec<NotUnderstood>,
    /// Variables that functions assign.
    lost: BTreeSet<String>,
    /// Set by what may end the script, or change any variable.
    uncertain: Option<NotUnderstood>,
}

/// A simple command as it is collected.
#[derive(Default)]
struct Command {
    line: u64,
    tokens: Vec<Token>,
}

/// What a command is inside of.
#[derive(Clone, Copy, Default)]
struct Body {
    /// Braces: maybe a function, which can run at any time.
    function: bool,
    /// Brackets: maybe arithmetic, where any name may be that of a variable that changes.
    bracket: bool,
}

impl Script {
    /// Reads a fragment; the error is what has no end.
    pub(super) fn read(text: &str) -> Result<Self, NotUnderstood> {
        let mut script = Self::default();
        let mut lexer = Lexer::new(text);
        // Ends of the open compound commands, what they are, and where they begin.
        let mut open: Vec<(&'static str, NotUnderstood)> = Vec::new();
        let mut command = Command::default();
        // What decides whether the command runs: the && or || before it.
        let mut guard: Option<NotUnderstood> = None;
        // Whether `function` was the last word.
        let mut named = false;
        while let Some((line, token)) = lexer.token()? {
            match token {
                Token::Operator(operator) => {
                    let here = NotUnderstood { line, what: operator.clone() };
                    let top = open.last().map(|(end, _)| *end);
                    let reason = open.last().map(|(_, reason)| reason.clone()).or_else(|| guard.clone());
                    let subshell = matches!(operator.as_str(), "|" | "&").then(|| here.clone());
                    let body = Body { function: open.iter().any(|(end, _)| *end == "}"), bracket: top == Some(")") };
                    let empty = command.tokens.is_empty();
                    let command = std::mem::take(&mut command);
                    match (operator.as_str(), top) {
                        // The end of a pattern.
                        (")", Some("esac")) => {}
                        _ => script.run(command, reason.or(subshell).as_ref(), body),
                    }
                    match operator.as_str() {
                        "&&" | "||" | "|" => guard = Some(here),
                        "(" => open.push((")", here)),
                        ")" if top == Some(")") => drop(open.pop()),
                        // The command after && may stand on the next line.
                        "\n" if empty => {}
                        _ => guard = None,
                    }
                }
                Token::Word(word) if command.tokens.is_empty() => {
                    let text = word.text().filter(|_| !word.quoted).unwrap_or_default();
                    let begin = COMPOUND.iter().find(|(begin, _)| *begin == text);
                    if let Some((begin, end)) = begin {
                        let what = format!("`{begin}`");
                        script.note(line, &what);
                        open.push((end, NotUnderstood { line, what }));
                        if matches!(*begin, "for" | "select" | "case") {
                            // Words follow, not a command.
                            command = Command { line, tokens: vec![Token::Word(word)] };
                        }
                    } else if text == "function" {
                        named = true;
                    } else if std::mem::take(&mut named) {
                        // The name of the function; its body follows.
                    } else if open.last().is_some_and(|(end, _)| *end == text) {
                        open.pop();
                    } else if !CONTINUING.contains(&text.as_str()) {
                        command = Command { line, tokens: vec![Token::Word(word)] };
                    }
                }
                token => {
                    if command.tokens.is_empty() {
                        command.line = line;
                    }
                    command.tokens.push(token);
                }
            }
        }
        if let Some((_, reason)) = open.pop() {
            return Err(reason);
        }
        script.run(command, guard.as_ref(), Body::default());
        script.not_understood.sort();
        script.not_understood.dedup();
        Ok(script)
    }

    fn note(&mut self, line: u64, what: &str) {
        self.not_understood.push(NotUnderstood { line, what: what.to_owned() });
    }

    /// Runs one simple command; `reason` is why it may not run, or without effect.
    fn run(&mut self, command: Command, reason: Option<&NotUnderstood>, body: Body) {
        let line = command.line;
        if body.bracket {
            let what = opaque(line, "(…)");
            command.tokens.iter().flat_map(names).for_each(|name| self.lose(&name, &what));
        }
        let name = command.tokens.iter().position(|token| matches!(token, Token::Word(_)));
        let word = name.and_then(|at| command.tokens.get(at));
        let Some(Token::Word(word)) = word else {
            let assignments = command.tokens.into_iter();
            return assignments.for_each(|token| self.assign(line, token, reason, body.function));
        };
        let word = word.text().unwrap_or_default();
        let tokens = command.tokens.into_iter().skip(name.unwrap_or_default() + 1);
        match word.as_str() {
            "export" | "readonly" => {
                return tokens.for_each(|token| self.assign(line, token, reason, body.function));
            }
            word if ASSIGNING.contains(&word) => {
                let what = NotUnderstood { line, what: format!("the command {word}") };
                for token in tokens {
                    for name in names(&token) {
                        self.lose(&name, &what);
                    }
                }
            }
            "eval" => {
                let what = NotUnderstood { line, what: "the command eval".to_owned() };
                let names: Vec<String> = self.variables.keys().cloned().collect();
                for name in &names {
                    self.lose(name, &what);
                }
                self.uncertain.get_or_insert(what);
            }
            "return" | "exit" | "exec" => {
                let what = format!("the command {word}");
                self.uncertain.get_or_insert(NotUnderstood { line, what });
            }
            ":" | "true" | "false" | "[" | "[[" | "test" | "echo" | "case" => return,
            _ => {}
        }
        self.note(line, &format!("the command {word}"));
    }

    /// Some or all elements of a variable are not what they were.
    fn lose(&mut self, name: &str, reason: &NotUnderstood) {
        let variable = self.variables.entry(name.to_owned()).or_default();
        variable.elements.values_mut().for_each(|value| *value = Setting::NotUnderstood(reason.clone()));
        variable.others = Some(reason.clone());
    }

    fn assign(&mut self, line: u64, token: Token, reason: Option<&NotUnderstood>, function: bool) {
        let Token::Assign { name, index, append, value } = token else { return };
        if function {
            self.lost.insert(name.clone());
        }
        let reason = reason.cloned().or_else(|| self.uncertain.clone());
        let reason = reason.or_else(|| self.lost.contains(&name).then(|| opaque(line, "a function")));
        let number = match &index {
            None => Ok(0),
            Some(text) => text.parse().ok().filter(|index| *index <= INDEX_MAX).ok_or(text),
        };
        match (value, number) {
            (Assigned::One(word), Ok(index)) => {
                let value = reason.map_or_else(|| self.value(line, &word), Setting::NotUnderstood);
                let unset = opaque(line, &format!("the variable {name}"));
                let variable = self.variables.entry(name).or_default();
                let value = match (append, variable.elements.get(&index), value) {
                    (true, Some(Setting::Known(before)), Setting::Known(text)) => {
                        Setting::Known(before.clone() + &text)
                    }
                    (true, Some(Setting::NotUnderstood(before)), _) => Setting::NotUnderstood(before.clone()),
                    (true, None, _) => Setting::NotUnderstood(variable.others.clone().unwrap_or(unset)),
                    (_, _, value) => value,
                };
                variable.elements.insert(index, value);
            }
            (Assigned::All(words), Ok(_)) if !append && reason.is_none() && words.iter().all(is_element) => {
                let values = words.iter().map(|word| self.value(line, word)).enumerate().take(INDEX_MAX);
                let elements = values.collect();
                self.variables.insert(name, Variable { elements, others: None });
            }
            (_, number) => {
                let index = number.err().map_or("=(…)".to_owned(), |text| format!("the index {text:?}"));
                let what = reason.unwrap_or_else(|| opaque(line, &index));
                self.not_understood.push(what.clone());
                self.lose(&name, &what);
            }
        }
    }

    /// The value of a word.
    fn value(&mut self, line: u64, word: &Word) -> Setting {
        let mut text = String::new();
        for part in &word.parts {
            match part {
                Part::Text(more) => text.push_str(more),
                Part::Opaque(what) => return Setting::NotUnderstood(opaque(line, what)),
                Part::Variable(name, index) => {
                    let variable = self.variables.get(name);
                    match variable.and_then(|variable| variable.elements.get(index)) {
                        Some(Setting::Known(value)) => text.push_str(value),
                        Some(Setting::NotUnderstood(reason)) => return Setting::NotUnderstood(reason.clone()),
                        None => return Setting::NotUnderstood(opaque(line, &format!("the variable {name}"))),
                    }
                }
            }
        }
        Setting::Known(text)
    }
}

fn opaque(line: u64, what: &str) -> NotUnderstood {
    NotUnderstood { line, what: what.to_owned() }
}

/// Whether it is exactly one element of an array, at the next index, whatever the values of variables and the files
/// there are. Quotes may take the meaning from a special character; whether they do is not looked at.
fn is_element(word: &Word) -> bool {
    word.text().is_some_and(|text| !text.contains(['*', '?', '[', '{']))
}

/// Names of variables that an argument may stand for.
fn names(token: &Token) -> Vec<String> {
    let text = match token {
        Token::Assign { name, .. } => return vec![name.clone()],
        Token::Word(word) => word.text().unwrap_or_default(),
        Token::Operator(_) => String::new(),
    };
    let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
