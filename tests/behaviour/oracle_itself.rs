//! The judge is judged: the oracle plays what it is told, and the checker can fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::journal::Made;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, key, keys, people};
use crate::support::{SOON, TOKEN};

/// Says one request over a connection of its own; the status and the body, or `None` without a whole answer.
fn say(oracle: &Oracle, path: &str, idempotency_key: &str, body: &Value) -> Option<(u16, String)> {
    hear(begin(oracle, path, idempotency_key, body))
}

fn hear(mut stream: TcpStream) -> Option<(u16, String)> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if length.parse() == Ok(body.len()) {
                return Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()));
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
        }
    }
}

fn begin(oracle: &Oracle, path: &str, idempotency_key: &str, body: &Value) -> TcpStream {
    let address = oracle.base_url().replace("http://", "");
    let mut stream = TcpStream::connect(address).expect("the oracle listens");
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\nidempotency-key: {idempotency_key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the oracle reads");
    // A reset within the body is a fault that the tests play.
    let _ = stream.write_all(body.as_bytes());
    stream
}

fn upsert(people: &[Person]) -> Value {
    json!({ "records": people.iter().map(|person| person.record()).collect::<Vec<_>>() })
}

fn fails(check: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(check)).is_err()
}

const UPSERT: &str = "/contacts/batch";
const DELETE: &str = "/contacts/batch/archive";

#[test]
fn what_is_asked_is_applied_and_answered_record_by_record() {
    let oracle = Oracle::start(&["id"]);
    let all = people(1..=3);
    assert_eq!(say(&oracle, UPSERT, "a", &upsert(&all)).expect("an answer").0, 200);
    check_mirror(&oracle, &expected(&all));
    let gone = json!({ "ids": [{ "id": 2 }] });
    let (status, body) = say(&oracle, DELETE, "b", &gone).expect("an answer");
    assert_eq!((status, body.as_str()), (200, r#"{"results":[{"status":"ok"}]}"#));
    check_mirror(&oracle, &expected(&[all[0], all[2]]));
    assert_eq!((oracle.count_of(&key(2)), oracle.redundant()), (2, 0));
    assert_eq!(oracle.deletes(), keys([2]));
}

#[test]
fn faults_decide_whether_a_request_is_applied_and_whether_it_is_answered() {
    let applied_without_answer =
        [Fault::ApplyThenDrop, Fault::ApplyThenCut(30), Fault::ApplyThenReset];
    let not_applied_without_answer =
        [Fault::DropBeforeApply, Fault::ResetWithinBody(5), Fault::ResetWithinBody(0)];
    let not_applied_but_answered = [
        Fault::status(503),
        Fault::retry_after(429, "1"),
        Fault::Html200,
        Fault::Json200("[]".into()),
        Fault::Redirect(307, "http://127.0.0.1:1/".into()),
        Fault::Poison400(keys([1])),
        Fault::TooLarge413(1),
    ];
    let pause = std::time::Duration::from_millis(1);
    let applied_and_answered = [
        Fault::WrongCount,
        Fault::AnswerThenReset,
        Fault::SlowAnswer(pause),
        Fault::SlowPieces(3, pause),
    ];
    let play = |fault: Fault, is_applied: bool, is_answered: bool| {
        let oracle = Oracle::start(&["id"]);
        oracle.on_next(fault.clone());
        let answer = say(&oracle, UPSERT, "a", &upsert(&people(1..=2)));
        let request = &oracle.requests()[0];
        assert_eq!(answer.is_some(), is_answered, "{fault:?}");
        assert_eq!(request.is_answered_whole, is_answered, "{fault:?}");
        assert_eq!((request.is_applied(), oracle.table().len() == 2), (is_applied, is_applied));
        let is_receipt = is_answered && is_applied && fault != Fault::WrongCount;
        assert_eq!(request.is_receipt && request.is_answered_whole, is_receipt, "{fault:?}");
        oracle.assert_faults_fired();
    };
    applied_without_answer.into_iter().for_each(|fault| play(fault, true, false));
    not_applied_without_answer.into_iter().for_each(|fault| play(fault, false, false));
    not_applied_but_answered.into_iter().for_each(|fault| play(fault, false, true));
    applied_and_answered.into_iter().for_each(|fault| play(fault, true, true));
}

#[test]
fn rejected_keys_are_named_and_the_others_applied() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::RejectKeys(keys([2]), "invalid_email".into()));
    let (_, body) = say(&oracle, UPSERT, "a", &upsert(&people(1..=3))).expect("an answer");
    let results: Value = serde_json::from_str(&body).expect("the answer is JSON");
    assert_eq!(results["results"][1]["error"]["code"], "invalid_email");
    assert_eq!(oracle.requests()[0].made, [Made::Applied, Made::Rejected, Made::Applied]);
    check_mirror(&oracle, &expected(&[Person::new(1, 1), Person::new(3, 1)]));
}

#[test]
fn a_held_request_is_applied_on_release_unless_its_client_is_gone() {
    let oracle = Oracle::start(&["id"]);
    oracle.on_next(Fault::Hold);
    let stream = begin(&oracle, UPSERT, "a", &upsert(&people([1])));
    oracle.wait_for_requests(1, SOON);
    assert!(oracle.table().is_empty());
    oracle.release();
    assert_eq!(hear(stream).expect("an answer").0, 200);
    oracle.on_next(Fault::Hold);
    drop(begin(&oracle, UPSERT, "b", &upsert(&people([2]))));
    oracle.wait_until(SOON, |journal| journal.requests.len() == 2 && !journal.requests[1].is_open);
    oracle.release();
    check_mirror(&oracle, &expected(&people([1])));
    oracle.on_next(Fault::ApplyThenHold);
    drop(begin(&oracle, UPSERT, "c", &upsert(&people([3]))));
    oracle.wait_until(SOON, |journal| journal.requests.len() == 3 && !journal.requests[2].is_open);
    check_mirror(&oracle, &expected(&people([1, 3])));
}

#[test]
fn the_checker_fails_on_each_kind_of_wrong_table() {
    let oracle = Oracle::start(&["id"]);
    oracle.plant(Person::new(9, 1).record());
    say(&oracle, UPSERT, "a", &upsert(&people(1..=2)));
    check_mirror(&oracle, &expected(&people(1..=2)));
    assert!(fails(|| check_mirror(&oracle, &expected(&people(1..=3)))), "a row is missing");
    assert!(fails(|| check_mirror(&oracle, &expected(&people([1])))), "a row is too many");
    check_covered(&oracle, &expected(&people([1])));
    let stale = [Person::new(1, 2), Person::new(2, 1)];
    assert!(fails(|| check_covered(&oracle, &expected(&stale))), "a row is stale");
    say(&oracle, UPSERT, "b", &upsert(&[Person::new(9, 2)]));
    assert!(fails(|| check_covered(&oracle, &expected(&people([1])))), "the co-writer's row");
}

#[test]
fn the_checker_fails_when_a_planted_fault_did_not_fire() {
    for plant in [
        |oracle: &Oracle| oracle.on_request(7, Fault::Html200),
        |oracle: &Oracle| oracle.on_next(Fault::Html200),
        |oracle: &Oracle| oracle.always(Fault::Poison400(keys([5]))),
    ] {
        let oracle = Oracle::start(&["id"]);
        plant(&oracle);
        assert!(fails(|| check_mirror(&oracle, &expected(&[]))));
        assert!(fails(|| oracle.clear_faults()));
    }
}

#[test]
fn two_requests_with_one_key_at_once_are_a_violation_of_i6() {
    let oracle = Oracle::start(&["id"]);
    oracle.on_next(Fault::ApplyThenHold);
    let first = begin(&oracle, UPSERT, "a", &upsert(&people([1])));
    oracle.wait_for_requests(1, SOON);
    say(&oracle, UPSERT, "b", &upsert(&[Person::new(1, 2)]));
    oracle.release();
    hear(first);
    assert_eq!(oracle.violations().len(), 1);
    assert!(fails(|| check_mirror(&oracle, &expected(&[Person::new(1, 2)]))));
    oracle.assert_counters_never_go_back();
    say(&oracle, UPSERT, "c", &upsert(&people([1])));
    assert!(fails(|| oracle.assert_counters_never_go_back()));
}

#[test]
fn idempotency_keys_are_judged_by_i7() {
    let (a, b) = (upsert(&people([1])), upsert(&[Person::new(1, 2)]));
    let story = |said: &[(&str, &Value, Fault)]| {
        let oracle = Oracle::start(&["id"]);
        for (key, body, fault) in said {
            oracle.on_next(fault.clone());
            say(&oracle, UPSERT, key, body);
        }
        fails(|| oracle.assert_same_idempotency_key_on_repeats())
    };
    use Fault::{ApplyThenDrop, None};
    assert!(!story(&[("k", &a, ApplyThenDrop), ("k", &a, None)]), "a repetition with its key");
    assert!(story(&[("k", &a, ApplyThenDrop), ("l", &a, None)]), "a repetition with another");
    assert!(!story(&[("k", &a, None), ("l", &a, None)]), "asserted again after a receipt");
    assert!(story(&[("k", &a, None), ("k", &b, None)]), "one key for two contents");
    assert!(!story(&[("k", &a, None), ("l", &b, None), ("m", &a, None)]), "A, B, A");
    assert!(
        story(&[("k", &a, None), ("l", &b, None), ("k", &a, None)]),
        "A, B, A with a key again"
    );
}

#[test]
fn a_fault_that_does_not_concern_a_request_waits_and_is_known_as_never_played() {
    let oracle = Oracle::start(&["id"]);
    let (one, two) = (Person::new(1, 1), Person::new(2, 1));
    oracle.on_next(Fault::RejectKeys([two.key()].into(), "E".to_owned()));
    say(&oracle, UPSERT, "a", &upsert(&[one]));
    assert!(fails(|| oracle.assert_faults_fired()));
    say(&oracle, UPSERT, "b", &upsert(&[two]));
    oracle.assert_faults_fired();
    assert_eq!(oracle.record(&two.key()), None);
}

#[test]
fn a_wrong_token_and_a_wrong_shape_are_refused_and_written_down() {
    let oracle = Oracle::start(&["id"]);
    let wrong = [
        (UPSERT, json!([1])),
        (UPSERT, json!({ "records": [{ "counter": 1 }] })),
        (DELETE, json!({ "ids": [{ "id": 1, "email": "x" }] })),
        ("/elsewhere", json!({})),
    ];
    for (path, body) in &wrong {
        let (status, _) = say(&oracle, path, "a", body).expect("an answer");
        assert!([400, 404].contains(&status));
    }
    let address = oracle.base_url().replace("http://", "");
    let mut stream = TcpStream::connect(address).expect("the oracle listens");
    stream
        .write_all(b"POST /contacts/batch HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
        .expect("it reads");
    assert_eq!(hear(stream).expect("an answer").0, 401);
    assert_eq!((oracle.request_count(), oracle.table().len()), (5, 0));
}

#[test]
fn a_seeded_mix_plays_the_same_faults_again() {
    let played = |seed| {
        let oracle = Oracle::start(&["id"]);
        oracle.mix(seed, vec![(0.3, Fault::status(500)), (0.3, Fault::ApplyThenDrop)]);
        for id in 1..=20 {
            say(&oracle, UPSERT, "a", &upsert(&people([id])));
        }
        oracle.requests().into_iter().map(|request| request.fault).collect::<Vec<_>>()
    };
    assert_eq!(played(7), played(7));
    assert_ne!(played(7), played(8));
}
