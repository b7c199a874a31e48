//! The records of a journal. Borrowed where they come in masses, so that writing one copies each byte once.

use crate::domain::entry::{Fingerprint, Operation, Verdict, Waiver};
use crate::domain::id::{BatchNumber, Instant, IntentNumber, RunId};

/// One record of the journal, as written and as read back.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// The durable note, made before the request leaves, that these keys may be about to change.
    Intent {
        batch: BatchNumber,
        operation: Operation,
        records: Vec<IntentRecord<'a>>,
    },
    /// An asynchronous API took the batch; the job is asked for its results. Read and folded as unknown until a receipt comes.
    Accepted {
        batch: BatchNumber,
        job: &'a str,
    },
    /// The batch's records ended like this; those not named are unknown. Ranges of places in the batch, from 0.
    Receipt {
        batch: BatchNumber,
        at: Instant,
        verdicts: Vec<(std::ops::Range<u32>, Verdict)>,
    },
    /// The key came twice in the read after a row of it had left: in doubt whatever its receipt says.
    Repeated {
        key: &'a [u8],
    },
    /// Row gone, and nothing of it at the destination; or ownership dropped by a person.
    Forget {
        key: &'a [u8],
    },
    /// The row is confirmed again: its rejection and its hold are over.
    Clear {
        key: &'a [u8],
    },
    /// A row with the key was met, whatever is wrong with it: its hold is over.
    Back {
        key: &'a [u8],
    },
    /// The key's delete was held in this run.
    Hold {
        key: &'a [u8],
        run: RunId,
    },
    Waive {
        key: &'a [u8],
        waiver: Waiver,
    },
}

/// One operation of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntentRecord<'a> {
    pub key: &'a [u8],
    /// Zero for a delete.
    pub fingerprint: Fingerprint,
    pub number: IntentNumber,
}
