//! The end of a line: what is gone is deleted or held, the counts are drawn up, the journal is folded.

use std::sync::Arc;

use super::{End, Line};
use crate::delta::table::Place;
use crate::destination::Encoder;
use crate::domain::entry::{Doubt, Entry, Operation};
use crate::domain::key::{self, Shown};
use crate::domain::tally::Tally;
use crate::engine::late::{Lane, Late};
use crate::engine::prepare::{self, Error};
use crate::engine::progress::Progress;
use crate::engine::removals::{self, Facts};
use crate::points;
use crate::shutdown::blocking;
use crate::snapshot::header::Hold;
use crate::store::{RecordNote, Verdict};

impl Line<'_> {
    /// Sorts what the proven read did not meet, and notes what of it is held or forgotten.
    pub fn sort_removals(&mut self) {
        let lineage = self.prepared.snapshot.header().lineage;
        let facts = Facts {
            definition: &self.prepared.definition,
            vanished: std::mem::take(&mut self.vanished),
            rows_read: self.tally().rows_read,
            invalid_keys: self.invalid_keys(),
            credentials: self.prepared.destination.credentials_hash(lineage.0),
            declares_account: self.order.connection.account.is_some(),
        };
        self.is_sorted = true;
        let header = self.prepared.snapshot.header();
        let (sync, epoch) = (&self.order.sync, header.epoch);
        self.removals = removals::sort(&self.table, sync, header, &facts, epoch, self.started);
        let journal = self.prepared.snapshot.journal();
        removals::record(&self.removals, &self.table, self.run, journal);
    }

    fn invalid_keys(&self) -> u64 {
        u64::try_from(self.intake.counts.invalid_keys).unwrap_or(0)
    }

    /// Sends the deletes, after everything else: those in doubt in their old batches, then the others, then those that
    /// were refused before.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn delete(&mut self, progress: &Progress) -> Result<(), Error> {
        let destination = Arc::clone(&self.prepared.destination);
        let Some(encoder) = destination.encoder(Operation::Delete) else {
            return Ok(());
        };
        let (mut first, mut fresh, mut last) = (Lane::default(), Vec::new(), Vec::new());
        for place in self.removals.delete.clone() {
            let entry = self.entry(place);
            if self.repeats(&entry).is_some() && first.has_room() {
                if let Some(late) = self.deletion(encoder, place) {
                    first.push(late);
                }
            } else if is_refused(&entry) {
                last.push(place);
            } else {
                fresh.push(place);
            }
        }
        let (mut groups, _) = first.groups(true);
        while !groups.is_empty() && self.make_room(progress).await? {
            let group = groups.pop_front().expect("it was not empty");
            self.handled_deletes += group.len() as u64;
            group.push(Operation::Delete, &mut self.delivery);
        }
        for place in fresh.into_iter().chain(last) {
            if !self.make_room(progress).await? {
                break;
            }
            if let Some(late) = self.deletion(encoder, place) {
                self.handled_deletes += 1;
                self.delivery.push(Operation::Delete, &late.item());
            }
        }
        self.settle(progress).await
    }

    /// The delete of a removed key. A record that cannot be named in one, as those of an older definition may be, is unsent
    /// and said so.
    fn deletion(&mut self, encoder: &Encoder, place: Place) -> Option<Late> {
        let rendered = self.render_delete(encoder, place);
        if let Err(why) = &rendered {
            self.handled_deletes += 1;
            self.unsent += 1;
            self.intake.notes.push(RecordNote {
                key: Shown(self.table.key(place)).to_string(),
                verdict: Verdict::Invalid,
                operation: Some(Operation::Delete),
                code: Some("unencodable".to_owned()),
                message: Some(format!("it cannot be deleted: {why}")),
            });
        }
        rendered.ok()
    }

    fn render_delete(&self, encoder: &Encoder, place: Place) -> Result<Late, String> {
        let bytes = self.table.key(place);
        let values = key::values(bytes).ok_or("its key cannot be read")?;
        let mut fragment = Vec::new();
        let value = |field: usize| self.prepared.columns.value_of_key(&values, field);
        let rendered = encoder.render(value, &mut fragment).map_err(|error| error.to_string())?;
        let entry = self.entry(place);
        let repeats = self.repeats(&entry);
        Ok(Late {
            key: bytes.to_vec(),
            hash: key::hash(bytes),
            fingerprint: 0,
            fragment,
            target_len: rendered.target_len,
            repeats: repeats.map(|doubt| (doubt.batch, doubt.index, doubt.number)),
            is_retry: is_refused(&entry),
            needs_proof: false,
        })
    }

    fn entry(&self, place: Place) -> Entry {
        self.table.entry(place, self.prepared.snapshot.header().epoch)
    }

    /// The doubt of a delete that has no answer yet, and is asked for again under its number.
    fn repeats(&self, entry: &Entry) -> Option<Doubt> {
        let floor = self.prepared.snapshot.header().reuse_floor;
        let has_number =
            |doubt: &Doubt| doubt.number >= floor && doubt.has_number_for(Operation::Delete, 0);
        entry.doubt.filter(has_number).filter(|_| !is_refused(entry))
    }

    /// The counts as they stand; they add up once nothing is waiting or in flight.
    pub fn tally(&self) -> Tally {
        let counts = self.delivery.counts();
        let read = self.intake.counts.tally();
        let late: usize = self.late.iter().map(|group| group.len()).sum();
        let waiting = (self.intake.lane.len() + late) as u64;
        let deletes = (self.removals.delete.len() as u64).saturating_sub(self.handled_deletes);
        let mut tally = Tally {
            delivered: counts.delivered,
            rejected: counts.rejected,
            unknown: counts.unknown,
            unsent: read.unsent + counts.unsent + self.unsent + waiting + deletes,
            deleted: counts.deleted,
            requests: counts.requests,
            retries: counts.retries,
            ..read
        };
        self.removals.count(&mut tally);
        tally
    }

    /// Folds the journal into the next generation; closes the epoch where it was confirmed and the run was not stopped.
    ///
    /// # Errors
    /// The commit failed; the next run recovers.
    pub async fn commit(
        &mut self,
        end: &End,
        tally: &Tally,
        was_stopped: bool,
    ) -> Result<(), Error> {
        let is_complete = matches!(end, End::Proven) && tally.check().is_ok();
        let has_rest = tally.unsent + tally.unknown > 0;
        let is_confirmed = is_complete && !has_rest && !was_stopped;
        let are_released_done =
            is_complete && !has_rest && self.removals.deferred == 0 && tally.rejected == 0;
        let baseline = prepare::baseline(&self.prepared, self.run, Some(self.invalid_keys()));
        let (run, held, causes) = (self.run, tally.held, self.removals.causes.clone());
        let (is_sorted, next_batch) = (self.is_sorted, self.delivery.next_batch());
        self.intake.forget_keys();
        let snapshot = &mut self.prepared.snapshot;
        blocking(|| {
            snapshot.journal().write()?;
            snapshot.commit(|header| {
                header.next_batch = next_batch;
                header.definition = Some(baseline.definition.clone());
                header.is_epoch_open &= !is_confirmed;
                if is_sorted {
                    header.hold = (held > 0).then_some(Hold { run, causes, keys: held });
                }
                if is_complete && (held == 0 || points::is_planted("second_bad_read_released")) {
                    header.baseline = Some(baseline);
                }
                if are_released_done {
                    header.releases.clear();
                }
            })
        })?;
        prepare::remember(self.store, &self.prepared.snapshot).await
    }
}

/// The destination refused to delete it.
fn is_refused(entry: &Entry) -> bool {
    entry.rejection.as_ref().is_some_and(|rejection| rejection.operation == Operation::Delete)
}
