//! The deletes of a run, after everything else: those in doubt in their old batches, then the others, then those that were
//! refused before.

use super::Course;
use crate::delivery::Dispatch;
use crate::delta::table::Place;
use crate::destination::Encoder;
use crate::domain::entry::{Doubt, Entry, Operation};
use crate::domain::key;
use crate::engine::late::{Group, Lane, Late};

/// What is handed over in one step.
#[derive(Debug)]
pub(super) enum Deletion {
    /// A repetition of an earlier batch.
    Again(Group),
    One(Place),
}

impl Course {
    /// Draws up the deletes that were sorted, in the order in which they go.
    pub fn queue_deletes(&mut self) {
        let (mut first, mut fresh, mut last) = (Lane::default(), Vec::new(), Vec::new());
        for place in self.removals.delete.clone() {
            let entry = self.entry(place);
            if let Some(Doubt { batch, .. }) = self.repeats(&entry) {
                if !first.has_room() || first.is_cut(batch) {
                    first.cut(batch);
                    self.leave_unsent(1);
                } else if let Some(late) = self.deletion(place) {
                    first.push(late);
                }
            } else if is_refused(&entry) {
                last.push(Deletion::One(place));
            } else {
                fresh.push(Deletion::One(place));
            }
        }
        let (groups, left_out) = first.groups(true);
        self.leave_unsent(left_out);
        self.deletes = groups.into_iter().map(Deletion::Again).chain(fresh).chain(last).collect();
    }

    /// So many deletes wait for the next run: a batch in doubt for which there is no room stays in doubt as a whole.
    fn leave_unsent(&mut self, deletes: u64) {
        self.handled_deletes += deletes;
        self.unsent += deletes;
    }

    pub fn has_deletes(&self) -> bool {
        !self.deletes.is_empty()
    }

    /// Hands over the next delete, or the next of their old batches.
    pub fn push_delete(&mut self, dispatch: &mut Dispatch) {
        match self.deletes.pop_front() {
            Some(Deletion::Again(group)) => {
                self.handled_deletes += group.len() as u64;
                group.push(Operation::Delete, dispatch);
            }
            Some(Deletion::One(place)) => {
                if let Some(late) = self.deletion(place) {
                    self.handled_deletes += 1;
                    dispatch.push(Operation::Delete, &late.item());
                }
            }
            None => {}
        }
    }

    /// The delete of a removed key. A record that cannot be named in one, as those of an older definition may be, is unsent
    /// and said so; no run can change that, and no epoch waits for it.
    fn deletion(&mut self, place: Place) -> Option<Late> {
        let encoder = self.destination.encoder(Operation::Delete);
        let rendered = self.render(encoder.expect("a mirror declares its delete"), place);
        if let Err(why) = &rendered {
            self.leave_unsent(1);
            self.unnameable += 1;
            let message = format!("it cannot be deleted: {why}");
            let key = self.table.key(place);
            self.intake.note(key, Some(Operation::Delete), "unencodable", &message);
        }
        rendered.ok()
    }

    fn render(&self, encoder: &Encoder, place: Place) -> Result<Late, String> {
        let bytes = self.table.key(place);
        let values = key::values(bytes).ok_or("its key cannot be read")?;
        let (fields, now) = (values.len(), self.columns.key.len());
        if fields != now {
            return Err(format!("its key has {fields} fields, that of the sync has {now} now"));
        }
        let mut fragment = Vec::new();
        let value = |field: usize| self.columns.value_of_key(&values, field);
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
        self.table.entry(place, self.epoch)
    }

    /// The doubt of a delete that has no answer yet, and is asked for again under its number.
    fn repeats(&self, entry: &Entry) -> Option<Doubt> {
        let has_number = |doubt: &Doubt| {
            doubt.number >= self.reuse_floor && doubt.has_number_for(Operation::Delete, 0)
        };
        entry.doubt.filter(has_number)
    }
}

/// The destination refused to delete it.
fn is_refused(entry: &Entry) -> bool {
    entry.rejection.as_ref().is_some_and(|rejection| rejection.operation == Operation::Delete)
}
