//! What a run came to, in words for people; counts that are zero are left out.
//!
//! Not responsible for the JSON document, which is the report as it is.

use std::fmt::Write;

use crate::domain::kind::Unchanged;
use crate::domain::tally::{ListingCost, Tally};
use crate::engine::report::{Report, Since};
use crate::engine::sampling::Sampling;

/// Records of a sample that people see.
const RECORDS: usize = 50;

/// What of its model a run reads.
pub fn new_rows(since: &Since) -> String {
    let Since { column, value } = since;
    format!("read from {value} on by `{column}`, what has none, and what is in doubt or rejected")
}

/// What a run came to, for people: a few lines, with what to do next.
pub fn human(report: &Report) -> String {
    let Report { run, sync, outcome, tally, .. } = report;
    let mut text = format!("run {run} of `{sync}`: {outcome}");
    if let Some(since) = report.unchanged_since {
        let unchanged = Unchanged { since, version: report.unchanged_version };
        let _ = writeln!(text, ": {unchanged}");
        text.push_str(&listing(&tally.listing));
        return text;
    }
    if let (Some(kind), Some(reason)) = (report.kind, report.reason) {
        let _ = write!(text, " ({kind}: {reason})");
    }
    text.push('\n');
    if let Some(since) = &report.since {
        let _ = writeln!(text, "  {}", new_rows(since));
    }
    if let Some(why) = &report.whole {
        let _ = writeln!(text, "  read everything: {why}");
    }
    if let Some(why) = &report.bound_stays {
        let _ = writeln!(text, "  the cursor's bound stays: {why}");
    }
    text.push_str(&counts(tally));
    text.push_str(&listing(&tally.listing));
    if tally.held > 0 || !report.holds.is_empty() {
        let _ = writeln!(text, "  {} deletes are held:", tally.held);
        for cause in &report.holds {
            let _ = writeln!(text, "    {cause}");
        }
        let _ = writeln!(text, "    to make them:         counterflow release {run} -m WHY");
        let _ = writeln!(text, "    to never make them:   counterflow discard {run} -m WHY");
    }
    for Sampling { key, ended, code, message } in report.records.iter().take(RECORDS) {
        let why = [code.as_deref(), message.as_deref()].into_iter().flatten();
        let why: String = why.map(|why| format!(" {why}")).collect();
        let _ = writeln!(text, "    `{key}` {}{why}", ended.word());
    }
    if report.records.len() > RECORDS {
        let more = report.records.len() - RECORDS;
        let _ = writeln!(text, "    and {more} more; `--format json` lists 1,000");
    }
    let examples = report.examples.iter().filter(|_| report.records.is_empty());
    for example in examples {
        let _ = writeln!(text, "    {example}");
    }
    if tally.rejected + tally.invalid + tally.unknown > 0 {
        let _ = writeln!(text, "  which and why:          counterflow rejected {sync} --run {run}");
    } else if tally.deferred > 0 {
        let _ = writeln!(text, "  which and why:          counterflow rejected {sync}");
    }
    if report.abandoned_queries > 0 {
        text.push_str("  its query did not end when it was told to; the next run waits for that\n");
    }
    if let Some(error) = &report.error {
        let _ = writeln!(text, "  error: {error}");
    }
    text
}

/// The tally in two lines, without the counts that are zero.
pub fn counts(tally: &Tally) -> String {
    let rows = listed(&[
        (tally.unchanged, "unchanged"),
        (tally.upserts, "to upsert"),
        (tally.invalid, "invalid"),
        (tally.waived, "waived"),
    ]);
    let operations = listed(&[
        (tally.delivered, "delivered"),
        (tally.rejected, "rejected"),
        (tally.unknown, "unknown"),
        (tally.held, "held"),
        (tally.deferred, "deferred"),
        (tally.unsent, "unsent"),
    ]);
    let of_deletes = match tally.deletes {
        0 => String::new(),
        deletes => format!(", {deletes} to delete ({} deleted)", tally.deleted),
    };
    let retries = match tally.retries {
        0 => String::new(),
        retries => format!(", {retries} of them retries"),
    };
    format!(
        "  rows read {}{rows}{of_deletes}\n  requests {}{retries}{operations}\n",
        tally.rows_read, tally.requests
    )
}

/// What listing cost, where a store was asked or it took a second.
fn listing(cost: &ListingCost) -> String {
    let ListingCost { objects, requests, milliseconds } = cost;
    match (requests, milliseconds) {
        (0, 0..1_000) => String::new(),
        (0, _) => format!("  listed {objects} files in {milliseconds} ms\n"),
        _ => format!("  listed {objects} objects by {requests} requests in {milliseconds} ms\n"),
    }
}

fn listed(counts: &[(u64, &str)]) -> String {
    let said: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guard::HoldCause;
    use crate::domain::id::RunId;
    use crate::domain::kind::{Kind, KindReason};
    use crate::domain::run::Outcome;

    fn report(outcome: Outcome, tally: Tally) -> Report {
        Report {
            kind: Some(Kind::Incremental),
            reason: Some(KindReason::Usual),
            outcome,
            tally,
            ..Report::new(RunId(7), "crm".into())
        }
    }

    #[test]
    fn a_clean_run_is_three_lines() {
        let tally = Tally {
            rows_read: 100,
            unchanged: 98,
            upserts: 2,
            deletes: 1,
            deleted: 1,
            delivered: 3,
            requests: 2,
            ..Tally::default()
        };
        assert_eq!(
            human(&report(Outcome::Succeeded, tally)),
            "run 7 of `crm`: succeeded (incremental: changes since the last run)\n  \
             rows read 100: 98 unchanged, 2 to upsert, 1 to delete (1 deleted)\n  \
             requests 2: 3 delivered\n"
        );
    }

    #[test]
    fn what_listing_cost_is_told_where_a_store_was_asked_or_it_took_long() {
        let said = |objects, requests, milliseconds| {
            let listing = ListingCost { objects, requests, milliseconds };
            human(&report(Outcome::Succeeded, Tally { listing, ..Tally::default() }))
        };
        assert!(!said(7, 0, 999).contains("listed"));
        assert!(said(7, 0, 1_000).ends_with("\n  listed 7 files in 1000 ms\n"));
        assert!(said(7, 2, 40).ends_with("\n  listed 7 objects by 2 requests in 40 ms\n"));
    }

    #[test]
    fn a_skipped_run_says_why_in_one_line() {
        let skipped = Report {
            reason: Some(KindReason::Unchanged),
            unchanged_since: Some(RunId(5)),
            ..report(Outcome::Skipped, Tally::default())
        };
        let expected = "run 7 of `crm`: skipped: the files are the same as at run 5, which left nothing to do\n";
        assert_eq!(human(&skipped), expected);
        let listing = ListingCost { objects: 7, requests: 2, milliseconds: 40 };
        let tally = Tally { listing, ..Tally::default() };
        let listed = human(&Report { tally, ..skipped.clone() });
        assert_eq!(listed, format!("{expected}  listed 7 objects by 2 requests in 40 ms\n"));
        let skipped = Report { unchanged_version: Some(42), ..skipped };
        let expected = "run 7 of `crm`: skipped: the table is at version 42, as at run 5, which left nothing to do\n";
        assert_eq!(human(&skipped), expected);
    }

    #[test]
    fn held_deletes_and_rejections_come_with_the_commands_that_help() {
        let tally = Tally { deletes: 11, held: 11, invalid: 1, rows_read: 1, ..Tally::default() };
        let mut report = report(Outcome::Partial, tally);
        report.holds = vec![HoldCause::Guard { removals: 11, entries: 20 }];
        assert_eq!(
            human(&report),
            "run 7 of `crm`: partial (incremental: changes since the last run)\n  \
             rows read 1: 1 invalid, 11 to delete (0 deleted)\n  \
             requests 0: 11 held\n  \
             11 deletes are held:\n    \
             11 deletes of 20 records are more than `guard.max_deletes` allows\n    \
             to make them:         counterflow release 7 -m WHY\n    \
             to never make them:   counterflow discard 7 -m WHY\n  \
             which and why:          counterflow rejected crm --run 7\n"
        );
    }

    #[test]
    fn a_failure_before_the_kind_was_known_says_why() {
        let mut report = report(Outcome::Failed, Tally::default());
        (report.kind, report.reason, report.error) = (None, None, Some("no `people.csv`".into()));
        assert_eq!(
            human(&report),
            "run 7 of `crm`: failed\n  rows read 0\n  requests 0\n  error: no `people.csv`\n"
        );
    }
}
