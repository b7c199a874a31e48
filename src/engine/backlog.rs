//! The backlog of a sync: what its next run would send, and a person's decision that none of it shall be sent.
//!
//! Reads as a plan does. Not responsible for the pause that comes with it. Guards: a key in doubt is never waived, as the
//! destination may hold something else than anybody knows; nothing is waived but after a complete, proven read, and no more
//! than the person was shown; a waiver is for one content in one epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decisions;
use super::fates::Fates;
use super::intake::{self, Intake, Outlet};
use super::memory::Shares;
use super::order::Order;
use super::passes::{Passes, Terms};
use super::prepare::{self, Error};
use super::proving;
use super::reading::QueryRuntime;
use super::run::now;
use super::viewing;
use crate::delivery::Item;
use crate::delta::examiner::Scope;
use crate::delta::table::Table;
use crate::domain::decision::{self, Absent};
use crate::domain::entry::{Entry, Fingerprint, Waiver};
use crate::domain::id::{Epoch, Instant, IntentNumber};
use crate::domain::key::KeyHash;
use crate::domain::message::one_line;
use crate::domain::sync::Mode;
use crate::domain::whole::whole;
use crate::points::{self, Point};
use crate::shutdown::blocking;
use crate::snapshot::record::Record;
use crate::snapshot::{self, Snapshot, View};
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

/// Keys with their hashes, in the order of a snapshot, and the content that is waived for each.
type Waived = BTreeMap<(KeyHash, Vec<u8>), Fingerprint>;

/// What waits, by its keys.
struct Found {
    waived: Waived,
    forgotten: Vec<Vec<u8>>,
    in_doubt: u64,
    /// Of those in doubt, deletes that are held.
    still_held: u64,
    epoch: Epoch,
}

impl Found {
    fn backlog(&self) -> Backlog {
        Backlog {
            changes: self.waived.len() as u64,
            removals: self.forgotten.len() as u64,
            in_doubt: self.in_doubt,
        }
    }
}

/// Counts the backlog; writes nothing.
///
/// # Errors
/// Whatever would keep a run from starting or its read from its end; or no waiver of now would count.
pub async fn count(store: &Store, order: &Order) -> Result<Backlog, Error> {
    let view = viewing::view(store.into(), order).await?;
    let view = view.ok_or_else(|| Error::NeverRan(order.sync.name.clone()))?;
    Ok(find(store, order, &view).await?.backlog())
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
    let backlog = found.backlog();
    let Backlog { changes, removals, .. } = backlog;
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
        return Err(error.into());
    }
    prepare::remember(store, &snapshot).await?;
    decisions::carry_out(store, &mut snapshot, pending).await?;
    Ok(backlog)
}

fn write(snapshot: &mut Snapshot, found: &Found) -> Result<(), snapshot::Error> {
    for ((_, key), fingerprint) in &found.waived {
        let waiver = Waiver { fingerprint: *fingerprint, epoch: found.epoch };
        snapshot.journal().append(&Record::Waive { key, waiver });
    }
    for key in &found.forgotten {
        snapshot.journal().append(&Record::Forget { key });
    }
    snapshot.journal().write()?;
    let committed = snapshot.commit(|header| {
        header.hold = header.hold.take().filter(|_| found.still_held > 0);
        if let Some(hold) = &mut header.hold {
            hold.keys = found.still_held;
        }
    });
    committed.map(drop)
}

async fn find(store: &Store, order: &Order, view: &View) -> Result<Found, Error> {
    let name = &order.sync.name;
    let header = view.header();
    if header.epoch == Epoch(0) {
        return Err(Error::NeverRan(name.clone()));
    }
    let is_full = store.is_full_owed(name).await?;
    let order = &Order { is_full, chosen: None, ..order.clone() };
    let query = QueryRuntime::start()?;
    let (reading, sent) = prepare::compare(Some(store), order, Some(header), &query).await?;
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
    let fates = Fates::new(Shares::of(memory), Arc::clone(&spill));
    let mut intake = Intake::new(IntentNumber(0), intake::Waiting::default(), fates);
    let (mut waiting, mut gone) = (Waiting::default(), Gone::default());
    loop {
        while let Some(chunk) = readers.next().await {
            intake.take(&chunk, &mut waiting)?;
            check_room(waiting.bytes + gone.bytes, memory, name)?;
        }
        readers.end().await?;
        let room = memory.saturating_sub(waiting.bytes);
        blocking(|| gone.collect(passes.table(), order.sync.mode, epoch, started, room));
        check_room(waiting.bytes + gone.bytes, memory, name)?;
        let Some(next) = passes.next().await? else { break };
        readers = next;
    }
    while intake.has_unsure() {
        blocking(|| intake.decide(&mut waiting))?;
        check_room(waiting.bytes + gone.bytes, memory, name)?;
    }
    proving::check_rows(model, Some(header), intake.counts.tally().rows_read)?;
    proving::check_files(reading.proof, runtime).await?;
    let in_doubt = blocking(|| waiting.leave_doubts(view))?;
    Ok(Found {
        in_doubt: in_doubt + intake.lane.len() as u64 + gone.in_doubt,
        waived: waiting.waived,
        forgotten: gone.forgotten,
        still_held: gone.still_held,
        epoch,
    })
}

/// What no row met.
#[derive(Debug, Default)]
struct Gone {
    forgotten: Vec<Vec<u8>>,
    in_doubt: u64,
    still_held: u64,
    /// Of the keys, roughly.
    bytes: u64,
}

impl Gone {
    /// Adds the entries of a part of the snapshot that no row met; stops once all keys take more than `room` bytes.
    fn collect(&mut self, table: &Table, mode: Mode, epoch: Epoch, now: Instant, room: u64) {
        for place in table.unmet() {
            if self.bytes > room {
                return;
            }
            let entry = table.entry(place, epoch);
            match decision::absent(&entry, mode, epoch, now) {
                Absent::Keep | Absent::Forget => {}
                Absent::Delete | Absent::Deferred if entry.doubt.is_some() => {
                    self.in_doubt += 1;
                    self.still_held += u64::from(entry.held.is_some());
                }
                Absent::Delete | Absent::Deferred => {
                    let key = table.key(place).to_vec();
                    self.bytes += (key.len() + EACH) as u64;
                    self.forgotten.push(key);
                }
            }
        }
    }
}

/// # Errors
/// The keys take more than `memory` bytes.
fn check_room(bytes: u64, memory: u64, name: &str) -> Result<(), Error> {
    if bytes <= memory {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the keys of the backlog of `{name}` do not fit into `memory_limit`; raise it, and ask again"
    )))
}

/// Bytes of bookkeeping for each key, roughly.
const EACH: usize = 96;

/// Where the operations of the backlog go instead of away.
#[derive(Default)]
struct Waiting {
    waived: Waived,
    /// Of the keys, roughly.
    bytes: u64,
}

impl Waiting {
    /// Takes the keys out that are in doubt in the snapshot, and says how many they are; once no more come. Blocks.
    fn leave_doubts(&mut self, view: &View) -> Result<u64, snapshot::Error> {
        let keys = self.waived.keys().map(|(hash, key)| (*hash, &key[..]));
        let is_in_doubt = |entry: Option<Entry>| entry.is_some_and(|entry| entry.doubt.is_some());
        let found = view.entries_of(keys).map(|entry| entry.map(is_in_doubt));
        let mut found = found.collect::<Result<Vec<bool>, _>>()?.into_iter();
        let before = self.waived.len();
        self.waived.retain(|_, _| found.next() == Some(false));
        Ok((before - self.waived.len()) as u64)
    }
}

impl Outlet for Waiting {
    fn push(&mut self, item: &Item<'_>) {
        self.bytes += (item.key.len() + EACH) as u64;
        self.waived.insert((item.key_hash, item.key.to_vec()), item.fingerprint);
    }

    fn withdraw(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        self.waived.remove(&(hash, key.to_vec()));
        true
    }

    fn note(&mut self, _record: &Record<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::table::Cut;
    use crate::domain::entry::Confirmed;
    use crate::domain::key;

    #[test]
    fn what_no_row_met_is_collected_as_far_as_there_is_room_for_its_keys() {
        let mut keys: Vec<[u8; 1]> = (0..100).map(|number| [number]).collect();
        keys.sort_by_key(|key| key::hash(key));
        let mut builder = Cut::default().builder(Epoch(1), keys.len());
        let confirmed = Confirmed { fingerprint: 7, epoch: Epoch(1) };
        keys.iter().for_each(|key| builder.push_confirmed(key::hash(key), key, confirmed));
        let table = Cut::default().table(0, vec![builder.finish()]);
        let each = 1 + EACH as u64;
        for (room, collected) in [(u64::MAX, 100), (10 * each, 11), (0, 1)] {
            let mut gone = Gone::default();
            gone.collect(&table, Mode::Mirror, Epoch(1), Instant(0), room);
            assert_eq!(gone.forgotten.len(), collected);
            assert_eq!(check_room(gone.bytes, room, "s").is_ok(), collected == 100);
        }
    }
}
