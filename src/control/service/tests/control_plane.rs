//! One start-up at a time, groups, syncs that come after others, first runs, pauses that end, halts, and many at once.

use std::collections::BTreeSet;

use super::*;
use crate::domain::kind::Choice;
use crate::store::{DisabledSource, NewRun};

#[tokio::test]
async fn the_second_enters_start_up_when_the_first_is_running_b3() {
    let (_folder, store) = open().await;
    let syncs = [("slow_a", None), ("slow_b", None)];
    let (mut bench, service, shutdown) = bench(&store, &syncs, 0).await;
    let story = async {
        tokio::task::yield_now().await;
        bench.handle.run("slow_a", SOME).await.unwrap();
        bench.handle.run("slow_b", SOME).await.unwrap();
        let first = bench.next().await;
        bench.wait_for(first.run, Phase::Starting).await;
        // An answered command came after all that could begin.
        bench.handle.run("slow_b", SOME).await.unwrap();
        bench.none_begins();
        first.progress.started();
        let second = bench.next().await;
        assert_eq!(second.order.sync.name, "slow_b");
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_group_runs_no_more_than_its_limit_b9() {
    let (_folder, store) = open().await;
    let syncs = [("grouped_a", None), ("grouped_b", None), ("other", None)];
    let (mut bench, service, shutdown) = bench(&store, &syncs, 0).await;
    let story = async {
        tokio::task::yield_now().await;
        for (sync, _) in syncs {
            bench.handle.run(sync, SOME).await.unwrap();
        }
        let first = bench.next().await;
        let second = bench.next().await;
        assert_eq!(
            (first.order.sync.name.as_str(), second.order.sync.name.as_str()),
            ("grouped_a", "other")
        );
        bench.handle.run("other", SOME).await.unwrap();
        bench.none_begins();
        first.end.send(Outcome::Failed).unwrap();
        assert_eq!(bench.next().await.order.sync.name, "grouped_b");
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

/// The trigger of the one run of the sync that is not finished.
async fn unfinished(store: &Store, sync: &str) -> Option<Trigger> {
    let rows = store.unfinished().await.unwrap();
    rows.into_iter().find(|row| row.sync == sync).map(|row| row.trigger)
}

/// Ends a run as if it had done everything: only a commit ends well.
async fn succeed(bench: &Bench, began: Began) {
    bench.wait_for(began.run, Phase::Starting).await;
    for phase in [Phase::Reading, Phase::Committing] {
        bench.store.set_phase(began.run, phase).await.unwrap();
    }
    began.end.send(Outcome::Succeeded).unwrap();
}

#[tokio::test]
async fn a_sync_comes_after_the_success_of_another_and_of_nothing_else() {
    let (_folder, store) = open().await;
    let syncs = [("first", None), ("second", Some("after first"))];
    let (mut bench, service, shutdown) = bench(&store, &syncs, 0).await;
    let story = async {
        tokio::task::yield_now().await;
        bench.handle.run("first", SOME).await.unwrap();
        bench.next().await.end.send(Outcome::Failed).unwrap();
        bench.handle.run("first", SOME).await.unwrap();
        let again = bench.next().await;
        assert_eq!(again.order.sync.name, "first", "a failure starts nothing");
        succeed(&bench, again).await;
        let second = bench.next().await;
        assert_eq!(
            (second.order.sync.name.as_str(), second.order.trigger),
            ("second", Trigger::Sequence)
        );
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_success_that_a_dead_server_did_not_follow_up_is_followed_up_at_the_start_once() {
    let (_folder, store) = open().await;
    let syncs = [("first", None), ("second", Some("after first"))];
    drop(bench(&store, &syncs, 5).await);
    assert_eq!(unfinished(&store, "second").await, None, "nothing has succeeded");
    let run = store.create_run("first", None, Trigger::Api, Instant(6)).await.unwrap();
    for phase in [Phase::Starting, Phase::Reading, Phase::Committing] {
        store.set_phase(run, phase).await.unwrap();
    }
    let tally = Tally::default();
    store.finish(run, Outcome::Succeeded, &tally, None, Instant(7)).await.unwrap();
    drop(bench(&store, &syncs, 8).await);
    assert_eq!(unfinished(&store, "second").await, Some(Trigger::Sequence));
    let (_bench, service, _shutdown) = bench(&store, &syncs, 9).await;
    assert_eq!(service.queue.len(), 1, "once");
    assert_eq!(store.unfinished().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_new_sync_starts_at_once_where_it_says_so_and_one_that_ran_does_not_b1() {
    let (_folder, store) = open().await;
    let old = store.create_run("old", None, Trigger::Api, Instant(0)).await.unwrap();
    store.finish(old, Outcome::Failed, &Tally::default(), None, Instant(0)).await.unwrap();
    let syncs = [("old", Some("now")), ("new", Some("now")), ("paused", Some("now"))];
    let (mut bench, service, shutdown) = bench(&store, &syncs, 5).await;
    let story = async {
        let began = bench.next().await;
        assert_eq!(
            (began.order.sync.name.as_str(), began.order.trigger),
            ("new", Trigger::Schedule)
        );
        bench.none_begins();
        let asked = pausing::Asked {
            sync: "paused",
            is_paused: false,
            configured: true,
            who: "ada",
            message: "agreed",
            until: None,
            is_start: false,
        };
        pausing::change(&store, asked, Instant(5)).await.unwrap();
        assert_eq!(bench.next().await.order.sync.name, "paused", "once it is resumed");
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_pause_ends_by_itself_also_across_a_restart_and_what_fired_since_is_one_run() {
    let (_folder, store) = open().await;
    let syncs = [("crm", Some("0 * * * *"))];
    let pause = |until| {
        let asked = pausing::Asked {
            sync: "crm",
            is_paused: true,
            configured: false,
            who: "ada",
            message: "lunch",
            until: Some(Instant(until)),
            is_start: false,
        };
        pausing::change(&store, asked, Instant(1))
    };
    pause(2 * HOUR - MINUTE).await.unwrap();
    let (mut begun, service, shutdown) = bench(&store, &syncs, 1).await;
    let story = async {
        tokio::task::yield_now().await;
        begun.clock.send_replace(Instant(HOUR));
        assert!(matches!(begun.handle.run("crm", SOME).await, Err(Refused::Closed(_))));
        begun.clock.send_replace(Instant(2 * HOUR - MINUTE));
        while store.pause("crm").await.unwrap().unwrap().is_paused {
            tokio::task::yield_now().await;
        }
        begun.clock.send_replace(Instant(2 * HOUR));
        let began = begun.next().await;
        began.end.send(Outcome::Failed).unwrap();
        begun.wait_for(began.run, Phase::Ended(Outcome::Failed)).await;
        begun.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
    let audit = store.audit_log(1).await.unwrap();
    assert_eq!((audit[0].command.as_str(), audit[0].who.as_str()), ("resume", pausing::SELF));
    pause(5 * HOUR - MINUTE).await.unwrap();
    let (mut late, service, shutdown) = bench(&store, &syncs, 9 * HOUR + 1).await;
    let story = async {
        assert_eq!(late.next().await.order.trigger, Trigger::Schedule);
        late.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn halts_in_a_row_disable_a_sync_with_the_reason_and_a_resume_clears_them_b6() {
    let (_folder, store) = open().await;
    let (_bench, mut service, _shutdown) = bench(&store, &[("crm", None)], 9).await;
    let halt = |at: i64| {
        let store = store.clone();
        async move {
            let run = store.create_run("crm", None, Trigger::Api, Instant(at)).await.unwrap();
            store.mark_halted(run).await.unwrap();
            let tally = Tally::default();
            store.finish(run, Outcome::Failed, &tally, None, Instant(at)).await.unwrap();
            run
        }
    };
    let told = |run| Report {
        is_halt: true,
        error: Some("`crm` halted the run: `401`".into()),
        ..report(run, "crm".into(), Outcome::Failed)
    };
    for (at, is_disabled) in [(1, false), (2, true)] {
        let run = service.take_in("crm", SOME).await.unwrap().run;
        service.queue.begin().unwrap();
        store.finish(run, Outcome::Failed, &Tally::default(), None, Instant(0)).await.unwrap();
        service.ended(told(halt(at).await)).await;
        assert_eq!(service.refusal("crm").await.unwrap().is_some(), is_disabled, "{at}");
    }
    let why = service.refusal("crm").await.unwrap().unwrap().to_string();
    for part in ["by counterflow: 2 runs in a row halted", "`401`", "counterflow resume crm"] {
        assert!(why.contains(part), "`{part}` in {why}");
    }
    say(&store, false, "the token is new", 5).await;
    let run = halt(6).await;
    service.take_in("crm", SOME).await.unwrap();
    service.queue.begin().unwrap();
    service.ended(told(run)).await;
    assert!(service.refusal("crm").await.unwrap().is_none(), "they are counted anew");
}

#[tokio::test]
async fn a_disabled_source_drains_drops_and_refuses_until_it_is_enabled_c8() {
    let (_folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("crm", Some("0 * * * *"))], 1).await;
    let story = async {
        tokio::task::yield_now().await;
        bench.handle.run("crm", SOME).await.unwrap();
        let going = bench.next().await;
        bench.wait_for(going.run, Phase::Starting).await;
        let waiting = bench.handle.run("crm", SOME).await.unwrap();
        let (source, message, who) = ("lake".into(), "it moves".into(), "ada".into());
        let lake = DisabledSource { source, message, who, at: Instant(2) };
        let runs = store.disable_source(&lake, &["crm"]).await.unwrap().unwrap();
        assert_eq!(runs, [going.run]);
        for run in [going.run, waiting.run] {
            bench.wait_for(run, Phase::Ended(Outcome::Cancelled)).await;
        }
        let dropped = store.run(waiting.run).await.unwrap().unwrap().error.unwrap();
        assert!(dropped.contains("source `lake` disabled: it moves"), "{dropped}");
        let refused = bench.handle.run("crm", SOME).await.unwrap_err().to_string();
        assert!(refused.contains("counterflow source enable lake -m WHY"), "{refused}");
        bench.clock.send_replace(Instant(2 * HOUR));
        assert!(bench.handle.run("crm", SOME).await.is_err(), "and no schedule fires");
        store.enable_source("lake", "moved", "ada", Instant(3)).await.unwrap();
        bench.clock.send_replace(Instant(3 * HOUR));
        assert_eq!(bench.next().await.order.trigger, Trigger::Schedule);
        assert_eq!(store.runs(None, 10, None).await.unwrap().len(), 3);
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_thousand_that_are_due_together_are_in_queue_by_one_write() {
    let (_folder, store) = open().await;
    let names: Vec<String> = (0..1_000).map(|number| format!("s{number:04}")).collect();
    let syncs: Vec<_> = names.iter().map(|name| (name.as_str(), Some("* * * * *"))).collect();
    let (bench, mut service, _shutdown) = bench(&store, &syncs, 1).await;
    bench.clock.send_replace(Instant(MINUTE));
    service.fire().await;
    assert_eq!(service.queue.len(), 1_000);
    let rows = store.unfinished().await.unwrap();
    assert_eq!(rows.len(), 1_000);
    // A second tick meets runs that wait already.
    bench.clock.send_replace(Instant(2 * MINUTE));
    service.fire().await;
    assert_eq!(store.unfinished().await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_thousand_that_a_dead_server_left_are_taken_up_together_none_lost_and_none_doubled() {
    let (_folder, store) = open().await;
    let names: Vec<String> = (0..1_000).map(|number| format!("s{number:04}")).collect();
    let new = |name: &String, trigger| NewRun { sync: name.clone(), choice: None, trigger };
    let begun: Vec<_> = names[..50].iter().map(|name| new(name, Trigger::Schedule)).collect();
    let begun = store.create_runs(&begun, Instant(1)).await.unwrap();
    for run in &begun {
        store.set_phase(*run, Phase::Starting).await.unwrap();
    }
    // One that had begun has one behind it already; one sync has two, of which the second is the stronger.
    let behind = store.create_run("s0000", None, Trigger::Api, Instant(2)).await.unwrap();
    let second = Some(FULL.choice().unwrap());
    let second = store.create_run("s0001", second, Trigger::Api, Instant(2)).await.unwrap();
    store.set_phase(second, Phase::Starting).await.unwrap();
    let queued: Vec<_> = names[100..].iter().map(|name| new(name, Trigger::Schedule)).collect();
    let queued = store.create_runs(&queued, Instant(3)).await.unwrap();
    let syncs: Vec<_> = names.iter().map(|name| (name.as_str(), Some("* * * * *"))).collect();
    let (bench, service, _shutdown) = bench(&store, &syncs, 4).await;
    let rows = store.unfinished().await.unwrap();
    assert!(rows.iter().all(|row| row.phase == Phase::InQueue));
    let waiting: BTreeSet<&str> = rows.iter().map(|row| row.sync.as_str()).collect();
    assert_eq!((rows.len(), waiting.len(), service.queue.len()), (950, 950, 950));
    let ids: BTreeSet<RunId> = rows.iter().map(|row| row.id).collect();
    assert!(ids.contains(&behind) && queued.iter().all(|run| ids.contains(run)));
    let recovered: Vec<_> = rows.iter().filter(|row| row.trigger == Trigger::Recovery).collect();
    assert_eq!(recovered.len(), 49);
    assert_eq!(recovered[0].sync, "s0001");
    assert!(Wish::of(recovered[0]).is_full, "the stronger wish stands");
    assert!(recovered[1..].iter().all(|row| !Wish::of(row).is_full));
    for run in begun.iter().chain([&second]) {
        assert_eq!(bench.phase(*run).await, Phase::Ended(Outcome::Interrupted));
    }
}

#[tokio::test]
async fn ticks_missed_while_paused_are_not_caught_up_on_at_the_start() {
    let (_folder, store) = open().await;
    let old = store.create_run("crm", None, Trigger::Schedule, Instant(MINUTE)).await.unwrap();
    store.finish(old, Outcome::Failed, &Tally::default(), None, Instant(MINUTE)).await.unwrap();
    say(&store, true, "night", 2 * MINUTE).await;
    say(&store, false, "morning", 72 * HOUR).await;
    let (_bench, service, _shutdown) =
        bench(&store, &[("crm", Some("0 * * * *"))], 72 * HOUR + 1).await;
    let next = service.next_firings().await.unwrap();
    assert_eq!(next, [("crm".to_owned(), Instant(73 * HOUR))]);
}

#[tokio::test]
async fn a_sample_since_a_missed_tick_hides_it_from_nobody() {
    let (_folder, store) = open().await;
    let end = |run, at| {
        let store = store.clone();
        async move {
            store.begin(run, false, "r1").await.unwrap();
            for phase in [Phase::Reading, Phase::Draining, Phase::Committing] {
                store.set_phase(run, phase).await.unwrap();
            }
            let tally = Tally::default();
            store.finish(run, Outcome::Succeeded, &tally, None, Instant(at)).await.unwrap();
        }
    };
    let old = store.create_run("crm", None, Trigger::Schedule, Instant(HOUR)).await.unwrap();
    end(old, HOUR).await;
    let sample = Some(Choice::SAMPLE);
    let now = 3 * HOUR + MINUTE;
    let sample = store.create_run("crm", sample, Trigger::Manual, Instant(now)).await.unwrap();
    end(sample, now).await;
    assert_eq!(store.newest_successes(&["crm"]).await.unwrap()["crm"], Instant(HOUR));
    let successes = store.last_successes(&["crm"]).await.unwrap();
    assert_eq!(successes, [("crm".to_owned(), Instant(HOUR))]);
    let syncs = [("crm", Some("0 * * * *"))];
    let (_bench, service, _shutdown) = bench(&store, &syncs, now + MINUTE).await;
    let next = service.next_firings().await.unwrap();
    assert!(next[0].1 <= Instant(now + MINUTE), "{next:?}");
}

/// Another hand on the state's database.
async fn at_the_database(folder: &tempfile::TempDir, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new();
    let options = options.filename(folder.path().join("counterflow.db"));
    let pool = sqlx::sqlite::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_run_of_which_it_is_not_known_whether_it_may_begin_waits_until_it_is() {
    let (folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("crm", None)], 0).await;
    let story = async {
        tokio::task::yield_now().await;
        let first = bench.handle.run("crm", SOME).await.unwrap();
        let began = bench.next().await;
        let second = bench.handle.run("crm", FULL).await.unwrap();
        at_the_database(&folder, "ALTER TABLE pauses RENAME TO away").await;
        began.end.send(Outcome::Failed).unwrap();
        while bench.handle.report(first.run).is_none() {
            tokio::task::yield_now().await;
        }
        let refused = bench.handle.run("crm", SOME).await;
        assert!(matches!(refused, Err(Refused::Store(_))), "{refused:?}");
        bench.none_begins();
        assert_eq!(bench.phase(second.run).await, Phase::InQueue);
        at_the_database(&folder, "ALTER TABLE away RENAME TO pauses").await;
        let next = bench.next().await;
        assert_eq!((next.run, next.order.is_full), (second.run, true));
        next.end.send(Outcome::Failed).unwrap();
        bench.wait_for(second.run, Phase::Ended(Outcome::Failed)).await;
        bench.none_begins();
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}
