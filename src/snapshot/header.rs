//! What a snapshot says of itself: identity, definition, epoch, holds. Written whole at each commit.

use serde::{Deserialize, Serialize};

use crate::domain::cursor::Reached;
use crate::domain::entry::Standing;
use crate::domain::file::FileFact;
use crate::domain::guard::HoldCause;
use crate::domain::id::{BatchNumber, Epoch, Instant, IntentNumber, Lineage, RunId};
use crate::domain::sync::Definition;
use crate::points::is_planted;

/// The header of one generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub sync: String,
    pub lineage: Lineage,
    /// Rises each time the snapshot is opened for writing: who holds a smaller number may no longer write.
    pub fence: u64,
    /// Rises by one with each commit.
    pub generation: u64,
    /// `None` until the first run.
    pub definition: Option<Definition>,
    /// Zero until the first run opens one.
    pub epoch: Epoch,
    pub is_epoch_open: bool,
    pub next_batch: BatchNumber,
    /// Intent numbers below this are never used again: the rendering has changed since.
    pub reuse_floor: IntentNumber,
    /// The idempotency keys of intents from this number on tell apart what is said under one fingerprint. `None`: those of no
    /// intent so far do, as they are of an older program; where the sync compares loosely, those of all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents_from: Option<IntentNumber>,
    /// What the last run that held nothing read and believed, or before there was one, what the first run began with;
    /// holds are judged against it.
    pub baseline: Option<Baseline>,
    pub hold: Option<Hold>,
    pub releases: Vec<Release>,
    /// How many entries the destination holds or may hold.
    pub entries: u64,
    /// The last run left nothing to do. Whatever is committed after it takes that back, unless it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_rest: Option<AtRest>,
    /// How far runs of a model with a cursor have come. It moves with the entries of the same run, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Reached>,
}

/// That a run left nothing to do; its files and credentials are those of the baseline, which is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtRest {
    pub run: RunId,
    /// A hash of all that decides what a run of the sync reads and sends.
    pub definition: String,
    /// Of the engine.
    pub version: String,
}

/// What a later read is judged against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub run: RunId,
    pub definition: Definition,
    pub files: Vec<FileFact>,
    /// Null and repeated keys; `None` until a read was proven complete.
    pub invalid_keys: Option<u64>,
    /// A keyed hash of the connection's secret; `None` where it has none.
    pub credentials: Option<String>,
}

/// Deletes that wait for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The last run that held them.
    pub run: RunId,
    pub causes: Vec<HoldCause>,
    pub keys: u64,
    /// See [`Standing`]; `None` where that is the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<RunId>,
    /// What that run read of tables that count their versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<FileFact>,
}

impl Header {
    /// From which number on the idempotency keys of intents tell apart what is said. `is_tolerant`: the sync compares loosely.
    pub fn contents_from(&self, is_tolerant: bool) -> IntentNumber {
        if is_tolerant || is_planted("contents_in_older_keys") {
            return IntentNumber(0);
        }
        if is_planted("contents_begin_anew") {
            return IntentNumber(self.next_batch.0);
        }
        self.contents_from.expect("it is set before the first intent of a run")
    }

    /// Has the idempotency keys of all intents from now on tell apart what is said. Those that are in doubt keep theirs.
    pub fn begin_contents(&mut self) {
        self.contents_from.get_or_insert(IntentNumber(self.next_batch.0));
    }

    /// Writes a person's yes to the deletes that were held in a run. Where that is the last one that held any, the versions that
    /// it read are vouched for: later reads go on from them.
    pub fn release(&mut self, release: Release) {
        let hold = self.hold.iter().filter(|hold| hold.run == release.run);
        let files = self.baseline.iter_mut().flat_map(|baseline| &mut baseline.files);
        let versions: Vec<_> = hold.flat_map(|hold| &hold.versions).collect();
        for file in files {
            let is_it = |seen: &&&FileFact| (&seen.table, &seen.path) == (&file.table, &file.path);
            if let Some(seen) = versions.iter().find(is_it) {
                FileFact::clone_from(file, seen);
            }
        }
        self.releases.push(release);
    }

    /// The hold that stands, by which the keys are told that it has.
    pub fn standing(&self) -> Option<Standing> {
        let standing =
            |hold: &Hold| Standing { since: hold.since.unwrap_or(hold.run), run: hold.run };
        self.hold.as_ref().map(standing)
    }
}

/// A person's yes to the deletes held in `run`. It stands until each of them is deleted, back or forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub run: RunId,
    pub message: Option<String>,
    pub at: Instant,
}
