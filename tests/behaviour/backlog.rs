//! A backlog that a person decides not to send: waivers for changes, discards for removals, and nothing for what is in doubt.

use std::collections::BTreeSet;

use serde_json::json;

#[cfg(feature = "faults")]
use super::http_commands::{keyed, log};
use crate::again;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::judge::Left;
use crate::support::people::{Person, people};
use crate::support::server::{Api, Server, until};
use crate::support::workspace::Setup;

const HEAD: &str = "server: { listen: \"127.0.0.1:0\" }";
const DISCARD: [&str; 6] = ["pause", "people", "--discard-backlog", "-m", "bad data", "--yes"];

const IDENTIFY: &str = "identify: { get: /me, account: /account/id }, ";
const COUNT: &str = "/api/v1/syncs/people/backlog";
const DECIDE: &str = "/api/v1/syncs/people/discard-backlog";

fn setup() -> Setup {
    Setup { head: HEAD, ..Setup::default() }
}

/// Delivered 1 to 12 once; the source now holds 3 to 15, four of them changed.
fn waived_in(case: &mut Case) -> Left {
    case.let_go([1, 2]);
    Left { waived: [3, 4, 5, 6, 13, 14, 15].into(), ..Left::default() }
}

#[test]
fn a_backlog_that_is_discarded_is_never_sent_and_later_changes_are_a6() {
    let mut case = Case::changed(&again(), setup());
    let sent = case.oracle.request_count();
    let asked = case.run(&["pause", "people", "--discard-backlog", "-m", "bad data"]);
    let words = ["7 changes", "2 records", "no longer be ours", "until a row changes", "--yes"];
    asked.expect_code(2).expect_printed(&words);
    // The pause stands, whatever came of the question; nothing was discarded.
    assert_eq!(case.workspace.status()["is_paused"], true);
    assert_eq!(case.workspace.json(&["plan", "people"])["tally"]["waived"], 0);
    let done = case.run(&[&["--format", "json"], &DISCARD[..]].concat()).expect_code(0).json();
    assert_eq!(done["backlog"], json!({ "waived": 7, "discarded": 2, "in_doubt": 0 }));
    assert_eq!(case.oracle.request_count(), sent, "nothing is sent");
    let left = waived_in(&mut case);
    case.run(&["status"]).expect_printed(&["backlog was discarded", "bad data (7 changes waived"]);
    case.run(&["explain", "people", "13"]).expect_printed(&["waived"]);
    case.run(&["resume", "people", "-m", "clean now"]).expect_code(0);
    let none = case.sync(&[]).expect_kind("incremental", "usual");
    none.expect(0, "succeeded", &[("waived", 7), ("unchanged", 6), ("requests", 0)]);
    case.run(&["status"]).expect_printed(&["bad data"]);
    // A row that changes again is sent, and so is one that a sample names.
    let mut next = case.people().to_vec();
    next.iter_mut().filter(|person| person.id == 3).for_each(|person| person.counter = 3);
    case.write(&next);
    case.sync(&[]).expect(0, "succeeded", &[("waived", 6), ("delivered", 1)]);
    case.run(&["sample", "people", "--key", "4"]).expect_code(0);
    case.judge_leaving(&Left { waived: [5, 6, 13, 14, 15].into(), ..left });
}

/// The key is the decision's: the pause is none of it, and a repetition that counts something else is one all the same.
#[test]
fn a_backlog_that_is_discarded_twice_under_one_key_is_discarded_once() {
    for has_server in [false, true] {
        let mut case = Case::changed(&again(), setup());
        let server = has_server.then(|| Server::start(&case.workspace));
        let keyed = [&["--format", "json", "--idempotency-key", "night"], &DISCARD[..]].concat();
        let unsure = &keyed[..keyed.len() - 1];
        case.workspace.run(unsure).expect_code(2).expect_printed(&["7 changes"]);
        case.workspace.run(&["resume", "people", "-m", "not yet"]).expect_code(0);
        let first = case.workspace.run(&keyed).expect_code(0).json();
        assert_eq!(first["backlog"], json!({ "waived": 7, "discarded": 2, "in_doubt": 0 }));
        case.workspace.run(&["resume", "people", "-m", "clean now"]).expect_code(0);
        let audited = case.workspace.json(&["audit"]);
        let again = case.workspace.run(&keyed).expect_code(0).json();
        assert_eq!((&again["sync"], &again["backlog"]), (&first["sync"], &first["backlog"]));
        assert_eq!(case.workspace.json(&["audit"]), audited, "nor is it paused again");
        let other = ["--idempotency-key", "night", "pause", "people", "--discard-backlog"];
        let other = [&other[..], &["-m", "other", "--yes"]].concat();
        case.workspace
            .run(&other)
            .expect_code(2)
            .expect_printed(&["was used for another", "new one"]);
        assert_eq!(case.workspace.json(&["audit"]), audited);
        if let Some(server) = server {
            server.end().expect_code(0);
        }
        let left = waived_in(&mut case);
        case.judge_leaving(&left);
    }
}

/// As over HTTP: what was not written is taken back, and asked for again under its key.
#[cfg(feature = "faults")]
#[test]
fn without_a_server_too_a_discard_that_is_killed_is_whole_or_not_at_all_and_then_its_key_is_free() {
    for (point, is_done) in [("decided:1", false), ("before_pruning:1", true)] {
        let mut case = Case::changed(&again(), setup());
        let keyed = [&["--idempotency-key", "night"], &DISCARD[..]].concat();
        case.workspace.setup.environment.push(("COUNTERFLOW_END_AT", point.to_owned()));
        assert_eq!(case.run(&keyed).code, None, "{point}");
        case.workspace.setup.environment.clear();
        let again = case.run(&keyed).expect_code(0);
        let words = if is_done { "done before" } else { "7 changes" };
        again.expect_printed(&[words]);
        let left = waived_in(&mut case);
        case.run(&["resume", "people", "-m", "clean now"]).expect_code(0);
        case.judge_leaving(&left);
    }
}

#[test]
fn a_full_resync_sends_what_was_waived_and_never_deletes_what_was_discarded() {
    let mut case = Case::changed(&again(), setup());
    case.run(&DISCARD).expect_code(0);
    waived_in(&mut case);
    case.run(&["resume", "people", "-m", "go"]).expect_code(0);
    case.sync(&["--full"]).expect(
        0,
        "succeeded",
        &[("delivered", 13), ("deletes", 0), ("waived", 0)],
    );
    case.judge();
}

#[test]
fn what_is_in_doubt_cannot_be_waived_and_is_asserted_again() {
    let setup = Setup { attempts: 1, repeat: "never", concurrency: 1, ..setup() };
    let mut case = Case::changed(&again(), setup);
    case.oracle.always(Fault::ApplyThenDrop);
    case.sync(&[]);
    case.oracle.clear_faults();
    let mut next = case.people().to_vec();
    next.push(Person::new(16, 1));
    // In doubt with other content than it has now: no repetition, and no less in doubt.
    next.iter_mut().filter(|person| person.id == 3).for_each(|person| person.counter = 5);
    case.write(&next);
    let done = case.run(&[&["--format", "json"], &DISCARD[..]].concat()).expect_code(0).json();
    // What was never sent is waived; seven upserts and two deletes have no answer.
    assert_eq!(done["backlog"], json!({ "waived": 1, "discarded": 0, "in_doubt": 9 }));
    case.run(&["resume", "people", "-m", "go"]).expect_code(0);
    case.judge_leaving(&Left { waived: BTreeSet::from([16]), ..Left::default() });
}

#[test]
fn no_backlog_is_discarded_where_a_waiver_would_not_count() {
    let mut case = Case::new(&again(), setup());
    case.write(&people(1..=12));
    let first = case.run(&DISCARD);
    first.expect_code(1).expect_printed(&["has never run", "counterflow sync people"]);
    case.run(&["resume", "people", "-m", "go"]).expect_code(0);
    case.sync(&[]).expect(0, "succeeded", &[]);
    let mapped = "    mapping: { id: id, counter: counter, checksum: checksum, email: email, n: id }\n    mode:";
    let config = case.workspace.config();
    case.workspace.write("counterflow.yaml", &config.replace("    mode:", mapped));
    let words = ["sends every row again", "the mapping changed", "let it run first"];
    case.run(&DISCARD).expect_code(1).expect_printed(&words);
    case.workspace.write_config();
    // An empty source is no backlog to give up unseen.
    case.write(&[]);
    let asked = case.run(&["pause", "people", "--discard-backlog", "-m", "x"]);
    asked.expect_code(2).expect_printed(&["12 records", "no longer be ours"]);
    case.run(&["resume", "people", "-m", "go"]).expect_code(0);
    case.write(&people(1..=12));
    case.judge();
}

#[test]
fn held_deletes_are_discarded_with_the_backlog_and_a_server_does_it_too() {
    let mut case = Case::changed(&again(), Setup { max_deletes: Some("0"), ..setup() });
    case.sync(&[]).expect(4, "partial", &[("held", 2)]);
    let mut next = case.people().to_vec();
    next[0].counter = 9;
    case.write(&next);
    {
        let server = Server::start(&case.workspace);
        let (path, count) = (DECIDE, COUNT);
        let decided = json!({ "shown": {}, "message": "why" }).to_string();
        server.get(count).expect_problem(409, &["not paused"]);
        server.post(path, &decided).expect_problem(409, &["not paused"]);
        server.get("/api/v1/syncs/nobody/backlog").expect_problem(404, &["`nobody`"]);
        let nobody = "/api/v1/syncs/nobody/discard-backlog";
        server.post(nobody, &decided).expect_problem(404, &["`nobody`"]);
        let refused = case.workspace.run(&DISCARD[..5]).expect_code(2);
        refused.expect_printed(&["1 changes", "2 records", "--yes"]);
        let counted = server.get(count).expect(200).json;
        let expected = json!({ "sync": "people", "is_discarded": false, "changes": 1, "removals": 2, "in_doubt": 0 });
        assert_eq!(counted, expected);
        // Whoever cannot wait is told that it is counted, and asks again.
        let begun = server.get(&format!("{count}?wait=0")).expect(202);
        assert_eq!(begun.json, json!({ "sync": "people", "state": "counting" }));
        assert!(begun.head.contains("retry-after: 1"), "{begun:#?}");
        let again = until("it is counted", || {
            let again = server.get(&format!("{count}?wait=0"));
            (again.status != 202).then_some(again)
        });
        assert_eq!(again.expect(200).json, expected);
        server.get(&format!("{count}?wait=60")).expect_problem(400, &["`wait`", "15"]);
        let shown = |changes: u64| {
            json!({ "shown": { "changes": changes, "removals": 2 }, "message": "why" }).to_string()
        };
        server.post(path, &shown(0)).expect_problem(409, &["has grown to 1 changes"]);
        let silent = json!({ "shown": {} }).to_string();
        server.post(path, &silent).expect_problem(422, &["`message`"]);
        let unseen = json!({ "message": "why" }).to_string();
        server.post(path, &unseen).expect_problem(422, &["`shown`"]);
        let done = case.workspace.run(&[&["--format", "json"], &DISCARD[..]].concat());
        let done = done.expect_code(0).json();
        assert_eq!(done["backlog"], json!({ "waived": 1, "discarded": 2, "in_doubt": 0 }));
        assert_eq!(server.get("/api/v1/syncs/people").json["hold"], json!(null));
        server.end().expect_code(0);
    }
    case.let_go([1, 2]);
    case.run(&["resume", "people", "-m", "go"]).expect_code(0);
    case.judge_leaving(&Left { waived: [3].into(), ..Left::default() });
}

#[test]
fn a_count_that_takes_long_holds_up_neither_runs_nor_the_end_of_the_server() {
    // The account is asked for before the model is read, and that question gets no answer.
    let setup = Setup { http: IDENTIFY, request_timeout: Some("10m"), ..setup() };
    let case = Case::changed(&again(), setup);
    let server = Server::start(&case.workspace);
    case.workspace.run(&["pause", "people", "-m", "look first"]).expect_code(0);
    let asked = case.oracle.question_count();
    case.oracle.hold_question();
    server.get(&format!("{COUNT}?wait=0")).expect(202);
    until("it counts", || (case.oracle.question_count() > asked).then_some(()));
    case.workspace.run(&["resume", "people", "-m", "go on"]).expect_code(0);
    let run = server.run("");
    assert_eq!(server.ended(run)["phase"], "succeeded");
    case.workspace.run(&["pause", "people", "-m", "look again"]).expect_code(0);
    assert_eq!(server.get(&format!("{COUNT}?wait=0")).expect(202).json["state"], "counting");
    server.end().expect_code(0);
}

#[test]
fn a_backlog_is_discarded_once_under_its_key_though_nobody_waits_for_the_answer() {
    let setup = Setup { http: IDENTIFY, request_timeout: Some("10m"), ..setup() };
    let case = Case::changed(&again(), setup);
    let server = Server::start(&case.workspace);
    case.workspace.run(&["pause", "people", "-m", "bad data"]).expect_code(0);
    let shown = json!({ "shown": { "changes": 7, "removals": 2 }, "message": "bad" }).to_string();
    let again = || {
        let headers = [("Idempotency-Key", "once"), ("Content-Type", "application/json")];
        server.ask("POST", DECIDE, &headers, &shown)
    };
    let asked = case.oracle.question_count();
    case.oracle.hold_question();
    let begun = server.begin(DECIDE, "once", &shown);
    until("it is carried out", || (case.oracle.question_count() > asked).then_some(()));
    drop(begun);
    // Time enough to see that whoever asked has left.
    for _ in 0..50 {
        again().expect_problem(409, &["is being carried out"]);
    }
    case.oracle.release();
    let done = until("it is done", || Some(again()).filter(|again| again.status != 409));
    assert!(done.head.contains("idempotency-replayed: true"), "{done:#?}");
    assert_eq!(done.expect(200).json["command"], "pause --discard-backlog");
    let log = server.get("/api/v1/audit?sync=people").expect(200).json;
    let log = log.as_array().expect("a list").iter();
    assert_eq!(log.filter(|entry| entry["command"] == "pause --discard-backlog").count(), 1);
    server.end().expect_code(0);
}

#[test]
fn a_discard_that_reads_while_the_server_ends_is_given_up_and_nothing_is_discarded() {
    let setup = Setup { http: IDENTIFY, request_timeout: Some("10m"), ..setup() };
    let case = Case::changed(&again(), setup);
    let server = Server::start(&case.workspace);
    case.workspace.run(&["pause", "people", "-m", "bad data"]).expect_code(0);
    let shown = json!({ "shown": { "changes": 7, "removals": 2 }, "message": "bad" }).to_string();
    let asked = case.oracle.question_count();
    case.oracle.hold_question();
    let api: &Api = &server;
    std::thread::scope(|scope| {
        let begun = scope.spawn(|| api.post(DECIDE, &shown));
        until("it is carried out", || (case.oracle.question_count() > asked).then_some(()));
        server.process.sigterm();
        let answer = begun.join().expect("it is answered");
        answer.expect_problem(503, &["is shutting down"]);
    });
    let ended = server.wait().expect_code(0);
    ended.expect_printed(&["shutting down: the runs end, and what commands began"]);
    assert_eq!(case.workspace.status()["discarded_backlog"], json!(null));
}

/// What was decided and not written is not said to be done: it is taken back at the next start, and can be asked for again
/// under the key that it came with.
#[cfg(feature = "faults")]
#[test]
fn a_backlog_whose_discard_is_killed_is_discarded_whole_or_not_at_all_and_then_its_key_is_free() {
    for (point, is_done) in
        [("decided:1", false), ("commit_begun:1", false), ("before_pruning:1", true)]
    {
        let mut case = Case::changed(&again(), setup());
        let shown =
            json!({ "shown": { "changes": 7, "removals": 2 }, "message": "bad" }).to_string();
        case.run(&["pause", "people", "-m", "bad data"]).expect_code(0);
        case.workspace.setup.environment.push(("COUNTERFLOW_END_AT", point.to_owned()));
        {
            let server = Server::start(&case.workspace);
            server.lose(DECIDE, "once", &shown);
            assert_eq!(server.wait().code, None, "{point}");
        }
        case.workspace.setup.environment.clear();
        let foretold = case.workspace.json(&["plan", "people"])["tally"].clone();
        let counts = if is_done { (7, 0) } else { (0, 2) };
        assert_eq!(
            (&foretold["waived"], &foretold["deletes"]),
            (&json!(counts.0), &json!(counts.1)),
            "{point}: what is taken back is foretold to be sent"
        );
        let explained = case.run(&["explain", "people", "13"]);
        assert_eq!(explained.stdout.contains("waived"), is_done, "{point}: {explained:#?}");
        {
            let server = Server::start(&case.workspace);
            let newest = &log(&server, 1)[0];
            let discarded = &case.workspace.status()["discarded_backlog"];
            if !is_done {
                let why = json!("not carried out: nothing was discarded, ask again");
                assert_eq!(
                    (&newest[0], &newest[4]),
                    (&json!("counterflow"), &why),
                    "{point}: {newest}"
                );
                assert_eq!(*discarded, json!(null), "{point}");
                let counted = server.get(COUNT).expect(200).json;
                assert_eq!((&counted["changes"], &counted["removals"]), (&json!(7), &json!(2)));
            }
            let again = keyed(&server, DECIDE, "once", &shown).expect(200);
            assert_eq!(again.head.contains("idempotency-replayed"), is_done, "{point}: {again:#?}");
            server.end().expect_code(0);
        }
        let left = waived_in(&mut case);
        case.run(&["resume", "people", "-m", "clean now"]).expect_code(0);
        case.judge_leaving(&left);
    }
}
