//! What a listing said of the files of the log, and whether what is read of them since is of the same state.
//!
//! A log is replayed as a read begins, and once more for each scan; meanwhile a file of it may be written anew, as whoever
//! restores a backup does. Invariant: bytes of a file of a version are of the state that was listed first, or they are an
//! error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectMeta;
use object_store::path::Path;

use super::super::error::Error;
use super::super::store::strong;
use super::place::Place;
use crate::points::is_planted;

/// By the names below the table's folder; those of all that read the table at one version.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed(Arc<Mutex<BTreeMap<Path, ObjectMeta>>>);

impl Listed {
    /// Only what belongs to a version stays as it is: what says which checkpoint is the last one does not.
    pub fn note<'m>(&self, found: impl Iterator<Item = &'m ObjectMeta>) {
        let is_of_version = |meta: &&ObjectMeta| {
            let name = meta.location.filename().unwrap_or_default();
            name.starts_with(|letter: char| letter.is_ascii_digit())
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for meta in found.filter(is_of_version) {
            known.entry(meta.location.clone()).or_insert_with(|| meta.clone());
        }
    }

    pub fn of(&self, path: &Path) -> Option<ObjectMeta> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// # Errors
    /// The file is not as it was listed.
    pub fn check(&self, place: &Place, path: &Path, now: &ObjectMeta) -> Result<(), Error> {
        let is_same = self.of(path).is_none_or(|was| is_as(&was, now));
        match is_same || is_planted("delta_log_changes_ignored") {
            true => Ok(()),
            false => Err(Error::Damaged(format!(
                "table `{}`: `{}` of the log of the Delta table changed during the read; run again when the table is at rest",
                place.table,
                place.of(path)
            ))),
        }
    }
}

/// Whether an answer is of the state that was listed; not every store tells the same in both.
fn is_as(was: &ObjectMeta, now: &ObjectMeta) -> bool {
    let is_tagged = strong(was).is_some() && strong(now).is_some();
    let is_same = match is_tagged {
        true => tag(was) == tag(now),
        false => was.last_modified.timestamp() == now.last_modified.timestamp(),
    };
    is_same && was.size == now.size
}

/// What tells a state of a file from every other one.
pub(super) fn tag(meta: &ObjectMeta) -> String {
    match strong(meta) {
        Some(tag) => tag.trim_matches('"').to_owned(),
        // Some say it to the second alone, where they are asked for one object.
        None => format!("{} {}", meta.size, meta.last_modified.timestamp()),
    }
}
