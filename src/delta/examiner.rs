//! One record batch against the table: which rows are unchanged, which become operations, which are invalid.
//!
//! Runs on the readers' threads, many at once, and shares nothing but the table. Unchanged rows cost no allocation
//! each. Not here: rendering, batches, and the keys that are new (the run checks those for repetition).

use std::sync::Arc;

use crate::delta::fingerprint::Fingerprinter;
use crate::delta::keys::Keys;
use crate::delta::named::Named;
use crate::delta::parts::Parts;
use crate::delta::primary_keys::{Full, PrimaryKeys};
use crate::delta::table::{Known, Place, Sighting, Table};
use crate::domain::column::Column;
use crate::domain::decision::{self, Present, Reason};
use crate::domain::entry::{Doubt, Entry, Fingerprint};
use crate::domain::id::{Epoch, Instant};
use crate::domain::key::KeyHash;
use crate::points;

/// Rows that take one step of a search in the table together: enough for the processor to look up the addresses of several
/// pages at once, and for the memory that the next step reads to have come; few enough for all of it to stay in the
/// nearest cache.
const GROUP: usize = 16;

/// Compares rows of one model with one snapshot.
#[derive(Debug)]
pub struct Examiner {
    pub table: Arc<Table>,
    pub fingerprinter: Fingerprinter,
    /// The columns, of those examined, that form the delivered key.
    pub key: Vec<usize>,
    /// The primary key, where it is not the delivered key.
    pub primary: Option<Primary>,
    pub epoch: Epoch,
    pub now: Instant,
    pub scope: Scope,
}

/// Which rows are taken up, and whether the delta decides on them.
#[derive(Debug, Clone, Default)]
pub enum Scope {
    /// All, by the delta.
    #[default]
    All,
    /// Those with these delivered keys, or all; they are sent whatever the delta says.
    Chosen(Option<Arc<Named>>),
    /// All that are still to be sent, also those that are not yet due.
    Backlog,
}

impl Scope {
    /// What becomes of a row on which the delta decided `present`.
    #[inline]
    fn decide(&self, present: Present, is_in_doubt: bool) -> Present {
        match (self, present) {
            (Scope::Chosen(_), Present::Unchanged { .. } | Present::Waived) => {
                Present::Upsert(Reason::Fresh)
            }
            (Scope::Chosen(_), Present::Deferred) => Present::Upsert(Reason::RetryOfRejection),
            (Scope::Backlog, Present::Deferred | Present::Upsert(_)) if !is_in_doubt => {
                Present::Upsert(Reason::Fresh)
            }
            (Scope::Backlog, Present::Deferred) => Present::Upsert(Reason::RetryOfRejection),
            _ => present,
        }
    }
}

/// The primary key of a model whose sync delivers another key.
#[derive(Debug, Clone)]
pub struct Primary {
    /// Its columns, of those examined.
    pub columns: Vec<usize>,
    pub seen: Arc<PrimaryKeys>,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Examined {
    /// Of all rows, also those that were not taken up.
    pub keys: Keys,
    /// Whether each row was taken up; empty where all were.
    taken: Vec<bool>,
    /// That were taken up.
    pub rows: u64,
    pub unchanged: u64,
    pub waived: u64,
    pub deferred: u64,
    pub candidates: Vec<Candidate>,
    /// Rows whose key was met before in this read, and what the first one came to.
    pub repeated: Vec<(usize, Sighting)>,
    /// Rows with a NULL in their key.
    pub null_keys: Vec<usize>,
    /// Rows to be taken back for their primary keys, after everything else of the batch.
    pub taken_back: Vec<TakenBack>,
    /// Unchanged rows whose entries carry a rejection or a hold that is over.
    pub cleared: Vec<usize>,
    /// Other rows whose entries carry a hold that is over.
    pub back: Vec<usize>,
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

/// A row that the primary key makes invalid, although its delivered key is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    pub why: Invalid,
    /// The delivered key of the row.
    pub key: Vec<u8>,
    /// What the first row with that delivered key came to, if the snapshot knows the key.
    pub sighting: Option<Sighting>,
}

/// What is wrong with a primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    Null,
    Repeated,
}

impl Examined {
    /// The rows that were taken up.
    pub fn taken(&self) -> impl Iterator<Item = usize> {
        (0..self.keys.len()).filter(|row| self.takes(*row))
    }

    #[inline]
    fn takes(&self, row: usize) -> bool {
        self.taken.is_empty() || self.taken[row]
    }
}

impl Examiner {
    /// One that goes on with another part of the snapshot.
    pub fn of_part(&self, table: Arc<Table>) -> Examiner {
        Examiner {
            table,
            fingerprinter: self.fingerprinter.clone(),
            key: self.key.clone(),
            primary: self.primary.clone(),
            epoch: self.epoch,
            now: self.now,
            scope: self.scope.clone(),
        }
    }

    /// `columns` are the mapped fields, then those of the primary key that are not among them, all of `rows` rows.
    ///
    /// # Errors
    /// The primary keys of the read do not fit into their memory.
    pub fn examine(&self, columns: &[Column<'_>], rows: usize) -> Result<Examined, Full> {
        let keys = self.keys(&self.key, columns, rows);
        let taken = self.taken(&keys);
        let left_out = taken.iter().filter(|is_taken| !**is_taken).count();
        let fingerprints = self.fingerprinter.rows(columns, rows);
        let mut examined = Examined {
            keys,
            taken,
            rows: (rows - left_out) as u64,
            unchanged: 0,
            waived: 0,
            deferred: 0,
            candidates: Vec::new(),
            repeated: Vec::new(),
            null_keys: Vec::new(),
            taken_back: Vec::new(),
            cleared: Vec::new(),
            back: Vec::new(),
        };
        // The table is larger than any cache, and a search waits for memory three times. So rows are searched for in steps
        // that ask for memory and go on, while the rows before them take the next step.
        let mut searched = [const { 0..0 }; 4 * GROUP];
        for next in (0..rows + 3 * GROUP).step_by(GROUP) {
            let group = |step: usize| {
                let first = next.checked_sub(step * GROUP).unwrap_or(rows);
                first.min(rows)..rows.min(first + GROUP)
            };
            for row in group(0) {
                self.table.fetch_bucket(examined.keys.hash(row));
            }
            for row in group(1) {
                let candidates = self.table.candidates(examined.keys.hash(row));
                self.table.fetch_end(&candidates);
                searched[row % searched.len()] = candidates;
            }
            for row in group(2) {
                self.table.fetch(&searched[row % searched.len()]);
            }
            for row in group(3) {
                if examined.takes(row) {
                    let candidates = searched[row % searched.len()].clone();
                    let place = self.table.find_in(candidates, examined.keys.key(row));
                    self.row(row, fingerprints[row], place, &mut examined);
                }
            }
        }
        if let Some(primary) = &self.primary {
            let keys = self.keys(&primary.columns, columns, rows);
            self.primary(primary, &keys, &mut examined)?;
        }
        Ok(examined)
    }

    /// The part of the snapshot that each row is to be compared with; `None` for those that are not taken up.
    pub fn parts(&self, columns: &[Column<'_>], rows: usize, parts: &Parts) -> Vec<Option<usize>> {
        let keys = self.keys(&self.key, columns, rows);
        let taken = self.taken(&keys);
        let is_taken = |row: &usize| taken.is_empty() || taken[*row];
        let part = |row: usize| Some(row).filter(is_taken).map(|row| parts.of(keys.hash(row)));
        (0..rows).map(part).collect()
    }

    fn keys(&self, indexes: &[usize], columns: &[Column<'_>], rows: usize) -> Keys {
        let fields: Vec<&Column<'_>> = indexes.iter().map(|index| &columns[*index]).collect();
        Keys::new(&fields, rows)
    }

    /// Whether each row is taken up; empty where all are.
    fn taken(&self, keys: &Keys) -> Vec<bool> {
        let Scope::Chosen(Some(named)) = &self.scope else { return Vec::new() };
        let mut shown = String::new();
        let is_named = |row| named.has(keys.hash(row), keys.key(row), &mut shown);
        (0..keys.len()).map(is_named).collect()
    }

    /// Comes after the delivered keys were sighted, so that whoever meets a primary key again finds what its first row
    /// came to.
    fn primary(&self, primary: &Primary, keys: &Keys, examined: &mut Examined) -> Result<(), Full> {
        for row in 0..keys.len() {
            if !examined.takes(row) {
                continue;
            }
            let own = examined.keys.key(row);
            let sighting = self.sighting(examined.keys.hash(row), own);
            let taken_back = |why, key, sighting| TakenBack { why, key, sighting };
            if keys.is_null(row) {
                examined.taken_back.push(taken_back(Invalid::Null, own.to_vec(), sighting));
                continue;
            }
            let first = primary.seen.sight(keys.hash(row), keys.key(row), own, sighting)?;
            if let Some((first, first_sighting)) = first {
                let own = taken_back(Invalid::Repeated, own.to_vec(), sighting);
                let first = taken_back(Invalid::Repeated, first, first_sighting);
                examined.taken_back.extend([first, own]);
            }
        }
        Ok(())
    }

    /// What the first row with a delivered key came to, if the snapshot knows the key.
    fn sighting(&self, hash: KeyHash, key: &[u8]) -> Option<Sighting> {
        let place = self.table.find(hash, key);
        place.and_then(|place| self.table.sighting(place))
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
        let (present, doubt, is_held) = match self.table.known(place) {
            Known::Current(confirmed)
                if confirmed == fingerprint && !is_sent_again(fingerprint) =>
            {
                (Present::Unchanged { has_rejection: false }, None, false)
            }
            Known::Current(_) | Known::Outdated(_) => (Present::Upsert(Reason::Fresh), None, false),
            Known::Other => {
                let entry = self.table.entry(place, self.epoch);
                (self.decide(&entry, fingerprint), entry.doubt, entry.held.is_some())
            }
        };
        let present = self.scope.decide(present, doubt.is_some());
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
        if is_held && !matches!(present, Present::Unchanged { .. }) {
            examined.back.push(row);
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

#[inline]
fn is_sent_again(fingerprint: Fingerprint) -> bool {
    points::is_planted("unchanged_row_sent") && fingerprint.is_multiple_of(3)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringViewArray,
    };

    use super::*;
    use crate::delta::fingerprint;
    use crate::delta::table::Cut;
    use crate::domain::entry::Confirmed;

    #[test]
    fn unchanged_rows_cost_no_allocation_each() {
        let allocations = |rows: usize| {
            let numbers = || (0..rows).map(|row| i64::try_from(row).unwrap());
            let arrays: [ArrayRef; 5] = [
                Arc::new(StringViewArray::from_iter_values(
                    numbers().map(|number| format!("the customer of the number {number}")),
                )),
                Arc::new(Int64Array::from_iter(
                    numbers().map(|number| (number % 3 > 0).then_some(number)),
                )),
                Arc::new(Float64Array::from_iter_values((0..rows).map(|_| 0.5))),
                Arc::new(Date32Array::from_iter_values((0..rows).map(|_| 19_000))),
                Arc::new(Decimal128Array::from_iter_values(numbers().map(i128::from))),
            ];
            let columns: Vec<Column<'_>> =
                arrays.iter().map(|array| Column::new(array).unwrap()).collect();
            let fingerprinter =
                Fingerprinter::new(fingerprint::VERSION, ["name", "seats", "score", "at", "mrr"]);
            let keys = Keys::new(&[&columns[0]], rows);
            let fingerprints = fingerprinter.rows(&columns, rows);
            let mut order: Vec<usize> = (0..rows).collect();
            order.sort_by_key(|row| (keys.hash(*row), keys.key(*row).to_vec()));
            let mut builder = Cut::default().builder(Epoch(1), rows);
            for row in order {
                let confirmed = Some(Confirmed { fingerprint: fingerprints[row], epoch: Epoch(1) });
                builder.push(
                    keys.hash(row),
                    keys.key(row),
                    Entry { confirmed, ..Entry::default() },
                );
            }
            let examiner = Examiner {
                table: Arc::new(Cut::default().table(0, vec![builder.finish().unwrap()])),
                fingerprinter,
                key: vec![0],
                primary: None,
                epoch: Epoch(1),
                now: Instant(0),
                scope: Scope::All,
            };
            let mut unchanged = 0;
            let counted = allocation_counter::measure(|| {
                unchanged = examiner.examine(&columns, rows).unwrap().unchanged;
            });
            assert_eq!(unchanged, rows as u64);
            counted.count_total
        };
        let (few, many) = (allocations(1_024), allocations(8_192));
        // Each buffer of a batch may have grown three times more.
        assert!(few > 0 && many < few + 3 * few, "{few} for 1,024 rows, {many} for 8,192");
        assert!(many < 100, "{many} for 8,192 rows");
    }
}
