use tokio::runtime::Handle;

use super::handle::Refused;
use super::sampling::Samples;
use crate::engine::backlog::{self, Backlog};
use crate::engine::prepare::Error;
use crate::shutdown::Tasks;
use crate::store::Store;

/// A decision about the backlog of a sync that is paused.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What the person was shown.
    pub shown: Backlog,
    pub message: String,
    pub who: String,
}

/// Counts the backlog of a sync in the process that owns the state, or discards it by a decision, on a thread of its own and
/// once no run of the sync goes any more.
///
/// # Errors
/// There is no such sync, or the process takes no commands in; or inside, as those of [`backlog::discard`].
pub async fn backlog(
    samples: &Samples,
    store: &Store,
    sync: &str,
    decision: Option<Decision>,
) -> Result<Result<Backlog, Error>, Refused> {
    samples.check_ready()?;
    let order = samples.order(sync)?;
    let (turns, store, runtime) = (samples.turns().clone(), store.clone(), Handle::current());
    let mut tasks = Tasks::default();
    tasks.spawn_blocking(move || {
        runtime.block_on(async {
            let _turn = turns.take(&order.sync.name).await;
            match decision {
                None => backlog::count(&store, &order).await,
                Some(Decision { shown, message, who }) => {
                    backlog::discard(&store, &order, shown, &message, &who).await
                }
            }
        })
    });
    Ok(tasks.next().await.expect("the one task was just spawned and is not aborted"))
}
