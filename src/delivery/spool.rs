//! The receipts of one run on their way to the delivery log: appended to a file of its own, a JSON object a line.
//!
//! Not responsible for what becomes of the file (`export`). Guards: a spool never fails a run, as what cannot be written is
//! left out and said once; it is bounded by bytes; a line holds the key, and nothing else of the row.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::clock::now;
use crate::destination::answer::Refusal;
use crate::domain::entry::{Operation, Verdict};
use crate::domain::id::{BatchNumber, Instant, RunId};
use crate::domain::key::Shown;

/// Where receipts are spooled, and how much at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub folder: PathBuf,
    /// Bytes of all spooled files together.
    pub limit: u64,
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
    /// Bytes that may still be written.
    left: u64,
    is_broken: bool,
}

/// The file of a run's receipts.
pub fn file(folder: &Path, run: RunId) -> PathBuf {
    folder.join(format!("{run}.receipts"))
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
        let mut taken = 0;
        for entry in place.folder.read_dir()? {
            taken += entry?.metadata().map_or(0, |metadata| metadata.len());
        }
        if taken >= place.limit {
            let limit = place.limit;
            let what = format!("the spool holds {taken} bytes already, and {limit} are its limit");
            return Err(std::io::Error::other(what));
        }
        let path = file(&place.folder, run);
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(Spool { file: BufWriter::new(file), path, left: place.limit - taken, is_broken: false })
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
        let written = match self.left.checked_sub(length) {
            None => Err(std::io::Error::other("the spool is full")),
            Some(left) => {
                self.left = left;
                self.file.write_all(&line)
            }
        };
        if let Err(error) = written {
            self.is_broken = true;
            let path = self.path.display();
            tracing::warn!(%path, %error, "further receipts of the run are left out of the delivery log");
        }
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
        let place = Place { folder: folder.path().join("spool"), limit: 200 };
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
}
