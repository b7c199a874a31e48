//! Models with a cursor: which rows a run reads of the source, and what its bound may hide.
//!
//! The judge knows the source: each row that the next restricted read would not meet is at the destination, or in doubt or
//! rejected, and then asked for by its key; save what was written later than the overlap allows, and what a whole read is to
//! find again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use counterflow::domain::cursor::{self as rule, Circumstances, Cursor, CursorKind, Overlap};
use counterflow::domain::entry::Entry;
use counterflow::domain::id::Instant;
use counterflow::domain::kind::{Choice, Kind};
use counterflow::engine::extent::{Noted, asked_for};
use counterflow::engine::skipping::Begun;
use counterflow::snapshot::Snapshot;
use counterflow::snapshot::header::Header;
use counterflow::source::Met;

use super::chance::Chance;
use super::fixture;
use super::judge::{Broken, Entries, broken};
use super::plan::Run;
use super::session::Halt;
use super::source::{Reading, Row};
use super::world::World;

const MINUTE: i64 = 60_000_000;
/// How far the clock of the source is behind UTC, in milliseconds, where its times have no zone.
const BEHIND: i64 = 5 * 60 * 60 * 1_000;

/// The cursor of the model of a history.
#[derive(Debug, Clone, Copy)]
pub struct Rises {
    kind: CursorKind,
    /// In values of the cursor, where the config says it.
    overlap: Option<i64>,
}

impl Rises {
    pub fn any(chance: &mut Chance) -> Option<Rises> {
        let kinds = [CursorKind::Integer, CursorKind::Timestamp, CursorKind::LocalTimestamp];
        let kind = chance.pick(&kinds);
        let said = if kind == CursorKind::Integer { 2 } else { 60 * MINUTE };
        let overlap = chance.percent(50).then_some(said);
        chance.percent(35).then_some(Rises { kind, overlap })
    }

    pub fn cursor(self) -> Cursor {
        let overlap = self.overlap.map(|overlap| match self.kind {
            CursorKind::Integer => Overlap::Number(overlap.unsigned_abs()),
            _ => Overlap::Time(Duration::from_micros(overlap.unsigned_abs())),
        });
        let full_every = Duration::from_secs(24 * 60 * 60);
        Cursor { column: "changed".to_owned(), overlap, full_every, time_zone: None }
    }

    /// How late a row may be written and still be read.
    pub fn overlap(self) -> i64 {
        self.overlap.unwrap_or(match self.kind {
            CursorKind::Integer => 0,
            CursorKind::LocalTimestamp => 70 * MINUTE,
            _ => 10 * MINUTE,
        })
    }

    /// What a row has that is written at this time of the world's clock; `number` counts the changes of the source.
    pub fn now(self, clock: i64, number: i64) -> i64 {
        match self.kind {
            CursorKind::Integer => number,
            CursorKind::LocalTimestamp => (clock - BEHIND) * 1_000,
            _ => clock * 1_000,
        }
    }

    /// So many steps from now; a number is never of the future, as one that is far too large hides all below it.
    pub fn shifted(self, now: i64, steps: i8) -> i64 {
        match self.kind {
            CursorKind::Integer => now + i64::from(steps.min(0)),
            _ => now + i64::from(steps) * 40 * MINUTE,
        }
    }

    fn column(self, rows: &[Row]) -> ArrayRef {
        let values = rows.iter().map(|row| row.changed);
        match self.kind {
            CursorKind::Integer => Arc::new(values.collect::<Int64Array>()),
            CursorKind::Timestamp => {
                Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            _ => Arc::new(values.collect::<TimestampMicrosecondArray>()),
        }
    }

    /// The run reads these rows.
    pub fn meet(self, rows: &[Row], noted: &Noted) {
        noted.met.meet(&self.column(rows)).expect("the column is a cursor");
    }
}

/// As `engine::extent::compare`: what a run reads, and what it notes of the cursor.
pub fn read(
    world: &mut World,
    run: &Run,
    snapshot: &Snapshot,
    choice: Choice,
    begun: &Begun,
) -> Result<(Reading, Option<Noted>), Halt> {
    let whole = world.source.read(&world.setting);
    let Some(rises) = world.setting.cursor.filter(|_| run.chosen.is_none()) else {
        return Ok((whole, None));
    };
    let (header, now, cursor) = (snapshot.header(), Instant(world.clock), rises.cursor());
    let circumstances = Circumstances {
        reached: header.cursor.as_ref(),
        is_full: run.is_full,
        is_epoch_open: header.is_epoch_open,
        is_kept: false,
        now,
    };
    let noted = |is_restricted| {
        let met = Met::new(rises.kind, is_restricted);
        Some(Noted { met, clock: cursor.clock(rises.kind, now), began: now })
    };
    let since = cursor.since(circumstances).ok().zip(header.cursor.as_ref());
    let since =
        since.filter(|(_, reached)| rule::check_opened(reached, &begun.of_bound(), choice).is_ok());
    let keys = asked_for(snapshot.view(), &|| false)?;
    let (Some((from, _)), Ok(keys)) = (since, keys) else {
        world.count("reads of everything by a cursor");
        return Ok((whole, noted(false)));
    };
    if choice.kind == Kind::Full {
        broken("I11", "a full run reads no more than what is new")?;
    }
    let keys: BTreeSet<i64> = keys.iter().map(|key| fixture::id(key)).collect();
    for (key, entry) in super::judge::entries(snapshot.view())? {
        if is_open(&entry) && !keys.contains(&key) {
            broken("I2", format!("key {key} is not settled, and is not asked for"))?;
        }
    }
    world.count("reads of what is new by a cursor");
    if keys.iter().any(|key| whole.met.contains(key)) {
        world.count("rows asked for by their keys");
    }
    let is_read = |row: &&Row| {
        let is_new = row.changed.is_none_or(|changed| changed >= from.at);
        is_new || row.key.is_some_and(|key| keys.contains(&key))
    };
    let rows = whole.rows.iter().filter(is_read).copied().collect();
    Ok((Reading::of(rows, whole.files, &world.setting), noted(true)))
}

fn is_open(entry: &Entry) -> bool {
    entry.doubt.is_some() || entry.rejection.is_some()
}

/// I2: a restricted read would miss nothing, as the source is now.
pub fn hides_nothing(
    world: &World,
    begun: &Begun,
    header: &Header,
    entries: &Entries,
) -> Result<(), Broken> {
    let (Some(rises), Some(reached)) = (world.setting.cursor, &header.cursor) else {
        return Ok(());
    };
    if reached.definition != begun.of_bound() || header.is_epoch_open {
        return Ok(());
    }
    let from = reached.bound.at.saturating_sub(rises.overlap());
    let is_hidden = |row: &&Row| row.changed.is_some_and(|changed| changed < from);
    let reading = world.source.read(&world.setting);
    for key in reading.rows.iter().filter(is_hidden).filter_map(|row| row.key) {
        let Some(value) = reading.valid.get(&key) else { continue };
        let is_excused = world.source.late.contains(&key) || world.target.overtaken.contains(&key);
        if is_excused || entries.get(&key).is_some_and(is_open) {
            continue;
        }
        let wanted = fixture::content(world.mapping, key, *value);
        let there = world.target.held.get(&key).map(|held| held.content.as_str());
        if there != Some(wanted.as_str()) {
            let what = format!("the bound hides key {key}, which is {there:?} and not {wanted}");
            return broken("I2", what);
        }
    }
    Ok(())
}

/// A run has committed: whether its bound moved, and no further than what was read.
pub fn moved(
    world: &mut World,
    (before, after): (&Header, &Header),
    reading: &Reading,
    begun: &Begun,
    entries: &Entries,
) -> Result<(), Broken> {
    if world.setting.cursor.is_none() {
        return Ok(());
    }
    let at = |header: &Header| header.cursor.as_ref().map(|reached| reached.bound.at);
    let largest = reading.rows.iter().filter_map(|row| row.changed).max();
    if at(after) > at(before).max(largest) {
        return broken("I2", "the bound is beyond all that was read");
    }
    let runs = |header: &Header| header.cursor.as_ref().map(|reached| reached.run);
    let has_moved = runs(after).is_some() && runs(after) != runs(before);
    world.count(if has_moved { "bounds that moved" } else { "bounds that stayed" });
    if has_moved && after.cursor.as_ref().is_some_and(|reached| reached.whole_at.0 == world.clock) {
        // Whatever was late has been read.
        world.source.late.clear();
    }
    hides_nothing(world, begun, after, entries)
}
