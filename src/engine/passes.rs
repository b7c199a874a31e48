//! A read held against a snapshot of any size: the part of it that fits into memory is compared with the rows as they
//! stream, the others one after the other with the rows that waited for them.
//!
//! Guards: all rows of a key are compared with the same part, so that a repeated key is found; a part leaves memory before the
//! next one is loaded. Not here: what a chunk means (`intake`), what becomes of keys that no row met (`removals`).

use std::num::NonZero;
use std::ops::Range;
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
use crate::domain::kind::Kind;
use crate::shutdown::{Shutdown, Stage, Tasks, blocking};
use crate::snapshot::{self, View};
use crate::spill::Spill;

/// What a read is held against, and how.
pub struct Terms<'a> {
    /// `None` holds nothing.
    pub view: Option<&'a View>,
    pub kind: Kind,
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
        let parts = parts(terms.view, &shares, terms.columns.has_primary(), terms.kind);
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
    /// behind the last part, and where a stop came. Dropping the future leaves nothing behind that goes on for longer than a
    /// shard takes.
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
        let (view, shutdown) = (self.view.clone(), self.shutdown.clone());
        let load = load(view, self.epoch, self.parts.cut(), shards, shutdown, &self.runtime);
        let loaded = load.await?;
        let is_loaded = loaded.is_some();
        self.hold(loaded.unwrap_or_else(nothing));
        Ok(is_loaded)
    }

    fn hold(&mut self, table: Table) {
        self.shared.examiner = Arc::new(self.shared.examiner.of_part(Arc::new(table)));
    }
}

/// The parts in which a run compares a snapshot with its rows. `has_primary`: primary keys take a part of the memory, as the
/// delivered keys are others.
pub fn parts(view: Option<&View>, shares: &Shares, has_primary: bool, kind: Kind) -> Parts {
    let room = if has_primary { shares.table_beside_keys } else { shares.table };
    let room = match kind {
        Kind::Incremental => room,
        // All of it is sent, and what was is remembered beside the table.
        Kind::Full => room.saturating_sub(shares.keys + shares.filter).max(shares.keys),
    };
    loading::parts(view, room)
}

/// Loads some shards of a snapshot on another runtime. Comes back without a table where a stop came; dropped, it is given up
/// once the shards that are being loaded are.
async fn load(
    view: Option<View>,
    epoch: Epoch,
    cut: Cut,
    shards: Range<usize>,
    shutdown: Option<Shutdown>,
    runtime: &Handle,
) -> Result<Option<Table>, snapshot::Error> {
    let asked = Arc::new(());
    let heard = Arc::downgrade(&asked);
    let is_stopped = move || {
        let is_running = |shutdown: &Shutdown| shutdown.stage() == Stage::Running;
        heard.strong_count() == 0 || !shutdown.as_ref().is_none_or(is_running)
    };
    let mut tasks: Tasks<Result<Option<Table>, snapshot::Error>> = Tasks::default();
    let load = move || load_part(view.as_ref(), epoch, cut, shards, &is_stopped);
    tasks.spawn_blocking_on(load, runtime);
    let loaded = tasks.next().await.expect("the one task was just spawned");
    drop(asked);
    loaded
}

/// A table of no part.
fn nothing() -> Table {
    Cut::default().table(0, Vec::new())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};

    use futures::FutureExt as _;

    use super::*;
    use crate::domain::entry::Waiver;
    use crate::snapshot::Snapshot;
    use crate::snapshot::disk::{Disk, DiskFile, DiskView};
    use crate::snapshot::memory_disk::MemoryDisk;
    use crate::snapshot::record::Record;

    #[test]
    fn a_run_that_sends_all_leaves_room_for_what_it_remembers_of_that() {
        let mut snapshot = Snapshot::open(Arc::new(MemoryDisk::new()), "s", None).unwrap();
        snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
        for number in 0..400_u32 {
            // 40 MB: of 256 MiB a table may take 56, and 16 beside the keys of a read and their filter.
            let key = &number.to_le_bytes().repeat(25_000);
            let waiver = Waiver { fingerprint: 1, epoch: Epoch(1) };
            snapshot.journal().append(&Record::Waive { key, waiver });
        }
        snapshot.commit(|_| {}).unwrap();
        let shares = Shares::of(256 << 20);
        let many = |kind| parts(Some(snapshot.view()), &shares, false, kind).len();
        assert_eq!(many(Kind::Incremental), 1);
        assert!(many(Kind::Full) > 2, "{}", many(Kind::Full));
    }

    /// A disk whose reads wait for the gate, and are counted.
    #[derive(Debug, Clone)]
    struct Slow(MemoryDisk, Arc<Gate>);

    #[derive(Debug, Default)]
    struct Gate {
        reads: AtomicUsize,
        is_open: Mutex<()>,
    }

    #[derive(Debug)]
    struct Gated(Box<dyn DiskView>, Arc<Gate>);

    impl DiskView for Gated {
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }

        fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
            self.1.reads.fetch_add(1, Ordering::SeqCst);
            drop(self.1.is_open.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.read_at(offset, length)
        }
    }

    impl Disk for Slow {
        fn open(&self, name: &str) -> io::Result<Box<dyn DiskView>> {
            Ok(Box::new(Gated(self.0.open(name)?, Arc::clone(&self.1))))
        }

        fn list(&self) -> io::Result<Vec<String>> {
            self.0.list()
        }

        fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
            self.0.create(name)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }

        fn sync_directory(&self) -> io::Result<()> {
            self.0.sync_directory()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_load_that_nobody_waits_for_any_more_is_given_up() {
        let disk = MemoryDisk::new();
        let mut snapshot = Snapshot::open(Arc::new(disk.clone()), "s", None).unwrap();
        snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
        for number in 0..1_000_u32 {
            let (key, waiver) = (&number.to_le_bytes(), Waiver { fingerprint: 1, epoch: Epoch(1) });
            snapshot.journal().append(&Record::Waive { key, waiver });
        }
        snapshot.commit(|_| {}).unwrap();
        drop(snapshot);
        let gate = Arc::new(Gate::default());
        let view = View::read(&Slow(disk, Arc::clone(&gate)), "s").unwrap();
        let cut = Cut::of(1_000, 1, 0);
        assert!(cut.shards() > 500, "each of which is read from the disk");
        let before = gate.reads.load(Ordering::SeqCst);
        {
            let closed = gate.is_open.lock().unwrap();
            let runtime = Handle::current();
            let mut loading = Box::pin(load(view, Epoch(1), cut, 0..cut.shards(), None, &runtime));
            assert!(loading.as_mut().now_or_never().is_none());
            while gate.reads.load(Ordering::SeqCst) == before {
                std::thread::yield_now();
            }
            drop(loading);
            drop(closed);
        }
        // The last to hold the segment is the load.
        while Arc::strong_count(&gate) > 1 {
            std::thread::yield_now();
        }
        let reads = gate.reads.load(Ordering::SeqCst) - before;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        assert!(reads <= 2 * cores, "{reads} reads of {} shards", cut.shards());
    }
}
