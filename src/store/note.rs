//! Record notes: which keys a run could not deliver, and why. For people; the snapshot alone decides what is sent.
//!
//! Bounded: at most [`NOTES_PER_VERDICT`] a run and verdict, kept for the last [`RUNS_WITH_NOTES`] runs of a sync that were
//! not skipped.

use serde::{Deserialize, Serialize};

use super::{Error, Store, json, query, stored};
use crate::domain::entry::Operation;
use crate::domain::id::RunId;

/// How many notes of one verdict a run keeps; the tally still counts them all.
pub const NOTES_PER_VERDICT: u32 = 1_000;
/// How many runs of a sync keep their notes.
pub const RUNS_WITH_NOTES: u32 = 50;
const VERDICTS: u32 = 4;

/// What became of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Refused for good by the destination.
    Rejected,
    /// Refused by us before sending.
    Invalid,
    /// Sent without a receipt.
    Unknown,
    /// A delete above the guard.
    Held,
}

/// One record that a run did not deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordNote {
    /// As shown to people.
    pub key: String,
    pub verdict: Verdict,
    pub operation: Option<Operation>,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// A note and the run that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunNote {
    pub run: RunId,
    #[serde(flatten)]
    pub note: RecordNote,
}

/// Which notes are asked for; an empty filter asks for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoteFilter {
    pub sync: Option<String>,
    pub run: Option<RunId>,
    pub verdict: Option<Verdict>,
    /// Notes with a smaller number, for the next page.
    pub before: Option<u64>,
}

/// Inserts nothing once the run has enough notes of the verdict.
const NOTE: &str = "
    INSERT INTO record_notes (run, sync, key, verdict, operation, code, message)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
    WHERE (SELECT count(*) FROM record_notes WHERE run = ?1 AND verdict = ?4) < ?8";
const NOTES: &str = "
    SELECT run, key, verdict, operation, code, message FROM record_notes
    WHERE sync = ?1 AND (?2 IS NULL OR run = ?2) ORDER BY run DESC, id LIMIT ?3";

const NOTES_PAGE: &str = "
    SELECT id, run, key, verdict, operation, code, message FROM record_notes
    WHERE (?1 IS NULL OR sync = ?1) AND (?2 IS NULL OR run = ?2) AND (?3 IS NULL OR verdict = ?3)
    AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5";

type PageColumns = (i64, i64, String, String, Option<String>, Option<String>, Option<String>);
type NoteColumns = (i64, String, String, Option<String>, Option<String>, Option<String>);

impl Store {
    /// Adds notes to a run, in one write; those above the limit of their verdict are left out.
    pub async fn note_records(
        &self,
        run: RunId,
        sync: &str,
        notes: &[RecordNote],
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        for note in notes {
            query(NOTE)
                .bind(stored(run.0))
                .bind(sync)
                .bind(note.key.as_str())
                .bind(json(&note.verdict))
                .bind(note.operation.map(|operation| json(&operation)))
                .bind(note.code.as_deref())
                .bind(note.message.as_deref())
                .bind(NOTES_PER_VERDICT)
                .execute(&mut *transaction)
                .await
                .map_err(|error| self.failure(error))?;
        }
        self.commit(transaction).await
    }

    /// The notes of one run of the sync in the order they were made; without a run those of the latest runs,
    /// newest run first, as many as one run can have.
    pub async fn record_notes(
        &self,
        sync: &str,
        run: Option<RunId>,
    ) -> Result<Vec<RunNote>, Error> {
        let rows: Vec<NoteColumns> = sqlx::query_as(NOTES)
            .bind(sync)
            .bind(run.map(|run| stored(run.0)))
            .bind(VERDICTS * NOTES_PER_VERDICT)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let notes = rows.into_iter().map(|(run, key, verdict, operation, code, message)| {
            let operation = operation.map(|json| self.restore("operation", &json)).transpose()?;
            let verdict = self.restore("verdict", &verdict)?;
            let note = RecordNote { key, verdict, operation, code, message };
            Ok(RunNote { run: RunId(self.natural("run", run)?), note })
        });
        notes.collect()
    }

    /// A page of notes, the newest first, each with its number.
    pub async fn notes_page(
        &self,
        filter: &NoteFilter,
        limit: u32,
    ) -> Result<Vec<(u64, RunNote)>, Error> {
        let rows: Vec<PageColumns> = sqlx::query_as(NOTES_PAGE)
            .bind(filter.sync.as_deref())
            .bind(filter.run.map(|run| stored(run.0)))
            .bind(filter.verdict.map(|verdict| json(&verdict)))
            .bind(filter.before.map(stored))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let page = rows.into_iter().map(|(id, run, key, verdict, operation, code, message)| {
            let operation = operation.map(|json| self.restore("operation", &json)).transpose()?;
            let verdict = self.restore("verdict", &verdict)?;
            let note = RecordNote { key, verdict, operation, code, message };
            let run = RunId(self.natural("run", run)?);
            Ok((self.natural("id", id)?, RunNote { run, note }))
        });
        page.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Instant;
    use crate::domain::run::{Outcome, Trigger};
    use crate::domain::tally::Tally;

    fn note(key: String, verdict: Verdict) -> RecordNote {
        RecordNote { key, verdict, operation: None, code: None, message: None }
    }

    async fn run(store: &Store) -> RunId {
        store.create_run("crm", None, Trigger::Manual, Instant(0)).await.unwrap()
    }

    #[tokio::test]
    async fn a_run_keeps_a_thousand_notes_of_each_verdict() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let run = run(&store).await;
        let many: Vec<_> = (0..1_200).map(|key| note(key.to_string(), Verdict::Rejected)).collect();
        let (first, rest) = many.split_at(700);
        store.note_records(run, "crm", first).await.unwrap();
        store.note_records(run, "crm", rest).await.unwrap();
        let held = RecordNote {
            operation: Some(Operation::Delete),
            code: Some("guard".to_owned()),
            message: Some("above 10 %".to_owned()),
            ..note("k".to_owned(), Verdict::Held)
        };
        store.note_records(run, "crm", std::slice::from_ref(&held)).await.unwrap();
        let notes = store.record_notes("crm", Some(run)).await.unwrap();
        assert_eq!(notes.len(), 1_001);
        assert_eq!(notes[999].note, many[999]);
        assert_eq!(notes[1_000], RunNote { run, note: held });
    }

    #[tokio::test]
    async fn notes_are_found_by_run_and_by_sync_and_old_ones_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let first = run(&store).await;
        store.note_records(first, "crm", &[note("a".into(), Verdict::Invalid)]).await.unwrap();
        let tally = Tally::default();
        for _ in 1..RUNS_WITH_NOTES {
            run(&store).await;
            let skipped = run(&store).await;
            store.finish(skipped, Outcome::Skipped, &tally, None, Instant(1)).await.unwrap();
        }
        store.finish(first, Outcome::Failed, &tally, None, Instant(1)).await.unwrap();
        assert_eq!(store.record_notes("crm", Some(first)).await.unwrap().len(), 1);
        assert!(store.record_notes("ads", None).await.unwrap().is_empty());
        let last = run(&store).await;
        store.note_records(last, "crm", &[note("b".into(), Verdict::Unknown)]).await.unwrap();
        let keys = |notes: Vec<RunNote>| notes.into_iter().map(|n| n.note.key).collect::<Vec<_>>();
        assert_eq!(keys(store.record_notes("crm", None).await.unwrap()), ["b", "a"]);
        let page =
            |before| NoteFilter { sync: Some("crm".into()), before, ..NoteFilter::default() };
        let newest = store.notes_page(&page(None), 1).await.unwrap().remove(0);
        assert_eq!(newest.1.note.key, "b");
        let next = store.notes_page(&page(Some(newest.0)), 5).await.unwrap();
        assert_eq!(keys(next.into_iter().map(|(_, note)| note).collect()), ["a"]);
        store.finish(last, Outcome::Failed, &tally, None, Instant(2)).await.unwrap();
        assert_eq!(keys(store.record_notes("crm", None).await.unwrap()), ["b"]);
    }
}
