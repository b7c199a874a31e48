//! What happens in one history, spelled out: the schedule that a seed expands to, and that shrinking makes smaller.
//!
//! Not here: what follows from it. Everything in a plan may be left out and the rest still plays.

use std::collections::BTreeSet;

use counterflow::destination::definition::Repeat;
use counterflow::domain::guard::MaxDeletes;
use counterflow::domain::sync::Mode;
use counterflow::engine::memory::Shares;

use super::chance::Chance;
use super::cursor::Rises;

/// Room for all keys of a history.
pub const ENOUGH: Room = Room { keys: 1 << 20, filter: 0, table: usize::MAX };

/// Bytes of the [`Shares`] of the memory that a history has.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub keys: usize,
    filter: usize,
    pub table: usize,
}

impl Room {
    pub fn shares(self) -> Shares {
        let Room { keys, filter, table } = self;
        Shares { keys, filter, table, ..Shares::of(0) }
    }
}

/// A history to be played.
#[derive(Debug, Clone)]
pub struct Plan {
    pub setting: Setting,
    pub steps: Vec<Step>,
}

/// What stays the same over a history.
#[derive(Debug, Clone)]
pub struct Setting {
    pub mode: Mode,
    pub guard: MaxDeletes,
    pub repeat: Repeat,
    /// Records in a batch.
    pub batch: u32,
    pub concurrency: u32,
    /// Rows in a chunk.
    pub chunk: usize,
    /// A pass over the keys comes before the read.
    pub checks_keys_first: bool,
    /// The delivered key is not the model's primary key.
    pub has_primary: bool,
    /// The destination names the record at fault; else it refuses the whole request.
    pub answers_by_record: bool,
    pub keys: i64,
    pub files: u32,
    /// For what is remembered of the keys of a read, and for a part of the snapshot.
    pub room: Room,
    /// Of the model, in some histories of syncs that only upsert.
    pub cursor: Option<Rises>,
}

/// One thing that happens between runs, or a run.
#[derive(Debug, Clone)]
pub enum Step {
    Edit(Edit),
    Run(Run),
    /// A person says yes to what is held, or gives it up. The disk may fail at an operation meanwhile.
    Decide {
        is_release: bool,
        crash: Option<(u64, Loss)>,
    },
    /// The wall clock jumps, in milliseconds.
    Clock(i64),
}

/// A change of the source, the definition or the destination's mind.
#[derive(Debug, Clone)]
pub enum Edit {
    /// The row of a key has this value; there was one or not.
    Put(i64, u8),
    /// As that, with a cursor so many steps from now, or none.
    Stamp(i64, u8, Option<i8>),
    Remove(i64),
    RemoveAll,
    /// The row comes twice, or once again.
    Repeat(i64, bool),
    /// The row has a value without a form in a request.
    Spoil(i64),
    /// So many rows without a key.
    Nulls(u32),
    /// The row has no primary key, or has one again.
    NullPrimary(i64, bool),
    /// The row has the primary key of another.
    SharePrimary(i64, Option<i64>),
    /// The file is gone, or back.
    Vanish(u32, bool),
    /// The destination refuses rows with this value, or takes them again.
    Poison(u8, bool),
    /// The destination refuses to delete the key, or does it again.
    Stick(i64, bool),
    /// A field has the other name.
    Mapping,
    Sql,
    Mode,
}

/// A run, and what befalls it.
#[derive(Debug, Clone)]
pub struct Run {
    pub is_full: bool,
    /// Only these rows, if it is a sample.
    pub chosen: Option<Chosen>,
    /// Of the order of chunks, syncs and answers.
    pub seed: u64,
    pub troubles: Vec<Trouble>,
}

/// The rows of a sample.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub keys: BTreeSet<i64>,
    /// By a condition that the source heeds; else all rows are read, and the keys are picked out of them.
    pub is_by_source: bool,
}

#[derive(Debug, Clone)]
pub enum Trouble {
    /// The answer to the n-th request that is answered, from 0.
    Answer {
        request: u32,
        how: How,
    },
    /// The process ends at a tick.
    Crash {
        tick: u32,
        loss: Loss,
    },
    /// The process ends at an operation of the disk, half done.
    CrashOnDisk {
        operation: u64,
        loss: Loss,
    },
    /// The disk fails at an operation, and the process lives.
    DiskFails {
        operation: u64,
        is_lasting: bool,
    },
    Stop {
        tick: u32,
        is_now: bool,
    },
    /// The drain's limit passes before the answers come.
    Overdue,
    /// The files changed during the read.
    Unproven,
    /// The read fails after so many chunks.
    ReadFails {
        chunk: u32,
    },
}

/// What of the unsynced bytes and names is lost with the process.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    /// A kill: nothing.
    Nothing,
    /// A power cut: everything.
    All,
    /// A power cut that tears: some names, and the first bytes of each file.
    Torn { seed: u64, bytes: usize },
    /// A power cut that wrote some pages, in any order.
    Pages { seed: u64, page: usize },
}

/// How much of a request without a receipt was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    None,
    Half,
    All,
}

#[derive(Debug, Clone, Copy)]
pub enum How {
    /// No answer.
    Lost(Part),
    /// No answer, and applied so many ticks later.
    Late(u64),
    /// 5xx.
    Unavailable(Part),
    /// 429.
    Busy,
    Unreachable,
    /// 413 for more than one record.
    TooLarge,
    /// Records to be sent again, by the bits.
    AgainByRecord(u32),
    /// Records refused this once, by the bits.
    RejectByRecord(u32),
    /// Applied, but the answer has a result too many.
    WrongCount,
    Unauthorised,
    Forbidden(Part),
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let mut chance = Chance::new(seed);
        let mut setting = Setting::any(&mut chance);
        setting.room = Setting::any_room(&mut Chance::new(!seed));
        let mut steps = Vec::new();
        for key in 0..setting.keys {
            if chance.percent(85) {
                steps.push(Step::Edit(Edit::Put(key, chance.value())));
            }
        }
        for _ in 0..chance.number(3..8) {
            for _ in 0..chance.number(0..5) {
                steps.push(Step::Edit(Edit::any(&setting, &mut chance)));
            }
            if chance.percent(8) {
                let hours = i64::from(chance.number(0..60)) - 20;
                steps.push(Step::Clock(hours * 3_600_000));
            }
            if chance.percent(20) {
                steps.push(Step::Run(Run::sample(&setting, &mut chance)));
                for _ in 0..chance.number(0..3) {
                    steps.push(Step::Edit(Edit::any(&setting, &mut chance)));
                }
            }
            steps.push(Step::Run(Run::any(&mut chance)));
            if chance.percent(20) {
                steps.push(Step::Run(Run::in_part(&mut chance)));
            }
            if chance.percent(30) {
                let crash = chance
                    .percent(15)
                    .then(|| (u64::from(chance.number(0..40)), Loss::any(&mut chance)));
                steps.push(Step::Decide { is_release: chance.percent(60), crash });
            }
        }
        let mut chance = Chance::new(seed.rotate_left(32));
        setting.cursor = Rises::any(&mut chance);
        if setting.cursor.is_some() {
            setting.mode = Mode::Upsert;
            steps.iter_mut().for_each(|step| step.stamp(&mut chance));
        }
        Plan { setting, steps }
    }
}

impl Step {
    /// Now and then a row is written with a cursor of another time, or with none.
    fn stamp(&mut self, chance: &mut Chance) {
        if let Step::Edit(Edit::Put(key, value)) = *self
            && chance.percent(40)
        {
            let steps = chance.pick(&[-3, -2, -1, -1, 1, 2, 3]);
            *self = Step::Edit(Edit::Stamp(key, value, chance.percent(85).then_some(steps)));
        }
    }
}

impl Setting {
    fn any(chance: &mut Chance) -> Setting {
        Setting {
            mode: if chance.percent(75) { Mode::Mirror } else { Mode::Upsert },
            guard: match chance.below(4) {
                0 => MaxDeletes::Default,
                1 => MaxDeletes::Rows(u64::from(chance.number(0..3))),
                2 => MaxDeletes::BasisPoints(chance.number(0..4) * 2_500),
                _ => MaxDeletes::Rows(100),
            },
            repeat: chance.pick(&[Repeat::Natural, Repeat::Key, Repeat::Never]),
            batch: chance.number(1..5),
            concurrency: chance.number(1..4),
            chunk: chance.below(4) + 1,
            checks_keys_first: chance.percent(20),
            has_primary: chance.percent(25),
            answers_by_record: chance.percent(60),
            keys: i64::from(chance.number(3..10)),
            files: chance.number(1..4),
            room: ENOUGH,
            cursor: None,
        }
    }

    /// In some histories there is no room for the keys of a read, or for a few, in some none for the snapshot as a whole.
    fn any_room(chance: &mut Chance) -> Room {
        let keys = chance.pick(&[0, 0, 150, 300]);
        let filter = chance.pick(&[0, 64]);
        let table = chance.pick(&[usize::MAX, 400, 1]);
        if chance.percent(50) { Room { table, ..ENOUGH } } else { Room { keys, filter, table } }
    }
}

impl Chance {
    /// Few values, so that rows return to older ones.
    fn value(&mut self) -> u8 {
        self.pick(&[0, 1, 2, 3])
    }
}

impl Edit {
    fn any(setting: &Setting, chance: &mut Chance) -> Edit {
        let key = i64::from(chance.number(0..10)) % setting.keys;
        let is_on = chance.percent(60);
        match chance.below(40) {
            0..18 => Edit::Put(key, chance.value()),
            18..25 => Edit::Remove(key),
            25 => Edit::RemoveAll,
            26 | 27 => Edit::Repeat(key, is_on),
            28 => Edit::Spoil(key),
            29 => Edit::Nulls(chance.number(0..3)),
            30 if setting.has_primary => Edit::NullPrimary(key, is_on),
            31 if setting.has_primary => {
                Edit::SharePrimary(key, is_on.then_some((key + 1) % setting.keys))
            }
            32 | 33 => Edit::Vanish(chance.number(0..setting.files), is_on),
            34 | 35 => Edit::Poison(chance.value(), is_on),
            36 => Edit::Stick(key, is_on),
            37 if chance.percent(50) => Edit::Mapping,
            38 if chance.percent(30) => Edit::Sql,
            39 if chance.percent(30) => Edit::Mode,
            _ => Edit::Put(key, chance.value()),
        }
    }
}

impl Run {
    fn any(chance: &mut Chance) -> Run {
        let count = chance.pick(&[0, 0, 1, 1, 1, 2, 2, 3]);
        let mut troubles: Vec<Trouble> = (0..count).map(|_| Trouble::any(chance)).collect();
        let is_drained = |trouble: &Trouble| matches!(trouble, Trouble::Stop { is_now: false, .. });
        if troubles.iter().any(is_drained) && chance.percent(30) {
            troubles.push(Trouble::Overdue);
        }
        Run { is_full: chance.percent(10), chosen: None, seed: chance.next(), troubles }
    }

    /// Nothing befalls it, and it wants what has changed.
    pub fn plain(seed: u64) -> Run {
        Run { is_full: false, chosen: None, seed, troubles: Vec::new() }
    }

    /// Meets some of the rows that the run before it may have left in doubt, and not the others.
    fn in_part(chance: &mut Chance) -> Run {
        let fails = Trouble::ReadFails { chunk: chance.number(1..4) };
        Run { troubles: vec![fails], ..Run::plain(chance.next()) }
    }

    fn sample(setting: &Setting, chance: &mut Chance) -> Run {
        let mut key = |_| i64::from(chance.number(0..10)) % setting.keys;
        let keys = (0..3).map(&mut key).collect();
        let chosen = Chosen { keys, is_by_source: chance.percent(50) };
        Run { is_full: false, chosen: Some(chosen), ..Run::any(chance) }
    }
}

impl Trouble {
    fn any(chance: &mut Chance) -> Trouble {
        let tick = chance.number(0..50);
        match chance.below(21) {
            0..10 => Trouble::Answer { request: chance.number(0..6), how: How::any(chance) },
            10..13 => Trouble::Crash { tick, loss: Loss::any(chance) },
            13..16 => {
                let operation = u64::from(chance.number(0..120));
                Trouble::CrashOnDisk { operation, loss: Loss::any(chance) }
            }
            16 => Trouble::DiskFails {
                operation: u64::from(chance.number(0..120)),
                is_lasting: chance.percent(50),
            },
            17 | 18 => Trouble::Stop { tick, is_now: chance.percent(30) },
            19 => Trouble::Unproven,
            _ => Trouble::ReadFails { chunk: chance.number(0..5) },
        }
    }
}

impl Loss {
    fn any(chance: &mut Chance) -> Loss {
        match chance.below(6) {
            0 | 1 => Loss::Nothing,
            2 | 3 => Loss::All,
            4 => Loss::Torn { seed: chance.next(), bytes: chance.below(200) },
            _ => Loss::Pages { seed: chance.next(), page: chance.pick(&[16, 64, 512]) },
        }
    }
}

impl How {
    fn any(chance: &mut Chance) -> How {
        let part = chance.pick(&[Part::None, Part::Half, Part::All]);
        let bits = chance.number(1..16);
        match chance.below(15) {
            0..4 => How::Lost(part),
            4 | 5 => How::Late(u64::from(chance.number(1..80))),
            6 => How::Unavailable(part),
            7 => How::Busy,
            8 => How::Unreachable,
            9 => How::TooLarge,
            10 => How::AgainByRecord(bits),
            11 => How::RejectByRecord(bits),
            12 => How::WrongCount,
            13 => How::Unauthorised,
            _ => How::Forbidden(part),
        }
    }
}
