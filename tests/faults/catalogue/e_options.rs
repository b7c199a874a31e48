//! E6, E7. Values of fields that have options of their own: what is ignored, left out or said otherwise is lost nowhere.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray};
use serde_json::{Value, json};

use super::Scenario;
use super::e_shrink::{FORMATS, open_guard};
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::parquet;
use crate::support::people::CANARY;
use crate::support::table::Mirror;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "E6",
        "a change of what is ignored is not sent, and goes with the next one that is",
        ignored,
    ),
    Scenario::new("E7", "a member that is left out for NULL is sent for zero", left_out),
    Scenario::new(
        "E6",
        "what counts as the same and is said otherwise is no repetition",
        said_otherwise,
    ),
    Scenario::new(
        "E6",
        "equal numbers of two scales are no repetition to a destination that knows keys",
        of_two_scales,
    ),
];

fn mirror(scenario: &Scenario, sync: &'static str) -> Mirror {
    let setup = Setup { batch: 1, sync, ..open_guard(FORMATS[1]) };
    Mirror::new(&scenario.replay(), &["id"], setup)
}

/// Names, which nobody may tell (I12), and two numbers.
fn write(mirror: &Mirror, names: [&str; 2], numbers: [Option<i64>; 2]) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("name", Arc::new(StringArray::from(names.to_vec()))),
        ("seen", Arc::new(Int64Array::from(numbers.to_vec()))),
    ];
    mirror.write_batch(&parquet::batch(columns));
}

fn held(mirror: &Mirror, id: u64) -> Value {
    mirror.oracle.record(&format!("[{id}]")).expect("the destination holds it")
}

fn ignored(scenario: &Scenario) {
    let mirror =
        mirror(scenario, "mapping: { id: id, name: name, seen: { sql: seen, compare: ignore } }");
    write(&mirror, [CANARY, "b"], [Some(1), Some(1)]);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    mirror.assert_at_rest();
    write(&mirror, [CANARY, "b"], [Some(2), None]);
    mirror.assert_at_rest();
    write(&mirror, [CANARY, "c"], [Some(3), Some(3)]);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1)]);
    let is_whole = [(1, CANARY, 1), (2, "c", 3)].iter().all(|(id, name, seen)| {
        held(&mirror, *id) == json!({ "id": id, "name": name, "seen": seen })
    });
    assert!(is_whole, "an ignored field is lost\n{}", mirror.oracle.print());
    mirror.assert_at_rest();
}

fn left_out(scenario: &Scenario) {
    let mirror =
        mirror(scenario, "mapping: { id: id, name: name, seen: { sql: seen, nulls: omit } }");
    for (seen, upserts) in [([Some(0), None], 2), ([None, Some(0)], 2), ([Some(5), Some(0)], 1)] {
        write(&mirror, [CANARY, ""], seen);
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[("upserts", upserts)]);
        let bodies = mirror.oracle.requests();
        for (id, seen) in (1_u64..).zip(seen) {
            let of_id = |body: &&str| body.contains(&format!("\"id\":{id},"));
            let body =
                bodies.iter().rev().map(|request| request.sent.beginning.as_str()).find(of_id);
            let body = body.expect("each row was sent");
            match seen {
                None => assert!(!body.contains("seen"), "a NULL is sent: {body}"),
                Some(number) => {
                    let member = format!("\"seen\":{number}}}");
                    assert!(body.contains(&member), "a zero is lost: {id}");
                }
            }
        }
        mirror.assert_at_rest();
    }
}

/// A request without an answer, and then the same row with another value of what is ignored.
fn said_otherwise(scenario: &Scenario) {
    let mirror = mirror(scenario, "ignore: [seen]");
    write(&mirror, [CANARY, "b"], [Some(1), Some(1)]);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    write(&mirror, ["c", "b"], [Some(1), Some(1)]);
    mirror.oracle.on_next(Fault::ApplyThenHold);
    let process = mirror.workspace.spawn_sync(&[]);
    mirror.oracle.wait_for_requests(3, SOON);
    process.kill();
    mirror.oracle.wait_until(SOON, |journal| !journal.requests[2].is_open);
    write(&mirror, ["c", "b"], [Some(2), Some(1)]);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    let requests = mirror.oracle.requests();
    let [.., first, second] = &requests[..] else { panic!("{}", mirror.oracle.print()) };
    assert!(
        first.sent.idempotency_key != second.sent.idempotency_key,
        "I7: one key for two contents\n{}",
        mirror.oracle.print()
    );
    assert_eq!(held(&mirror, 1), json!({ "id": 1, "name": "c", "seen": 2 }));
    mirror.assert_at_rest();
}

/// Requests without an answer, and then a number that is equal under another scale, which its text shows: another body, though
/// everything is compared exactly.
fn of_two_scales(scenario: &Scenario) {
    let mirror = mirror(scenario, "mapping: { id: id, mrr: { numbers: text } }");
    mirror.oracle.know_keys();
    let write = |values: [i128; 2], scale: i8| {
        let mrr = Decimal128Array::from(values.to_vec()).with_precision_and_scale(12, scale);
        mirror.write_batch(&parquet::batch(vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("mrr", Arc::new(mrr.expect("they fit"))),
        ]));
    };
    let kill_in_flight = || {
        let number = mirror.oracle.request_count() + 1;
        mirror.oracle.on_next(Fault::ApplyThenHold);
        let process = mirror.workspace.spawn_sync(&[]);
        mirror.oracle.wait_for_requests(number, SOON);
        process.kill();
        mirror.oracle.wait_until(SOON, |journal| !journal.requests[number - 1].is_open);
    };
    write([90, 5], 1);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    write([105, 5], 1);
    kill_in_flight();
    kill_in_flight();
    write([1_050, 50], 2);
    let report = mirror.workspace.sync(&[]);
    let requests = mirror.oracle.requests();
    let [.., first, again, other] = &requests[..] else { panic!("{}", mirror.oracle.print()) };
    assert!(
        first.sent.idempotency_key == again.sent.idempotency_key,
        "I7: a repetition has another key\n{}",
        mirror.oracle.print()
    );
    assert!(other.status == Some(200), "I7: one key for two bodies\n{}", mirror.oracle.print());
    report.expect(0, "succeeded", &[("delivered", 1), ("unchanged", 1)]);
    assert_eq!(held(&mirror, 1), json!({ "id": 1, "mrr": "10.50" }));
    mirror.assert_at_rest();
}
