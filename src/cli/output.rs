use std::io::{IsTerminal, Write};

use serde_json::Value;

use super::failure::{Cause, Failure};

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// One JSON document
    Json,
}

/// Standard output and standard error. A reader that went away is no error: the work is done all the same.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub format: Format,
}

impl Output {
    pub fn new(format: Format) -> Output {
        Output { format }
    }

    /// Prints the command's answer in the format asked for; `human` is only made when it is wanted.
    pub fn answer(&self, json: &Value, human: impl FnOnce() -> String) {
        let text = match self.format {
            Format::Human => human(),
            Format::Json => json.to_string(),
        };
        let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    }

    /// A word beside the answer, for people only.
    pub fn aside(&self, text: &str) {
        if self.format == Format::Human {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Prints a failure; its exit code.
    pub fn failed(&self, failure: &Failure) -> u8 {
        match self.format {
            Format::Json => {
                let _ = writeln!(std::io::stdout().lock(), "{}", failure.to_json());
            }
            Format::Human => {
                let _ = writeln!(std::io::stderr().lock(), "{}", human(failure).trim_end());
            }
        }
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
