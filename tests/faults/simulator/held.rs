//! I1 and I2: what the destination holds after a run, against what the run read.

use counterflow::domain::entry::Entry;
use counterflow::domain::sync::Mode;
use counterflow::snapshot::header::Header;

use super::fixture;
use super::judge::{Broken, Entries, Facts, Judge, broken};
use super::target::Target;

impl Judge {
    /// I2: a proven run that was not stopped leaves what it read, save the keys that the snapshot names.
    pub fn named(&self, facts: &Facts, after: &Entries, target: &Target) -> Result<(), Broken> {
        let is_named = |key: &i64| {
            after.get(key).is_some_and(|entry| {
                entry.rejection.is_some()
                    || entry.doubt.is_some()
                    || entry.waiver.is_some()
                    || entry.held.is_some()
            })
        };
        for (key, value) in &facts.reading.valid {
            if !facts.is_chosen(*key) || is_named(key) || target.overtaken.contains(key) {
                continue;
            }
            let wanted = fixture::content(facts.mapping, *key, *value);
            let there = target.held.get(key).map(|held| held.content.as_str());
            if there != Some(wanted.as_str()) {
                let what = format!("key {key} is {there:?}, not {wanted}, and is not named");
                return broken("I2", what);
            }
        }
        let ours = target.held.keys().filter(|key| !self.is_excused(**key, target));
        let mut gone = ours.filter(|key| !facts.reading.met.contains(key) && !is_named(key));
        let is_mirror = facts.now.mode == Mode::Mirror && facts.chosen.is_none();
        match gone.next().filter(|_| is_mirror) {
            Some(key) => broken("I2", format!("key {key} is there still, and is not named")),
            None => Ok(()),
        }
    }

    /// I1 and I2: behind a run that says that it left nothing to do, the next one may be skipped.
    pub fn rests(
        &self,
        facts: &Facts,
        header: &Header,
        after: &Entries,
        target: &Target,
    ) -> Result<(), Broken> {
        if header.at_rest.is_none() {
            return Ok(());
        }
        let is_open = |entry: &Entry| {
            entry.doubt.is_some() || entry.rejection.is_some() || entry.held.is_some()
        };
        if let Some((key, _)) = after.iter().find(|(_, entry)| is_open(entry)) {
            let what = format!("key {key} is not settled, and the next run may be skipped");
            return broken("I1", what);
        }
        if header.is_epoch_open || header.hold.is_some() || !header.releases.is_empty() {
            return broken("I1", "more is to be done, and the next run may be skipped");
        }
        self.named(facts, after, target)
    }

    /// I1 and I2: the destination holds every valid row that was read.
    pub fn covers(
        &self,
        invariant: &'static str,
        facts: &Facts,
        target: &Target,
    ) -> Result<(), Broken> {
        let is_asked = |key: &i64| facts.is_chosen(*key) && !target.overtaken.contains(key);
        for (key, value) in facts.reading.valid.iter().filter(|(key, _)| is_asked(key)) {
            let wanted = fixture::content(facts.mapping, *key, *value);
            let there = target.held.get(key).map(|held| held.content.as_str());
            if there != Some(wanted.as_str()) {
                return broken(invariant, format!("key {key} should be {wanted} and is {there:?}"));
            }
        }
        Ok(())
    }

    /// I1 of a mirror: it holds nothing else of ours.
    pub fn mirrors(&self, facts: &Facts, target: &Target) -> Result<(), Broken> {
        let ours = target.held.keys().filter(|key| !self.is_excused(**key, target));
        match ours.into_iter().find(|key| !facts.reading.met.contains(key)) {
            Some(key) => broken("I1", format!("key {key} is at the destination still")),
            None => Ok(()),
        }
    }
}
