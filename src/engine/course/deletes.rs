//! The deletes of a run, after everything else: those in doubt in their old batches, then the others, then those that were
//! refused before.

use super::Course;
use crate::delivery::Dispatch;
use crate::delta::table::Place;
use crate::destination::Encoder;
use crate::domain::entry::{Doubt, Entry, Operation};
use crate::domain::key::{self, Shown};
use crate::engine::late::{Group, Lane, Late};
use crate::store::{RecordNote, Verdict};

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
            if self.repeats(&entry).is_some() && first.has_room() {
                if let Some(late) = self.deletion(place) {
                    first.push(late);
                }
            } else if is_refused(&entry) {
                last.push(Deletion::One(place));
            } else {
                fresh.push(Deletion::One(place));
            }
        }
        let (groups, _) = first.groups(true);
        self.deletes = groups.into_iter().map(Deletion::Again).chain(fresh).chain(last).collect();
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
    /// and said so.
    fn deletion(&mut self, place: Place) -> Option<Late> {
        let encoder = self.destination.encoder(Operation::Delete);
        let rendered = self.render(encoder.expect("a mirror declares its delete"), place);
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

    fn render(&self, encoder: &Encoder, place: Place) -> Result<Late, String> {
        let bytes = self.table.key(place);
        let values = key::values(bytes).ok_or("its key cannot be read")?;
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
