//! What a snapshot says of itself, for those who ask often: read anew only when one of its files is another than before.
//!
//! Not responsible for entries (`view`). Invariant: what is remembered was read whole and sound from files of which each is
//! still the one that it was, unwritten since; all else is read from disk as [`View::read`] does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::disk::{Disk, Stamp};
use super::error::Error;
use super::header::{Header, Hold};
use super::names;
use super::view::View;
use crate::points::wall_clock;

/// A file that was written so shortly before it was read may be written again without its stamp telling: file systems
/// count time in steps.
const STEP: Duration = Duration::from_secs(2);

/// What people are shown of a snapshot at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// How many entries the destination holds or may hold.
    pub entries: u64,
    pub is_epoch_open: bool,
    pub hold: Option<Hold>,
}

impl Glance {
    /// How many deletes wait for a person.
    pub fn held(&self) -> u64 {
        self.hold.as_ref().map_or(0, |hold| hold.keys)
    }
}

/// Glances that were taken, by sync. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Glances(Arc<Mutex<BTreeMap<String, Taken>>>);

#[derive(Debug, Clone)]
struct Taken {
    glance: Glance,
    /// Every file that it was read from.
    files: Arc<[(String, Stamp)]>,
}

impl From<&Header> for Glance {
    fn from(header: &Header) -> Glance {
        let Header { entries, is_epoch_open, hold, .. } = header;
        Glance { entries: *entries, is_epoch_open: *is_epoch_open, hold: hold.clone() }
    }
}

impl Glances {
    /// What the snapshot on `disk` says of itself, beside whoever writes it; `None` before its first commit. Blocks.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn take(&self, disk: &dyn Disk, sync: &str) -> Result<Option<Glance>, Error> {
        self.take_at(disk, sync, wall_clock())
    }

    /// `now`: before anything is read.
    fn take_at(
        &self,
        disk: &dyn Disk,
        sync: &str,
        now: SystemTime,
    ) -> Result<Option<Glance>, Error> {
        let taken = self.lock().get(sync).cloned();
        if let Some(Taken { glance, files }) = taken
            && files.iter().all(|(name, stamp)| disk.stamp(name).as_ref() == Some(stamp))
        {
            return Ok(Some(glance));
        }
        let view = View::read(disk, sync);
        let fresh = view.as_ref().ok().and_then(Option::as_ref).and_then(|view| {
            let files = stamps(disk, view)?;
            let is_settled = |(_, stamp): &(String, Stamp)| stamp.is_from_before(now, STEP);
            let glance = Glance::from(view.header());
            files.iter().all(is_settled).then(|| Taken { glance, files: files.into() })
        });
        match fresh {
            Some(taken) => drop(self.lock().insert(sync.to_owned(), taken)),
            None => drop(self.lock().remove(sync)),
        }
        Ok(view?.map(|view| Glance::from(view.header())))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the manifest and of the segments that it names; `None` where the disk cannot tell one.
fn stamps(disk: &dyn Disk, view: &View) -> Option<Vec<(String, Stamp)>> {
    let segments = view.manifest.segments.iter().map(|segment| names::segment(segment.number));
    let files = std::iter::once(names::MANIFEST.to_owned()).chain(segments);
    files.map(|name| disk.stamp(&name).map(|stamp| (name, stamp))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::domain::entry::Operation;
    use crate::domain::id::{BatchNumber, IntentNumber, RunId};
    use crate::snapshot::disk::LocalDisk;
    use crate::snapshot::manifest::Manifest;
    use crate::snapshot::record::IntentRecord;
    use crate::snapshot::{Known, Snapshot};

    /// Commits once more, after which so many deletes are held.
    fn commit(folder: &Path, keys: u64) {
        let disk = Arc::new(LocalDisk::new(folder).unwrap());
        let known =
            Manifest::read(disk.as_ref(), "crm").unwrap().map(|Manifest { header, .. }| Known {
                lineage: header.lineage,
                generation: header.generation,
                journal: None,
            });
        let is_first = known.is_none();
        let mut snapshot = Snapshot::open(disk, "crm", known).unwrap();
        if is_first {
            // Before it no intent is taken.
            snapshot.commit(|_| {}).unwrap();
            let record = IntentRecord { key: b"k", fingerprint: 1, number: IntentNumber(1) };
            snapshot.journal().append_intent(BatchNumber(1), Operation::Upsert, [record]);
        }
        let hold =
            Hold { run: RunId(1), causes: Vec::new(), keys, since: None, versions: Vec::new() };
        snapshot.commit(|header| header.hold = Some(hold)).unwrap();
    }

    fn held(glances: &Glances, folder: &Path, now: SystemTime) -> Option<u64> {
        let taken = glances.take_at(&LocalDisk::existing(folder), "crm", now).unwrap();
        taken.and_then(|glance| glance.hold).map(|hold| hold.keys)
    }

    /// What is remembered is told from what is read.
    fn forge(glances: &Glances, keys: u64) -> bool {
        let mut taken = glances.lock();
        let hold = taken.get_mut("crm").and_then(|taken| taken.glance.hold.as_mut());
        hold.map(|hold| hold.keys = keys).is_some()
    }

    #[test]
    fn a_glance_is_remembered_until_a_commit_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let (glances, later) = (Glances::default(), wall_clock() + 2 * STEP);
        assert_eq!(held(&glances, folder.path(), later), None, "there is none yet");
        commit(folder.path(), 3);
        assert_eq!(held(&glances, folder.path(), later), Some(3));
        assert!(forge(&glances, 77));
        assert_eq!(held(&glances, folder.path(), later), Some(77));
        commit(folder.path(), 4);
        assert_eq!(held(&glances, folder.path(), later), Some(4));
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(held(&glances, folder.path(), later), None, "it was taken away");
    }

    #[test]
    fn what_was_written_a_moment_before_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        commit(folder.path(), 3);
        let (glances, now) = (Glances::default(), wall_clock());
        assert_eq!(held(&glances, folder.path(), now), Some(3));
        assert!(!forge(&glances, 77));
    }

    #[test]
    fn damage_is_seen_though_the_glance_was_sound_before() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::existing(folder.path());
        let later = wall_clock() + 2 * STEP;
        for (name, is_truncated) in [("manifest", false), ("segment-1", false), ("segment-1", true)]
        {
            let _ = fs::remove_dir_all(folder.path());
            commit(folder.path(), 0);
            let glances = Glances::default();
            assert_eq!(glances.take_at(&disk, "crm", later).unwrap().unwrap().entries, 1);
            let file = folder.path().join(name);
            if is_truncated {
                fs::write(&file, b"").unwrap();
            } else {
                fs::remove_file(&file).unwrap();
            }
            assert!(glances.take_at(&disk, "crm", later).is_err(), "{name} {is_truncated}");
        }
    }
}
