//! Which rows may go, and that all that is asked of the others is answered the same without them.

use std::collections::BTreeSet;

use super::*;
use crate::domain::kind::Choice;
use crate::domain::run::Trigger;
use crate::domain::tally::Tally;
use crate::store::{Decision, RecordNote, Verdict};

/// One that has the day as its clock.
const NOW: i64 = 100;

struct Past {
    store: Store,
    _folder: tempfile::TempDir,
}

/// What a run came to.
#[derive(Clone, Copy)]
struct Came {
    outcome: Outcome,
    at: i64,
    held: u64,
    choice: Option<Choice>,
    begins: bool,
}

fn came(outcome: Outcome, at: i64) -> Came {
    Came { outcome, at, held: 0, choice: None, begins: true }
}

impl Past {
    async fn new() -> Past {
        let folder = tempfile::tempdir().unwrap();
        Past { store: Store::open(folder.path()).await.unwrap(), _folder: folder }
    }

    async fn run(&self, sync: &str, came: Came) -> RunId {
        let at = Instant(came.at);
        let run = self.store.create_run(sync, came.choice, Trigger::Api, at).await.unwrap();
        if came.begins {
            self.store.begin(run, false, "r1").await.unwrap();
        }
        if came.outcome == Outcome::Succeeded || came.outcome == Outcome::Partial {
            for phase in [Phase::Reading, Phase::Committing] {
                self.store.set_phase(run, phase).await.unwrap();
            }
        }
        let tally = Tally { held: came.held, ..Tally::default() };
        self.store.finish(run, came.outcome, &tally, None, at).await.unwrap();
        run
    }

    /// The runs that may go of those that ended before `NOW`.
    async fn old(&self, results: u32) -> Vec<RunId> {
        let which = OldRuns { before: Instant(NOW), results };
        let (mut old, mut after) = (Vec::new(), 0);
        loop {
            let step = self.store.old_runs(after, which).await.unwrap();
            old.extend(step.old);
            match step.next {
                Some(next) => after = next,
                None => return old,
            }
        }
    }
}

#[tokio::test]
async fn the_last_runs_that_anything_is_made_of_stay_however_old() {
    use Outcome::{Cancelled, Failed, Interrupted, Partial, Skipped, Succeeded};
    let sample = |at| Came { choice: Some(Choice::SAMPLE), ..came(Succeeded, at) };
    let waited = |at| Came { begins: false, ..came(Cancelled, at) };
    let held = |at| Came { held: 3, ..came(Partial, at) };
    // Each with the runs that stay, counted from the first, and with how many results.
    let cases: [(&[Came], u32, &[usize]); 10] = [
        (&[came(Succeeded, 1), came(Succeeded, 2)], 1, &[1]),
        (&[came(Succeeded, 1), came(Failed, 2), came(Failed, 3)], 1, &[0, 2]),
        (&[came(Failed, 1), came(Failed, 2), came(Failed, 3)], 2, &[1, 2]),
        (&[came(Failed, 1), came(Failed, 2), came(Failed, 3)], 0, &[2]),
        (&[came(Skipped, 1), came(Interrupted, 2), waited(3), sample(4)], 1, &[0, 1, 2, 3]),
        (&[came(Failed, 1), came(Cancelled, 2), waited(3)], 1, &[0, 1, 2]),
        (&[held(1), held(2), came(Failed, 3), came(Failed, 4)], 1, &[1, 3]),
        (&[came(Succeeded, 1), came(Succeeded, 2), came(Skipped, 3), came(Skipped, 4)], 1, &[1, 3]),
        // The clock was set back.
        (&[came(Succeeded, 9), came(Succeeded, 2), came(Succeeded, 3)], 1, &[0, 2]),
        (&[came(Succeeded, 1), came(Succeeded, 2), came(Succeeded, NOW)], 1, &[2]),
    ];
    for (number, (past, results, stay)) in cases.into_iter().enumerate() {
        let state = Past::new().await;
        let mut all = Vec::new();
        for came in past {
            all.push(state.run("crm", *came).await);
        }
        state.store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
        let old: BTreeSet<RunId> = state.old(results).await.into_iter().collect();
        let stayed: Vec<usize> = (0..all.len()).filter(|at| !old.contains(&all[*at])).collect();
        assert_eq!(stayed, stay, "case {number}");
    }
}

#[tokio::test]
async fn what_is_asked_of_many_old_runs_is_answered_the_same_without_them() {
    let state = Past::new().await;
    let store = &state.store;
    let syncs = ["a", "b", "never"];
    let outcomes = [Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled, Outcome::Interrupted];
    for number in 0..600_usize {
        let at = i64::try_from(number).unwrap() % NOW;
        let outcome = outcomes[(number * 7 + number / 5) % outcomes.len()];
        let choice = (number % 11 == 0).then_some(Choice::SAMPLE);
        let run = Came { choice, held: u64::from(number % 97 == 0), ..came(outcome, at) };
        let run = state.run(syncs[number % 2], run).await;
        if number % 3 == 0 {
            store.mark_halted(run).await.unwrap();
        }
        let note = RecordNote {
            key: number.to_string(),
            verdict: Verdict::Rejected,
            operation: None,
            code: None,
            message: None,
        };
        store.note_records(run, syncs[number % 2], &vec![note; 20]).await.unwrap();
    }
    let next = store.create_run("a", None, Trigger::Api, Instant(0)).await.unwrap();
    let asked = async || {
        let glance = store.glance(&syncs, "pause").await.unwrap();
        let mut halted = Vec::new();
        for count in 1..=3 {
            halted.push(store.has_halted("a", Instant(0), count).await.unwrap());
        }
        (
            (glance.ended, glance.unfinished, halted),
            store.last_successes(&syncs).await.unwrap(),
            store.newest_successes(&syncs).await.unwrap(),
            store.last_asked(&syncs).await.unwrap(),
            store.follows_cut_short("a", next, "r1").await.unwrap(),
        )
    };
    let before = asked().await;
    let old = state.old(3).await;
    assert!(old.len() > 570, "{} of 600", old.len());
    while store.remove_notes(&old).await.unwrap() {}
    assert_eq!(store.remove_runs(&old).await.unwrap(), old.len() as u64);
    assert_eq!(asked().await, before);
    assert_eq!(state.old(3).await, []);
    let notes: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM record_notes WHERE run NOT IN (SELECT id FROM runs)",
    )
    .fetch_one(&store.readers)
    .await
    .unwrap();
    assert_eq!(notes, 0);
    let later = store.create_run("a", None, Trigger::Api, Instant(0)).await.unwrap();
    assert_eq!(later, RunId(next.0 + 1), "a number is never given twice");
}

#[tokio::test]
async fn a_run_without_an_end_is_never_removed() {
    let state = Past::new().await;
    let run = state.store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
    assert_eq!(state.old(1).await, []);
    assert_eq!(state.store.remove_runs(&[run]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_old_is_found_behind_a_step_in_which_nothing_is() {
    let state = Past::new().await;
    for _ in 0..STEP {
        state.store.create_run("later", None, Trigger::Api, Instant(0)).await.unwrap();
    }
    let old = state.run("crm", came(Outcome::Succeeded, 1)).await;
    state.run("crm", came(Outcome::Succeeded, 2)).await;
    assert_eq!(state.old(1).await, [old]);
}

fn audited(at: i64, command: &str, sync: &str) -> Audited {
    Audited {
        at: Instant(at),
        who: "ada".to_owned(),
        command: command.to_owned(),
        sync: Some(sync.to_owned()),
        run: None,
        message: None,
    }
}

#[tokio::test]
async fn old_entries_go_with_an_entry_that_says_so_and_others_only_grow() {
    let state = Past::new().await;
    let store = &state.store;
    for (at, command, sync) in
        [(1, "pause", "a"), (2, "discard", "a"), (3, "discard", "a"), (4, "discard", "b")]
    {
        store.audit(&audited(at, command, sync)).await.unwrap();
    }
    let decision = Decision::SetAside { at: Instant(5) };
    let pending = store.decide(&[(audited(5, "rebaseline", "a"), decision)]).await.unwrap();
    store.audit(&audited(NOW, "pause", "a")).await.unwrap();
    let step = store.old_audit(0, Instant(NOW), "discard").await.unwrap();
    let old: Vec<u64> = step.old.iter().map(|(entry, _)| *entry).collect();
    assert_eq!(old, [1, 2], "the last of a sync, and what is not carried out yet, stay");
    let said = audited(NOW, "history", "a");
    store.remove_audit(&old, &said).await.unwrap();
    let page = store.audit_page(&crate::store::AuditFilter::default(), 9).await.unwrap();
    let left: Vec<u64> = page.iter().map(|(entry, _)| *entry).collect();
    assert_eq!((left.as_slice(), &page[0].1), ([7, 6, 5, 4, 3].as_slice(), &said));
    for statement in ["DELETE FROM audit", "UPDATE audit SET who = 'eve'"] {
        assert!(store.execute(query(statement)).await.is_err(), "{statement}");
    }
    assert_eq!(store.decisions(None).await.unwrap(), pending);
    // What cannot be said is not done.
    let refuse = "CREATE TRIGGER no_audit BEFORE INSERT ON audit
        BEGIN SELECT RAISE(ABORT, 'no'); END";
    store.execute(query(refuse)).await.unwrap();
    store.remove_audit(&left, &said).await.unwrap_err();
    assert_eq!(store.audit_log(9).await.unwrap().len(), 5);
    assert!(store.execute(query("DELETE FROM audit")).await.is_err());
}

#[tokio::test]
async fn a_step_reads_no_whole_table() {
    let state = Past::new().await;
    for asked in [LOOK_AT_RUNS, OLD_RUNS, LOOK_AT_AUDIT, OLD_AUDIT] {
        let explained = format!("EXPLAIN QUERY PLAN {asked}");
        let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(explained));
        let plan = plan.fetch_all(&state.store.readers).await.unwrap();
        let scans = |step: &&(i64, i64, i64, String)| {
            step.3.starts_with("SCAN")
                && !["(subquery-", "SCALAR", "decisions"].iter().any(|word| step.3.contains(word))
        };
        assert_eq!(plan.iter().find(scans), None, "{plan:#?}");
    }
}
