//! Defects planted in the product, to see that the judge can judge: with each of them, the scenario named must fail, and
//! must say what is wrong. A scenario that fails for another reason has found nothing.

#[path = "../sources/planted.rs"]
mod of_sources;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::catalogue;
use crate::demand;
use crate::simulator;

/// A defect (`counterflow::points::is_planted`), the name of the scenario that must fail on it, and words of what it must
/// then say.
type Row = (&'static str, &'static str, &'static str);

const MANY: &str =
    "of many syncs that are due together no run is lost, doubled or stuck over kills of the server";

const BERLIN: &str = "in Berlin what the clock leaves out fires once behind it, what it repeats once or in both hours";

pub const PLANTED: &[Row] = &[
    ("intent_after_send", "a kill while a request is in flight leaves its keys in doubt", "I4: "),
    ("redirect_taken_for_success", "a redirect is never a receipt and no token is sent on", "I3: "),
    ("html_taken_for_success", "a 200 without the declared shape is never a receipt", "I3: "),
    ("batch_verdict", "an error inside of 200 or 207 is that record's alone", "I3: "),
    ("secret_in_error", "a refusal that repeats what was sent gives nothing of it away", "I12: "),
    ("unlimited_answer", "an answer without an end takes bounded memory", "the process took"),
    ("retry_after_ignored", "a Retry-After is waited for", "`Retry-After: 2` with 429"),
    ("counts_off_by_retry", "what was taken and dropped is sent again", "I10: "),
    ("two_in_flight_per_key", "an answer that comes too slowly is given up in time", "I6: "),
    ("retry_with_new_key", "what was applied without an answer is asserted again", "I7: "),
    (
        "skip_with_unsent_rows",
        "what a run left unsent is sent by the next over the same files",
        "I2: after a run that skipped",
    ),
    (
        "skip_with_changed_file",
        "a run over the same files is skipped, and one over any other reads them",
        "I2: after a run that skipped",
    ),
    (
        "skip_with_new_definition",
        "a run over the same files is skipped, and one by another definition reads them",
        "another definition was skipped over",
    ),
    (
        "skip_after_fresh_files",
        "a file that was changed shortly before it was read is read once more",
        "a file that may have changed since was skipped over",
    ),
    (
        "database_skipped",
        "a source that cannot say whether it changed is always read",
        "a source that says nothing was skipped",
    ),
    (
        "cursor_moved_by_stop",
        "what a stopped run left is read by the next though it is not new",
        "I2: ",
    ),
    (
        "cursor_moved_over_unsent",
        "an invalid row is read by the next run though it is not new",
        "I2: ",
    ),
    (
        "foreign_bound_kept",
        "what another definition has sent is sent again when the first one is back",
        "I2: ",
    ),
    ("doubt_not_fetched", "a record in doubt is read by its key though it is not new", "I2: "),
    (
        "full_run_restricted",
        "a full run reads what is not new, and so does one that goes on with it",
        "I2: ",
    ),
    (
        "open_epoch_restricted",
        "a full run reads what is not new, and so does one that goes on with it",
        "I11: ",
    ),
    ("delete_on_partial_read", "a file truncated during the read proves nothing", "I5: "),
    (
        "delete_on_partial_read",
        "a file appended to during the read proves nothing",
        "had no complete read without them",
    ),
    (
        "guard_skipped_at_zero_rows",
        "an empty read holds every delete whatever the guard allows",
        "I13: ",
    ),
    (
        "second_bad_read_released",
        "a file missing of the last complete set holds the deletes",
        "I5: ",
    ),
    (
        "repetitions_leave_early",
        "what is in doubt waits for a read that does not break, and keeps its key",
        "I7: a part was sent",
    ),
    ("sample_deletes", "a sample of a table that shrank deletes nothing", "I5: "),
    ("vanished_file_ignored", "a partition missing of the last set holds the deletes", "I5: "),
    ("invalid_row_deleted", "a repeated key is neither sent nor deleted", "I5: "),
    (
        "repeated_key_sent",
        "a key that is repeated from the first run on is never sent",
        "a repeated key was sent",
    ),
    ("nulls_left_out", "a value that becomes NULL is sent as null", "I1: "),
    (
        "compare_ignored_changes_sent",
        "a change of what is ignored is not sent, and goes with the next one that is",
        "I8: ",
    ),
    (
        "ignored_field_dropped",
        "a change of what is ignored is not sent, and goes with the next one that is",
        "an ignored field is lost",
    ),
    ("omit_drops_zero", "a member that is left out for NULL is sent for zero", "a zero is lost"),
    (
        "one_key_for_what_counts_as_the_same",
        "what counts as the same and is said otherwise is no repetition",
        "I7: one key for two contents",
    ),
    (
        "contents_in_older_keys",
        "an upgrade repeats what was in doubt under its own key",
        "is not repeated once",
    ),
    (
        "contents_begin_anew",
        "equal numbers of two scales are no repetition to a destination that knows keys",
        "I7: a repetition has another key",
    ),
    (
        "one_key_for_what_counts_as_the_same",
        "equal numbers of two scales are no repetition to a destination that knows keys",
        "I7: one key for two bodies",
    ),
    ("negative_zero_differs", "the same values in other types are sent no second time", "I8: "),
    ("decimal_scale_differs", "the same values in other types are sent no second time", "I8: "),
    (
        "map_order_differs",
        "a nested value in another order or layout is sent no second time",
        "I8: ",
    ),
    (
        "struct_member_order_differs",
        "a nested value in another order or layout is sent no second time",
        "I8: ",
    ),
    ("gzip_cut_accepted", "a gzip file that was cut is never read as a whole one", "I5: "),
    (
        "unknown_member_dropped",
        "a member that only a later line of NDJSON has is no less a column",
        "a member is lost",
    ),
    (
        "rename_of_column_missed",
        "a column that is renamed sends every row under its new name",
        "I11: ",
    ),
    (
        "lock_not_taken",
        "a second process on one state is refused, by whatever path it comes",
        "a second process went on",
    ),
    (
        "corrupt_read_as_empty",
        "over a damaged snapshot nothing is sent and the advice is named",
        "a run went on over what is damaged",
    ),
    (
        "missing_snapshot_read_as_empty",
        "a snapshot that is missing is never begun anew",
        "a run went on over what is damaged",
    ),
    (
        "fsync_error_ignored",
        "a read, write or sync that fails ends the run with a word and loses nothing",
        "a run went on over a call that failed",
    ),
    (
        "write_error_ignored",
        "no space at any write ends the run with a word and loses nothing",
        "no space at write no. ",
    ),
    (
        "store_recreated",
        "a broken or missing state database halts with advice and is left as it is",
        "is not said",
    ),
    (
        "older_generation_accepted",
        "an older generation put back is refused",
        "a run went on over what is damaged",
    ),
    (
        "copy_accepted",
        "a state that was restored from a backup is refused until it is rebaselined",
        "a run went on over what is damaged",
    ),
    (
        "one_word_for_two_questions",
        "a word for a log that was lost is no word for a definition that changed as well",
        "a run went on over what is damaged",
    ),
    (
        "foreign_file_accepted",
        "the snapshot of another state is refused",
        "`does not belong to the snapshot of `people`` is not said",
    ),
    (
        "trigger_during_run_lost",
        "schedule, API and Sync Now at once during a run are one run behind it",
        "one waits, and the others join it",
    ),
    ("stop_waits_for_query", "a stop never waits for a query that does not yield", "A5: it took"),
    ("drain_without_limit", "a signal while sending ends within the drain limit", "A4: it took"),
    (
        "proxy_honoured",
        "a proxy in the environment is sent nothing",
        "the token was sent elsewhere",
    ),
    (
        "redirect_followed",
        "a redirect is never a receipt and no token is sent on",
        "the token was sent on",
    ),
    ("unsent_called_delivered", "a refused connection leaves nothing in doubt", "I2: "),
    ("delete_put_off", "what was applied without an answer is asserted again", "I2: "),
    ("unchanged_row_sent", "what was applied without an answer is asserted again", "I8: "),
    ("epoch_closed_over_unknown", "an answer that comes too slowly is given up in time", "I11: "),
    ("row_counted_twice", "what was applied without an answer is asserted again", "I10: "),
    ("batch_cut_short", "a file missing of the last complete set holds the deletes", "I10: "),
    (
        "run_not_named",
        "a record that was refused and never taken is not deleted when it leaves",
        "I6: ",
    ),
    (
        "refused_record_deleted",
        "a record that was refused and never taken is not deleted when it leaves",
        "I5: ",
    ),
    (
        "files_not_synced",
        "a manifest is named only when all it names is safe, and nothing is removed before it is",
        "A9: ",
    ),
    (
        "folder_not_synced",
        "a manifest is named only when all it names is safe, and nothing is removed before it is",
        "A9: ",
    ),
    (
        "renewal_skips_hold",
        "a secret of nobody knows which account that comes between deletes is sent none of them",
        "deletes were sent with the other secret",
    ),
    (
        "renewal_skips_hold",
        "a secret of nobody knows which account that comes between upserts holds the deletes of the next run",
        "deletes were not held for the secret",
    ),
    (
        "renewal_unasked",
        "a secret that comes in mid-run is sent no row where it is of another account than was asked for",
        "rows were sent to another account",
    ),
    (
        "renewal_unseen",
        "a secret of nobody knows which account that comes between upserts holds the deletes of its run",
        "deletes were not held for the secret",
    ),
    (
        "journal_not_noted",
        "a journal that is gone or cut after a run had begun to send halts with advice",
        "a run went on over what is damaged",
    ),
    (
        "older_store_ignored",
        "a log that is lost with a run that had begun to send halts with advice, and loses no record",
        "a run went on over what is damaged",
    ),
    (
        "older_store_ignored",
        "a state database that is older than the snapshot halts with advice",
        "a run went on over what is damaged",
    ),
    (
        "full_not_owed",
        "a full resync that a damaged snapshot refused is made once the snapshot is whole",
        "it is foretold",
    ),
    (
        "stop_without_audit",
        "a stop while a run waits in the queue ends it unbegun",
        "the stop stands in no audit log",
    ),
    (
        "lack_of_room_ignored",
        "a disk without the room for a run ends it before anything is sent",
        "requests left on a disk without room",
    ),
    ("secret_in_error", "a server tells of a refusal without what was sent", "I12: "),
    ("interrupted_left_going", MANY, "stuck: "),
    ("queued_forgotten", MANY, "lost: "),
    ("tick_fired_again", MANY, "doubled: "),
    ("gap_left_out", BERLIN, "D5: "),
    ("repeated_hour_fired_twice", BERLIN, "D5: "),
    ("missed_ticks_fired_each", "three days without a server are one run", "D5: "),
];

/// Plants that are played at once; they wait for processes more than they work.
const SIDE_BY_SIDE: usize = 4;

/// What came of a plant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It was found, and this was said.
    Found(String),
    /// The scenario passed, or failed for another reason.
    Missed(String),
    NotMeasured(String),
}

/// A plant that was played.
#[derive(Debug, Clone)]
pub struct Played {
    pub defect: &'static str,
    /// The scenario that must find it, or the simulator.
    pub by: &'static str,
    /// What must be said.
    pub words: String,
    pub came: Came,
}

/// Plays each scenario with its defect, and the simulator with each of its own. `heed` is told of each.
pub fn play(heed: &(dyn Fn(&Played) + Sync)) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    let played = Mutex::new(Vec::new());
    let take = |one: Played| {
        show(&one);
        heed(&one);
        played.lock().expect("nothing panics with the lock").push(one);
    };
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(row) = PLANTED.get(next.fetch_add(1, Ordering::Relaxed)) {
                    take(play_one(*row));
                }
            });
        }
    });
    simulator::planted::play().for_each(take);
    played.into_inner().expect("nothing panics with the lock")
}

fn play_one((defect, scenario, words): Row) -> Played {
    let mut command = again();
    // Not by the name that the library reads, so that the judge itself has no defect.
    command.arg(scenario).env("KIT_DEFECT", defect);
    let output = command.output().expect("this program can be started again");
    let said = String::from_utf8_lossy(&output.stdout);
    let came = match said.lines().find_map(|line| line.strip_prefix("not measured ")) {
        Some(lacking) => Came::NotMeasured(lacking.to_owned()),
        None => judged(&said, words),
    };
    Played { defect, by: scenario, words: words.to_owned(), came }
}

/// Whether a scenario failed with these words. What follows after them, the story and the requests, names much that is as
/// it must be.
fn judged(said: &str, words: &str) -> Came {
    let failed = said.lines().skip_while(|line| !line.starts_with("FAILED")).skip(1);
    let failure: Vec<&str> = failed.take_while(|line| *line != "the story:").collect();
    match failure.iter().find(|line| line.contains(words)) {
        Some(line) => Came::Found(line.trim().to_owned()),
        None => Came::Missed(said.to_owned()),
    }
}

/// This program, to be started again.
pub fn again() -> Command {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

fn show(Played { defect, by, words, came }: &Played) {
    match came {
        Came::Found(said) => println!("found        {defect} by `{by}`: {said}"),
        Came::Missed(said) => {
            println!("MISSED       {defect} by `{by}`, without `{words}`:\n{said}")
        }
        Came::NotMeasured(lacking) => println!("not measured {defect}: {lacking}"),
    }
}

/// Prints how many were missed, and says whether none was, nor was left out where all is demanded.
pub fn is_found(played: &[Played]) -> bool {
    let count = |is_so: fn(&Came) -> bool| played.iter().filter(|one| is_so(&one.came)).count();
    let missed = count(|came| matches!(came, Came::Missed(_)));
    let lacking = count(|came| matches!(came, Came::NotMeasured(_)));
    println!("{} planted, {missed} missed, {lacking} not measured", played.len());
    let lacking = played.iter().filter_map(|one| match &one.came {
        Came::NotMeasured(lacking) => Some(lacking.as_str()),
        _ => None,
    });
    demand::is_met(lacking) & (missed == 0)
}

/// What is wrong with the tables of planted defects: a scenario that is not there or not one alone, a defect that `src/`
/// does not know, words that say nothing, an invariant that no plant must break.
pub fn unsound() -> Vec<String> {
    let known = defects_of_the_product();
    let mut wrong = Vec::new();
    let mut broken = BTreeSet::new();
    for (defect, scenario, words) in PLANTED {
        let named = catalogue::all().iter().filter(|one| one.is_named(scenario)).count();
        if named != 1 {
            wrong.push(format!(
                "`{defect}` names `{scenario}`, and {named} scenarios are called so"
            ));
        }
        if words.trim().len() < 3 {
            wrong.push(format!("`{defect}` is found by the words `{words}`, which say nothing"));
        }
        broken.extend(invariant(words));
    }
    // What may break any of several proves none of them.
    for (_, invariants) in simulator::planted::PLANTED {
        if let [word] = invariants {
            broken.extend(invariant(word));
        }
    }
    let planted: BTreeSet<&str> = PLANTED.iter().map(|(defect, ..)| *defect).collect();
    let planted = planted.into_iter().chain(simulator::planted::PLANTED.map(|(defect, _)| defect));
    let planted = planted.chain(of_sources::PLANTED.map(|(defect, ..)| defect));
    let planted: BTreeSet<String> = planted.map(str::to_owned).collect();
    wrong.extend(planted.difference(&known).map(|defect| format!("`{defect}` is not in `src`")));
    wrong.extend(known.difference(&planted).map(|defect| format!("nothing must find `{defect}`")));
    let unbroken = (1..=13).filter(|number| !broken.contains(number));
    wrong.extend(unbroken.map(|number| format!("no planted defect must break I{number}")));
    wrong
}

/// The number of the invariant that words begin with.
fn invariant(words: &str) -> Option<u32> {
    let digits = words.strip_prefix('I')?;
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Every name that the product asks `is_planted` for.
fn defects_of_the_product() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("points.rs") {
                let text = std::fs::read_to_string(path).expect("the file is text");
                let asked = text.split("is_planted(\"").skip(1);
                known.extend(asked.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
            }
        }
    }
    known
}
