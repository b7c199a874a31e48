//! The receipts of one run on their way to the delivery log: appended to a file of its own, a JSON object a line.
//!
//! Not responsible for what becomes of the file (`export`). Guards: a spool never fails a run, as what cannot be written is
//! left out and said once; it is bounded by bytes; a line holds the key, and nothing else of the row.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::clock::now;
use crate::destination::answer::Refusal;
use crate::domain::entry::{Operation, Verdict};
use crate::domain::id::{BatchNumber, Instant, RunId};
use crate::domain::key::Shown;

/// Where receipts are spooled, and how much at most. Clones are the same place.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    /// Bytes of all spooled files together.
    limit: u64,
    /// Bytes that may still be written, by all spools of the place together.
    left: Arc<AtomicU64>,
}

/// What became of one record by one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub at: Instant,
    pub batch: BatchNumber,
    pub operation: Operation,
    /// As shown to people.
    pub key: String,
    pub verdict: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The spool of one run.
#[derive(Debug)]
pub struct Spool {
    file: BufWriter<File>,
    path: PathBuf,
    /// As in the place.
    left: Arc<AtomicU64>,
    is_broken: bool,
}

/// Where receipts wait for their export, in the state's folder.
pub const FOLDER: &str = "delivery_log";

/// The file of a run's receipts.
pub fn file(folder: &Path, run: RunId) -> PathBuf {
    folder.join(format!("{run}.receipts"))
}

/// The runs whose receipts are in the folder; none where there is no such folder.
///
/// # Errors
/// The folder cannot be read.
pub fn runs(folder: &Path) -> io::Result<Vec<RunId>> {
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut runs = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let run = name.to_str().and_then(|name| name.strip_suffix(".receipts"));
        runs.extend(run.and_then(|run| run.parse().ok()).map(RunId));
    }
    Ok(runs)
}

/// As [`runs`]; none, having said why, where the folder cannot be read.
pub fn waiting(folder: &Path) -> Vec<RunId> {
    runs(folder).unwrap_or_else(|error| {
        let folder = folder.display();
        tracing::warn!(%error, "the receipts that wait in `{folder}` cannot be looked for");
        Vec::new()
    })
}

/// Removes the receipts of a run.
///
/// # Errors
/// They are there still.
pub fn remove(folder: &Path, run: RunId) -> io::Result<()> {
    match std::fs::remove_file(file(folder, run)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Place {
    /// `limit` is in bytes, of all spooled files together.
    pub fn new(folder: PathBuf, limit: u64) -> Place {
        Place { folder, limit, left: Arc::default() }
    }
}

impl Spool {
    /// A spool for the run; `None`, having said why, where there is no room or no folder for it.
    pub fn begin(place: &Place, run: RunId) -> Option<Spool> {
        match Spool::open(place, run) {
            Ok(spool) => Some(spool),
            Err(error) => {
                tracing::warn!(%run, %error, "the receipts of the run are left out of the delivery log");
                None
            }
        }
    }

    fn open(place: &Place, run: RunId) -> std::io::Result<Spool> {
        std::fs::create_dir_all(&place.folder)?;
        let mut taken: u64 = 0;
        for entry in place.folder.read_dir()? {
            taken += entry?.metadata().map_or(0, |metadata| metadata.len());
        }
        if taken >= place.limit {
            let limit = place.limit;
            let what = format!("the spool holds {taken} bytes already, and {limit} are its limit");
            return Err(std::io::Error::other(what));
        }
        // What was exported since is room again. Spools that are open have a few kilobytes that no file shows yet.
        place.left.store(place.limit - taken, Relaxed);
        let path = file(&place.folder, run);
        let file = File::options().create(true).append(true).open(&path)?;
        let (file, left) = (BufWriter::new(file), Arc::clone(&place.left));
        Ok(Spool { file, path, left, is_broken: false })
    }

    /// These places of the batch ended.
    pub(super) fn note(
        &mut self,
        batch: &Batch,
        places: &[Range<u32>],
        verdict: &Verdict,
        why: Option<&Refusal>,
    ) {
        let at = now();
        let (word, refusal) = match verdict {
            Verdict::Delivered => ("delivered", None),
            Verdict::Rejected { code, message, .. } => {
                ("rejected", Some(Refusal { code: code.clone(), message: message.clone() }))
            }
            Verdict::NotApplied => ("not applied", why.cloned()),
            Verdict::Unknown => ("unknown", why.cloned()),
        };
        let (code, message) = refusal.map(|why| (why.code, why.message)).unzip();
        for record in batch.at(places) {
            let receipt = Receipt {
                at,
                batch: batch.number,
                operation: batch.operation,
                key: Shown(batch.key(record)).to_string(),
                verdict: word.to_owned(),
                code: code.clone(),
                message: message.clone(),
            };
            self.write(&receipt);
        }
    }

    fn write(&mut self, receipt: &Receipt) {
        if self.is_broken {
            return;
        }
        let mut line = serde_json::to_vec(receipt).expect("a receipt is plain data");
        line.push(b'\n');
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        match self.left.try_update(Relaxed, Relaxed, |left| left.checked_sub(length)) {
            Err(_) => self.ended(Err(std::io::Error::other("the spool is full"))),
            Ok(_) => {
                let written = self.file.write_all(&line);
                self.ended(written);
            }
        }
    }

    /// Takes note of what came of a write, and says it once.
    fn ended(&mut self, written: std::io::Result<()>) {
        if let Err(error) = written
            && !std::mem::replace(&mut self.is_broken, true)
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "receipts of the run are left out of the delivery log");
        }
    }

    /// The last of it may find no room as well.
    fn flush(&mut self) {
        let flushed = self.file.flush();
        self.ended(flushed);
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(key: &str) -> Receipt {
        Receipt {
            at: Instant(7),
            batch: BatchNumber(1),
            operation: Operation::Upsert,
            key: key.to_owned(),
            verdict: "delivered".to_owned(),
            code: None,
            message: None,
        }
    }

    #[test]
    fn a_spool_holds_whole_lines_up_to_its_limit_and_a_full_one_takes_no_further_run() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("spool"), 200);
        let mut spool = Spool::begin(&place, RunId(3)).unwrap();
        (0..9).for_each(|key| spool.write(&receipt(&key.to_string())));
        drop(spool);
        let text = std::fs::read_to_string(file(&place.folder, RunId(3))).unwrap();
        let read: Vec<Receipt> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [receipt("0"), receipt("1")], "{text}");
        std::fs::write(place.folder.join("2.receipts"), [0; 200]).unwrap();
        assert!(Spool::begin(&place, RunId(4)).is_none());
    }

    #[test]
    fn runs_at_one_time_share_the_limit_of_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned(), 200);
        let mut spools = [3, 4].map(|run| Spool::begin(&place.clone(), RunId(run)).unwrap());
        for key in 0..9 {
            spools.iter_mut().for_each(|spool| spool.write(&receipt(&key.to_string())));
        }
        drop(spools);
        let bytes = [3, 4].map(|run| file(folder.path(), RunId(run)).metadata().unwrap().len());
        assert!(bytes[0] > 0 && bytes[1] > 0 && bytes[0] + bytes[1] <= 200, "{bytes:?}");
    }

    #[test]
    fn a_disk_that_is_full_when_the_last_is_written_is_no_loss_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned(), 200);
        std::os::unix::fs::symlink("/dev/full", file(folder.path(), RunId(3))).unwrap();
        let mut spool = Spool::begin(&place, RunId(3)).unwrap();
        spool.write(&receipt("0"));
        assert!(!spool.is_broken, "it is in the buffer");
        spool.flush();
        assert!(spool.is_broken);
    }
}
