//! The life of a run: its phases, the legal steps between them, and how it can end.

use serde::{Deserialize, Serialize};

use super::tally::Tally;

/// Where a run is. Stored as data, restored totally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", content = "outcome")]
pub enum Phase {
    InQueue,
    Starting,
    /// Reading and delivering.
    Reading,
    Draining,
    Committing,
    Ended(Outcome),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Succeeded,
    /// Committed, but something was rejected, invalid, held, deferred, unknown or unsent.
    Partial,
    Failed,
    /// Stopped by a command or a signal, after a clean drain.
    Cancelled,
    /// The process died; recovered at the next start.
    Interrupted,
    Skipped,
}

impl Outcome {
    pub const ALL: [Outcome; 6] = [
        Outcome::Succeeded,
        Outcome::Partial,
        Outcome::Failed,
        Outcome::Cancelled,
        Outcome::Interrupted,
        Outcome::Skipped,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Partial => "partial",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Interrupted => "interrupted",
            Outcome::Skipped => "skipped",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Phase::InQueue => f.write_str("in queue"),
            Phase::Starting => f.write_str("starting"),
            Phase::Reading => f.write_str("reading"),
            Phase::Draining => f.write_str("draining"),
            Phase::Committing => f.write_str("committing"),
            Phase::Ended(outcome) => outcome.fmt(f),
        }
    }
}

impl Phase {
    /// Every phase, each end among them, in the order of a run.
    pub fn all() -> impl Iterator<Item = Phase> {
        let going =
            [Phase::InQueue, Phase::Starting, Phase::Reading, Phase::Draining, Phase::Committing];
        going.into_iter().chain(Outcome::ALL.map(Phase::Ended))
    }

    pub fn is_ended(self) -> bool {
        matches!(self, Phase::Ended(_))
    }

    /// Whether a run in this phase may go to `next`.
    pub fn may_become(self, next: Phase) -> bool {
        use Phase::{Committing, Draining, Ended, InQueue, Reading, Starting};
        match (self, next) {
            (InQueue, Starting)
            | (Starting, Reading)
            | (Reading, Draining | Committing)
            | (Draining, Committing) => true,
            (InQueue | Starting | Reading | Draining | Committing, Ended(outcome)) => match outcome
            {
                Outcome::Failed | Outcome::Interrupted => true,
                Outcome::Cancelled => self != Reading,
                Outcome::Skipped => matches!(self, Starting | InQueue),
                Outcome::Succeeded | Outcome::Partial => self == Committing,
            },
            _ => false,
        }
    }
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    Schedule,
    Manual,
    Api,
    Recovery,
    Sequence,
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Trigger::Schedule => "schedule",
            Trigger::Manual => "manual",
            Trigger::Api => "api",
            Trigger::Recovery => "recovery",
            Trigger::Sequence => "sequence",
        })
    }
}

/// The outcome of a run that reached its commit without an error.
pub fn outcome(tally: &Tally, was_stopped: bool) -> Outcome {
    if was_stopped {
        Outcome::Cancelled
    } else if tally.is_clean() {
        Outcome::Succeeded
    } else {
        Outcome::Partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_end_and_success_comes_only_from_a_commit() {
        for outcome in Outcome::ALL {
            for next in [Phase::InQueue, Phase::Reading, Phase::Ended(Outcome::Failed)] {
                assert!(!Phase::Ended(outcome).may_become(next));
            }
        }
        for phase in [Phase::InQueue, Phase::Starting, Phase::Reading, Phase::Draining] {
            assert!(!phase.may_become(Phase::Ended(Outcome::Succeeded)));
            assert!(phase.may_become(Phase::Ended(Outcome::Failed)));
        }
        assert!(Phase::Committing.may_become(Phase::Ended(Outcome::Succeeded)));
    }

    #[test]
    fn a_run_is_green_only_when_everything_was_delivered() {
        let clean = Tally { rows_read: 1, upserts: 1, delivered: 1, ..Tally::default() };
        assert_eq!(outcome(&clean, false), Outcome::Succeeded);
        assert_eq!(outcome(&clean, true), Outcome::Cancelled);
        let invalid = Tally { invalid: 1, rows_read: 2, ..clean };
        assert_eq!(outcome(&invalid, false), Outcome::Partial);
        let deferred = Tally { deferred: 1, delivered: 0, ..clean };
        assert_eq!(outcome(&deferred, false), Outcome::Partial);
    }

    #[test]
    fn every_phase_comes_back_from_its_stored_form() {
        for phase in Phase::all() {
            let stored = serde_json::to_string(&phase).expect("phases are JSON");
            assert_eq!(serde_json::from_str::<Phase>(&stored).expect("and back"), phase);
        }
    }
}
