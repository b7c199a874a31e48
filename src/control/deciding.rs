use tokio::runtime::Handle;

use super::handle::Refused;
use super::sampling::Samples;
use crate::engine::order::Order;
use crate::engine::prepare::Error;
use crate::shutdown::Tasks;
use crate::store::Store;

/// Works on the snapshot of a sync in the process that owns the state, on a thread of its own, while nobody else does.
///
/// # Errors
/// There is no such sync, the process takes no commands in, or a run of the sync goes; or inside, as those of `work`.
pub async fn alone<T, W>(
    samples: &Samples,
    store: &Store,
    sync: &str,
    work: W,
) -> Result<Result<T, Error>, Refused>
where
    T: Send + 'static,
    W: AsyncFnOnce(Store, Order) -> Result<T, Error> + Send + 'static,
{
    samples.check_ready()?;
    let order = samples.order(sync)?;
    let turn = samples.turns().try_take(sync).ok_or_else(|| Refused::Working(sync.to_owned()))?;
    let store = store.clone();
    Ok(on_a_thread(async move || {
        let _turn = turn;
        work(store, order).await
    })
    .await)
}

/// Does work that holds up others, on a thread of its own. Once it has begun it goes on to its end, whoever waits for it.
pub async fn on_a_thread<T, W>(work: W) -> T
where
    T: Send + 'static,
    W: AsyncFnOnce() -> T + Send + 'static,
{
    let (runtime, mut tasks) = (Handle::current(), Tasks::default());
    tasks.spawn_blocking(move || runtime.block_on(work()));
    tasks.next().await.expect("the one task was just spawned and is not aborted")
}
