//! A read held against a snapshot of any size: the part of it that fits into memory is compared with the rows as they
//! stream, the others one after the other with the rows that waited for them.
//!
//! Guards: all rows of a key are compared with the same part, so that a repeated key is found; a part leaves memory before the
//! next one is loaded. Not here: what a chunk means (`intake`), what becomes of keys that no row met (`removals`).

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use tokio::runtime::Handle;

use super::columns::Columns;
use super::loading::{self, load_part};
use super::memory::Shares;
use super::parked::Parked;
use super::prepare::Error;
use super::reading::{Readers, Shared, batches};
use crate::delta::examiner::Scope;
use crate::delta::parts::Parts;
use crate::delta::table::{Cut, Table};
use crate::destination::Destination;
use crate::domain::id::{Epoch, Instant};
use crate::shutdown::{Shutdown, Stage, Tasks, blocking};
use crate::snapshot::{self, View};
use crate::spill::Spill;

/// What a read is held against, and how.
pub struct Terms<'a> {
    /// `None` holds nothing.
    pub view: Option<&'a View>,
    /// The run's.
    pub epoch: Epoch,
    pub columns: &'a Columns,
    pub scope: Scope,
    pub now: Instant,
    pub destination: &'a Arc<Destination>,
    pub model: &'a str,
    /// In bytes.
    pub memory_limit: u64,
    /// Where rows that wait are put; it is let go at the end of the read.
    pub folder: &'a Path,
    /// Once it leaves `Running`, no part is loaded any more.
    pub shutdown: Option<&'a Shutdown>,
    /// Where the rows are read.
    pub runtime: &'a Handle,
}

/// The passes over the rows of one read.
pub struct Passes {
    view: Option<View>,
    epoch: Epoch,
    parts: Parts,
    /// The number of the part that is loaded next.
    next: usize,
    /// Whose table is that of the current part, and empty while the next is loaded.
    shared: Shared,
    /// The rows of the later parts; `None` where there is but one.
    parked: Option<Arc<Parked>>,
    shutdown: Option<Shutdown>,
    runtime: Handle,
}

impl Passes {
    /// Loads the first part, and begins to read the streams of a source. `None` where a stop came before.
    ///
    /// # Errors
    /// A file of the snapshot is damaged.
    pub async fn begin(
        terms: Terms<'_>,
        streams: Vec<SendableRecordBatchStream>,
    ) -> Result<Option<(Passes, Readers)>, Error> {
        let shares = Shares::of(terms.memory_limit);
        let room =
            if terms.columns.has_primary() { shares.table_beside_keys } else { shares.table };
        let parts = loading::parts(terms.view, room);
        let examiner = terms.columns.examiner(
            terms.scope,
            &Arc::new(nothing()),
            terms.epoch,
            terms.now,
            shares.primary_keys,
        );
        let schema = streams.first().filter(|_| parts.len() > 1).map(|stream| stream.schema());
        let parked =
            schema.map(|schema| Arc::new(Parked::new(&parts, &schema, Spill::new(terms.folder))));
        let mut passes = Passes {
            view: terms.view.cloned(),
            epoch: terms.epoch,
            parts,
            next: 0,
            shared: Shared {
                examiner,
                destination: Arc::clone(terms.destination),
                model: terms.model.to_owned(),
            },
            parked,
            shutdown: terms.shutdown.cloned(),
            runtime: terms.runtime.clone(),
        };
        if !passes.load().await? {
            return Ok(None);
        }
        let streams = batches(streams, terms.model);
        let (shared, parked) = (&passes.shared, passes.parked.as_ref());
        let readers = Readers::start(streams, shared, parked, &passes.runtime);
        Ok(Some((passes, readers)))
    }

    /// The part that the rows of this pass are compared with.
    pub fn table(&self) -> &Table {
        &self.shared.examiner.table
    }

    /// Loads the next part and begins to read the rows that waited for it; to be called once the pass before has ended. `None`
    /// behind the last part, and where a stop came. Dropping the future leaves nothing behind that goes on for long.
    ///
    /// # Errors
    /// A file of the snapshot is damaged, or rows that waited cannot be written.
    pub async fn next(&mut self) -> Result<Option<Readers>, Error> {
        let Some(parked) = self.parked.clone() else { return Ok(None) };
        let is_sample = matches!(self.shared.examiner.scope, Scope::Chosen(_));
        while is_sample && self.next < self.parts.len() && parked.is_empty(self.next) {
            self.next += 1;
        }
        let part = self.next;
        if !self.load().await? {
            return Ok(None);
        }
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
        let streams = blocking(|| parked.streams(part, cores))?;
        Ok(Some(Readers::start(streams, &self.shared, None, &self.runtime)))
    }

    /// False behind the last part, and where a stop came.
    async fn load(&mut self) -> Result<bool, Error> {
        let Some(shards) = self.parts.shards(self.next) else { return Ok(false) };
        self.next += 1;
        self.hold(nothing());
        let (view, epoch, cut) = (self.view.clone(), self.epoch, self.parts.cut());
        let shutdown = self.shutdown.clone();
        let is_stopped =
            move || shutdown.as_ref().is_some_and(|shutdown| shutdown.stage() > Stage::Running);
        let mut tasks: Tasks<Result<Option<Table>, snapshot::Error>> = Tasks::default();
        let load = move || load_part(view.as_ref(), epoch, cut, shards, &is_stopped);
        tasks.spawn_blocking_on(load, &self.runtime);
        let loaded = tasks.next().await.expect("the one task was just spawned")?;
        let is_loaded = loaded.is_some();
        self.hold(loaded.unwrap_or_else(nothing));
        Ok(is_loaded)
    }

    fn hold(&mut self, table: Table) {
        self.shared.examiner = Arc::new(self.shared.examiner.of_part(Arc::new(table)));
    }
}

/// A table of no part.
fn nothing() -> Table {
    Cut::default().table(0, Vec::new())
}
