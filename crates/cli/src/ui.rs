//! Where words go: data to standard output, talk to standard error.
#![expect(clippy::print_stderr, reason = "this is the one place that prints")]

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::{Class, Failure};

/// What the user asked to see.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "these are independent switches")]
pub(crate) struct Ui {
    /// JSON instead of text on standard output.
    pub(crate) json: bool,
    /// No talk.
    pub(crate) quiet: bool,
    /// How much detail.
    pub(crate) verbose: u8,
    /// Colour on standard error.
    pub(crate) colour: bool,
    /// Somebody watches.
    pub(crate) watched: bool,
}

impl Ui {
    /// Prints data: text with its last line closed.
    #[expect(clippy::unused_self, reason = "whoever prints was given a place to print to")]
    pub(crate) fn data(self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        match write!(out, "{text}{end}").and_then(|()| out.flush()) {
            // Whoever reads has seen enough, as `head` does.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Failure::new(Class::Io, format!("writing to standard output: {error}"))),
        }
    }

    /// Prints a JSON document with its schema.
    pub(crate) fn document(self, schema: &str, value: serde_json::Value) -> Result<(), Failure> {
        self.data(&Self::text_of(schema, value))
    }

    /// The text of a JSON document with its schema.
    pub(crate) fn text_of(schema: &str, value: serde_json::Value) -> String {
        let mut document = serde_json::Map::new();
        document.insert("schema".into(), format!("assemble.{schema}/1").into());
        match value {
            serde_json::Value::Object(fields) => document.extend(fields),
            other => drop(document.insert("value".into(), other)),
        }
        format!("{:#}\n", serde_json::Value::Object(document))
    }

    /// Talks.
    pub(crate) fn say(self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says what belongs to an error, which is not talk.
    #[expect(clippy::unused_self, reason = "whoever prints needs the one who may")]
    pub(crate) fn complain(self, text: &str) {
        eprintln!("{text}");
    }

    /// Talks in detail.
    pub(crate) fn detail(self, text: &str) {
        if self.verbose > 0 {
            eprintln!("{text}");
        }
    }

    /// Passes on what a guest writes, when detail is wanted; what would steer a terminal is left out.
    pub(crate) fn guest(self, bytes: &[u8]) {
        if self.verbose > 0 {
            let shown = |byte: &&u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~' | 0x80..);
            let plain: Vec<u8> = bytes.iter().filter(shown).copied().collect();
            // Whoever reads has seen enough.
            let _closed = std::io::stderr().lock().write_all(&plain);
        }
    }

    /// Reports the end of a run that failed.
    pub(crate) fn fail(self, failure: &Failure) {
        let text = failure.to_string();
        let text = text.replace("\nhint:", &format!("\n{}", self.paint("hint:", "36")));
        eprintln!("{} {text}", self.paint("error:", "31"));
    }

    fn paint(self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A bar over `total` bytes, or a spinner without; only on a terminal.
    pub(crate) fn bar(self, total: Option<u64>, what: &str) -> ProgressBar {
        if self.quiet || !self.watched {
            return ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        }
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes}",
            None => "{spinner} {msg}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// Bytes for people.
pub(crate) fn bytes(size: u64) -> String {
    indicatif::HumanBytes(size).to_string()
}
