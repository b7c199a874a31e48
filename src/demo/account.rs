use std::path::PathBuf;

use serde::Serialize;

use super::compare::Comparison;
use super::destination::Counts;
use crate::engine::report::Report;

/// What the story came to: the JSON document of `demo`.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    pub seed: u64,
    /// Where the demo's files are, if they were kept.
    pub folder: Option<PathBuf>,
    pub steps: Vec<Step>,
    pub destination: Counts,
    /// Everything that is not as it must be; empty when all is well.
    pub problems: Vec<String>,
    /// Whether in the end the destination held what the source held.
    pub is_equal: bool,
    pub seconds: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub name: &'static str,
    pub commands: Vec<Command>,
    pub comparisons: Vec<Compared>,
}

/// A command that was run.
#[derive(Debug, Clone, Serialize)]
pub struct Command {
    pub command: String,
    /// `None` when a signal ended it.
    pub exit: Option<i32>,
    /// Of a sync that reached its end.
    pub report: Option<Report>,
}

/// All objects, compared at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Such as `after the kill`.
    pub when: &'static str,
    pub objects: Vec<Comparison>,
}

impl Account {
    pub fn is_well(&self) -> bool {
        self.is_equal && self.problems.is_empty()
    }
}
