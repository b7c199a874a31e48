//! What the beginning of a run makes of the snapshot's header: the kind is chosen, the epoch opened.
//!
//! Not here: where the definition comes from (`prepare`). Guards: header and epoch change in one commit before any intent.

use crate::delta::fingerprint;
use crate::domain::id::{Epoch, IntentNumber};
use crate::domain::kind::{self, Choice, Circumstances, KindReason};
use crate::domain::sync::{Definition, DefinitionChange};
use crate::snapshot::header::{Baseline, Header};
use crate::snapshot::{Error, Snapshot};

/// What a run is asked for, beside its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Force Full Resync.
    pub is_full: bool,
    /// A person says that the snapshot is true of another key or destination than it was made under.
    pub keeps_snapshot: bool,
    /// A person has set an earlier snapshot aside.
    pub is_set_aside: bool,
}

/// The definition changed in a way that only a person can judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    /// A person may say that the snapshot is true all the same.
    pub may_be_kept: bool,
}

/// Chooses the kind of a run under the definition `now`.
///
/// # Errors
/// The definition changed too much.
pub fn choose(header: Option<&Header>, now: &Definition, asked: Asked) -> Result<Choice, Refused> {
    let recorded = header.and_then(|header| {
        let old = header.definition.clone()?;
        // Where no key is known yet, nothing stands in the way of another key.
        Some(if header.entries == 0 { Definition { key: now.key.clone(), ..old } } else { old })
    });
    let change = recorded.map_or(DefinitionChange::None, |old| match asked.keeps_snapshot {
        true => old.change_if_kept(now),
        false => old.change(now),
    });
    let definition = match change {
        DefinitionChange::None => None,
        DefinitionChange::NewEpoch(reason) => Some(reason),
        DefinitionChange::Refused { why, may_be_kept } => {
            return Err(Refused { why, may_be_kept });
        }
    };
    Ok(kind::choose(Circumstances {
        is_first: header.is_none_or(|header| header.epoch == Epoch(0)),
        is_rebaselined: asked.is_set_aside,
        is_epoch_open: header.is_some_and(|header| header.is_epoch_open),
        is_full_requested: asked.is_full,
        definition,
    }))
}

/// Opens the epoch of a full resync that was asked for, before anything can go wrong, so that it is never forgotten.
/// False before the first run, which opens one anyhow.
///
/// # Errors
/// The commit failed.
pub fn force(snapshot: &mut Snapshot) -> Result<bool, Error> {
    let is_forced = snapshot.header().epoch > Epoch(0);
    if is_forced {
        snapshot.commit(open_epoch)?;
    }
    Ok(is_forced)
}

/// The choice of a run whose epoch [`force`] has opened already.
pub fn after_force(choice: Choice) -> Choice {
    let opens_epoch = choice.opens_epoch && choice.reason != KindReason::Requested;
    Choice { opens_epoch, ..choice }
}

/// How a sample differs from a run of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfSample {
    /// Whatever that of a run of all rows would be.
    pub choice: Choice,
    /// Below this number it repeats nothing: content that is said otherwise by now is never repeated under an old number.
    pub reuse_floor: IntentNumber,
    /// It says its records otherwise than the epoch does, and nothing of it counts as the epoch's own.
    pub is_foreign: bool,
}

/// What a sample makes of the choice of a run of all rows.
pub fn of_sample(choice: Choice, header: &Header) -> OfSample {
    let is_foreign = choice.opens_epoch;
    let reuse_floor =
        if is_foreign { IntentNumber(header.next_batch.0) } else { header.reuse_floor };
    OfSample { choice: Choice::SAMPLE, reuse_floor, is_foreign }
}

/// The version of the fingerprints of a run: the latest where it opens an epoch, else that which the snapshot has, as others
/// could not be compared with it.
pub fn fingerprints(header: Option<&Header>, choice: Choice) -> u32 {
    let recorded = header.and_then(|header| header.definition.as_ref());
    recorded.filter(|_| !choice.opens_epoch).map_or(fingerprint::VERSION, |old| old.fingerprints)
}

/// Opens the epoch that the choice demands, in one commit, before any intent. `is_kept`: a person says that the snapshot
/// is true of the definition as it is now.
///
/// # Errors
/// The commit failed; nothing was sent.
pub fn begin(
    snapshot: &mut Snapshot,
    choice: Choice,
    is_kept: bool,
    baseline: Baseline,
) -> Result<(), Error> {
    if !choice.opens_epoch {
        let key = baseline.definition.key.clone();
        let header = snapshot.header();
        // Its numbers became wider, or its times others, and what is sent from now on may be of these.
        let is_retyped = header.definition.as_ref().is_some_and(|known| known.key != key);
        if is_kept || is_retyped || header.contents_from.is_none() {
            snapshot.commit(|header| {
                header.begin_contents();
                if is_kept {
                    header.definition = Some(baseline.definition);
                } else if let Some(known) = &mut header.definition {
                    known.key = key;
                }
            })?;
        }
        return Ok(());
    }
    let is_said_otherwise =
        matches!(choice.reason, KindReason::MappingChanged | KindReason::RenderingChanged);
    snapshot.commit(|header| {
        open_epoch(header);
        header.begin_contents();
        if is_said_otherwise {
            header.reuse_floor = IntentNumber(header.next_batch.0);
        }
        header.definition = Some(baseline.definition.clone());
        header.baseline.get_or_insert(baseline);
    })?;
    Ok(())
}

fn open_epoch(header: &mut Header) {
    header.epoch = Epoch(header.epoch.0 + 1);
    header.is_epoch_open = true;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::id::{BatchNumber, RunId};
    use crate::domain::kind::Kind;
    use crate::snapshot::memory_disk::MemoryDisk;

    fn baseline() -> Baseline {
        let definition = Definition::example();
        let (run, files) = (RunId(1), Vec::new());
        Baseline { run, definition, files, invalid_keys: None, credentials: None }
    }

    const INCREMENTAL: Choice = Choice { reason: KindReason::Usual, ..Choice::SAMPLE };
    const FULL: Choice = Choice {
        kind: Kind::Full,
        reason: KindReason::Requested,
        opens_epoch: true,
        ..Choice::SAMPLE
    };

    #[test]
    fn keys_have_contents_from_the_first_intent_on_that_an_older_program_did_not_make_i7() {
        for choice in [INCREMENTAL, FULL, Choice::SAMPLE] {
            let disk = MemoryDisk::new();
            let open = || Snapshot::open(Arc::new(disk.clone()), "s", None).unwrap();
            let mut snapshot = open();
            // As an older program left it.
            snapshot.commit(|header| header.next_batch = BatchNumber(6)).unwrap();
            assert_eq!(snapshot.header().contents_from, None);
            begin(&mut snapshot, choice, false, baseline()).unwrap();
            // Safe before the first intent.
            let mut snapshot = open();
            assert_eq!(snapshot.header().contents_from, Some(IntentNumber(6)), "{choice:?}");
            snapshot.commit(|header| header.next_batch = BatchNumber(9)).unwrap();
            let generation = snapshot.header().generation;
            begin(&mut snapshot, INCREMENTAL, false, baseline()).unwrap();
            assert_eq!(snapshot.header().generation, generation, "it is said once");
            begin(&mut snapshot, FULL, false, baseline()).unwrap();
            assert_eq!(open().header().contents_from, Some(IntentNumber(6)), "{choice:?}");
        }
    }

    #[test]
    fn what_is_compared_loosely_has_always_had_contents_in_its_keys() {
        let mut snapshot = Snapshot::open(Arc::new(MemoryDisk::new()), "s", None).unwrap();
        snapshot.commit(|header| header.next_batch = BatchNumber(6)).unwrap();
        begin(&mut snapshot, INCREMENTAL, false, baseline()).unwrap();
        let from = [true, false].map(|is_tolerant| snapshot.header().contents_from(is_tolerant));
        assert_eq!(from, [IntentNumber(0), IntentNumber(6)]);
    }
}
