//! One record batch against the table: which rows are unchanged, which become operations, which are invalid.
//!
//! Runs on the readers' threads, many at once, and shares nothing but the table. Unchanged rows cost no allocation
//! each. Not here: rendering, batches, and the keys that are new (the run checks those for repetition).

use std::sync::Arc;

use crate::delta::fingerprint::Fingerprinter;
use crate::delta::keys::Keys;
use crate::delta::table::{Known, Place, Sighting, Table};
use crate::domain::column::Column;
use crate::domain::decision::{self, Present, Reason};
use crate::domain::entry::{Doubt, Entry, Fingerprint};
use crate::domain::id::{Epoch, Instant};

/// Compares rows of one model with one snapshot.
#[derive(Debug)]
pub struct Examiner {
    pub table: Arc<Table>,
    pub fingerprinter: Fingerprinter,
    /// The columns, of those examined, that form the delivered key.
    pub key: Vec<usize>,
    pub epoch: Epoch,
    pub now: Instant,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Examined {
    pub keys: Keys,
    pub rows: u64,
    pub unchanged: u64,
    pub waived: u64,
    pub deferred: u64,
    pub candidates: Vec<Candidate>,
    /// Rows whose key was met before in this read, and what the first one came to.
    pub repeated: Vec<(usize, Sighting)>,
    /// Rows with a NULL in their key.
    pub null_keys: Vec<usize>,
    /// Unchanged rows whose entries carry a rejection or a hold that is over.
    pub cleared: Vec<usize>,
}

/// A row that is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub row: usize,
    pub place: Option<Place>,
    pub fingerprint: Fingerprint,
    pub reason: Reason,
    /// The doubt the key stands in.
    pub doubt: Option<Doubt>,
}

impl Examiner {
    /// `columns` are the mapped fields, all of `rows` rows.
    pub fn examine(&self, columns: &[Column<'_>], rows: usize) -> Examined {
        let key: Vec<&Column<'_>> = self.key.iter().map(|index| &columns[*index]).collect();
        let keys = Keys::new(&key, rows);
        let fingerprints = self.fingerprinter.rows(columns, rows);
        let mut examined = Examined {
            keys,
            rows: rows as u64,
            unchanged: 0,
            waived: 0,
            deferred: 0,
            candidates: Vec::new(),
            repeated: Vec::new(),
            null_keys: Vec::new(),
            cleared: Vec::new(),
        };
        let places = self.places(&examined.keys, rows);
        for (row, (fingerprint, place)) in fingerprints.into_iter().zip(places).enumerate() {
            self.row(row, fingerprint, place, &mut examined);
        }
        examined
    }

    /// The table is larger than any cache. Three short passes over a batch wait for its memory together, where one long
    /// pass would wait for it row by row.
    fn places(&self, keys: &Keys, rows: usize) -> Vec<Option<Place>> {
        let candidates: Vec<_> =
            (0..rows).map(|row| self.table.candidates(keys.hash(row))).collect();
        let find = |(row, candidates)| self.table.find_in(candidates, keys.key(row));
        candidates.into_iter().enumerate().map(find).collect()
    }

    #[inline]
    fn row(
        &self,
        row: usize,
        fingerprint: Fingerprint,
        found: Option<Place>,
        examined: &mut Examined,
    ) {
        if examined.keys.is_null(row) {
            examined.null_keys.push(row);
            return;
        }
        let Some(place) = found else {
            let reason = Reason::Fresh;
            examined.candidates.push(Candidate {
                row,
                place: None,
                fingerprint,
                reason,
                doubt: None,
            });
            return;
        };
        let (present, doubt) = match self.table.known(place) {
            Known::Current(confirmed) if confirmed == fingerprint => {
                (Present::Unchanged { has_rejection: false }, None)
            }
            Known::Current(_) | Known::Outdated(_) => (Present::Upsert(Reason::Fresh), None),
            Known::Other(entry) => (self.decide(entry, fingerprint), entry.doubt),
        };
        let sighting = match present {
            Present::Unchanged { .. } => Sighting::Unchanged,
            Present::Waived => Sighting::Waived,
            Present::Deferred => Sighting::Deferred,
            Present::Upsert(_) => Sighting::Operation,
        };
        if let Some(first) = self.table.sight(place, sighting) {
            examined.repeated.push((row, first));
            return;
        }
        match present {
            Present::Unchanged { has_rejection } => {
                examined.unchanged += 1;
                if has_rejection {
                    examined.cleared.push(row);
                }
            }
            Present::Waived => examined.waived += 1,
            Present::Deferred => examined.deferred += 1,
            Present::Upsert(reason) => {
                let place = Some(place);
                examined.candidates.push(Candidate { row, place, fingerprint, reason, doubt });
            }
        }
    }

    fn decide(&self, entry: &Entry, fingerprint: Fingerprint) -> Present {
        decision::present(Some(entry), fingerprint, self.epoch, self.now)
    }
}
