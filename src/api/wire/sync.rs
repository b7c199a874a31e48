//! A run as the RudderStack wire says it: one of three words, two times, an error and whole metrics.
//!
//! Not responsible for reading runs. Invariant: the word is `running`, `succeeded` or `failed`, as clients poll any other
//! one for ever, and whatever `failed` has an error in words.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::document;
use crate::domain::message::one_line;
use crate::domain::run::{Outcome, Phase};
use crate::domain::tally::Tally;
use crate::store::RunRow;

/// What the clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "WireStatus")]
pub enum Word {
    Running,
    Succeeded,
    Failed,
}

impl Word {
    pub fn read(word: &str) -> Option<Word> {
        match word {
            "running" => Some(Word::Running),
            "succeeded" => Some(Word::Succeeded),
            "failed" => Some(Word::Failed),
            _ => None,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Word::Running => "running",
            Word::Succeeded => "succeeded",
            Word::Failed => "failed",
        })
    }
}

/// What a run in this phase, with this tally, is to the clients. A partial run has failed where records were not sent or
/// got no answer, as on the command line, and where more stand rejected than `fail_above_rejected` bears; what else it left
/// is counted in its metrics.
pub fn word(phase: Phase, tally: &Tally, fail_above_rejected: Option<u64>) -> Word {
    let Phase::Ended(outcome) = phase else { return Word::Running };
    match outcome {
        Outcome::Succeeded | Outcome::Skipped => Word::Succeeded,
        Outcome::Failed | Outcome::Cancelled | Outcome::Interrupted => Word::Failed,
        Outcome::Partial if tally.undelivered() > 0 => Word::Failed,
        Outcome::Partial if is_above(tally, fail_above_rejected) => Word::Failed,
        Outcome::Partial => Word::Succeeded,
    }
}

fn is_above(tally: &Tally, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| tally.standing_rejections() > limit)
}

/// A run as a sync of the wire.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WireSync")]
pub struct Sync {
    id: String,
    status: Word,
    #[schemars(extend("format" = "date-time"))]
    started_at: String,
    #[schemars(extend("format" = "date-time"))]
    finished_at: Option<String>,
    /// Why it failed.
    error: Option<String>,
    metrics: Metrics,
    /// All that is known of it.
    run: document::Run,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireMetrics")]
struct Metrics {
    succeeded: Count,
    failed: Count,
    changed: Count,
    /// Rows that were read.
    total: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireCount")]
struct Count {
    total: u64,
}

impl Sync {
    pub fn of(row: &RunRow, fail_above_rejected: Option<u64>) -> Sync {
        let tally = &row.tally;
        let word = word(row.phase, tally, fail_above_rejected);
        let total = |total| Count { total };
        Sync {
            id: row.id.to_string(),
            status: word,
            started_at: row.started_at.to_string(),
            finished_at: row.finished_at.map(|at| at.to_string()),
            error: (word == Word::Failed).then(|| error(row, fail_above_rejected)),
            metrics: Metrics {
                succeeded: total(tally.delivered),
                failed: total(tally.rejected + tally.deferred + tally.invalid + tally.unknown),
                changed: total(tally.upserts + tally.deletes),
                total: tally.rows_read,
            },
            run: document::Run::from(row),
        }
    }
}

/// Why the run has failed; never empty.
fn error(row: &RunRow, limit: Option<u64>) -> String {
    let Tally { unknown, unsent, rejected, deferred, .. } = row.tally;
    let stopped = row.stop.as_ref().map(|stop| {
        let why = stop
            .message
            .as_deref()
            .and_then(one_line)
            .map_or(String::new(), |why| format!(": {why}"));
        format!("stopped by {}{why}", stop.who)
    });
    let told = row.error.as_deref().and_then(one_line);
    match row.phase {
        Phase::Ended(Outcome::Cancelled) => told.or(stopped).unwrap_or_else(|| {
            "stopped as the server was shut down; the next run goes on from there".to_owned()
        }),
        Phase::Ended(Outcome::Interrupted) => told.unwrap_or_else(|| {
            "the process ended before the run did; the next run goes on from there".to_owned()
        }),
        Phase::Ended(Outcome::Partial) if unknown + unsent == 0 => {
            let limit = limit.unwrap_or_default();
            format!(
                "{} records are rejected, and more than {limit} count as failed; `counterflow rejected {}` lists them",
                rejected + deferred, row.sync
            )
        }
        Phase::Ended(Outcome::Partial) => told.unwrap_or_else(|| {
            format!("{unsent} records were not sent and {unknown} got no answer; the next run sends them again")
        }),
        _ => told.unwrap_or_else(|| "the run failed; see the server's log".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::id::{Instant, RunId};
    use crate::domain::run::Trigger;
    use crate::domain::tally::ListingCost;
    use crate::store::{Stop, StopRequest};

    const NONE: Tally = Tally {
        rows_read: 0,
        unchanged: 0,
        upserts: 0,
        invalid: 0,
        waived: 0,
        deletes: 0,
        delivered: 0,
        rejected: 0,
        unknown: 0,
        held: 0,
        deferred: 0,
        unsent: 0,
        deleted: 0,
        requests: 0,
        retries: 0,
        listing: ListingCost { objects: 0, requests: 0, milliseconds: 0 },
    };

    fn document(row: &RunRow, fail_above_rejected: Option<u64>) -> Value {
        serde_json::to_value(Sync::of(row, fail_above_rejected)).unwrap()
    }

    fn row(phase: Phase, tally: Tally) -> RunRow {
        RunRow {
            id: RunId(7),
            sync: "crm".to_owned(),
            trigger: Trigger::Api,
            choice: None,
            phase,
            started_at: Instant(0),
            finished_at: phase.is_ended().then_some(Instant(1_000)),
            tally,
            error: None,
            stop: None,
            revision: None,
        }
    }

    #[test]
    fn every_phase_and_outcome_is_one_of_three_words() {
        let rejected = Tally { rejected: 3, ..NONE };
        let ended = Phase::Ended;
        for (phase, tally, limit, expected) in [
            (Phase::InQueue, NONE, None, Word::Running),
            (Phase::Starting, NONE, None, Word::Running),
            (Phase::Reading, rejected, Some(0), Word::Running),
            (Phase::Draining, NONE, None, Word::Running),
            (Phase::Committing, NONE, None, Word::Running),
            (ended(Outcome::Succeeded), NONE, Some(0), Word::Succeeded),
            (ended(Outcome::Skipped), NONE, None, Word::Succeeded),
            (ended(Outcome::Failed), NONE, None, Word::Failed),
            (ended(Outcome::Cancelled), NONE, None, Word::Failed),
            (ended(Outcome::Interrupted), NONE, None, Word::Failed),
            (ended(Outcome::Partial), rejected, None, Word::Succeeded),
            (ended(Outcome::Partial), rejected, Some(3), Word::Succeeded),
            (ended(Outcome::Partial), rejected, Some(2), Word::Failed),
            (ended(Outcome::Partial), Tally { held: 1, ..NONE }, Some(0), Word::Succeeded),
            (ended(Outcome::Partial), Tally { invalid: 1, ..NONE }, Some(0), Word::Succeeded),
            (ended(Outcome::Partial), Tally { deferred: 1, ..NONE }, Some(0), Word::Failed),
            (ended(Outcome::Partial), Tally { deferred: 1, ..NONE }, None, Word::Succeeded),
            (ended(Outcome::Partial), Tally { unknown: 1, ..NONE }, None, Word::Failed),
            (ended(Outcome::Partial), Tally { unsent: 1, ..NONE }, None, Word::Failed),
        ] {
            assert_eq!(word(phase, &tally, limit), expected, "{phase:?} {tally:?} {limit:?}");
            let document = document(&row(phase, tally), limit);
            assert_eq!(document["status"], expected.to_string());
            let is_told = document["error"].as_str().is_some_and(|error| !error.is_empty());
            assert_eq!(is_told, expected == Word::Failed, "{document:#}");
            assert_eq!(Word::read(&expected.to_string()), Some(expected));
        }
        assert_eq!(Word::read("aborted"), None);
    }

    #[test]
    fn a_run_that_was_stopped_says_by_whom_and_why() {
        let message = Some("the CRM moves".to_owned());
        let stop = Some(Stop { request: StopRequest::Drain, who: "ann".to_owned(), message });
        let row = RunRow { stop, ..row(Phase::Ended(Outcome::Cancelled), NONE) };
        assert_eq!(document(&row, None)["error"], "stopped by ann: the CRM moves");
    }

    #[test]
    fn metrics_are_whole_and_times_are_rfc_3339_or_null() {
        let tally = Tally {
            rows_read: 9,
            unchanged: 2,
            upserts: 6,
            invalid: 1,
            deletes: 2,
            delivered: 5,
            rejected: 2,
            unknown: 1,
            ..NONE
        };
        let going = document(&row(Phase::Reading, tally), None);
        let metrics = json!({
            "succeeded": { "total": 5 }, "failed": { "total": 4 }, "changed": { "total": 8 }, "total": 9,
        });
        assert_eq!(going["metrics"], metrics);
        assert_eq!((&going["id"], &going["finishedAt"]), (&json!("7"), &Value::Null));
        assert_eq!(going["startedAt"], "1970-01-01T00:00:00Z");
        assert_eq!(going["run"]["phase"], "reading");
        let ended = document(&row(Phase::Ended(Outcome::Skipped), NONE), None);
        assert_eq!(ended["finishedAt"], "1970-01-01T00:00:01Z");
        assert_eq!(ended["metrics"]["changed"]["total"], 0);
    }
}
