//! The guard: a limit above which deletes are held until a person releases or discards them.

use serde::{Deserialize, Serialize};

use crate::points;

/// How many deletes one run may make without asking.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxDeletes {
    /// Held when over 10 % of the entries and over 10 rows.
    Default,
    Rows(u64),
    /// Hundredths of a percent of the entries: `10%` is 1000.
    BasisPoints(u32),
}

/// Why deletes are held. The numbers are for the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldCause {
    /// More removals than the guard allows.
    Guard { removals: u64, entries: u64 },
    /// The read was complete and had no rows at all.
    EmptyRead { entries: u64 },
    /// Files of the last complete read are gone or were cut, or nobody can say whether one changed while it was read; `names`
    /// says of each what is wrong. Or a database read what nobody held for the read.
    VanishedFiles { names: Vec<String> },
    /// More null and repeated keys than the last complete run had.
    InvalidKeys { before: u64, now: u64 },
    /// Source, SQL or mode differ from those of the last run that held nothing.
    DefinitionChanged { what: String },
    /// The secret changed and no account is declared.
    CredentialsChanged,
}

impl std::fmt::Display for HoldCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HoldCause::Guard { removals, entries } => {
                write!(f, "{removals} deletes of {entries} records are more than `guard.max_deletes` allows")
            }
            HoldCause::EmptyRead { entries } => {
                write!(f, "the model returned no rows, while {entries} records are at the destination")
            }
            HoldCause::VanishedFiles { names } => {
                write!(f, "the source does not show that the read was complete: {}", names.join(", "))
            }
            HoldCause::InvalidKeys { before, now } => {
                write!(f, "{now} null or repeated keys, after {before} in the last complete run")
            }
            HoldCause::DefinitionChanged { what } => {
                write!(f, "{what} changed since the last run that held nothing")
            }
            HoldCause::CredentialsChanged => f.write_str(
                "the connection's secret changed and it says neither `account:` nor `identify:`; release if it is the same account, `rebaseline` if not",
            ),
        }
    }
}

/// Judges the deletes of one run by their number. `entries` is the size of the snapshot, the removals included.
pub fn judge(limit: MaxDeletes, removals: u64, entries: u64, rows_read: u64) -> Option<HoldCause> {
    if removals == 0 {
        return None;
    }
    if rows_read == 0 {
        let is_skipped = points::is_planted("guard_skipped_at_zero_rows");
        return (!is_skipped).then_some(HoldCause::EmptyRead { entries });
    }
    let is_over_share = |basis_points: u32| {
        u128::from(removals) * 10_000 > u128::from(entries) * u128::from(basis_points)
    };
    let is_over = match limit {
        MaxDeletes::Default => removals > 10 && is_over_share(1_000),
        MaxDeletes::Rows(rows) => removals > rows,
        MaxDeletes::BasisPoints(basis_points) => is_over_share(basis_points),
    };
    is_over.then_some(HoldCause::Guard { removals, entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_holds_over_ten_percent_and_over_ten_rows() {
        let held = |removals, entries| judge(MaxDeletes::Default, removals, entries, 1).is_some();
        assert!(!held(10, 11));
        assert!(held(11, 109));
        assert!(!held(11, 110));
        assert!(!held(1_000, 10_000));
        assert!(held(1_001, 10_000));
    }

    #[test]
    fn an_empty_read_holds_everything_whatever_the_limit() {
        for limit in [MaxDeletes::Default, MaxDeletes::Rows(99), MaxDeletes::BasisPoints(10_000)] {
            assert_eq!(judge(limit, 1, 5, 0), Some(HoldCause::EmptyRead { entries: 5 }));
            assert_eq!(judge(limit, 0, 5, 0), None);
        }
    }

    #[test]
    fn a_limit_of_no_rows_holds_the_first_delete() {
        assert!(judge(MaxDeletes::Rows(0), 1, 1_000, 9).is_some());
        assert!(judge(MaxDeletes::BasisPoints(0), 1, 1_000, 9).is_some());
        assert!(judge(MaxDeletes::BasisPoints(10_000), 999, 1_000, 9).is_none());
    }
}
