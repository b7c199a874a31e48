//! Defects planted in the product, to see that the judge can judge: with each of them, the scenario named must fail.

use std::process::{Command, Stdio};

use crate::simulator;

/// A defect (`counterflow::points::is_planted`) and the name of the scenario that must fail on it.
pub const PLANTED: &[(&str, &str)] = &[
    ("intent_after_send", "a kill while a request is in flight leaves its keys in doubt"),
    ("redirect_taken_for_success", "a redirect is never a receipt and no token is sent on"),
    ("html_taken_for_success", "a 200 without the declared shape is never a receipt"),
    ("batch_verdict", "an error inside of 200 or 207 is that record's alone"),
    ("secret_in_error", "a refusal that repeats what was sent gives nothing of it away"),
    ("unlimited_answer", "an answer without an end takes bounded memory"),
    ("retry_after_ignored", "a Retry-After is waited for"),
    ("counts_off_by_retry", "what was taken and dropped is sent again"),
    ("two_in_flight_per_key", "an answer that comes too slowly is given up in time"),
    ("retry_with_new_key", "what was applied without an answer is asserted again"),
    ("delete_on_partial_read", "a file truncated during the read proves nothing"),
    ("guard_skipped_at_zero_rows", "an empty read holds every delete whatever the guard allows"),
    ("second_bad_read_released", "a file missing of the last complete set holds the deletes"),
    ("vanished_file_ignored", "a partition missing of the last set holds the deletes"),
    ("invalid_row_deleted", "a repeated key is neither sent nor deleted"),
    ("repeated_key_sent", "a key that is repeated from the first run on is never sent"),
    ("nulls_left_out", "a value that becomes NULL is sent as null"),
    ("negative_zero_differs", "the same values in other types are sent no second time"),
    ("decimal_scale_differs", "the same values in other types are sent no second time"),
    ("rename_of_column_missed", "a column that is renamed sends every row under its new name"),
    ("lock_not_taken", "a second process on one state is refused, by whatever path it comes"),
    ("corrupt_read_as_empty", "over a damaged snapshot nothing is sent and the advice is named"),
    ("missing_snapshot_read_as_empty", "a snapshot that is missing is never begun anew"),
    (
        "fsync_error_ignored",
        "a read, write or sync that fails ends the run with a word and loses nothing",
    ),
    ("write_error_ignored", "no space at any write ends the run with a word and loses nothing"),
    (
        "store_recreated",
        "a broken or missing state database halts with advice and is left as it is",
    ),
    ("older_generation_accepted", "an older generation put back is refused"),
    ("copy_accepted", "a state that was restored from a backup is refused until it is rebaselined"),
    ("foreign_file_accepted", "the snapshot of another state is refused"),
    (
        "trigger_during_run_lost",
        "schedule, API and Sync Now at once during a run are one run behind it",
    ),
    ("delete_put_off", "what was applied without an answer is asserted again"),
    ("unchanged_row_sent", "what was applied without an answer is asserted again"),
    ("epoch_closed_over_unknown", "an answer that comes too slowly is given up in time"),
    ("row_counted_twice", "what was applied without an answer is asserted again"),
    ("batch_cut_short", "a file missing of the last complete set holds the deletes"),
    ("run_not_named", "a record that was refused and never taken is not deleted when it leaves"),
    (
        "refused_record_deleted",
        "a record that was refused and never taken is not deleted when it leaves",
    ),
    ("secret_in_error", "a server tells of a refusal without what was sent"),
];

/// A defect, the scenario that must find it, and what it said; `None` where it found nothing.
pub type Found = (String, String, Option<String>);

/// Plays each scenario with its defect.
pub fn play() -> Vec<Found> {
    let program = std::env::current_exe().expect("this program has a path");
    let find = |(defect, scenario): &(&str, &str)| {
        let mut command = Command::new(&program);
        // Not by the name that the library reads, so that the judge itself has no defect.
        command.arg(scenario).env("KIT_DEFECT", defect).stdin(Stdio::null());
        let played = command.output().expect("this program can be started again");
        let said = String::from_utf8_lossy(&played.stdout);
        let mut lines = said.lines().skip_while(|line| !line.starts_with("FAILED"));
        // The line itself, the place of the panic, and what it says.
        let why = lines.by_ref().skip(2).find(|line| line.chars().any(char::is_alphanumeric));
        // What this machine cannot play says so, and nothing was missed.
        let lacking = said.lines().find(|line| line.starts_with("not measured"));
        let why = why.or(lacking);
        match why {
            Some(why) if lacking.is_some() => println!("not measured {defect}: {}", why.trim()),
            Some(why) => println!("found        {defect} by `{scenario}`: {}", why.trim()),
            None => println!("MISSED       {defect} by `{scenario}`:\n{said}"),
        }
        let why = why.map(|why| why.trim().chars().take(200).collect());
        ((*defect).to_owned(), (*scenario).to_owned(), why)
    };
    PLANTED.iter().map(find).chain(simulator::planted::play()).collect()
}

/// Prints how many were missed, and says whether none was.
pub fn is_found(found: &[Found]) -> bool {
    let missed = found.iter().filter(|(_, _, said)| said.is_none()).count();
    println!("{} planted, {missed} missed", found.len());
    missed == 0
}
