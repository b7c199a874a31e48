//! The cursor of a model.

use std::time::Duration;

use super::document::child;
use super::raw::RawCursor;
use super::raw_forms::NumberOrText;
use super::units;
use super::validate::Check;
use crate::domain::cursor::{Cursor, Overlap};

const FULL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// None where it names no column, which was reported by then.
pub fn cursor(check: &mut Check, pointer: &str, raw: &RawCursor) -> Option<Cursor> {
    let overlap = match &raw.overlap {
        None => None,
        Some(NumberOrText::Number(number)) => Some(Overlap::Number(number.0)),
        Some(NumberOrText::Text(text)) => {
            check.unit(&child(pointer, "overlap"), Some(text), units::days).map(Overlap::Time)
        }
    };
    let every = raw.full_every.as_deref();
    let full_every = check.unit(&child(pointer, "full_every"), every, units::days);
    let full_every = full_every.unwrap_or(FULL_EVERY);
    let time_zone = raw.time_zone.clone();
    if let Some(zone) = &time_zone {
        check.time_zone(&child(pointer, "time_zone"), zone);
    }
    raw.column.clone().map(|column| Cursor { column, overlap, full_every, time_zone })
}
