//! What a read must have come to before a run, or a plan of one, goes by it.

use tokio::runtime::Handle;

use super::intake::Intake;
use super::prepare::Error;
use crate::domain::file::FileFact;
use crate::shutdown::Tasks;
use crate::snapshot::header::{Baseline, Header};
use crate::source::{Completeness, Earlier, Proof, Verified, vanished};

/// The source is as it was when the read began. To be asked once all of it was read. It is asked on `runtime`, so that a file
/// system that does not answer holds up nobody who gives up on this. Says how what was read goes on from what the `last`
/// complete read had.
///
/// # Errors
/// It is not, as its files are others.
pub async fn check_source(
    proof: Proof,
    last: Option<&Header>,
    runtime: &Handle,
) -> Result<Verified, Error> {
    let baseline = last.and_then(|header| header.baseline.as_ref());
    let last = baseline.map_or_else(Vec::new, |baseline| baseline.files.clone());
    let mut tasks = Tasks::default();
    tasks.spawn_on(async move { proof.verify(&last).await }, runtime);
    let verified = tasks.next().await.expect("the one task was just spawned");
    verified.map_err(|unproven| Error::Unproven(unproven.reason))
}

/// What a complete read lacks that has these `files`, one reason each, held against the baseline.
pub fn lacking(baseline: &Baseline, files: &[FileFact], rewritten: &[Completeness]) -> Vec<String> {
    let was_complete = baseline.invalid_keys.is_some();
    vanished(Earlier { files: &baseline.files, was_complete }, files, rewritten)
}

/// No more records are invalid than a person bears; `limit` is `max_invalid`. May be asked while rows are read.
///
/// # Errors
/// There are more.
pub fn check_invalid(intake: &Intake, limit: u64) -> Result<(), Error> {
    let invalid = intake.counts.tally().invalid;
    if invalid <= limit {
        return Ok(());
    }
    let examples = intake.notes.iter().take(3);
    let examples: Vec<String> = examples
        .map(|note| format!("`{}` {}", note.key, note.message.as_deref().unwrap_or_default()))
        .collect();
    Err(Error::TooManyInvalid { invalid, limit, examples: examples.join(", ") })
}

/// No rows, and nothing says that the model ever had one: most likely it is not what was meant.
///
/// # Errors
/// It is so.
pub fn check_rows(model: &str, header: Option<&Header>, rows_read: u64) -> Result<(), Error> {
    let was_read = header.is_some_and(|header| {
        let baseline = header.baseline.as_ref();
        header.entries > 0 || baseline.is_some_and(|known| known.invalid_keys.is_some())
    });
    if rows_read == 0 && !was_read {
        return Err(Error::NoRows(model.to_owned()));
    }
    Ok(())
}
