//! Defects planted in the product, each of which the simulator has to find: the judge is judged.

use std::process::Command;

/// Each with the invariants one of which must be seen to break.
pub const PLANTED: [(&str, &[&str]); 11] = [
    ("snapshot_before_receipt", &["I3"]),
    ("no_intent", &["I3", "I4"]),
    ("rejection_settles_doubt", &["I3", "I4"]),
    ("kind_not_stored", &["I11"]),
    ("second_bad_read_released", &["I13"]),
    ("guard_skipped_at_zero_rows", &["I13"]),
    ("one_key_for_two_contents", &["I7"]),
    ("new_key_on_retry", &["I7"]),
    ("invalid_row_deleted", &["I5"]),
    ("delete_on_partial_read", &["I5"]),
    ("sync_removed", &["I3", "I4", "I9"]),
];

/// Histories within which each is found.
const WITHIN: u64 = 2_000;

/// Plays histories with each defect planted, in a process of its own; whether every one was found. Prints a line each.
pub fn check() -> bool {
    let me = std::env::current_exe().expect("a process knows its program");
    let mut is_well = true;
    for (defect, invariants) in PLANTED {
        let output = Command::new(&me)
            .args(["simulator", "--count", &WITHIN.to_string()])
            .env("COUNTERFLOW_DEFECT", defect)
            .output()
            .expect("the program starts again");
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        let broken = invariants
            .iter()
            .find(|invariant| text.contains(&format!("FAILED: {invariant} does not hold")));
        match broken.filter(|_| !output.status.success()) {
            Some(invariant) => println!("found    {defect} by {invariant}: {last}"),
            None => println!("NOT FOUND {defect}, expected {}: {last}", invariants.join(" or ")),
        }
        is_well &= broken.is_some();
    }
    is_well
}
