//! When each schedule fires next. Pure: the time is passed in.
//!
//! Ticks that were missed, because the process was away or the clock jumped ahead, are one firing. A clock that is set
//! back is believed: schedules fire by its new time. Not here: what a firing starts.

use std::collections::BTreeMap;

use super::schedule::Schedule;
use crate::domain::id::Instant;
use crate::points::is_planted;

/// In milliseconds: a smaller step back, such as a time server makes, fires nothing twice.
const STEP_BACK: i64 = 60_000;

/// The schedules of all syncs.
#[derive(Debug, Default)]
pub struct Timetable {
    entries: BTreeMap<String, Entry>,
    /// The latest time that was seen.
    seen: Instant,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    next: Option<Instant>,
}

impl Timetable {
    /// Puts a sync on the timetable. `last`: when it last ran or was asked to; what should have fired since is due.
    pub fn add(&mut self, sync: &str, schedule: Schedule, last: Option<Instant>, now: Instant) {
        self.seen = self.seen.max(now);
        let next = schedule.next_after(last.map_or(now, |last| last.min(now)));
        self.entries.insert(sync.to_owned(), Entry { schedule, next });
    }

    /// Takes a sync off the timetable.
    pub fn remove(&mut self, sync: &str) {
        self.entries.remove(sync);
    }

    /// The syncs that are due, once each; they are due again at their next time after `now`.
    pub fn due(&mut self, now: Instant) -> Vec<String> {
        if now.plus(STEP_BACK) < self.seen {
            for entry in self.entries.values_mut() {
                entry.next = entry.schedule.next_after(now);
            }
            self.seen = now;
        }
        self.seen = self.seen.max(now);
        let mut due = Vec::new();
        for (sync, entry) in &mut self.entries {
            if let Some(next) = entry.next.filter(|next| *next <= now) {
                let seen = if is_planted("missed_ticks_fired_each") { next } else { now };
                entry.next = entry.schedule.next_after(seen);
                due.push(sync.clone());
            }
        }
        due
    }

    /// A firing could not be taken in: it is due again at `until`, if not before.
    pub fn put_off(&mut self, sync: &str, until: Instant) {
        if let Some(entry) = self.entries.get_mut(sync) {
            entry.next = Some(entry.next.map_or(until, |next| next.min(until)));
        }
    }

    /// When those that are due at `now` were to fire.
    pub fn overdue(&self, now: Instant) -> BTreeMap<String, Instant> {
        let due = self.entries.iter().filter_map(|(sync, entry)| Some((sync.clone(), entry.next?)));
        due.filter(|(_, next)| *next <= now).collect()
    }

    /// When anything is due next.
    pub fn next(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.next).min()
    }

    /// When this sync is due next.
    pub fn next_of(&self, sync: &str) -> Option<Instant> {
        self.entries.get(sync)?.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    fn hourly(last: Option<Instant>, now: Instant) -> Timetable {
        let mut timetable = Timetable::default();
        timetable.add("crm", Schedule::parse("0 * * * *", "UTC").unwrap(), last, now);
        timetable
    }

    #[test]
    fn a_sync_that_never_ran_waits_for_its_time() {
        let mut timetable = hourly(None, Instant(HOUR + 1));
        assert!(timetable.due(Instant(2 * HOUR - 1)).is_empty());
        assert_eq!(timetable.next(), Some(Instant(2 * HOUR)));
        assert_eq!(timetable.due(Instant(2 * HOUR)), ["crm"]);
        assert!(timetable.due(Instant(2 * HOUR)).is_empty());
        assert_eq!(timetable.next_of("crm"), Some(Instant(3 * HOUR)));
    }

    #[test]
    fn three_days_of_missed_ticks_are_one_firing_d5() {
        let now = Instant(72 * HOUR + MINUTE);
        let mut timetable = hourly(Some(Instant(1)), now);
        assert_eq!(timetable.due(now), ["crm"]);
        assert_eq!(timetable.next(), Some(Instant(73 * HOUR)));
        let mut asleep = hourly(None, Instant(1));
        assert_eq!(asleep.due(now), ["crm"]);
        assert!(asleep.due(now.plus(MINUTE)).is_empty());
    }

    #[test]
    fn missed_ticks_of_an_interval_are_one_firing_and_a_restart_moves_nothing() {
        let started = |last, now| {
            let mut timetable = Timetable::default();
            let every = Schedule::every(std::time::Duration::from_secs(600));
            timetable.add("crm", every, last, now);
            timetable
        };
        let now = Instant(HOUR + 7 * MINUTE);
        let mut timetable = started(Some(Instant(1)), now);
        assert_eq!(timetable.due(now), ["crm"]);
        assert!(timetable.due(now).is_empty());
        assert_eq!(timetable.next(), Some(Instant(HOUR + 10 * MINUTE)));
        assert_eq!(started(Some(now), now.plus(MINUTE)).next(), timetable.next());
        assert_eq!(started(None, now.plus(MINUTE)).next(), timetable.next());
    }

    #[test]
    fn a_sync_that_ran_since_its_last_tick_is_not_due() {
        let now = Instant(HOUR + 2 * MINUTE);
        assert!(hourly(Some(Instant(HOUR + MINUTE)), now).due(now).is_empty());
        assert!(hourly(Some(Instant(90 * HOUR)), now).due(now).is_empty(), "from the future");
    }

    #[test]
    fn a_clock_set_back_is_believed_and_a_small_step_fires_nothing_twice_d4() {
        let mut timetable = hourly(None, Instant(10 * HOUR - 1));
        assert_eq!(timetable.due(Instant(10 * HOUR)), ["crm"]);
        assert!(timetable.due(Instant(10 * HOUR - 500)).is_empty());
        assert!(timetable.due(Instant(10 * HOUR)).is_empty());
        assert!(timetable.due(Instant(5 * HOUR + 1)).is_empty());
        assert_eq!(timetable.next(), Some(Instant(6 * HOUR)));
        assert_eq!(timetable.due(Instant(6 * HOUR)), ["crm"]);
    }

    #[test]
    fn a_firing_that_was_not_taken_in_comes_again_soon() {
        let mut timetable = hourly(None, Instant(HOUR - 1));
        assert_eq!(timetable.due(Instant(HOUR)), ["crm"]);
        timetable.put_off("crm", Instant(HOUR + MINUTE));
        assert!(timetable.due(Instant(HOUR + 1)).is_empty());
        assert_eq!(timetable.due(Instant(HOUR + MINUTE)), ["crm"]);
        assert_eq!(timetable.next(), Some(Instant(2 * HOUR)));
    }
}
