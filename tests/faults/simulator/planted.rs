//! Defects planted in the product, each of which the simulator has to find: the judge is judged.

use crate::planted::{Came, Played, again};

/// Each with the invariants one of which must be seen to break.
pub const PLANTED: [(&str, &[&str]); 26] = [
    ("snapshot_before_receipt", &["I3", "I11"]),
    ("no_intent", &["I3", "I4"]),
    ("intent_after_send", &["I3", "I4"]),
    ("rejection_settles_doubt", &["I3", "I4"]),
    ("kind_not_stored", &["I11"]),
    ("second_bad_read_released", &["I13"]),
    ("guard_skipped_at_zero_rows", &["I13"]),
    ("one_key_for_two_contents", &["I7"]),
    ("new_key_on_retry", &["I7"]),
    ("invalid_row_deleted", &["I5"]),
    ("delete_on_partial_read", &["I5"]),
    ("sync_removed", &["I4"]),
    ("repetition_never_woken", &["I9"]),
    ("release_covers_others", &["I13"]),
    ("delete_put_off", &["I1", "I2"]),
    ("unchanged_row_sent", &["I7"]),
    ("epoch_closed_over_unknown", &["I11"]),
    ("row_counted_twice", &["I10", "tally"]),
    ("refused_record_deleted", &["I5"]),
    ("repetitions_leave_early", &["I7"]),
    ("sample_deletes", &["I5"]),
    ("maybe_met_key_sent", &["I6", "I10"]),
    ("skip_with_unsent_rows", &["I1", "I2"]),
    ("cursor_moved_over_unsent", &["I2"]),
    ("full_run_restricted", &["I11"]),
    ("local_clock_in_utc", &["I2"]),
];

/// Histories within which each is found.
const WITHIN: u64 = 2_000;

/// Plays histories with each defect planted, in a process of its own.
pub fn play() -> impl Iterator<Item = Played> {
    PLANTED.iter().map(|(defect, invariants)| {
        let mut command = again();
        command.args(["simulator", "--count", &WITHIN.to_string()]);
        command.env("COUNTERFLOW_DEFECT", defect);
        let output = command.output().expect("this program can be started again");
        let said = String::from_utf8_lossy(&output.stdout);
        let is_expected = |line: &&str| {
            let of = |invariant| line.starts_with(&format!("FAILED: {invariant} does not hold"));
            invariants.iter().any(of)
        };
        let why = said.lines().find(is_expected);
        let last = said.lines().find(|line| line.starts_with("simulator:")).unwrap_or_default();
        let came = match why {
            Some(why) => Came::Found(format!("{why} ({last})")),
            None => Came::Missed(said.into_owned()),
        };
        Played { defect, by: "the simulator", words: invariants.join(" or "), came }
    })
}
