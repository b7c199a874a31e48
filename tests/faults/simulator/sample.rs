//! Samples: runs of chosen rows. They send those whatever the delta says, and nothing else follows from them: no delete, no
//! kind, no epoch, nothing that later reads are judged against. Their receipts count.

use std::collections::BTreeSet;
use std::sync::Arc;

use counterflow::delta::examiner::Scope;
use counterflow::domain::id::{Epoch, IntentNumber};
use counterflow::domain::key::Shown;
use counterflow::domain::kind::Choice;
use counterflow::domain::sync::Definition;
use counterflow::domain::tally::Tally;
use counterflow::domain::value::Value;
use counterflow::engine::line::End;
use counterflow::engine::opening::{self, Asked};
use counterflow::snapshot::header::Header;

use super::fixture::SYNC;
use super::judge::{Broken, Facts, Judge, broken};
use super::plan::Chosen;
use super::session::Halt;
use super::source::{Reading, Row};
use super::world::World;

impl Chosen {
    /// What the examiner is told.
    pub fn scope(&self) -> Scope {
        let shown = |key: &i64| {
            let mut bytes = Vec::new();
            Value::Integer(*key).encode(&mut bytes);
            Shown(&bytes).to_string()
        };
        let named = || Arc::new(self.keys.iter().map(shown).collect());
        Scope::Chosen((!self.is_by_source).then(named))
    }

    /// The rows that the source gives.
    pub fn rows(&self, reading: &Reading) -> Vec<Row> {
        let is_given = |row: &&Row| !self.is_by_source || is_of(&self.keys, row);
        reading.rows.iter().filter(is_given).copied().collect()
    }
}

fn is_of(keys: &BTreeSet<i64>, row: &Row) -> bool {
    row.key.is_some_and(|key| keys.contains(&key))
}

/// As `prepare::prepare` of a sample: its kind, and below which number it repeats nothing.
pub fn choose(
    world: &mut World,
    chosen: &Chosen,
    header: &Header,
    definition: &Definition,
) -> Result<(Choice, IntentNumber), Halt> {
    if header.epoch == Epoch(0) {
        world.count("samples before the first run");
        return Err(Halt::Refused);
    }
    world.count("samples");
    if header.is_epoch_open {
        world.count("samples while an epoch is open");
    }
    if header.hold.is_some() {
        world.count("samples while a hold stands");
    }
    let asked = Asked { is_full: false, keeps_snapshot: false, is_set_aside: false };
    let choice = opening::choose(Some(header), definition, asked)
        .map_err(|refused| Broken { invariant: "I9", what: refused.why })?;
    if choice.opens_epoch {
        world.count("samples under a changed mapping");
        chosen.keys.iter().for_each(|key| world.judge.numbers.forget(*key));
    }
    let opening::OfSample { choice, reuse_floor: floor, .. } = opening::of_sample(choice, header);
    if choice != Choice::SAMPLE {
        broken("I11", "a sample is no iteration of its sync, and has a kind of one")?;
    }
    Ok((choice, floor))
}

/// As `Line::prove` of a sample.
pub fn prove(rows_read: u64) -> End {
    End::of_sample(rows_read, SYNC)
}

impl Facts {
    /// Whether the run is of the key's row.
    pub fn is_chosen(&self, key: i64) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&key))
    }
}

impl Judge {
    /// A sample has committed: `before` and `after` it, the header says the same of the sync. `is_read`: its read came to
    /// its end.
    pub fn sampled(
        &self,
        facts: &Facts,
        tally: &Tally,
        is_read: bool,
        (before, after): (&Header, &Header),
    ) -> Result<(), Broken> {
        let Some(chosen) = &facts.chosen else { return Ok(()) };
        if (before.epoch, before.is_epoch_open) != (after.epoch, after.is_epoch_open) {
            return broken("I11", "a sample opened or closed an epoch");
        }
        if before.baseline != after.baseline || before.definition != after.definition {
            return broken("I13", "later reads are judged against what a sample read");
        }
        if before.hold != after.hold {
            return broken("I13", "a sample changed what is held");
        }
        let rows = facts.reading.rows.iter().filter(|row| is_of(chosen, row)).count() as u64;
        if is_read && tally.rows_read != rows {
            return broken("I10", format!("{} rows read, not {rows}", tally.rows_read));
        }
        Ok(())
    }
}
