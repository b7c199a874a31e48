//! The backlogs of syncs that are paused: counted in the background, and discarded by a decision.
//!
//! Not responsible for what a backlog is (`engine::backlog`). Invariants: one count of a sync at a time, however many ask; what
//! came of it is told once, to whoever waits for it or asks next, and never long after it or by another config; nothing is
//! counted or discarded while a run of the sync goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::deciding::on_a_thread;
use super::handle::Refused;
use super::sampling::Samples;
use crate::engine::backlog::{self, Backlog};
use crate::engine::order::Order;
use crate::engine::prepare::Error;
use crate::shutdown::Tasks;
use crate::store::Store;

/// How long a count that nobody waited for is kept.
const KEPT: Duration = Duration::from_secs(300);

/// A decision about the backlog of a sync that is paused.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What the person was shown.
    pub shown: Backlog,
    pub message: String,
    pub who: String,
}

/// Discards the backlog of a sync in the process that owns the state by a decision.
///
/// # Errors
/// There is no such sync, or the process takes no commands in; or inside, as those of [`backlog::discard`].
pub async fn discard(
    samples: &Samples,
    store: &Store,
    sync: &str,
    Decision { shown, message, who }: Decision,
) -> Result<Result<Backlog, Error>, Refused> {
    samples.check_ready()?;
    let order = samples.order(sync)?;
    let (turns, store) = (samples.turns().clone(), store.clone());
    Ok(on_a_thread(async move || {
        let _turn = turns.take(&order.sync.name).await;
        backlog::discard(&store, &order, shown, &message, &who).await
    })
    .await)
}

/// What a count came to.
type Came = Result<Backlog, Arc<Error>>;
/// Where it is told, and since when.
type Told = watch::Receiver<Option<(Came, Instant)>>;

/// The counts of one process that go, or came to their end. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<String, Count>>>);

#[derive(Debug)]
struct Count {
    /// Of the config by which it counts.
    revision: String,
    came: Told,
    _task: Tasks<()>,
}

impl Count {
    fn is_of_use(&self, revision: &str) -> bool {
        let is_stale = self.came.borrow().as_ref().is_some_and(|(_, at)| at.elapsed() > KEPT);
        self.revision == revision && !is_stale
    }
}

impl Counts {
    /// Counts the backlog of a sync, or goes on with a count that was begun before; `None` if it is not at its end within
    /// `patience`: it goes on then, for whoever asks next.
    ///
    /// # Errors
    /// There is no such sync, or the process takes no commands in.
    pub async fn of(
        &self,
        samples: &Samples,
        store: &Store,
        sync: &str,
        patience: Duration,
    ) -> Result<Option<Came>, Refused> {
        samples.check_ready()?;
        let order = samples.order(sync)?;
        let (mut came, is_new) = self.begun(samples, store, order);
        if is_new && patience.is_zero() {
            return Ok(None);
        }
        let ended = match timeout(patience, came.wait_for(Option::is_some)).await {
            Ok(Ok(ended)) => ended.clone().map(|(came, _)| came),
            // Whoever counts is gone, and tells nothing any more.
            Ok(Err(_gone)) => Some(Err(Arc::new(Error::Defect("the count broke off".to_owned())))),
            Err(_elapsed) => return Ok(None),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(sync);
        Ok(ended)
    }

    /// The count of the sync, and whether it was begun only now.
    fn begun(&self, samples: &Samples, store: &Store, order: Order) -> (Told, bool) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|sync, count| *sync != order.sync.name || count.is_of_use(&order.revision));
        if let Some(count) = counts.get(&order.sync.name) {
            return (count.came.clone(), false);
        }
        let (tell, came) = watch::channel(None);
        let (name, revision) = (order.sync.name.clone(), order.revision.clone());
        let (turns, store) = (samples.turns().clone(), store.clone());
        let (runtime, mut task) = (Handle::current(), Tasks::default());
        task.spawn_blocking(move || {
            runtime.block_on(async {
                let _turn = turns.take(&order.sync.name).await;
                let came = backlog::count(&store, &order).await.map_err(Arc::new);
                tell.send_replace(Some((came, Instant::now())));
            });
        });
        counts.insert(name, Count { revision, came: came.clone(), _task: task });
        (came, true)
    }
}
