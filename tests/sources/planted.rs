//! The defects of sources that are planted in the product, and who must find each.

/// Defects, each with the kind and the name of the scenario of tests/sources that must fail on it, and words of what it must then
/// say; tests/faults leaves these to it.
pub const PLANTED: [(&str, &str, &str); 44] = [
    ("copy_end_believed", "postgres: a read without its very end proves nothing", "was believed"),
    (
        "state_before_locks",
        "postgres: a table that is written anew while a run waits for it is read whole",
        "it is one state",
    ),
    (
        "rls_filtered",
        "postgres: rows that a policy hides are not taken for deleted",
        "rows that a policy hides were deleted",
    ),
    (
        "another_database_believed",
        "postgres: another database under the same name deletes nothing",
        "what another database does not have was deleted",
    ),
    (
        "function_reads_believed",
        "postgres: a table that only a function reads holds the deletes by its name",
        "deleted",
    ),
    ("trailer_ignored", "postgres: a read without its very end proves nothing", "Trailer of "),
    ("cancel_not_sent", "postgres: a stop frees what a read has hung in", "goes on after the stop"),
    (
        "failed_answer_unread",
        "postgres: a joined table whose answer fails deletes nothing",
        "a failed answer was believed",
    ),
    (
        "failed_answer_unread",
        "mysql: a joined table whose answer fails deletes nothing",
        "a failed answer was believed",
    ),
    (
        "state_of_its_own",
        "postgres: all answers of one read are of one state",
        "answers of two states",
    ),
    (
        "state_of_its_own",
        "postgres: the pass over keys sees the state that is sent",
        "answers of two states",
    ),
    ("cancel_not_sent", "mysql: a stop frees what a read has hung in", "goes on after the stop"),
    (
        "cancel_not_sent",
        "postgres: a stop by whatever way frees the database of a living server",
        "goes on after the stop",
    ),
    (
        "cancel_not_sent",
        "mysql: a stop by whatever way frees the database of a living server",
        "goes on after the stop",
    ),
    (
        "doubt_not_fetched",
        "mysql: a cursor over a joined model restricts what is sent",
        "`delivered` of",
    ),
    (
        "doubt_not_fetched",
        "stores: a cursor over a Delta table restricts what is sent",
        "`rows_read` of",
    ),
    ("broken_answer_believed", "mysql: a read that breaks in its middle is none", "was believed"),
    (
        "limit_select_left",
        "mysql: a mirror follows the database and sends nothing twice",
        "rows_read",
    ),
    (
        "warning_1931_ignored",
        "mysql: an answer that the server itself makes shorter proves nothing",
        "LIMIT ROWS EXAMINED",
    ),
    (
        "snapshot_made_early",
        "mysql: a table that is renamed into place before it is read is read whole",
        "it is one state",
    ),
    (
        "cut_listing_believed",
        "stores: a page of a listing that is not the last is gone on with",
        "`rows_read` of",
    ),
    (
        "cut_listing_believed",
        "gs: a page of a listing that is not the last is gone on with, whatever it says of the next",
        "`rows_read` of",
    ),
    (
        "etag_ignored",
        "stores: s3: ndjson: a table that changes is never mixed",
        "rows of two states",
    ),
    ("etag_ignored", "az: csv: a table that changes is never mixed", "rows of two states"),
    ("etag_ignored", "gs: parquet: a table that changes is never mixed", "rows of two states"),
    (
        "listing_uncounted",
        "stores: a run says what listing cost as the store has counted it",
        "Number(0)",
    ),
    ("changed_file_believed", "files: parquet: a table that changes is never mixed", "of age 1: "),
    (
        "cut_text_believed",
        "files: csv.gz: a read without its very end proves nothing",
        "was believed",
    ),
    (
        "end_of_text_unread",
        "stores: http: csv as a whole: a read without its very end proves nothing",
        "was believed",
    ),
    (
        "end_of_text_unread",
        "stores: s3: ndjson.zst: a read without its very end proves nothing",
        "was believed",
    ),
    (
        "unseen_end_believed",
        "stores: a first run that broke off has seen no end that a cut text could lack",
        "the plan would delete",
    ),
    (
        "ipc_marker_ignored",
        "stores: s3: arrow stream: a read without its very end proves nothing",
        "was believed",
    ),
    (
        "rename_of_column_missed",
        "postgres: columns that come, go or change are followed or named",
        "mapping_changed",
    ),
    (
        "unknown_member_dropped",
        "files: ndjson: columns that come, go or change are followed or named",
        "it holds something else",
    ),
    (
        "invalid_row_deleted",
        "mysql: a key that is NULL or repeated deletes nothing",
        "`deletes` of ",
    ),
    (
        "repeated_key_sent",
        "files: arrow stream: a key that is NULL or repeated deletes nothing",
        "`10`` is not named",
    ),
    (
        "values_without_fields",
        "files: csv: keys that return and values that are swapped arrive",
        "it holds something else",
    ),
    (
        "second_bad_read_released",
        "postgres: a key that is NULL or repeated deletes nothing",
        "I5: ",
    ),
    ("guard_asked_once", "files: delta: a table that shrinks waits for a yes", "I13: "),
    (
        "delta_version_older_accepted",
        "stores: a Delta table that went back or lost its log deletes nothing",
        "\"deleted\":10",
    ),
    (
        "delta_catching_up_ignored",
        "stores: a Delta table that was restored and has caught up deletes nothing",
        "\"deleted\":10",
    ),
    (
        "delta_log_changes_ignored",
        "stores: a commit that is written anew while the log is replayed is no answer",
        "rows of two states",
    ),
    (
        "delta_commit_ignored",
        "stores: a mirror follows a Delta table and skips a version unread",
        "skipped",
    ),
    (
        "delta_rows_ignored",
        "stores: a data file of fewer rows than the log says is no answer",
        "10 delivered",
    ),
];
