//! Fingerprints of rows, version 2: the sum, over the mapped fields, of a hash of (field, value) in two halves of 64 bits,
//! each half modulo 2^64.
//!
//! With the seeds s and t, the lower and the upper half of XXH3-128(field name):
//!
//! - a value that a word w of 64 bits and its kind k tell ([`Value::word`]) has the halves
//!   `variant13(w ^ (s + k * ODD))` and `fmix64(w ^ (t + k * ODD))`, where `ODD` is 2^64 divided by the golden ratio;
//!   both are bijections of the word (Stafford's variant 13 as in SplitMix64, and the finaliser of MurmurHash3);
//! - a text of up to 12 bytes has the halves `variant13(variant13(x ^ (s + k * ODD)) ^ y)` and `fmix64(fmix64(x ^ (t + k *
//!   ODD)) ^ y)`, where k is 7, x the length, and in its upper half the first four bytes, y the eight bytes after them,
//!   zeros behind the end: the two words of Arrow's string views;
//! - a longer text (k is 7) or a binary value (k is 8) has those of XXH3-128(its bytes, seed = s + k * `ODD`);
//! - any other has those of XXH3-128(its canonical encoding, seed = s + 255 * `ODD`).
//!
//! A field of which not every difference counts adds what stands for its value ([`Compare::coarse`]), or nothing.
//!
//! A sum does not depend on the order of the columns, and it is computed column by column, for several rows at once where the
//! processor can do that. A snapshot keeps the version that
//! its epoch began with, as only fingerprints of one version can be compared; the next epoch begins with the latest.

mod version_1;

use pulp::{Arch, NullaryFnOnce};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::domain::column::{Column, Visitor};
use crate::domain::compare::Compare;
use crate::domain::entry::Fingerprint;
use crate::domain::value::{Value, tag};
use crate::points;

/// The version of the fingerprints; recorded in every snapshot.
pub const VERSION: u32 = 2;

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes of the longest text that lies in its view.
const SHORT: usize = 12;

/// Rows that are hashed together: few enough for all that is made of them to stay in the nearest cache.
const BLOCK: usize = 256;

/// The kind of the values that neither a word tells nor their bytes alone; any other kind is the tag in the encoding.
const OTHER: u8 = u8::MAX;

/// Hashes rows of one set of fields.
#[derive(Debug, Clone)]
pub enum Fingerprinter {
    /// For snapshots that began with it, until their next epoch.
    First(version_1::Fingerprinter),
    Second {
        /// Of the columns that are compared exactly, in order.
        exact: Vec<(usize, Seeds)>,
        /// Of those in which not every difference counts; those in which none does are not there.
        coarse: Vec<(usize, Seeds, Compare)>,
    },
}

/// Those of one field.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    low: u64,
    high: u64,
}

impl Fingerprinter {
    /// Of a version that a snapshot records, where every difference counts.
    ///
    /// # Panics
    /// As [`Fingerprinter::comparing`].
    pub fn new<'f>(version: u32, fields: impl IntoIterator<Item = &'f str>) -> Fingerprinter {
        let exact = |field| (field, Compare::Exact);
        Fingerprinter::comparing(version, fields.into_iter().map(exact))
    }

    /// As [`Fingerprinter::new`], where each field says what of it counts.
    ///
    /// # Panics
    /// If this program does not know the version; such a snapshot is refused before ([`Definition::change`]).
    ///
    /// [`Definition::change`]: crate::domain::sync::Definition::change
    pub fn comparing<'f>(
        version: u32,
        fields: impl IntoIterator<Item = (&'f str, Compare)>,
    ) -> Fingerprinter {
        let seeds = |field: &str| {
            let field = if points::is_planted("values_without_fields") { "" } else { field };
            let [low, high] = halves(xxh3_128(field.as_bytes()));
            Seeds { low, high }
        };
        match version {
            1 => Fingerprinter::First(version_1::Fingerprinter::new(fields)),
            VERSION => {
                let (mut exact, mut coarse) = (Vec::new(), Vec::new());
                for (column, (field, compare)) in fields.into_iter().enumerate() {
                    match compared(compare) {
                        Compare::Exact => exact.push((column, seeds(field))),
                        Compare::Ignore => {}
                        compare => coarse.push((column, seeds(field), compare)),
                    }
                }
                Fingerprinter::Second { exact, coarse }
            }
            other => panic!("there are no fingerprints of version {other}"),
        }
    }

    /// The fingerprints of `rows` rows; `columns` in the order of the fields, those after them are not looked at.
    pub fn rows(&self, columns: &[Column<'_>], rows: usize) -> Vec<Fingerprint> {
        match self {
            Fingerprinter::First(first) => first.rows(columns, rows),
            Fingerprinter::Second { exact, coarse } => {
                // With the widest instructions that this processor has.
                let mut sums = Arch::new().dispatch(Rows { columns, exact, rows });
                for (column, seeds, compare) in coarse {
                    let mut sum = Coarse { sums: &mut sums, seeds: *seeds, compare: *compare };
                    columns[*column].visit(&mut sum);
                }
                sums
            }
        }
    }
}

fn compared(compare: Compare) -> Compare {
    let is_counted = points::is_planted("compare_ignored_changes_sent");
    if is_counted && compare == Compare::Ignore { Compare::Exact } else { compare }
}

/// Adds the values of one column as what they count as.
struct Coarse<'s> {
    sums: &'s mut [Fingerprint],
    seeds: Seeds,
    compare: Compare,
}

impl Visitor for Coarse<'_> {
    fn visit(&mut self, row: usize, value: Value<'_>) {
        let [low, high] = self.seeds.value(&self.compare.coarse(value));
        let [sum_low, sum_high] = halves(self.sums[row]);
        let (low, high) = (sum_low.wrapping_add(low), sum_high.wrapping_add(high));
        self.sums[row] = u128::from(high) << 64 | u128::from(low);
    }
}

/// Rows to be hashed, block by block.
struct Rows<'r> {
    columns: &'r [Column<'r>],
    exact: &'r [(usize, Seeds)],
    rows: usize,
}

impl NullaryFnOnce for Rows<'_> {
    type Output = Vec<Fingerprint>;

    #[inline(always)]
    fn call(self) -> Vec<Fingerprint> {
        let Rows { columns, exact, rows } = self;
        let mut fingerprints = Vec::with_capacity(rows);
        let mut block = Block { sums: [[0; BLOCK]; 2], hashed: [[0; BLOCK]; 2], words: [0; BLOCK] };
        for first in (0..rows).step_by(BLOCK) {
            let many = BLOCK.min(rows - first);
            block.sums = [[0; BLOCK]; 2];
            for (column, seeds) in exact {
                block.hash(&columns[*column], first, many, *seeds);
                block.add();
            }
            let [low, high] = &block.sums;
            let sums = low.iter().zip(high).take(many);
            fingerprints.extend(sums.map(|(low, high)| u128::from(*high) << 64 | u128::from(*low)));
        }
        fingerprints
    }
}

/// Some rows that follow one another; of each the lower halves lie together and the upper ones, so that several rows can be
/// hashed at once.
struct Block {
    sums: [[u64; BLOCK]; 2],
    /// The values of one column.
    hashed: [[u64; BLOCK]; 2],
    words: [u64; BLOCK],
}

impl Block {
    /// Hashes the values of `many` rows of a column: those of the kind that most are of all at once, and then the others anew.
    #[inline(always)]
    fn hash(&mut self, column: &Column<'_>, first: usize, many: usize, seeds: Seeds) {
        let [low, high] = &mut self.hashed;
        let hashed = low[..many].iter_mut().zip(&mut high[..many]);
        let nulls = column.nulls();
        let is_null = |row| nulls.is_some_and(|nulls| nulls.is_null(first + row));
        if let Column::Utf8View(array) = column {
            let views = &array.views()[first..first + many];
            hashed.zip(views).for_each(|((low, high), view)| {
                [*low, *high] = seeds.short(halves(*view));
            });
            for (row, view) in views.iter().enumerate() {
                if *view & u128::from(u32::MAX) > SHORT as u128 && !is_null(row) {
                    let text = array.value(first + row).as_bytes();
                    [low[row], high[row]] = seeds.bytes(tag::TEXT, text);
                }
            }
        } else if let Some(kind) = column.words(first, &mut self.words[..many]) {
            hashed.zip(&self.words).for_each(|((low, high), word)| {
                [*low, *high] = seeds.word(kind, *word);
            });
        } else {
            hashed.zip(first..).for_each(|((low, high), row)| {
                [*low, *high] = seeds.value(&column.value(row));
            });
            return;
        }
        if nulls.is_some() {
            for row in (0..many).filter(|row| is_null(*row)) {
                [low[row], high[row]] = seeds.value(&Value::Null);
            }
        }
    }

    /// Adds what was hashed last.
    #[inline(always)]
    fn add(&mut self) {
        for (sums, hashed) in self.sums.iter_mut().zip(&self.hashed) {
            for (sum, hashed) in sums.iter_mut().zip(hashed) {
                *sum = sum.wrapping_add(*hashed);
            }
        }
    }
}

/// The two words of a short text.
fn short_words(text: &[u8]) -> Option<[u64; 2]> {
    let mut view = [0; 16];
    view.get_mut(4..4 + text.len()).filter(|_| text.len() <= SHORT)?.copy_from_slice(text);
    view[0] = u8::try_from(text.len()).expect("it is short");
    Some(halves(u128::from_le_bytes(view)))
}

impl Seeds {
    fn value(self, value: &Value<'_>) -> [u64; 2] {
        match value {
            Value::Text(text) => match short_words(text.as_bytes()) {
                Some(words) => self.short(words),
                None => self.bytes(tag::TEXT, text.as_bytes()),
            },
            Value::Binary(bytes) => self.bytes(tag::BINARY, bytes),
            value => match value.word() {
                Some((kind, word)) => self.word(kind, word),
                None => self.other(value),
            },
        }
    }

    #[inline(always)]
    fn word(self, kind: u16, word: u64) -> [u64; 2] {
        let kind = u64::from(kind).wrapping_mul(ODD);
        let low = word ^ self.low.wrapping_add(kind);
        let high = word ^ self.high.wrapping_add(kind);
        [variant13(low), fmix64(high)]
    }

    #[inline(always)]
    fn short(self, [first, last]: [u64; 2]) -> [u64; 2] {
        let [low, high] = self.word(u16::from(tag::TEXT), first);
        [variant13(low ^ last), fmix64(high ^ last)]
    }

    #[inline]
    fn bytes(self, kind: u8, bytes: &[u8]) -> [u64; 2] {
        let seed = self.low.wrapping_add(u64::from(kind).wrapping_mul(ODD));
        halves(xxh3_128_with_seed(bytes, seed))
    }

    #[cold]
    fn other(self, value: &Value<'_>) -> [u64; 2] {
        let mut encoded = Vec::with_capacity(40);
        value.encode(&mut encoded);
        self.bytes(OTHER, &encoded)
    }
}

#[inline(always)]
fn variant13(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[inline(always)]
fn fmix64(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// The lower and the upper half.
#[inline(always)]
fn halves(hash: u128) -> [u64; 2] {
    let low = u64::try_from(hash & u128::from(u64::MAX)).expect("half of the bits");
    let high = u64::try_from(hash >> 64).expect("half of the bits");
    [low, high]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array as _, ArrayRef, BooleanArray, Decimal128Array, Int32Array, Int64Array, StringArray,
        StringViewArray, UInt64Array, new_null_array,
    };
    use arrow::compute::{cast, not, nullif};
    use arrow::datatypes::{DataType, TimeUnit};

    use super::*;

    fn fingerprints(columns: &[(&str, ArrayRef)]) -> Vec<Fingerprint> {
        let typed: Vec<Column<'_>> =
            columns.iter().map(|(_, array)| Column::new(array).expect("scalar")).collect();
        let names = columns.iter().map(|(name, _)| *name);
        Fingerprinter::new(VERSION, names).rows(&typed, columns[0].1.len())
    }

    #[test]
    fn column_order_and_integer_width_do_not_matter_but_places_do() {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", ""]));
        let usual = fingerprints(&[("a", a.clone()), ("b", b.clone())]);
        assert_eq!(usual, fingerprints(&[("b", b.clone()), ("a", wide)]));
        assert_ne!(usual, fingerprints(&[("b", a), ("a", b)]));
    }

    #[test]
    fn a_text_is_the_same_in_every_array_that_carries_it() {
        let texts = ["", "a", "abcd", "abcdefghijkl", "abcdefghijklm", "\u{0}", "Zo\u{eb}"];
        let texts: Vec<_> = texts.into_iter().map(Some).chain([None]).collect();
        let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let views: ArrayRef = Arc::new(StringViewArray::from(texts.clone()));
        let found = fingerprints(&[("t", views)]);
        assert_eq!(found, fingerprints(&[("t", plain)]));
        assert_eq!(found.iter().collect::<std::collections::HashSet<_>>().len(), texts.len());
    }

    #[test]
    fn rows_that_are_hashed_together_have_the_hashes_that_each_has_alone() {
        let many = 3 * BLOCK + 7;
        let number = |row: usize| {
            i64::try_from(row).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed())
        };
        let numbers: Vec<i64> = (0..many).map(number).collect();
        let valid: Vec<bool> = numbers.iter().map(|number| number % 5 != 0).collect();
        let text = |number: &i64| "x".repeat(usize::try_from(number.rem_euclid(20)).unwrap());
        let whole: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
        let as_type = |data_type: DataType| cast(&whole, &data_type).unwrap();
        let decimals = Decimal128Array::from_iter_values(
            numbers.iter().map(|it| i128::from(*it) * i128::from(*it % 3 + 1)),
        );
        let columns: Vec<ArrayRef> = vec![
            as_type(DataType::Int8),
            as_type(DataType::Int64),
            Arc::new(UInt64Array::from_iter_values(numbers.iter().map(|it| it.cast_unsigned()))),
            as_type(DataType::Float32),
            as_type(DataType::Float64),
            Arc::new(decimals.with_precision_and_scale(38, 2).unwrap()),
            Arc::new(BooleanArray::from_iter(numbers.iter().map(|it| Some(it % 2 == 0)))),
            as_type(DataType::Timestamp(TimeUnit::Second, None)),
            as_type(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            Arc::new(StringViewArray::from_iter_values(numbers.iter().map(text))),
            Arc::new(StringArray::from_iter_values(numbers.iter().map(text))),
            new_null_array(&DataType::Null, many),
        ];
        let nulls = BooleanArray::from(valid);
        for (at, all) in columns.iter().enumerate() {
            let some = nullif(all, &not(&nulls).unwrap()).unwrap_or_else(|_| all.clone());
            for array in [all.clone(), some.clone(), some.slice(BLOCK - 3, BLOCK + 9)] {
                let column = Column::new(&array).expect("scalar");
                let Fingerprinter::Second { exact, .. } = Fingerprinter::new(VERSION, ["a"]) else {
                    panic!()
                };
                let alone = (0..array.len()).map(|row| {
                    let [low, high] = exact[0].1.value(&column.value(row));
                    u128::from(high) << 64 | u128::from(low)
                });
                let together = fingerprints(&[("a", array.clone())]);
                assert!(together.into_iter().eq(alone), "column {at}");
            }
        }
    }

    fn comparing(version: u32, columns: &[(&str, ArrayRef, Compare)]) -> Vec<Fingerprint> {
        let typed: Vec<Column<'_>> =
            columns.iter().map(|(_, array, _)| Column::new(array).expect("scalar")).collect();
        let fields = columns.iter().map(|(name, _, compare)| (*name, *compare));
        Fingerprinter::comparing(version, fields).rows(&typed, columns[0].1.len())
    }

    #[test]
    fn what_does_not_count_changes_no_fingerprint_and_the_least_that_does_changes_it() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let floats = |floats: [Option<f64>; 4]| -> ArrayRef {
            Arc::new(arrow::array::Float64Array::from(floats.to_vec()))
        };
        let one = floats([Some(0.1 + 0.2), Some(1e20), None, Some(-0.0)]);
        let near = floats([Some(0.3), Some(1e20 + 1e5), None, Some(0.0)]);
        let far = floats([Some(0.300_001), Some(2e20), Some(0.0), Some(1e-9)]);
        let of = |version, array: &ArrayRef, compare| {
            comparing(
                version,
                &[("v", Arc::clone(array), compare), ("id", ids.clone(), Compare::Exact)],
            )
        };
        for version in [1, VERSION] {
            for (compare, is_same) in
                [(Compare::Exact, false), (Compare::Digits(6), true), (Compare::Ignore, true)]
            {
                assert_eq!(of(version, &one, compare) == of(version, &near, compare), is_same);
            }
            let [coarse, far] = [&one, &far].map(|it| of(version, it, Compare::Digits(6)));
            assert!(coarse.iter().zip(&far).all(|(one, far)| one != far));
            // What is ignored adds nothing: a sum of the others alone.
            let alone = comparing(version, &[("id", ids.clone(), Compare::Exact)]);
            assert_eq!(of(version, &near, Compare::Ignore), alone);
        }
        // And what says nothing of it is as it always was.
        assert_eq!(
            of(VERSION, &one, Compare::Exact),
            fingerprints(&[("id", ids.clone()), ("v", one)])
        );
    }

    #[test]
    fn version_2_is_frozen() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(42)]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        assert_eq!(
            format!("{:032x}", fingerprints(&[("id", a), ("name", b)])[0]),
            "da135ed9647b1b179ac4bb661ad5c7d8"
        );
    }
}
