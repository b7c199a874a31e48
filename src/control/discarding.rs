//! The backlogs of syncs that are paused: counted in the background, and discarded by a decision.
//!
//! Not responsible for what a backlog is (`engine::backlog`). Invariants: one count at a time, and one of a sync however many
//! ask; what came of it is told once, to whoever waits for it or asks next, and never long after it or by another config; a
//! count takes no turn, as it only reads, and holds up neither a run nor the end of the process; nothing is discarded while a
//! run of the sync goes, nor beside another discard or a sample ([`Turns`](super::turns::Turns)).

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::deciding::Threads;
use super::handle::Refused;
use super::sampling::Samples;
use crate::engine::backlog::{self, Backlog};
use crate::engine::prepare::Error;
use crate::shutdown::Tasks;
use crate::store::Store;

/// How long a count that nobody waited for is kept.
const KEPT: Duration = Duration::from_secs(300);
/// Counts that may wait for the one that goes.
const WAITING: usize = 8;

/// A decision about the backlog of a sync that is paused.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What the person was shown.
    pub shown: Backlog,
    pub message: String,
    pub who: String,
}

/// Discards the backlog of a sync in the process that owns the state by a decision. Holds up the thread that it is on, and
/// the end of the process only where it is decided already.
///
/// # Errors
/// There is no such sync, or the process takes no commands in, or no more before this one is done; or inside, as those of
/// [`backlog::discard`].
pub async fn discard(
    samples: &Samples,
    store: &Store,
    sync: &str,
    Decision { shown, message, who }: Decision,
) -> Result<Result<Backlog, Error>, Refused> {
    samples.check_ready()?;
    let order = samples.order(sync)?;
    let discarded = async {
        let _turn = samples.turns().take_beside_queue(sync).await;
        backlog::discard(store, &order, shown, &message, &who).await
    };
    tokio::select! {
        biased;
        // What is given up on where it was just decided is taken back by whoever opens the snapshot next, or was done.
        () = samples.draining() => Err(Refused::Draining),
        came = discarded => Ok(came),
    }
}

/// What a count came to.
type Came = Result<Backlog, Arc<Error>>;
/// Where it is told, and since when.
type Told = watch::Receiver<Option<(Came, Instant)>>;

/// The counts of one process that wait, go, or came to their end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Counts {
    all: Arc<Mutex<BTreeMap<String, Count>>>,
    /// Of the one that goes.
    place: Arc<Semaphore>,
    threads: Threads,
}

#[derive(Debug)]
struct Count {
    /// Of the config by which it counts.
    revision: String,
    came: Told,
    _task: Tasks<()>,
}

impl Count {
    fn is_of_use(&self) -> bool {
        match &*self.came.borrow() {
            Some((_, at)) => at.elapsed() <= KEPT,
            // Whoever was to count may be gone without a word.
            None => self.came.has_changed().is_ok(),
        }
    }

    fn has_ended(&self) -> bool {
        self.came.borrow().is_some()
    }
}

impl Counts {
    /// None yet; they will go on these threads.
    pub fn on(threads: Threads) -> Counts {
        Counts { all: Arc::default(), place: Arc::new(Semaphore::new(1)), threads }
    }

    /// Counts the backlog of a sync, or goes on with a count that was begun before; `None` if it is not at its end within
    /// `patience`: it goes on then, for whoever asks next.
    ///
    /// # Errors
    /// There is no such sync, the process takes no commands in, too many counts wait, or another config came in between.
    pub async fn of(
        &self,
        samples: &Samples,
        store: &Store,
        sync: &str,
        patience: Duration,
    ) -> Result<Option<Came>, Refused> {
        samples.check_ready()?;
        let order = samples.order(sync)?;
        let (revision, store) = (order.revision.clone(), store.clone());
        let ending = samples.clone();
        let count = async move || {
            tokio::select! {
                biased;
                () = ending.draining() => None,
                came = backlog::count(&store, &order) => Some(came),
            }
        };
        let came = self.ask(sync, &revision, patience, count).await;
        if came.is_err() {
            // It says more than that there is no answer.
            samples.check_ready()?;
        }
        came
    }

    /// As [`Counts::of`], by `count`, which may end without an answer.
    async fn ask<W>(
        &self,
        sync: &str,
        revision: &str,
        patience: Duration,
        count: W,
    ) -> Result<Option<Came>, Refused>
    where
        W: AsyncFnOnce() -> Option<Result<Backlog, Error>> + Send + 'static,
    {
        let (mut came, is_new) = self.begun(sync, revision, count)?;
        if is_new && patience.is_zero() {
            return Ok(None);
        }
        let ended = match timeout(patience, came.wait_for(Option::is_some)).await {
            Ok(Ok(ended)) => Ok(ended.clone().map(|(came, _)| came)),
            // It never went, or the process ends.
            Ok(Err(_gone)) => Err(Refused::Busy),
            Err(_elapsed) => return Ok(None),
        };
        let mut all = self.lock();
        // Another one may stand there by now.
        if all.get(sync).is_some_and(|count| count.came.same_channel(&came)) {
            all.remove(sync);
        }
        ended
    }

    /// The count of the sync, and whether it was begun only now.
    fn begun<W>(&self, sync: &str, revision: &str, count: W) -> Result<(Told, bool), Refused>
    where
        W: AsyncFnOnce() -> Option<Result<Backlog, Error>> + Send + 'static,
    {
        let mut all = self.lock();
        all.retain(|name, count| {
            count.is_of_use() && (name.as_str() != sync || count.revision == revision)
        });
        if let Some(count) = all.get(sync) {
            return Ok((count.came.clone(), false));
        }
        if all.values().filter(|count| !count.has_ended()).count() > WAITING {
            return Err(Refused::Busy);
        }
        let (tell, came) = watch::channel(None);
        let (place, mut task) = (Arc::clone(&self.place), Tasks::default());
        let threads = self.threads.clone();
        task.spawn(async move {
            let place = place.acquire_owned().await.expect("nobody closes it");
            let count = async move || {
                let _place = place;
                let ended = tokio::select! {
                    biased;
                    () = tell.closed() => return,
                    ended = AssertUnwindSafe(count()).catch_unwind() => ended,
                };
                let broken = || Error::Defect("the count broke off".to_owned());
                let came = ended.unwrap_or_else(|_panic| Some(Err(broken())));
                if let Some(came) = came {
                    tell.send_replace(Some((came.map_err(Arc::new), Instant::now())));
                }
            };
            // Where the process ends, nobody is told.
            let _ = threads.run(count).await;
        });
        let (revision, told) = (revision.to_owned(), came.clone());
        all.insert(sync.to_owned(), Count { revision, came: told, _task: task });
        Ok((came, true))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Count>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Counts that say when they go, and end as they are told.
    struct Bench {
        counts: Counts,
        tell: mpsc::UnboundedSender<(String, oneshot::Sender<u64>)>,
        going: mpsc::UnboundedReceiver<(String, oneshot::Sender<u64>)>,
    }

    impl Bench {
        fn new() -> Bench {
            let (tell, going) = mpsc::unbounded_channel();
            Bench { counts: Counts::on(Threads::default()), tell, going }
        }

        async fn goes(&mut self, sync: &str) -> oneshot::Sender<u64> {
            let (name, end) = timeout(LONG, self.going.recv()).await.unwrap().unwrap();
            assert_eq!(name, sync);
            assert!(self.going.try_recv().is_err(), "another goes beside it");
            end
        }
    }

    /// What `sync` is said to have waiting, by a config, within some time.
    async fn ask(
        counts: &Counts,
        tell: &mpsc::UnboundedSender<(String, oneshot::Sender<u64>)>,
        (sync, revision): (&str, &str),
        patience: Duration,
    ) -> Result<Option<u64>, Refused> {
        let (tell, name) = (tell.clone(), sync.to_owned());
        let count = async move || {
            let (end, ended) = oneshot::channel();
            tell.send((name, end)).unwrap();
            ended.await.ok().map(|changes| Ok(Backlog { changes, ..Backlog::default() }))
        };
        let came = counts.ask(sync, revision, patience, count).await?;
        Ok(came.map(|came| came.unwrap().changes))
    }

    #[tokio::test]
    async fn one_count_goes_at_a_time_and_too_many_are_refused() {
        let mut bench = Bench::new();
        let (counts, tell) = (bench.counts.clone(), bench.tell.clone());
        let names: Vec<String> = (0..=WAITING).map(|number| format!("s{number}")).collect();
        for name in &names {
            let begun = ask(&counts, &tell, (name, "1"), Duration::ZERO).await;
            assert_eq!(begun.unwrap(), None);
        }
        let more = ask(&counts, &tell, ("more", "1"), LONG).await;
        assert!(matches!(more, Err(Refused::Busy)), "{more:?}");
        // Who asks again is none more.
        assert_eq!(ask(&counts, &tell, ("s1", "1"), Duration::ZERO).await.unwrap(), None);
        for (name, changes) in names.iter().zip(1..) {
            bench.goes(name).await.send(changes).unwrap();
            let came = ask(&counts, &tell, (name, "1"), LONG).await;
            assert_eq!(came.unwrap(), Some(changes));
        }
        assert_eq!(ask(&counts, &tell, ("more", "1"), Duration::ZERO).await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_waits_by_an_older_config_takes_nothing_from_the_newer_count() {
        let mut bench = Bench::new();
        let (counts, tell) = (bench.counts.clone(), bench.tell.clone());
        let newer = async {
            let end = bench.goes("crm").await;
            let begun = ask(&counts, &tell, ("crm", "2"), Duration::ZERO).await;
            assert_eq!(begun.unwrap(), None);
            end.send(1).unwrap();
        };
        let (older, ()) = tokio::join!(ask(&counts, &tell, ("crm", "1"), LONG), newer);
        assert_eq!(older.unwrap(), Some(1));
        bench.goes("crm").await.send(2).unwrap();
        let short = Duration::from_secs(5);
        assert_eq!(ask(&counts, &tell, ("crm", "2"), short).await.unwrap(), Some(2));
        assert!(bench.going.try_recv().is_err(), "no third was begun");
    }

    #[tokio::test]
    async fn a_count_that_never_went_is_to_be_asked_for_again() {
        let mut bench = Bench::new();
        let (counts, tell) = (bench.counts.clone(), bench.tell.clone());
        assert_eq!(ask(&counts, &tell, ("ads", "1"), Duration::ZERO).await.unwrap(), None);
        let _end = bench.goes("ads").await;
        let (older, newer) = tokio::join!(
            ask(&counts, &tell, ("crm", "1"), LONG),
            ask(&counts, &tell, ("crm", "2"), Duration::ZERO)
        );
        assert!(matches!(older, Err(Refused::Busy)), "{older:?}");
        assert_eq!(newer.unwrap(), None);
    }

    #[tokio::test]
    async fn a_count_that_nobody_can_hear_any_more_gives_up_its_place() {
        let mut bench = Bench::new();
        let (counts, tell) = (bench.counts.clone(), bench.tell.clone());
        assert_eq!(ask(&counts, &tell, ("crm", "1"), Duration::ZERO).await.unwrap(), None);
        let _never_told = bench.goes("crm").await;
        assert_eq!(ask(&counts, &tell, ("crm", "2"), Duration::ZERO).await.unwrap(), None);
        bench.goes("crm").await.send(2).unwrap();
        assert_eq!(ask(&counts, &tell, ("crm", "2"), LONG).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn a_count_that_panics_is_a_defect_and_one_without_an_answer_is_none() {
        let counts = Counts::on(Threads::default());
        let came = counts.ask("crm", "1", LONG, async || panic!("planted")).await;
        let error = came.unwrap().unwrap().unwrap_err();
        assert!(matches!(*error, Error::Defect(_)), "{error}");
        let came = counts.ask("crm", "1", LONG, async || None).await;
        assert!(matches!(came, Err(Refused::Busy)), "{came:?}");
    }
}
