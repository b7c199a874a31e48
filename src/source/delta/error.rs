//! What an error of the kernel means, in words of our own: thing, place and remedy.
//!
//! Invariant: the kernel's own words are shown only where they name a feature of the table; others may hold a value.

use delta_kernel::KernelError;

use super::super::error::Error;
use super::super::store::own;
use super::place::Place;

/// Letters of the kernel's words that are shown.
const SHOWN: usize = 200;

/// `version` is the one that was asked for.
pub(super) fn told(place: &Place, version: Option<u64>, error: &KernelError) -> Error {
    if let Some(own) = found(error) {
        return own.clone();
    }
    let Place { table, root, .. } = place;
    let which = version.map_or_else(String::new, |version| format!(" at version {version}"));
    let missing = |what: String| Error::Missing(format!("table `{table}`: {what}"));
    match error {
        KernelError::Backtraced { source, .. } => told(place, version, source),
        KernelError::EmptyLog => missing(format!(
            "there is no log of a Delta table below `{root}`; correct the location"
        )),
        KernelError::FileNotFound(path) => {
            let path = path.trim_start_matches('/');
            missing(format!(
                "`{path}` of the Delta table `{root}` is gone, which its log names; run again, and see what removed it"
            ))
        }
        KernelError::MissingVersion(_)
        | KernelError::StartVersionNotFound { .. }
        | KernelError::LogTailVersionsNotContiguous { .. }
        | KernelError::InvalidLogSegment(_)
            if version.is_some() =>
        {
            missing(format!(
                "the Delta table `{root}` has no version {} (any more); name one that its log has",
                version.unwrap_or_default()
            ))
        }
        KernelError::Unsupported(what) | KernelError::InvalidProtocol(what) => {
            let what = what.lines().next().unwrap_or_default().chars().take(SHOWN);
            Error::Damaged(format!(
                "table `{table}`: the Delta table `{root}`{which} uses what cannot be read here: {}; read a copy without it",
                what.collect::<String>()
            ))
        }
        KernelError::MissingMetadata
        | KernelError::MissingProtocol
        | KernelError::MissingMetadataAndProtocol
        | KernelError::MissingVersion(_)
        | KernelError::LogTailVersionsNotContiguous { .. }
        | KernelError::InvalidLogSegment(_) => missing(format!(
            "the log of the Delta table `{root}`{which} is not whole: a commit of it is missing; restore `{root}/_delta_log`"
        )),
        KernelError::DeletionVector(_) | KernelError::InvalidSelectionVector(_) => {
            Error::Damaged(format!(
                "table `{table}`: a deletion vector of the Delta table `{root}`{which} cannot be read; restore it"
            ))
        }
        _ => Error::Damaged(format!(
            "table `{table}`: the log of the Delta table `{root}`{which} cannot be read; see whether other programs read the \
             table, and restore `{root}/_delta_log`"
        )),
    }
}

/// An error of our own that came through the kernel.
fn found(error: &KernelError) -> Option<&Error> {
    match error {
        KernelError::ObjectStore(error) => own(error),
        error => own(error),
    }
}
