use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::id::RunId;
use crate::folders;

const FILE: &str = "exported.json";

/// The runs that were exported, as ranges with both ends; rising, and never side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done(Vec<(u64, u64)>);

impl Done {
    /// What is written down in the folder; nothing where it is lost, and all runs are exported once more.
    pub fn read(folder: &Path) -> Done {
        let text = std::fs::read(folder.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes it down, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        folders::replace(&folder.join(FILE), &serde_json::to_vec(self)?, 0o644)
    }

    pub fn contains(&self, run: RunId) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&run.0))
    }

    /// The first run that was not exported.
    pub fn first_left(&self) -> RunId {
        match self.0.first() {
            Some((first, last)) if *first <= 1 => RunId(last + 1),
            _ => RunId(1),
        }
    }

    pub fn add(&mut self, run: RunId) {
        self.0.push((run.0, run.0));
        self.0.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (first, last) in std::mem::take(&mut self.0) {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_ended_in_any_order_are_few_ranges() {
        let mut done = Done::default();
        assert_eq!(done.first_left(), RunId(1));
        for run in [2, 5, 3, 3, 7] {
            done.add(RunId(run));
        }
        assert_eq!((done.first_left(), done.0.len()), (RunId(1), 3));
        [1, 4].into_iter().for_each(|run| done.add(RunId(run)));
        assert_eq!((done.first_left(), &done.0), (RunId(6), &vec![(1, 5), (7, 7)]));
        assert!(done.contains(RunId(7)) && !done.contains(RunId(6)));
        let folder = tempfile::tempdir().unwrap();
        done.write(folder.path()).unwrap();
        assert_eq!(Done::read(folder.path()), done);
        std::fs::write(folder.path().join(FILE), "[[1").unwrap();
        assert_eq!(Done::read(folder.path()), Done::default());
    }
}
