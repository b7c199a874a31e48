//! Runs as they are stored: from their creation to their end.

use sqlx::Row as _;

use super::*;
use crate::domain::kind::{Kind, KindReason};
use crate::store::glance::UNFINISHED as GLANCED;

async fn started(store: &Store) -> RunId {
    let run = store.create_run("crm", None, Trigger::Manual, Instant(1_000)).await.unwrap();
    store.set_phase(run, Phase::Starting).await.unwrap();
    run
}

#[tokio::test]
async fn runs_are_created_together_and_those_that_were_stopped_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let new = |sync: &str| NewRun { sync: sync.into(), choice: None, trigger: Trigger::Schedule };
    let runs = store.create_runs(&[new("a"), new("b"), new("c")], Instant(1)).await.unwrap();
    store.set_phase(runs[1], Phase::Starting).await.unwrap();
    let ids = |rows: Vec<RunRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(store.stopped().await.unwrap()), []);
    store.request_stop("c", false, "ada", None, Instant(0)).await.unwrap();
    assert_eq!(ids(store.stopped().await.unwrap()), runs[2..]);
}

#[tokio::test]
async fn runs_are_ended_together_or_none_of_them_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let (first, second) = (started(&store).await, started(&store).await);
    let end = |run| End {
        run,
        outcome: Outcome::Interrupted,
        tally: Tally::default(),
        error: Some("it died".to_owned()),
    };
    let nobody = store.finish_all(&[end(first), end(RunId(99))], Instant(5)).await;
    assert!(matches!(nobody, Err(Error::NoRun(RunId(99)))), "{nobody:?}");
    assert_eq!(store.unfinished().await.unwrap().len(), 2);
    store.finish_all(&[end(first), end(second)], Instant(5)).await.unwrap();
    store.finish_all(&[], Instant(6)).await.unwrap();
    for run in [first, second] {
        let row = store.run(run).await.unwrap().unwrap();
        assert_eq!(row.phase, Phase::Ended(Outcome::Interrupted));
        assert_eq!((row.finished_at, row.error.as_deref()), (Some(Instant(5)), Some("it died")));
    }
}

#[tokio::test]
async fn a_full_resync_is_owed_from_its_beginning_until_it_is_granted_i11() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let create = |sync| store.create_run(sync, None, Trigger::Manual, Instant(0));
    for (is_full, end) in [(false, Outcome::Failed), (true, Outcome::Interrupted)] {
        let run = create("crm").await.unwrap();
        assert!(!store.is_full_owed("crm").await.unwrap(), "it waits");
        store.begin(run, is_full, "r1").await.unwrap();
        assert!(store.begin(run, is_full, "r1").await.is_err());
        store.finish(run, end, &Tally::default(), None, Instant(1)).await.unwrap();
        assert_eq!(store.is_full_owed("crm").await.unwrap(), is_full);
    }
    store.begin(create("crm").await.unwrap(), true, "r1").await.unwrap();
    store.begin(create("ads").await.unwrap(), true, "r1").await.unwrap();
    store.grant_full("crm").await.unwrap();
    assert!(!store.is_full_owed("crm").await.unwrap());
    assert!(store.is_full_owed("ads").await.unwrap());
}

#[tokio::test]
async fn a_run_comes_back_as_it_was_stored_at_every_step() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let run = started(&store).await;
    let choice = Choice {
        kind: Kind::Full,
        reason: KindReason::FirstRun,
        opens_epoch: true,
        unchanged_since: None,
        unchanged_version: None,
        bound_stays: None,
    };
    let tally = Tally { rows_read: 2, upserts: 2, delivered: 2, ..Tally::default() };
    store.set_choice(run, choice).await.unwrap();
    store.set_phase(run, Phase::Reading).await.unwrap();
    store.record_progress(run, &tally).await.unwrap();
    let mut expected = RunRow {
        id: run,
        sync: "crm".to_owned(),
        trigger: Trigger::Manual,
        choice: Some(choice),
        phase: Phase::Reading,
        started_at: Instant(1_000),
        finished_at: None,
        tally,
        error: None,
        stop: None,
        revision: None,
    };
    assert_eq!(store.unfinished().await.unwrap(), [expected.clone()]);
    let failed = Outcome::Failed;
    store.finish(run, failed, &tally, Some("no `id`"), Instant(2_000)).await.unwrap();
    expected.phase = Phase::Ended(failed);
    expected.error = Some("no `id`".to_owned());
    expected.finished_at = Some(Instant(2_000));
    assert_eq!(store.run(run).await.unwrap(), Some(expected));
    assert_eq!(store.unfinished().await.unwrap(), []);
}

#[tokio::test]
async fn an_illegal_step_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let run = started(&store).await;
    let tally = Tally { rows_read: 1, ..Tally::default() };
    for phase in [Phase::InQueue, Phase::Committing, Phase::Ended(Outcome::Failed)] {
        let refused = store.set_phase(run, phase).await.unwrap_err();
        assert!(
            matches!(refused, Error::IllegalStep { from: Phase::Starting, to, .. } if to == phase)
        );
    }
    let green = store.finish(run, Outcome::Succeeded, &tally, None, Instant(2)).await;
    assert!(matches!(green, Err(Error::IllegalStep { .. })));
    let row = store.run(run).await.unwrap().unwrap();
    assert_eq!((row.phase, row.finished_at), (Phase::Starting, None));
    assert_eq!(row.tally, Tally::default());
}

#[tokio::test]
async fn a_finished_run_is_never_touched_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let run = started(&store).await;
    let tally = Tally::default();
    store.finish(run, Outcome::Interrupted, &tally, None, Instant(2)).await.unwrap();
    let row = store.run(run).await.unwrap();
    let again = store.finish(run, Outcome::Failed, &tally, None, Instant(3)).await;
    assert!(matches!(again, Err(Error::IllegalStep { .. })));
    assert!(matches!(store.record_progress(run, &tally).await, Err(Error::NoRun(_))));
    assert_eq!(store.request_stop("crm", true, "ada", None, Instant(0)).await.unwrap(), None);
    assert_eq!(store.run(run).await.unwrap(), row);
}

#[tokio::test]
async fn a_run_that_does_not_exist_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let nobody = RunId(9);
    assert_eq!(store.run(nobody).await.unwrap(), None);
    assert!(matches!(store.stop_requested(nobody).await, Err(Error::NoRun(run)) if run == nobody));
    let refused = store.set_phase(nobody, Phase::Starting).await.unwrap_err();
    assert_eq!(refused.to_string(), "there is no run `9`; see `counterflow runs`");
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_sync_and_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    for sync in ["crm", "ads", "crm", "crm"] {
        store.create_run(sync, None, Trigger::Schedule, Instant(0)).await.unwrap();
    }
    let ids = |rows: Vec<RunRow>| rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>();
    assert_eq!(ids(store.runs(None, 10, None).await.unwrap()), [4, 3, 2, 1]);
    assert_eq!(ids(store.runs(Some("crm"), 2, None).await.unwrap()), [4, 3]);
    assert_eq!(ids(store.runs(Some("crm"), 2, Some(RunId(3))).await.unwrap()), [1]);
    assert_eq!(ids(store.runs(None, 10, Some(RunId(u64::MAX))).await.unwrap()), [4, 3, 2, 1]);
    assert_eq!(store.run(RunId(u64::MAX)).await.unwrap(), None);
    assert_eq!(ids(store.unfinished().await.unwrap()), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stop_asked_for_beside_is_seen_by_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Store::open(directory.path()).await.unwrap();
    let beside = Store::open_beside(directory.path()).await.unwrap();
    assert_eq!(beside.request_stop("crm", false, "ada", None, Instant(0)).await.unwrap(), None);
    let run = started(&owner).await;
    assert_eq!(owner.stop_requested(run).await.unwrap(), None);

    let asked = beside.request_stop("crm", false, "ada", Some("lunch"), Instant(0)).await.unwrap();
    assert_eq!(asked, Some(run));
    assert_eq!(owner.stop_requested(run).await.unwrap(), Some(StopRequest::Drain));
    beside.request_stop("crm", false, "eve", None, Instant(0)).await.unwrap();
    let stop = owner.run(run).await.unwrap().unwrap().stop.unwrap();
    assert_eq!((stop.who.as_str(), stop.message.as_deref()), ("ada", Some("lunch")));

    beside.request_stop("crm", true, "eve", None, Instant(0)).await.unwrap();
    beside.request_stop("crm", false, "ada", None, Instant(0)).await.unwrap();
    let stop = owner.run(run).await.unwrap().unwrap().stop.unwrap();
    assert_eq!(stop, Stop { request: StopRequest::Now, who: "eve".to_owned(), message: None });
}

#[tokio::test]
async fn a_stop_reaches_the_going_run_and_those_queued_behind_it_but_no_other_sync() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let going = started(&store).await;
    let queued = store.create_run("crm", None, Trigger::Api, Instant(2)).await.unwrap();
    let other = store.create_run("ads", None, Trigger::Api, Instant(2)).await.unwrap();
    assert_eq!(
        store.request_stop("crm", false, "ada", None, Instant(0)).await.unwrap(),
        Some(going)
    );
    assert_eq!(store.stop_requested(queued).await.unwrap(), Some(StopRequest::Drain));
    assert_eq!(store.stop_requested(other).await.unwrap(), None);
}

#[tokio::test]
async fn a_stop_that_cannot_be_audited_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let run = started(&store).await;
    let stop = |is_now| store.request_stop("crm", is_now, "ada", Some("lunch"), Instant(5));
    let refuse =
        "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END";
    store.execute(query(refuse)).await.unwrap();
    stop(false).await.unwrap_err();
    assert_eq!(store.stop_requested(run).await.unwrap(), None);
    store.execute(query("DROP TRIGGER no_audit")).await.unwrap();
    for is_now in [false, true] {
        assert_eq!(stop(is_now).await.unwrap(), Some(run));
    }
    store.finish(run, Outcome::Failed, &Tally::default(), None, Instant(6)).await.unwrap();
    assert_eq!(stop(false).await.unwrap(), None, "nothing goes, and nothing is audited");
    let log = store.audit_log(10).await.unwrap();
    let commands: Vec<_> = log.iter().map(|one| (one.command.as_str(), one.run)).collect();
    assert_eq!(commands, [("stop --now", Some(run)), ("stop", Some(run))]);
    assert_eq!((log[1].at, log[1].message.as_deref()), (Instant(5), Some("lunch")));
}

#[tokio::test]
async fn what_goes_is_found_without_looking_at_other_syncs_or_at_what_ended() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let run = started(&store).await;
    let ended = started(&store).await;
    store.finish(ended, Outcome::Failed, &Tally::default(), None, Instant(2)).await.unwrap();
    store.create_run("ads", None, Trigger::Api, Instant(3)).await.unwrap();
    let ids = |rows: Vec<RunRow>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    for phase in BEGUN {
        if phase != Phase::Starting {
            store.set_phase(run, phase).await.unwrap();
        }
        let found = store.glance(&["nobody"], "pause").await.unwrap();
        assert_eq!(ids(found.unfinished), [run], "{phase}");
    }
    assert_eq!(ids(store.unfinished_of("crm").await.unwrap()), [run]);
    for (statement, index) in
        [(UNFINISHED_OF, "unfinished_runs"), (GLANCED, "unfinished_runs"), (GLANCED, "going_runs")]
    {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&store.readers).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let is_searched = plan.iter().any(|step| {
            step.starts_with("SEARCH runs") && step.contains(&format!("INDEX {index}"))
        });
        assert!(is_searched && plan.iter().all(|step| !step.starts_with("SCAN runs")), "{plan:?}");
    }
}
