//! Another config while the service runs.

use super::*;
use crate::control::handle::Readiness;
use crate::control::reload::Change;

/// A sync by name, with its cron line if it has one, `after NAME`, or `now`.
pub(super) fn standing((name, line): &(&str, Option<&str>)) -> Standing {
    Standing {
        order: order(name),
        schedule: line
            .filter(|line| line.contains('*'))
            .map(|line| Schedule::parse(line, "UTC").unwrap()),
        is_paused: name.starts_with("paused"),
        after: line.and_then(|line| line.strip_prefix("after ")).map(str::to_owned),
        starts_now: *line == Some("now"),
        group: name.starts_with("grouped").then(|| "group".to_owned()),
        disable_after_halts: 2,
    }
}

pub(super) fn limits() -> queue::Limits {
    queue::Limits { running: RUNS_AT_ONCE, groups: BTreeMap::from([("group".to_owned(), 1)]) }
}

/// These syncs from now on, of which those named have another schedule.
fn change(syncs: &[(&str, Option<&str>)], rescheduled: &[&str]) -> Change {
    let named: std::collections::BTreeSet<String> =
        rescheduled.iter().map(|name| (*name).to_owned()).collect();
    Change {
        syncs: syncs.iter().map(standing).collect(),
        limits: limits(),
        budgets: Vec::new(),
        changed: named.clone(),
        rescheduled: named,
        who: "ada".to_owned(),
        message: "another schedule".to_owned(),
        store: None,
    }
}

/// Ends a run, and waits until that is stored.
async fn end(bench: &Bench, began: Began) {
    began.end.send(Outcome::Failed).unwrap();
    bench.wait_for(began.run, Phase::Ended(Outcome::Failed)).await;
}

#[tokio::test]
async fn a_reload_is_not_ready_while_it_goes_and_is_audited_b11() {
    let (_folder, store) = open().await;
    let (bench, service, shutdown) = bench(&store, &[("crm", None)], 0).await;
    let story = async {
        tokio::task::yield_now().await;
        let seen = async {
            while bench.handle.readiness() != Readiness::Reloading {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(30), seen);
        let (applied, seen) = tokio::join!(bench.handle.apply(change(&[], &[])), seen);
        applied.unwrap();
        seen.expect("it is not ready for a while");
        assert_eq!(bench.handle.readiness(), Readiness::Ready);
        let audited = store.audit_log(1).await.unwrap().remove(0);
        assert_eq!(
            (audited.command.as_str(), audited.who.as_str(), audited.message.as_deref()),
            ("reload", "ada", Some("another schedule"))
        );
        let refused = bench.handle.run("crm", SOME).await.unwrap_err();
        assert!(matches!(refused, Refused::UnknownSync(_)), "{refused}");
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_reload_loses_no_firing_and_doubles_none_also_over_a_restart() {
    let (_folder, store) = open().await;
    let before = [("crm", Some("0 * * * *")), ("same", Some("0 * * * *"))];
    let after = [("crm", Some("*/10 * * * *")), ("same", Some("0 * * * *"))];
    let (mut bench, service, shutdown) = self::bench(&store, &before, HOUR - 1).await;
    let story = async {
        tokio::task::yield_now().await;
        // It is due when it is replaced.
        bench.clock.send_replace(Instant(HOUR));
        bench.handle.apply(change(&after, &["crm"])).await.unwrap();
        for _ in 0..2 {
            let began = bench.next().await;
            assert_eq!(began.order.trigger, Trigger::Schedule);
            end(&bench, began).await;
        }
        bench.handle.apply(change(&after, &[])).await.unwrap();
        bench.none_begins();
        bench.clock.send_replace(Instant(HOUR + 10 * MINUTE));
        let began = bench.next().await;
        assert_eq!(began.order.sync.name, "crm", "it fires by the new one");
        end(&bench, began).await;
        bench.clock.send_replace(Instant(HOUR + 15 * MINUTE));
        let third = [("crm", Some("*/3 * * * *")), after[1]];
        bench.handle.apply(change(&third, &["crm"])).await.unwrap();
        assert_eq!(store.runs(None, 10, None).await.unwrap().len(), 3);
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);

    let third = [("crm", Some("*/3 * * * *")), ("same", Some("0 * * * *"))];
    let now = HOUR + 16 * MINUTE;
    let (mut bench, service, shutdown) = self::bench(&store, &third, now).await;
    let story = async {
        bench.handle.apply(change(&third, &[])).await.unwrap();
        bench.none_begins();
        bench.clock.send_replace(Instant(HOUR + 18 * MINUTE));
        let began = bench.next().await;
        end(&bench, began).await;
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
    assert_eq!(store.runs(None, 10, None).await.unwrap().len(), 4, "none but that one");
}

#[tokio::test]
async fn the_schedules_of_new_syncs_count_from_the_reload_on_but_those_of_paused_ones() {
    let (_folder, store) = open().await;
    let hourly = Some("0 * * * *");
    let before = [("crm", hourly)];
    let after = [("crm", hourly), ("new", hourly), ("other", hourly), ("paused", hourly)];
    let (bench, service, shutdown) = self::bench(&store, &before, 1).await;
    let story = async {
        bench.clock.send_replace(Instant(MINUTE));
        bench.handle.apply(change(&after, &[])).await.unwrap();
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
    let armed = store.arm(&[], Instant(9)).await.unwrap();
    let since: Vec<_> = armed.iter().map(|(sync, since)| (sync.as_str(), since.0)).collect();
    assert_eq!(since, [("crm", 1), ("new", MINUTE), ("other", MINUTE)]);
}

#[tokio::test]
async fn another_connection_drains_what_goes_and_drops_what_waits_c8_e7() {
    let (_folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("crm", None)], 0).await;
    let story = async {
        tokio::task::yield_now().await;
        let going = bench.handle.run("crm", SOME).await.unwrap().run;
        let began = bench.next().await;
        let waiting = bench.handle.run("crm", SOME).await.unwrap().run;
        let mut other = change(&[("crm", None)], &["crm"]);
        other.syncs[0].order.sync.connection = "other".to_owned();
        bench.handle.apply(other).await.unwrap();
        bench.wait_for(going, Phase::Ended(Outcome::Cancelled)).await;
        let dropped = store.run(waiting).await.unwrap().unwrap();
        assert_eq!(dropped.phase, Phase::Ended(Outcome::Cancelled));
        assert!(dropped.error.unwrap().contains("connection is `other` now"));
        drop(began);
        let next = bench.handle.run("crm", SOME).await.unwrap().run;
        let began = bench.next().await;
        assert_eq!((began.run, began.order.sync.connection.as_str()), (next, "other"));
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}
