//! The backlog of a sync: what its next run would send, and a person's decision that none of it shall be sent.
//!
//! Reads as a plan does. Not responsible for the pause that comes with it, nor for where its keys lie (`listed`). Guards: a key
//! in doubt is never waived, as the destination may hold something else than anybody knows; nothing is waived but after a
//! complete, proven read, and no more than the person was shown; a waiver is for one content in one epoch.

mod listed;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::yield_now;

use self::listed::{Listed, Wait};
use super::decisions;
use super::fates::Fates;
use super::intake::{Intake, Waiting};
use super::memory::Shares;
use super::order::Order;
use super::passes::{Passes, Terms};
use super::piles::PILES;
use super::prepare::{self, Error};
use super::proving;
use super::reading::QueryRuntime;
use super::run::now;
use super::viewing;
use crate::delta::examiner::Scope;
use crate::delta::table::Table;
use crate::domain::decision::{self, Absent};
use crate::domain::entry::Waiver;
use crate::domain::id::{Epoch, Instant, IntentNumber};
use crate::domain::kind::Kind;
use crate::domain::message::one_line;
use crate::domain::sync::Mode;
use crate::domain::whole::whole;
use crate::points::{self, Point};
use crate::shutdown::blocking;
use crate::snapshot::record::Record;
use crate::snapshot::{Snapshot, View};
use crate::spill::Spill;
use crate::store::{Audited, Decision, Store};

/// The word of the audit log.
pub const COMMAND: &str = "pause --discard-backlog";
/// What it says where it was not carried out.
pub const UNDONE: &str = "not carried out: nothing was discarded, ask again";

/// How much waits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct Backlog {
    /// Rows that would be sent and can be waived.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    pub changes: u64,
    /// Records that would be deleted and can be discarded.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    pub removals: u64,
    /// Keys that may have been sent: the next run asserts them whatever is decided.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    pub in_doubt: u64,
}

/// What waits, with its keys.
struct Found {
    backlog: Backlog,
    listed: Listed,
    /// Of the deletes in doubt, those that are held.
    still_held: u64,
    epoch: Epoch,
}

/// Counts the backlog; writes nothing.
///
/// # Errors
/// Whatever would keep a run from starting or its read from its end; or no waiver of now would count.
pub async fn count(store: &Store, order: &Order) -> Result<Backlog, Error> {
    let view = viewing::view(store.into(), order).await?;
    let view = view.ok_or_else(|| Error::NeverRan(order.sync.name.clone()))?;
    Ok(find(store, order, &view).await?.backlog)
}

/// Waives the changes of the backlog and discards its removals, as far as they are no more than was `shown`; what that came
/// to. Only the owner of the state may call this, while no run of the sync goes.
///
/// # Errors
/// As [`count`]; the backlog has grown; the audit log or the snapshot cannot be written. Then nothing is waived, and where
/// that was decided already, it is taken back.
pub async fn discard(
    store: &Store,
    order: &Order,
    shown: Backlog,
    message: &str,
    who: &str,
) -> Result<Backlog, Error> {
    let mut snapshot = prepare::open(store, order).await?;
    let found = find(store, order, snapshot.view()).await?;
    let Backlog { changes, removals, .. } = found.backlog;
    if changes > shown.changes || removals > shown.removals {
        return Err(Error::Refused(format!(
            "the backlog of `{}` has grown to {changes} changes and {removals} removals meanwhile; nothing was discarded, ask \
             again",
            order.sync.name
        )));
    }
    let why = one_line(message).map_or(String::new(), |why| format!("{why} "));
    let audited = Audited {
        at: now(),
        who: who.to_owned(),
        command: COMMAND.to_owned(),
        sync: Some(order.sync.name.clone()),
        run: None,
        message: Some(format!("{why}({changes} changes waived, {removals} removals discarded)")),
    };
    let decision = Decision::Backlog { generation: snapshot.header().generation };
    let pending = store.decide(&[(audited, decision)]).await?;
    points::reached(Point::Decided);
    if let Err(error) = blocking(|| write(&mut snapshot, &found)) {
        drop(snapshot);
        // What cannot be known now is by whoever opens the snapshot next.
        let _ = prepare::open(store, order).await;
        return Err(error);
    }
    prepare::remember(store, &snapshot).await?;
    decisions::carry_out(store, &mut snapshot, pending).await?;
    Ok(found.backlog)
}

fn write(snapshot: &mut Snapshot, found: &Found) -> Result<(), Error> {
    let view = snapshot.view().clone();
    let mut decide = |key: &[u8], what: Wait| {
        let record = match what {
            Wait::Change(fingerprint) => {
                Record::Waive { key, waiver: Waiver { fingerprint, epoch: found.epoch } }
            }
            Wait::Removal => Record::Forget { key },
        };
        snapshot.journal().append(&record);
    };
    for pile in 0..PILES {
        found.listed.visit(pile, &view, &mut decide)?;
    }
    snapshot.journal().write()?;
    snapshot.commit(|header| {
        header.hold = header.hold.take().filter(|_| found.still_held > 0);
        if let Some(hold) = &mut header.hold {
            hold.keys = found.still_held;
        }
    })?;
    Ok(())
}

async fn find(store: &Store, order: &Order, view: &View) -> Result<Found, Error> {
    let (query, cancelling) = QueryRuntime::start()?;
    let found = Box::pin(find_on(query, store, order, view)).await;
    cancelling.end().await;
    found
}

async fn find_on(
    query: QueryRuntime,
    store: &Store,
    order: &Order,
    view: &View,
) -> Result<Found, Error> {
    let name = &order.sync.name;
    let header = view.header();
    if header.epoch == Epoch(0) {
        return Err(Error::NeverRan(name.clone()));
    }
    let is_full = store.is_full_owed(name).await?;
    let order = &Order { is_full, chosen: None, ..order.clone() };
    let (reading, sent) = prepare::compare(Some(store), order, Some(header), None, &query).await?;
    if sent.choice.opens_epoch {
        return Err(Error::Refused(format!(
            "the next run of `{name}` sends every row again ({}), and no waiver of now would count in it; let it run first",
            sent.choice.reason
        )));
    }
    let epoch = header.epoch;
    let spill = Arc::new(Spill::new(&order.state));
    let (started, memory) = (now(), order.memory_limit);
    let model = &order.sync.model.name;
    let runtime = query.handle();
    let terms = Terms {
        view: Some(view),
        kind: Kind::Incremental,
        epoch,
        columns: &sent.columns,
        scope: Scope::Backlog,
        now: started,
        destination: &sent.destination,
        model,
        memory_limit: memory,
        folder: &order.state,
        shutdown: None,
        runtime,
    };
    let begun = Passes::begin(terms, reading.partitions).await?;
    let (mut passes, mut readers) = begun.expect("nothing stops it");
    let shares = Shares::of(memory);
    let fates = Fates::new(shares, Arc::clone(&spill));
    let mut intake = Intake::new(IntentNumber(0), Waiting::default(), fates);
    let (mut listed, mut doubted) = (Listed::new(&spill, shares.table, name), Doubted::default());
    loop {
        while let Some(chunk) = readers.next().await {
            intake.take(&chunk, &mut listed)?;
            listed.check()?;
        }
        readers.end().await?;
        let table = passes.table();
        blocking(|| doubted.part(table, order.sync.mode, epoch, started, &mut listed))?;
        let Some(next) = passes.next().await? else { break };
        readers = next;
    }
    // The keys have the room of its table from here on.
    drop(passes);
    while intake.has_unsure() {
        blocking(|| intake.decide(&mut listed))?;
        listed.check()?;
        yield_now().await;
    }
    let tally = intake.counts.tally();
    drop(intake);
    proving::check_rows(model, Some(header), tally.rows_read)?;
    proving::check_source(reading.proof, None, runtime).await?;
    let mut backlog = counted(&listed, view, tally.upserts).await?;
    backlog.in_doubt += doubted.deletes;
    Ok(Found { backlog, listed, still_held: doubted.held, epoch })
}

/// What the list comes to, where the next run would send so many rows.
async fn counted(listed: &Listed, view: &View, upserts: u64) -> Result<Backlog, Error> {
    let mut backlog = Backlog::default();
    for pile in 0..PILES {
        let mut count = |_: &[u8], what: Wait| match what {
            Wait::Change(_) => backlog.changes += 1,
            Wait::Removal => backlog.removals += 1,
        };
        blocking(|| listed.visit(pile, view, &mut count))?;
        // Whoever asked may be gone.
        yield_now().await;
    }
    // What is to be sent and cannot be waived is in doubt, wherever it waits.
    backlog.in_doubt = upserts.saturating_sub(backlog.changes);
    Ok(backlog)
}

/// Deletes that are in doubt.
#[derive(Debug, Default)]
struct Doubted {
    deletes: u64,
    /// Those of them that are held.
    held: u64,
}

impl Doubted {
    /// Adds those of a part of the snapshot, of the entries that no row met; what may be discarded of them is listed.
    fn part(
        &mut self,
        table: &Table,
        mode: Mode,
        epoch: Epoch,
        now: Instant,
        listed: &mut Listed,
    ) -> Result<(), Error> {
        for place in table.unmet() {
            let entry = table.entry(place, epoch);
            match decision::absent(&entry, mode, epoch, now) {
                Absent::Keep | Absent::Forget => {}
                Absent::Delete | Absent::Deferred if entry.doubt.is_some() => {
                    self.deletes += 1;
                    self.held += u64::from(entry.held.is_some());
                }
                Absent::Delete | Absent::Deferred => listed.add_removal(table.key(place))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;
    use crate::delta::examiner::{Candidate, Examiner};
    use crate::delta::fingerprint::{self, Fingerprinter};
    use crate::delta::keys::Keys;
    use crate::delta::table::Cut;
    use crate::domain::column::Column;
    use crate::domain::entry::{Doubt, Entry, Operation};
    use crate::domain::id::BatchNumber;
    use crate::domain::key;
    use crate::engine::late::Late;
    use crate::engine::reading::{Chunk, Rendered};
    use crate::snapshot::memory_disk::MemoryDisk;

    /// Two rows, of which the first is in doubt, as its key came twice in the read that sent it.
    fn chunk() -> Chunk {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let columns = [Column::new(&ids).unwrap()];
        let keys = Keys::new(&[&columns[0]], 2);
        let doubt = Doubt {
            operation: Operation::Upsert,
            fingerprint: 7,
            number: IntentNumber(5),
            batch: BatchNumber(5),
            index: 0,
            is_repeated: true,
            is_spent: false,
        };
        let mut builder = Cut::default().builder(Epoch(1), 1);
        let entry = Entry { doubt: Some(doubt), ..Entry::default() };
        builder.push(keys.hash(0), keys.key(0), entry);
        let examiner = Examiner {
            table: Arc::new(Cut::default().table(0, vec![builder.finish().unwrap()])),
            fingerprinter: Fingerprinter::new(fingerprint::VERSION, ["id"]),
            key: vec![0],
            primary: None,
            epoch: Epoch(1),
            scope: Scope::Backlog,
            now: Instant(0),
        };
        let examined = examiner.examine(&columns, 2).unwrap();
        let rendered = |candidate: &Candidate| Rendered {
            candidate: *candidate,
            fragment: 0..0,
            target_len: 0,
        };
        let operations = examined.candidates.iter().map(rendered).collect();
        Chunk { examined, operations, fragments: Vec::new(), unrenderable: Vec::new() }
    }

    #[tokio::test]
    async fn what_is_in_doubt_is_counted_also_where_no_more_of_it_may_wait() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Arc::new(Spill::new(folder.path()));
        let mut snapshot = Snapshot::open(Arc::new(MemoryDisk::new()), "s", None).unwrap();
        snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
        for is_full in [false, true] {
            let fates = Fates::new(Shares::of(512 << 20), Arc::clone(&spill));
            let mut intake = Intake::new(IntentNumber(0), Waiting::default(), fates);
            let others = Late {
                key: vec![0],
                hash: key::hash(&[0]),
                fingerprint: 1,
                fragment: vec![0; if is_full { 65 << 20 } else { 0 }],
                target_len: 0,
                repeats: None,
                is_retry: false,
                needs_proof: true,
            };
            intake.lane.push(others);
            let mut listed = Listed::new(&spill, 1 << 20, "s");
            intake.take(&chunk(), &mut listed).unwrap();
            let upserts = intake.counts.tally().upserts;
            let found = counted(&listed, snapshot.view(), upserts).await.unwrap();
            assert_eq!(found, Backlog { changes: 1, removals: 0, in_doubt: 1 }, "{is_full}");
        }
    }
}
