//! What one attempt at one request came to, in the few words delivery acts on. Nothing here retries.

use std::time::Duration;

/// A judged attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub judgement: Judgement,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// What the destination asked to wait, from `Retry-After` in either form.
    pub retry_after: Option<Duration>,
}

/// What an attempt means for its batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// The answer was read in full and names every record: one verdict for each, in the order sent.
    Records(Vec<RecordVerdict>),
    /// Nothing was applied: never connected, or refused as a whole for now. Try again.
    NotApplied(Refusal),
    /// The request may have been applied: no answer, half an answer, or one without the declared shape.
    Unknown(Refusal),
    /// Nothing was applied, and the fault may be one record's, or the size: halve until it is alone.
    Split(Refusal),
    /// No record will succeed: unauthorised, forbidden, endpoint gone, TLS, a redirect.
    Halt(Refusal, Effect),
}

/// What a refused request may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It never left, or was refused before anything could be applied.
    None,
    /// The refusal may come from halfway.
    Possible,
}

/// A code such as `429` or `timeout`, and a short message free of the records' values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
}

/// The destination's answer for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordVerdict {
    Delivered,
    Rejected(Refusal),
    /// Not applied; to be sent again.
    Retry(Refusal),
}
