//! Defects that can be planted, each with the name of a scenario that must fail on it: the judge is judged.

/// (defect, scenario)
#[expect(dead_code, reason = "the command that plays the table comes with it")]
pub const PLANTED: &[(&str, &str)] = &[
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
];
