//! Which kind the next run is, and why; when an epoch opens and closes (design.md §3, Kinds and epochs).

use serde::{Deserialize, Serialize};

use super::cursor::Stays;
use super::id::RunId;

/// How much of the source a run confirms.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Incremental,
    Full,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Full => "full",
            Kind::Incremental => "incremental",
        })
    }
}

/// Why a run has its kind; stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KindReason {
    FirstRun,
    Requested,
    /// An earlier full run did not confirm every row; this one goes on with it.
    OpenEpoch,
    MappingChanged,
    RenderingChanged,
    Rebaselined,
    /// Only chosen rows are sent, whatever the delta says; nothing is said of the others.
    Sample,
    /// Only rows are read that are new by the model's cursor.
    Cursor,
    /// Nothing asks for a full run.
    Usual,
    /// The files are the same as at an earlier run, which left nothing to do: this one was skipped.
    Unchanged,
}

impl std::fmt::Display for KindReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KindReason::FirstRun => "first run",
            KindReason::Requested => "full resync was asked for",
            KindReason::OpenEpoch => "an earlier full run is not finished",
            KindReason::MappingChanged => "the mapping changed",
            KindReason::RenderingChanged => "the rendering changed",
            KindReason::Rebaselined => "the snapshot was rebaselined",
            KindReason::Sample => "a sample of chosen rows",
            KindReason::Cursor => "rows that are new by the model's cursor",
            KindReason::Usual => "changes since the last run",
            KindReason::Unchanged => "nothing has changed",
        })
    }
}

/// What the snapshot and the trigger say before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// No run has opened an epoch yet.
    pub is_first: bool,
    /// The snapshot was set aside by a person; the first run after it says so.
    pub is_rebaselined: bool,
    pub is_epoch_open: bool,
    pub is_full_requested: bool,
    /// The change that demands a new epoch, if the definition changed.
    pub definition: Option<KindReason>,
}

/// A kind, its reason, and whether a new epoch is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub kind: Kind,
    pub reason: KindReason,
    pub opens_epoch: bool,
    /// The run that left nothing to do, where a later one was skipped as nothing has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<RunId>,
    /// The version of the table then, where the model reads one table that counts its versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_version: Option<u64>,
    /// Why the run left the bound of the model's cursor where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_stays: Option<Stays>,
}

impl Choice {
    /// That of a sample, which opens no epoch and is no iteration of its sync.
    pub const SAMPLE: Choice = Choice::incremental(KindReason::Sample);

    const fn incremental(reason: KindReason) -> Choice {
        Choice {
            kind: Kind::Incremental,
            reason,
            opens_epoch: false,
            unchanged_since: None,
            unchanged_version: None,
            bound_stays: None,
        }
    }

    /// That of a run that is skipped, as nothing has changed.
    pub fn skipped(Unchanged { since, version }: Unchanged) -> Choice {
        Choice {
            unchanged_since: Some(since),
            unchanged_version: version,
            ..Choice::incremental(KindReason::Unchanged)
        }
    }

    /// What a run was skipped for, if it was.
    pub fn unchanged(self) -> Option<Unchanged> {
        let version = self.unchanged_version;
        self.unchanged_since.map(|since| Unchanged { since, version })
    }

    pub fn is_sample(self) -> bool {
        self.reason == KindReason::Sample
    }
}

/// Chooses the kind of the next run. A stopped run's kind is kept because its epoch stays open.
pub fn choose(circumstances: Circumstances) -> Choice {
    let full = |reason, opens_epoch| Choice {
        kind: Kind::Full,
        reason,
        opens_epoch,
        unchanged_since: None,
        unchanged_version: None,
        bound_stays: None,
    };
    if circumstances.is_first {
        let reason = if circumstances.is_rebaselined {
            KindReason::Rebaselined
        } else {
            KindReason::FirstRun
        };
        full(reason, true)
    } else if let Some(reason) = circumstances.definition {
        full(reason, true)
    } else if circumstances.is_full_requested {
        full(KindReason::Requested, true)
    } else if circumstances.is_epoch_open {
        full(KindReason::OpenEpoch, false)
    } else {
        Choice::incremental(KindReason::Usual)
    }
}

/// Why a run was skipped: nothing has changed since an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchanged {
    pub since: RunId,
    /// As [`Choice::unchanged_version`].
    pub version: Option<u64>,
}

impl std::fmt::Display for Unchanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unchanged { since, version } = self;
        match version {
            Some(version) => write!(f, "the table is at version {version}, as at run {since}")?,
            None => write!(f, "the files are the same as at run {since}")?,
        }
        f.write_str(", which left nothing to do")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Circumstances = Circumstances {
        is_first: false,
        is_rebaselined: false,
        is_epoch_open: false,
        is_full_requested: false,
        definition: None,
    };

    #[test]
    fn first_requested_and_changed_open_an_epoch() {
        for (circumstances, reason) in [
            (Circumstances { is_first: true, ..USUAL }, KindReason::FirstRun),
            (
                Circumstances { is_first: true, is_rebaselined: true, ..USUAL },
                KindReason::Rebaselined,
            ),
            (
                Circumstances { is_full_requested: true, is_epoch_open: true, ..USUAL },
                KindReason::Requested,
            ),
            (
                Circumstances {
                    definition: Some(KindReason::MappingChanged),
                    is_epoch_open: true,
                    ..USUAL
                },
                KindReason::MappingChanged,
            ),
        ] {
            let choice = choose(circumstances);
            let expected = Choice {
                kind: Kind::Full,
                reason,
                opens_epoch: true,
                unchanged_since: None,
                unchanged_version: None,
                bound_stays: None,
            };
            assert_eq!(choice, expected);
        }
    }

    #[test]
    fn an_open_epoch_is_gone_on_with_and_otherwise_runs_are_incremental() {
        let open = choose(Circumstances { is_epoch_open: true, ..USUAL });
        assert_eq!((open.kind, open.opens_epoch), (Kind::Full, false));
        assert_eq!(choose(USUAL).kind, Kind::Incremental);
    }

    #[test]
    fn what_an_older_version_stored_of_a_choice_is_read_and_a_skip_comes_back() {
        let old = r#"{"kind":"incremental","reason":"usual","opens_epoch":false}"#;
        assert_eq!(serde_json::from_str::<Choice>(old).unwrap(), choose(USUAL));
        assert_eq!(serde_json::to_string(&choose(USUAL)).unwrap(), old);
        for version in [None, Some(42)] {
            let skipped = Choice::skipped(Unchanged { since: RunId(5), version });
            let stored = serde_json::to_string(&skipped).unwrap();
            assert_eq!(serde_json::from_str::<Choice>(&stored).unwrap(), skipped);
            assert_eq!(stored.contains("unchanged_version"), version.is_some());
        }
    }
}
