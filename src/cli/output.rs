//! What a command says: its one answer on standard output, words beside it and failures.
//!
//! Not responsible for what is said. Invariant: a reader that went away is no error, an answer that could not be written is one.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exit::Exit;
use super::failure::{Cause, Failure};

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// One JSON document
    Json,
}

/// Standard output and standard error. A reader that went away is no error: the work is done all the same. An answer
/// that could not be written, as on a full disk, is one.
#[derive(Debug)]
pub struct Output {
    pub format: Format,
    unwritten: OnceLock<std::io::Error>,
    answered: OnceLock<Answered>,
}

/// What a command answered, in either format.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answered {
    pub document: Value,
    pub words: String,
    /// Words of a failure are for standard error.
    #[serde(default)]
    pub is_failure: bool,
}

impl Output {
    pub fn new(format: Format) -> Output {
        Output { format, unwritten: OnceLock::new(), answered: OnceLock::new() }
    }

    /// Prints the command's answer in the format asked for.
    pub fn answer(&self, json: &Value, human: impl FnOnce() -> String) {
        self.say(Answered { document: json.clone(), words: human(), is_failure: false });
    }

    /// Prints an answer or a failure, also one of before.
    pub fn say(&self, answered: Answered) {
        match self.format {
            Format::Json => self.write(&answered.document.to_string()),
            Format::Human if answered.is_failure => {
                let _ = writeln!(std::io::stderr().lock(), "{}", answered.words.trim_end());
            }
            Format::Human => self.write(answered.words.trim_end()),
        }
        // A command answers once.
        let _ = self.answered.set(answered);
    }

    /// What the command answered, if it did.
    pub fn answered(&self) -> Option<&Answered> {
        self.answered.get()
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush())
            && error.kind() != ErrorKind::BrokenPipe
        {
            // The first is enough to know.
            let _ = self.unwritten.set(error);
        }
    }

    /// The exit code of a command that ended with `code`, now that all is written or not.
    pub fn delivered(&self, code: u8) -> u8 {
        match self.unwritten.get() {
            Some(error) if code == Exit::Done.code() => {
                let text = format!("error: the answer could not be written: {error}");
                let _ = writeln!(std::io::stderr().lock(), "{text}");
                Exit::Failed.code()
            }
            _ => code,
        }
    }

    /// A word beside the answer, for people only.
    pub fn aside(&self, text: &str) {
        if self.format == Format::Human {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Prints a failure; its exit code.
    pub fn failed(&self, failure: &Failure) -> u8 {
        let (document, words) = (failure.to_json(), human(failure));
        self.say(Answered { document, words, is_failure: true });
        failure.exit.code()
    }

    /// Whether somebody watches who would like to see progress.
    pub fn is_watched(&self) -> bool {
        self.format == Format::Human && std::io::stderr().is_terminal()
    }
}

/// Config problems stand under the lines they are about on a terminal, and one a line in a pipe.
fn human(failure: &Failure) -> String {
    match &failure.cause {
        Cause::Text(text) => format!("error: {text}"),
        Cause::Config(problems) if std::io::stderr().is_terminal() => {
            problems.fancy(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        }
        Cause::Config(problems) => problems.to_string(),
    }
}
