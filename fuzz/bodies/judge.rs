//! An answer → what it means for each record. Guards: never more or fewer verdicts than records; delivered only where a rule
//! declares it and the answer, read a second time here, has the declared shape and says so; a redirect is no receipt; no
//! message is long or repeats a value or a secret (I12).

use std::sync::OnceLock;

use counterflow::destination::Outgoing;
use counterflow::destination::answer::{Judgement, RecordVerdict, Refusal};
use counterflow::destination::definition::{
    Auth, Body, By, Decode, OutcomeRule, PerRecord, Requests, StatusMatch, Then,
};
use counterflow::destination::http::Http;
use counterflow::domain::entry::Operation;
use serde_json::{Value, json};

use super::Input;
use super::template::{connection, request};

const TOKEN: &str = "canary-token-5bd1e995";
const NAME: &str = "canary-name-0ccb4f21";

/// The words for delivered that the lists here declare.
const DELIVERED: [&str; 2] = ["ok", "2xx"];

/// Destinations with one way each to say what became of records.
fn destinations() -> &'static [(Vec<OutcomeRule>, Http)] {
    static MADE: OnceLock<Vec<(Vec<OutcomeRule>, Http)>> = OnceLock::new();
    MADE.get_or_init(|| rules().into_iter().map(|rules| (rules.clone(), http(rules))).collect())
}

fn rule(status: StatusMatch, then: Then) -> OutcomeRule {
    OutcomeRule { status: vec![status], when: Vec::new(), decode: Decode::Json, then }
}

fn list(items: &str, status: &str) -> Then {
    Then::PerRecord(PerRecord {
        by: By::Index,
        items: items.to_owned(),
        status: status.to_owned(),
        delivered: DELIVERED.map(Value::from).to_vec(),
        retry: vec![json!("later"), json!(429)],
        code: Some("/error/code".to_owned()),
        message: Some("/error/message".to_owned()),
    })
}

fn rules() -> Vec<Vec<OutcomeRule>> {
    let all = StatusMatch::Class(2);
    let when = |pointer: &str, value, then| OutcomeRule {
        when: vec![(pointer.to_owned(), value)],
        ..rule(all, then)
    };
    vec![
        vec![rule(all, list("/results", "/status"))],
        vec![rule(StatusMatch::Exactly(207), list("", ""))],
        vec![rule(all, list("/a~1b/0/x", "/s~0t/1"))],
        vec![
            when("/ok", json!(false), Then::Reject),
            when("/state", json!("busy"), Then::Retry),
            when("/partial", json!(true), list("/results", "/status")),
            rule(all, Then::Delivered),
            rule(StatusMatch::Exactly(409), Then::Halt),
            rule(StatusMatch::Exactly(422), Then::Split),
        ],
    ]
}

fn http(outcome: Vec<OutcomeRule>) -> Http {
    let rows = Body::Json(json!({ "rows": { "each": "{{record}}" } }));
    let (mut upsert, mut delete) =
        (request("/rows", rows, 100), request("/rows/{{record.id}}", Body::None, 1));
    upsert.outcome.clone_from(&outcome);
    delete.outcome = outcome;
    let mut connection = connection("http://127.0.0.1:9");
    connection.auth = Auth::Bearer(TOKEN.to_owned().into());
    let fields = ["id", "name"].map(str::to_owned);
    let requests = Requests { upsert, delete: Some(delete) };
    Http::new(&connection, &requests, &fields, &[0]).expect("the requests are right")
}

/// The input is four bytes that choose destination, operation, records and status, a line that is `Retry-After`, and the body
/// of the answer.
pub fn fuzz_judge(data: &[u8]) -> bool {
    let mut input = Input { rest: data };
    let (rules, http) = &destinations()[usize::from(input.byte()) % destinations().len()];
    let is_delete = input.byte() % 4 == 3;
    let records = if is_delete { 1 } else { u32::from(input.byte() % 5) + 1 };
    const STATUSES: [u16; 16] =
        [200, 201, 204, 207, 302, 304, 400, 401, 404, 409, 413, 422, 429, 500, 503, 999];
    let status = STATUSES[usize::from(input.byte() % 16)];
    let retry_after = std::str::from_utf8(input.line()).unwrap_or_default();
    let answer = input.rest;
    if contains(answer, "canary") {
        // What a message may repeat of it is the business of the scrubber's own tests.
        return false;
    }
    let answer = put_canaries(answer);
    let row = format!(r#"{{"id":1,"name":"{NAME}"}}"#);
    let body = vec![row; records as usize].join(",");
    let outgoing = Outgoing {
        operation: if is_delete { Operation::Delete } else { Operation::Upsert },
        records,
        body: if is_delete { String::new() } else { format!(r#"{{"rows":[{body}]}}"#) }.into(),
        path: is_delete.then(|| format!("/rows/{NAME}")),
        idempotency_key: Some("k".to_owned()),
        run: "1".to_owned(),
        attempt: 1,
    };
    let attempt = http.judge(&outgoing, status, retry_after, &answer);
    assert_eq!(attempt.status, Some(status));
    match attempt.judgement {
        Judgement::Records(verdicts) => {
            assert_eq!(verdicts.len(), records as usize, "a verdict for each record");
            let delivered = verdicts.iter().filter(|verdict| **verdict == RecordVerdict::Delivered);
            let said = said_delivered(rules, status, &answer, records, is_delete);
            assert_eq!(delivered.count(), said, "delivered as the answer says");
            for verdict in &verdicts {
                if let RecordVerdict::Rejected(refusal) | RecordVerdict::Retry(refusal) = verdict {
                    check_refusal(refusal);
                }
            }
            true
        }
        Judgement::NotApplied(refusal)
        | Judgement::Unknown(refusal)
        | Judgement::Split(refusal)
        | Judgement::Halt(refusal, _) => {
            check_refusal(&refusal);
            false
        }
    }
}

/// An answer that repeats what was sent, and our token, wherever it says `NAME` and `TOKEN`.
fn put_canaries(answer: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(answer) {
        Ok(text) => text.replace("NAME", NAME).replace("TOKEN", TOKEN).into_bytes(),
        Err(_) => answer.to_vec(),
    }
}

fn check_refusal(Refusal { code, message }: &Refusal) {
    assert!(code.chars().count() <= 64 && message.chars().count() <= 300, "{code}: {message}");
    for secret in [NAME, TOKEN] {
        assert!(!code.contains(secret) && !message.contains(secret), "I12: {code}: {message}");
    }
}

/// How many records a second reading of the answer finds delivered.
fn said_delivered(
    rules: &[OutcomeRule],
    status: u16,
    answer: &[u8],
    records: u32,
    is_delete: bool,
) -> usize {
    let json: Option<Value> =
        std::str::from_utf8(answer).ok().and_then(|text| serde_json::from_str(text).ok());
    let at = |pointer: &str| json.as_ref().and_then(|json| json.pointer(pointer));
    let is_receipt = |rule: &OutcomeRule| matches!(rule.then, Then::Delivered | Then::PerRecord(_));
    let rule = rules.iter().find(|rule| {
        let is_status = rule.status.iter().any(|declared| match declared {
            StatusMatch::Exactly(exactly) => *exactly == status,
            StatusMatch::Class(class) => status / 100 == *class,
        });
        let is_when = rule.when.iter().all(|(pointer, value)| at(pointer) == Some(value));
        is_status && is_when && !(is_receipt(rule) && (300..400).contains(&status))
    });
    match rule.map(|rule| &rule.then) {
        // A record that is gone is as good as deleted.
        None if is_delete && status == 404 => 1,
        Some(Then::Delivered) if json.is_some() => records as usize,
        Some(Then::PerRecord(list)) => {
            let items = at(&list.items).and_then(Value::as_array).expect("verdicts come of a list");
            assert_eq!(items.len(), records as usize, "verdicts for a list of another length");
            let is_delivered = |item: &&Value| {
                let status = item.pointer(&list.status).expect("a verdict comes of a status");
                is_delivered(status)
            };
            items.iter().filter(is_delivered).count()
        }
        _ => 0,
    }
}

/// `ok`, or a number of the class `2xx`.
fn is_delivered(status: &Value) -> bool {
    match status {
        Value::String(text) => {
            DELIVERED.contains(&text.as_str())
                || text.len() == 3 && text.parse().is_ok_and(|n: i64| n / 100 == 2)
        }
        Value::Number(number) => number.as_i64().is_some_and(|number| number / 100 == 2),
        _ => false,
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|part| part == word.as_bytes())
}
