use serde_json::{Value, json};

use super::exit::Exit;
use crate::config::Problems;
use crate::store;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub cause: Cause,
}

#[derive(Debug)]
pub enum Cause {
    Text(String),
    Config(Box<Problems>),
}

impl Failure {
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, cause: Cause::Text(text.into()) }
    }

    pub fn failed(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, cause: Cause::Text(text.into()) }
    }

    /// An error with the causes beneath it, as far as it does not name them itself.
    pub fn of(error: &dyn std::error::Error) -> Failure {
        Failure::failed(chain(error))
    }

    /// For `--format json`.
    pub fn to_json(&self) -> Value {
        match &self.cause {
            Cause::Text(text) => json!({ "error": text }),
            Cause::Config(problems) => {
                json!({ "error": "the config file has problems", "problems": problems.to_json() })
            }
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        let exit = match error {
            store::Error::Locked { .. } => Exit::Locked,
            store::Error::NoRun(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Failure { exit, ..Failure::of(&error) }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        Failure { exit: Exit::Usage, cause: Cause::Config(Box::new(problems)) }
    }
}

/// The error and its causes in one line; a cause that its effect has quoted already is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
