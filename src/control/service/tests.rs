//! The service with a clock that is set by hand and runs that end when they are told to.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::*;
use crate::control::handle::{self, Handle, Refused};
use crate::control::pausing::{self, Came};
use crate::control::queue;
use crate::delivery::Budget;
use crate::delivery::limits::{Limits, Retry};
use crate::destination::definition as destination;
use crate::domain::guard::MaxDeletes;
use crate::domain::id::Instant;
use crate::domain::priority::Priority;
use crate::domain::run::Phase;
use crate::domain::sync::{CheckKeys, Mode, Model, Reads, RunLimits, Sync};
use crate::domain::tally::Tally;
use crate::engine::progress::Progress;
use crate::store;

const RUNS_AT_ONCE: usize = 4;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const SOME: Wish = Wish { is_full: false, trigger: Trigger::Api };
const FULL: Wish = Wish { is_full: true, trigger: Trigger::Api };

struct ByHand(watch::Receiver<Instant>);

impl Clock for ByHand {
    fn now(&self) -> Instant {
        *self.0.borrow()
    }

    fn wait(&self, until: Option<Instant>) -> BoxFuture<'static, ()> {
        let mut now = self.0.clone();
        async move {
            let Some(until) = until else { return std::future::pending().await };
            if now.wait_for(|now| *now >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }
}

/// A run that has begun; it ends when told to, or when it is to drain.
struct Began {
    order: Order,
    run: RunId,
    progress: Arc<Progress>,
    end: oneshot::Sender<Outcome>,
}

struct Told {
    store: Store,
    began: mpsc::UnboundedSender<Began>,
}

impl Work for Told {
    fn run(
        &self,
        order: Order,
        run: RunId,
        progress: Arc<Progress>,
        mut shutdown: Shutdown,
    ) -> BoxFuture<'static, Report> {
        let (store, (end, ended)) = (self.store.clone(), oneshot::channel());
        let sync = order.sync.name.clone();
        if !sync.starts_with("slow") {
            progress.started();
        }
        self.began.send(Began { order, run, progress, end }).unwrap();
        let whole = async move {
            store.set_phase(run, Phase::Starting).await.unwrap();
            let outcome = tokio::select! {
                Ok(told) = ended => told,
                () = shutdown.reached(Stage::Draining) => Outcome::Cancelled,
            };
            store.finish(run, outcome, &Tally::default(), None, Instant(0)).await.unwrap();
            report(run, sync, outcome)
        };
        let runtime = Runtime::current();
        async move {
            let mut tasks = Tasks::default();
            tasks.spawn_blocking(move || runtime.block_on(whole));
            tasks.next().await.unwrap()
        }
        .boxed()
    }

    fn left_behind(&self) -> BTreeMap<String, RunId> {
        BTreeMap::new()
    }
}

fn report(run: RunId, sync: String, outcome: Outcome) -> Report {
    Report { outcome, ..Report::new(run, sync) }
}

/// An order that says nothing but the sync's name.
pub(in crate::control) fn order(name: &str) -> Order {
    let limits = Limits { concurrency: 1, rate: None, retry: Retry::default() };
    let upsert = destination::Request {
        method: destination::Method::Post,
        path: "/".into(),
        headers: Vec::new(),
        batch: destination::BatchLimits { records: 1, bytes: 1 },
        body: destination::Body::None,
        idempotency: destination::Idempotency { repeat: destination::Repeat::Never, header: None },
        outcome: Vec::new(),
        written: None,
        hidden: Vec::new(),
    };
    let model = Model {
        name: "people".into(),
        reads: Reads::One("lake".into()),
        sql: "SELECT 1".into(),
        primary_key: vec!["id".into()],
        cursor: None,
    };
    let run_limits = RunLimits {
        max_deletes: MaxDeletes::Default,
        max_invalid: 0,
        drain_timeout: Duration::from_secs(1),
    };
    Order {
        sync: Sync {
            name: name.into(),
            model,
            connection: "crm".into(),
            mode: Mode::Upsert,
            mapping: Vec::new(),
            key: Vec::new(),
            check_keys: CheckKeys::Streaming,
            ignored: Vec::new(),
            limits: run_limits,
        },
        sources: Vec::new(),
        connection: destination::Connection {
            name: "crm".into(),
            base_url: "http://127.0.0.1:1".into(),
            auth: destination::Auth::None,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(1),
            account: None,
            identify: None,
            written: None,
            hidden: Vec::new(),
            renewal: None,
        },
        requests: destination::Requests { upsert, delete: None },
        limits,
        budget: Budget::new(&limits),
        priority: Priority::Normal,
        is_full: false,
        keeps_snapshot: false,
        chosen: None,
        trigger: Trigger::Manual,
        revision: "r1".into(),
        state: "state".into(),
        spool: None,
        memory_limit: 1,
    }
}

/// A service over a store of its own, and what moves it.
struct Bench {
    store: Store,
    handle: Handle,
    began: mpsc::UnboundedReceiver<Began>,
    clock: watch::Sender<Instant>,
    stopper: Stopper,
}

/// Syncs by name, with the cron line of those that have one, `after NAME`, or `now`.
async fn bench(
    store: &Store,
    syncs: &[(&str, Option<&str>)],
    now: i64,
) -> (Bench, Service, Shutdown) {
    let (clock, time) = watch::channel(Instant(now));
    let (told, began) = mpsc::unbounded_channel();
    let (handle, inbox) = handle::channel();
    let standing = syncs.iter().map(standing);
    let limits = limits();
    let work = Arc::new(Told { store: store.clone(), began: told });
    let clock_by_hand = Arc::new(ByHand(time));
    let mut service =
        Service::new(store.clone(), standing.collect(), limits, clock_by_hand, work, inbox);
    service.arm().await.unwrap();
    let (stopper, shutdown) = shutdown::channel();
    let store = store.clone();
    (Bench { store, handle, began, clock, stopper }, service, shutdown)
}

async fn open() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    (folder, store)
}

impl Bench {
    async fn next(&mut self) -> Began {
        let next = tokio::time::timeout(Duration::from_secs(30), self.began.recv()).await;
        next.expect("a run begins").unwrap()
    }

    fn none_begins(&mut self) {
        assert!(self.began.try_recv().is_err(), "no run begins");
    }

    async fn phase(&self, run: RunId) -> Phase {
        self.store.run(run).await.unwrap().unwrap().phase
    }

    async fn wait_for(&self, run: RunId, phase: Phase) {
        while self.phase(run).await != phase {
            tokio::task::yield_now().await;
        }
    }
}

mod control_plane;
mod reloads;
use reloads::{limits, standing};

#[tokio::test]
async fn triggers_during_a_run_are_one_run_behind_it_of_the_stronger_kind() {
    let (_folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("crm", None)], 0).await;
    let story = async {
        tokio::task::yield_now().await;
        let first = bench.handle.run("crm", SOME).await.unwrap();
        let began = bench.next().await;
        assert_eq!((began.run, began.order.is_full, first.is_joined), (first.run, false, false));
        let second = bench.handle.run("crm", SOME).await.unwrap();
        let third = bench.handle.run("crm", FULL).await.unwrap();
        assert_eq!((third.run, third.is_joined), (second.run, true));
        let row = bench.store.run(third.run).await.unwrap().unwrap();
        assert_eq!((row.phase, row.choice), (Phase::InQueue, FULL.choice()), "durable");
        bench.none_begins();
        began.end.send(Outcome::Failed).unwrap();
        let next = bench.next().await;
        assert_eq!((next.run, next.order.is_full), (second.run, true));
        assert_eq!(bench.handle.report(first.run).unwrap().outcome, Outcome::Failed);
        next.end.send(Outcome::Failed).unwrap();
        bench.wait_for(second.run, Phase::Ended(Outcome::Failed)).await;
        bench.none_begins();
        bench.stopper.raise(Stage::Draining);
    };
    let (is_clean, ()) = tokio::join!(service.serve(shutdown), story);
    assert!(is_clean);
}

#[tokio::test]
async fn a_schedule_fires_at_its_time_and_missed_ticks_are_one_run_d5() {
    let (_folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("crm", Some("0 * * * *"))], 1).await;
    let story = async {
        bench.clock.send_replace(Instant(HOUR - 1));
        bench.none_begins();
        bench.clock.send_replace(Instant(HOUR));
        let first = bench.next().await;
        assert_eq!((first.order.trigger, first.order.is_full), (Trigger::Schedule, false));
        bench.clock.send_replace(Instant(73 * HOUR));
        while store.unfinished().await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        first.end.send(Outcome::Failed).unwrap();
        let second = bench.next().await;
        second.end.send(Outcome::Failed).unwrap();
        bench.wait_for(second.run, Phase::Ended(Outcome::Failed)).await;
        bench.none_begins();
        assert_eq!(store.runs(None, 10, None).await.unwrap().len(), 2);
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_tick_missed_while_no_server_ran_fires_once_at_the_start() {
    let (_folder, store) = open().await;
    let old = store.create_run("crm", None, Trigger::Schedule, Instant(MINUTE)).await.unwrap();
    store.finish(old, Outcome::Failed, &Tally::default(), None, Instant(MINUTE)).await.unwrap();
    let syncs = [("crm", Some("0 * * * *")), ("new", Some("0 * * * *"))];
    let (mut bench, service, shutdown) = bench(&store, &syncs, 72 * HOUR + 1).await;
    let story = async {
        let began = bench.next().await;
        assert_eq!(began.order.sync.name, "crm");
        began.end.send(Outcome::Failed).unwrap();
        bench.wait_for(began.run, Phase::Ended(Outcome::Failed)).await;
        bench.none_begins();
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn what_a_dead_server_left_is_taken_up_and_what_was_interrupted_is_gone_on_with() {
    let (_folder, store) = open().await;
    let create = |sync: &'static str, wish: Wish| {
        let store = store.clone();
        async move { store.create_run(sync, wish.choice(), wish.trigger, Instant(0)).await.unwrap() }
    };
    let interrupted = create("a", SOME).await;
    store.set_phase(interrupted, Phase::Starting).await.unwrap();
    let stopped = create("c", SOME).await;
    store.set_phase(stopped, Phase::Starting).await.unwrap();
    store.request_stop("c", false, "ada", None, Instant(0)).await.unwrap();
    let queued = create("b", FULL).await;
    let paused = create("paused", SOME).await;
    let unknown = create("unknown", SOME).await;
    let syncs = [("a", None), ("b", None), ("c", None), ("paused", None)];
    let (mut bench, service, shutdown) = bench(&store, &syncs, 0).await;
    for begun in [interrupted, stopped] {
        assert_eq!(bench.phase(begun).await, Phase::Ended(Outcome::Interrupted));
    }
    let left = store.unfinished().await.unwrap();
    assert!(left.iter().all(|row| row.sync != "c"), "whoever was to stop stays so: {left:?}");
    for (dropped, why) in [(paused, "is paused"), (unknown, "no longer in the config")] {
        let row = store.run(dropped).await.unwrap().unwrap();
        assert_eq!(row.phase, Phase::Ended(Outcome::Cancelled));
        assert!(row.error.unwrap().contains(why));
    }
    let story = async {
        let first = bench.next().await;
        assert_eq!((first.run, first.order.is_full), (queued, true), "first come, first served");
        let second = bench.next().await;
        assert_eq!(
            (second.order.sync.name.as_str(), second.order.trigger),
            ("a", Trigger::Recovery)
        );
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_run_that_the_shutdown_cut_short_waits_for_the_next_start_and_a_stopped_one_does_not() {
    let (_folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("a", None), ("b", None)], 0).await;
    let handle = bench.handle.clone();
    let story = async {
        tokio::task::yield_now().await;
        bench.handle.run("a", SOME).await.unwrap();
        bench.handle.run("b", SOME).await.unwrap();
        let (a, b) = (bench.next().await, bench.next().await);
        bench.wait_for(a.run, Phase::Starting).await;
        bench.wait_for(b.run, Phase::Starting).await;
        store.request_stop("b", false, "ada", None, Instant(0)).await.unwrap();
        bench.wait_for(b.run, Phase::Ended(Outcome::Cancelled)).await;
        bench.stopper.raise(Stage::Draining);
        a.run
    };
    let (is_clean, cut_short) = tokio::join!(service.serve(shutdown), story);
    assert!(is_clean);
    assert!(matches!(handle.run("a", SOME).await, Err(Refused::Draining)));
    let left = store.unfinished().await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((left[0].sync.as_str(), left[0].trigger), ("a", Trigger::Recovery));
    assert!(left[0].id > cut_short);
}

#[tokio::test]
async fn a_stop_reaches_a_run_that_waits_and_no_later_trigger_is_lost_with_it() {
    let (_folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("crm", None)], 0).await;
    let story = async {
        tokio::task::yield_now().await;
        bench.handle.run("crm", SOME).await.unwrap();
        let going = bench.next().await;
        bench.wait_for(going.run, Phase::Starting).await;
        let waiting = bench.handle.run("crm", SOME).await.unwrap();
        store.request_stop("crm", false, "ada", None, Instant(0)).await.unwrap();
        let later = bench.handle.run("crm", SOME).await.unwrap();
        assert!(!later.is_joined && later.run > waiting.run);
        assert_eq!(bench.phase(waiting.run).await, Phase::Ended(Outcome::Cancelled));
        assert_eq!(bench.next().await.run, later.run);
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn no_more_runs_go_at_once_than_the_limit_q3() {
    let (_folder, store) = open().await;
    let names: Vec<String> = (0..=RUNS_AT_ONCE).map(|number| format!("s{number}")).collect();
    let syncs: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    let (mut bench, service, shutdown) = bench(&store, &syncs, 0).await;
    let story = async {
        tokio::task::yield_now().await;
        let mut going = Vec::new();
        for name in &names {
            bench.handle.run(name, SOME).await.unwrap();
        }
        for _ in 0..RUNS_AT_ONCE {
            going.push(bench.next().await);
        }
        bench.none_begins();
        let last = store.unfinished().await.unwrap().pop().unwrap();
        assert_eq!(last.phase, Phase::InQueue);
        going.remove(0).end.send(Outcome::Failed).unwrap();
        assert_eq!(bench.next().await.run, last.id);
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn what_cannot_run_is_refused_by_name_and_stores_nothing() {
    let (_folder, store) = open().await;
    let (bench, service, shutdown) = bench(&store, &[("paused", None)], 0).await;
    let early = bench.handle.run("paused", SOME).await;
    assert!(matches!(early, Err(Refused::Starting)));
    let story = async {
        tokio::task::yield_now().await;
        assert!(matches!(bench.handle.run("nobody", SOME).await, Err(Refused::UnknownSync(_))));
        assert!(matches!(bench.handle.run("paused", SOME).await, Err(Refused::Closed(_))));
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
    assert_eq!(store.runs(None, 10, None).await.unwrap(), Vec::<store::RunRow>::new());
}

async fn say(store: &Store, is_paused: bool, message: &str, now: i64) -> Came {
    let asked = pausing::Asked {
        sync: "crm",
        is_paused,
        configured: false,
        who: "ada",
        message,
        until: None,
        is_start: false,
    };
    pausing::change(store, asked, Instant(now)).await.unwrap()
}

#[tokio::test]
async fn a_pause_drains_drops_what_waits_and_silences_the_schedule_until_a_resume_a4() {
    let (_folder, store) = open().await;
    let (mut bench, service, shutdown) = bench(&store, &[("crm", Some("0 * * * *"))], 1).await;
    let story = async {
        tokio::task::yield_now().await;
        bench.handle.run("crm", SOME).await.unwrap();
        let going = bench.next().await;
        bench.wait_for(going.run, Phase::Starting).await;
        let waiting = bench.handle.run("crm", SOME).await.unwrap();
        assert_eq!(say(&store, true, "lunch", 2).await, Came::Changed(Some(going.run)));
        for run in [going.run, waiting.run] {
            bench.wait_for(run, Phase::Ended(Outcome::Cancelled)).await;
        }
        let dropped = store.run(waiting.run).await.unwrap().unwrap();
        assert_eq!(dropped.error.unwrap(), "stopped before it began, by ada: paused: lunch");
        let refused = bench.handle.run("crm", SOME).await.unwrap_err().to_string();
        assert!(refused.contains("by ada: lunch"), "{refused}");
        bench.clock.send_replace(Instant(5 * HOUR));
        // The answer comes after the ticks: time goes before commands.
        assert!(matches!(bench.handle.run("crm", SOME).await, Err(Refused::Closed(_))));
        say(&store, false, "back", 5 * HOUR).await;
        bench.clock.send_replace(Instant(6 * HOUR - 1));
        bench.none_begins();
        assert_eq!(store.runs(None, 10, None).await.unwrap().len(), 2, "nothing is caught up on");
        bench.clock.send_replace(Instant(6 * HOUR));
        assert_eq!(bench.next().await.order.trigger, Trigger::Schedule);
        bench.stopper.raise(Stage::Draining);
    };
    tokio::join!(service.serve(shutdown), story);
}

#[tokio::test]
async fn a_run_that_was_taken_in_just_before_a_pause_does_not_begin() {
    let (_folder, store) = open().await;
    let (mut bench, mut service, _shutdown) = bench(&store, &[("crm", None)], 0).await;
    say(&store, true, "lunch", 1).await;
    // As by a trigger that was checked before the pause, and stored after it.
    let run = service.take_in("crm", SOME).await.unwrap().run;
    service.begin().await;
    bench.none_begins();
    let row = store.run(run).await.unwrap().unwrap();
    assert_eq!(row.phase, Phase::Ended(Outcome::Cancelled));
    assert!(row.error.unwrap().contains("by ada: lunch"));
}
