//! The deletes of a run, after everything else: those in doubt in their old batches, then the others, then those that were
//! refused before.

use std::collections::VecDeque;

use super::Course;
use crate::delivery::Dispatch;
use crate::destination::Encoder;
use crate::domain::entry::Operation;
use crate::domain::id::{BatchNumber, IntentNumber};
use crate::domain::key;
use crate::engine::gone::Removal;
use crate::engine::late::{Group, Lane, Late};
use crate::engine::removals::Deletes;
use crate::spill::Error;

/// Deletes that are looked at before whoever drives this hears of something else.
const STRIDE: usize = 1 << 10;

/// How far the deletes have come.
#[derive(Debug, Default)]
pub(super) struct Queue {
    turn: Turn,
    /// Repetitions of earlier batches.
    again: VecDeque<Group>,
    deletes: Deletes,
    /// Some were refused before.
    has_refused: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Over,
    Again,
    Fresh,
    Refused,
}

impl Course {
    /// Draws up the deletes that were sorted, in the order in which they go; none where it was stopped before the last. Blocks.
    ///
    /// # Errors
    /// Those that did not fit into memory cannot be read.
    pub fn queue_deletes(&mut self, is_stopped: impl Fn() -> bool) -> Result<(), Error> {
        let (mut first, mut deletes, mut has_refused) =
            (Lane::default(), Deletes::default(), false);
        for looked_at in 1_usize.. {
            let Some(removal) = self.removals.next_delete(&mut deletes)? else { break };
            if looked_at.is_multiple_of(STRIDE) && is_stopped() {
                return Ok(());
            }
            if let Some((batch, ..)) = self.repeats(&removal) {
                if !first.has_room() || first.is_cut(batch) {
                    first.cut(batch);
                    self.leave_unsent(1);
                } else if let Some(late) = self.deletion(&removal) {
                    first.push(late);
                }
            } else {
                has_refused |= removal.is_refused;
            }
        }
        let (again, left_out) = first.groups(true);
        self.leave_unsent(left_out);
        let turn = if self.removals.deletes() > 0 { Turn::Again } else { Turn::Over };
        self.queue = Queue { turn, again, deletes: Deletes::default(), has_refused };
        Ok(())
    }

    /// So many deletes wait for the next run: a batch in doubt for which there is no room stays in doubt as a whole.
    fn leave_unsent(&mut self, deletes: u64) {
        self.handled_deletes += deletes;
        self.unsent += deletes;
    }

    /// Whether [`Course::push_delete`] may still have one.
    pub fn has_deletes(&self) -> bool {
        self.queue.turn != Turn::Over
    }

    /// Hands over the next delete, or the next of their old batches; none where those that it looked at have another turn.
    ///
    /// # Errors
    /// As [`Course::queue_deletes`].
    pub fn push_delete(&mut self, dispatch: &mut Dispatch) -> Result<(), Error> {
        if self.queue.turn == Turn::Again {
            if let Some(group) = self.queue.again.pop_front() {
                self.handled_deletes += group.len() as u64;
                group.push(Operation::Delete, dispatch);
                return Ok(());
            }
            self.queue.turn = Turn::Fresh;
        }
        let is_refused = self.queue.turn == Turn::Refused;
        for _ in 0..STRIDE {
            let Some(removal) = self.removals.next_delete(&mut self.queue.deletes)? else {
                self.queue.deletes = Deletes::default();
                let has_more = self.queue.turn == Turn::Fresh && self.queue.has_refused;
                self.queue.turn = if has_more { Turn::Refused } else { Turn::Over };
                return Ok(());
            };
            if removal.is_refused == is_refused && self.repeats(&removal).is_none() {
                if let Some(late) = self.deletion(&removal) {
                    self.handled_deletes += 1;
                    dispatch.push(Operation::Delete, &late.item());
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// The delete of a removed key. A record that cannot be named in one, as those of an older definition may be, is unsent
    /// and said so; no run can change that, and no epoch waits for it.
    fn deletion(&mut self, removal: &Removal) -> Option<Late> {
        let encoder = self.destination.encoder(Operation::Delete);
        let rendered = self.render(encoder.expect("a mirror declares its delete"), removal);
        if let Err(why) = &rendered {
            self.leave_unsent(1);
            self.unnameable += 1;
            let message = format!("it cannot be deleted: {why}");
            self.intake.note(&removal.key, Some(Operation::Delete), "unencodable", &message);
        }
        rendered.ok()
    }

    fn render(&self, encoder: &Encoder, removal: &Removal) -> Result<Late, String> {
        let bytes = &removal.key[..];
        let values = key::values(bytes).ok_or("its key cannot be read")?;
        let (fields, now) = (values.len(), self.columns.key.len());
        if fields != now {
            return Err(format!("its key has {fields} fields, that of the sync has {now} now"));
        }
        let mut fragment = Vec::new();
        let value = |field: usize| self.columns.value_of_key(&values, field);
        let rendered = encoder.render(value, &mut fragment).map_err(|error| error.to_string())?;
        Ok(Late {
            key: bytes.to_vec(),
            hash: key::hash(bytes),
            fingerprint: 0,
            fragment,
            target_len: rendered.target_len,
            repeats: self.repeats(removal),
            is_retry: removal.is_refused,
            needs_proof: false,
        })
    }

    /// A delete that has no answer yet is asked for again under its number, unless that is too old.
    fn repeats(&self, removal: &Removal) -> Option<(BatchNumber, u32, IntentNumber)> {
        removal.repeats.filter(|(.., number)| *number >= self.reuse_floor)
    }
}
