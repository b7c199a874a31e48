use super::deciding::on_a_thread;
use super::handle::Refused;
use super::sampling::Samples;
use crate::engine::backlog::{self, Backlog};
use crate::engine::prepare::Error;
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
    let (turns, store) = (samples.turns().clone(), store.clone());
    Ok(on_a_thread(async move || {
        let _turn = turns.take(&order.sync.name).await;
        match decision {
            None => backlog::count(&store, &order).await,
            Some(Decision { shown, message, who }) => {
                backlog::discard(&store, &order, shown, &message, &who).await
            }
        }
    })
    .await)
}
