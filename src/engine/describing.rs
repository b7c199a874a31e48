//! Models held against their sources: what each would give, and what of it a run would refuse. No row is sent for it.
//!
//! Not responsible for what is found (`source`). Invariants: each model is given up after a time; few are open at once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::timeout;

use super::memory::Shares;
use super::prepare::{self, Error};
use super::reading::QueryRuntime;
use crate::domain::sync::{Model, Sync};
use crate::shutdown::Tasks;
use crate::source::definition::Definition;
use crate::source::{self, Described, Pins, Reader, Selection, Settings};

/// Models that are open at once.
const AT_ONCE: usize = 4;
/// How long one may take: types of text may be found by reading all of it.
const LONGEST: Duration = Duration::from_secs(120);

/// A model to hold against its sources.
#[derive(Debug, Clone)]
pub struct Asked {
    pub model: Model,
    pub sources: Vec<Arc<Definition>>,
    /// What a sync asks of it, where one does.
    pub selection: Selection,
    /// The types that the sync's runs go by.
    pub pins: Pins,
}

impl Asked {
    /// Of a model that no sync reads.
    pub fn of_model(model: &Model, sources: Vec<Arc<Definition>>) -> Asked {
        let (model, selection) = (model.clone(), Selection::default());
        Asked { model, sources, selection, pins: Pins::default() }
    }

    /// As the runs of the sync read its model.
    pub fn of_sync(sync: &Sync, sources: Vec<Arc<Definition>>, pins: Pins) -> Asked {
        Asked { model: sync.model.clone(), sources, selection: prepare::selected(sync), pins }
    }
}

/// Opens each of them as a run would, and reads no row of a database. In their order.
///
/// # Errors
/// The system gives no threads to read with.
pub async fn describe(
    asked: Vec<Asked>,
    memory_limit: u64,
) -> Result<Vec<Result<Described, source::Error>>, Error> {
    let (query, cancelling) = QueryRuntime::start()?;
    let Shares { query: memory, undecoded, .. } = Shares::of(memory_limit);
    let settings = || Settings::new(1, memory / AT_ONCE, undecoded / AT_ONCE);
    let described = futures::stream::iter(asked)
        .map(|one| describe_one(one, settings(), &query))
        .buffered(AT_ONCE)
        .collect()
        .await;
    drop(query);
    cancelling.end().await;
    Ok(described)
}

async fn describe_one(
    asked: Asked,
    settings: Settings,
    query: &QueryRuntime,
) -> Result<Described, source::Error> {
    let Asked { model, sources, selection, pins } = asked;
    let name = model.name.clone();
    let reader = Reader::new(sources, settings);
    let work = async move { reader.describe(&model, &selection, &pins).await };
    within(query, LONGEST, work).await.unwrap_or_else(|| {
        Err(source::Error::Missing(format!(
            "model `{name}` was not open within {} s; declare the types of its text columns with `columns:`, or see whether \
             its source is slow",
            LONGEST.as_secs()
        )))
    })
}

/// Does it on the threads of the query, for so long at most; what takes longer is dropped.
pub async fn within<T: Send + 'static>(
    query: &QueryRuntime,
    longest: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let mut tasks = Tasks::default();
    tasks.spawn_on(work, query.handle());
    timeout(longest, tasks.next()).await.ok().flatten()
}
