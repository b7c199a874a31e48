use serde::{Deserialize, Serialize};

use crate::domain::guard::HoldCause;
use crate::domain::id::RunId;
use crate::domain::kind::{Kind, KindReason};
use crate::domain::run::Outcome;
use crate::domain::tally::Tally;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub run: RunId,
    pub sync: String,
    /// `None` where the run failed before its kind was known.
    pub kind: Option<Kind>,
    pub reason: Option<KindReason>,
    pub outcome: Outcome,
    pub tally: Tally,
    /// Why deletes are held, where some are.
    pub holds: Vec<HoldCause>,
    /// A few of the invalid and rejected records, by key, with what is wrong.
    #[serde(default)]
    pub examples: Vec<String>,
    pub error: Option<String>,
}
