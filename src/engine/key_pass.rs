//! The pass over the key columns before anything is sent (`check_keys: first`, and for a sample, which sees but a part of
//! the rows).
//!
//! It reads the model once more than the run does, only for its keys, and says which of them come more than once. It only
//! adds caution: what it finds waits for the proven end of the run's own read, which checks every key again. So it needs
//! no proof of its own; files that change between the two leave the run's read unproven, as it was opened before. Not
//! here: what is found (`delta`), what the run makes of it (`intake`).

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;

use super::memory::Shares;
use super::order::Order;
use super::prepare::{self, Error};
use super::reading::{QueryRuntime, columns};
use crate::delta::primary_keys::Full;
use crate::delta::repetitions::{Repeated, Repetitions};
use crate::domain::sync::CheckKeys;
use crate::shutdown::Tasks;
use crate::source::{self, Held, Pins, Restriction, Selection};

/// The delivered keys that may not leave before the end of the run's own read; none where keys are checked while
/// streaming. `pins` and `restriction` are those of that read, and so is what databases have `held`, so that
/// both take the same values for keys. Dropping the
/// future ends the pass: a query that will not yield is left behind on `query`.
///
/// # Errors
/// As those of a read; the hashes of the keys need too much memory.
pub async fn repeated(
    order: &Order,
    pins: &Pins,
    restriction: Option<&Restriction>,
    held: &Held,
    query: &QueryRuntime,
) -> Result<Repeated, Error> {
    if order.sync.check_keys == CheckKeys::Streaming && order.chosen.is_none() {
        return Ok(Repeated::default());
    }
    let restriction = restriction.cloned();
    let selection = Selection { is_keys_only: true, restriction, ..prepare::selected(&order.sync) };
    let reading = prepare::read(order, selection, pins.clone(), held.clone(), query).await?;
    // Nothing of the snapshot is in memory then.
    let limit = Shares::of(order.memory_limit).table;
    let repetitions = Arc::new(Repetitions::new(&reading.key, &reading.primary_key, limit));
    let mut tasks = Tasks::default();
    for stream in reading.partitions {
        let model = order.sync.model.name.clone();
        tasks.spawn_on(look(stream, Arc::clone(&repetitions), model), query.handle());
    }
    while let Some(ended) = tasks.next().await {
        ended?;
    }
    Ok(repetitions.take())
}

async fn look(
    mut stream: SendableRecordBatchStream,
    repetitions: Arc<Repetitions>,
    model: String,
) -> Result<(), Error> {
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| source::Error::of_stream(&error, &model))?;
        repetitions
            .sight(&columns(&batch), batch.num_rows())
            .map_err(|Full| Error::Keys(model.clone()))?;
        // A stream that is always ready would never let an abandoned pass end.
        tokio::task::yield_now().await;
    }
    Ok(())
}
