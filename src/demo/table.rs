use std::collections::{BTreeMap, BTreeSet};

use super::object::Record;

/// The records of one object, by key, and which of them changed in a request whose answer never arrived.
#[derive(Debug, Default)]
pub struct Table {
    records: BTreeMap<String, Record>,
    unanswered: BTreeSet<String>,
    /// Operations that came again because their answer had been lost, and did no harm.
    absorbed: u64,
}

impl Table {
    pub fn records(&self) -> &BTreeMap<String, Record> {
        &self.records
    }

    pub fn upsert(&mut self, key: &str, record: Record) {
        self.note_repetition(key);
        self.records.insert(key.to_owned(), record);
    }

    /// Whether there was such a record.
    pub fn delete(&mut self, key: &str) -> bool {
        self.note_repetition(key);
        self.records.remove(key).is_some()
    }

    /// Until the answer has left, the other side cannot know what became of these.
    pub fn leave_unanswered<'k>(&mut self, keys: impl IntoIterator<Item = &'k str>) {
        self.unanswered.extend(keys.into_iter().map(str::to_owned));
    }

    pub fn mark_answered<'k>(&mut self, keys: impl IntoIterator<Item = &'k str>) {
        for key in keys {
            self.unanswered.remove(key);
        }
    }

    pub fn unanswered(&self) -> &BTreeSet<String> {
        &self.unanswered
    }

    pub fn absorbed(&self) -> u64 {
        self.absorbed
    }

    /// Loses what `is_lost` says; how many that were.
    pub fn lose(&mut self, mut is_lost: impl FnMut() -> bool) -> usize {
        let before = self.records.len();
        self.records.retain(|_, _| !is_lost());
        before - self.records.len()
    }

    fn note_repetition(&mut self, key: &str) {
        if self.unanswered.remove(key) {
            self.absorbed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_because_its_answer_was_lost_is_counted_once_and_changes_nothing() {
        let mut table = Table::default();
        table.upsert("1", Record::new());
        table.leave_unanswered(["1"]);
        table.upsert("1", Record::new());
        assert_eq!((table.records().len(), table.absorbed()), (1, 1));
        table.leave_unanswered(["1"]);
        table.mark_answered(["1"]);
        table.upsert("1", Record::new());
        assert_eq!(table.absorbed(), 1, "an answered record that comes again is no repetition");
    }

    #[test]
    fn a_delete_says_whether_there_was_something_to_delete() {
        let mut table = Table::default();
        table.upsert("1", Record::new());
        assert!(table.delete("1"));
        table.leave_unanswered(["1"]);
        assert!(!table.delete("1"));
        assert_eq!(table.absorbed(), 1);
    }

    #[test]
    fn what_is_lost_is_gone() {
        let mut table = Table::default();
        for key in ["1", "2", "3"] {
            table.upsert(key, Record::new());
        }
        let mut turns = [true, false, true].into_iter();
        assert_eq!(table.lose(|| turns.next().unwrap()), 2);
        assert_eq!(table.records().keys().collect::<Vec<_>>(), ["2"]);
    }
}
