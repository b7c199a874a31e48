use serde_json::{Value, json};

use super::exit::Exit;
use crate::api::document::chain;
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
