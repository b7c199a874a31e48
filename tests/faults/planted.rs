//! Defects planted in the product, to see that the judge can judge: with each of them, the scenario named must fail.

use std::process::{Command, Stdio};

/// A defect (`counterflow::points::is_planted`) and the name of the scenario that must fail on it.
pub const PLANTED: &[(&str, &str)] = &[
    ("intent_after_send", "a kill while a request is in flight leaves its keys in doubt"),
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
];

/// Plays each scenario with its defect and says whether all of them failed.
pub fn play() -> bool {
    let program = std::env::current_exe().expect("this program has a path");
    let mut missed = 0;
    for (defect, scenario) in PLANTED {
        let mut command = Command::new(&program);
        command.arg(scenario).env("COUNTERFLOW_DEFECT", defect).stdin(Stdio::null());
        let played = command.output().expect("this program can be started again");
        let said = String::from_utf8_lossy(&played.stdout);
        let failure = said.lines().skip_while(|line| !line.starts_with("FAILED")).nth(2);
        match failure {
            Some(why) => println!("found        {defect} by `{scenario}`: {}", why.trim()),
            None => {
                missed += 1;
                println!("MISSED       {defect} by `{scenario}`:\n{said}");
            }
        }
    }
    println!("{} planted, {missed} missed", PLANTED.len());
    missed == 0
}
