//! What source and destination know of a file without opening another: named with its line before any run.

use super::*;
use crate::destination::definition::{Decode, Then};

/// Each breakage has exactly one problem, in the line that begins so, with this place and these words.
#[test]
fn what_every_run_would_refuse_is_refused_with_its_line() {
    let csv = "customers: {csv: data/c.csv, columns: {id: FLOATY}}";
    let long = "customers: {csv: data/c.csv, columns: {id: VARCHAR(20)}}";
    let json = "customers: {csv: data/c.csv, columns: {id: JSON}}";
    let unknown = "customers: {ndjson: data/c.json, columns: {id: FLOATY}}";
    let nulls = "customers: {ndjson: data/c.json, nulls: [NA], columns: {id: JSON}}";
    let both = "customers: {ndjson: data/c.json, csv: data/c.csv}";
    let packed = "customers: data/c.parquet.gz";
    let brotli = "customers: {csv: data/c.csv.br, compression: brotli}";
    let other = "customers: {parquet: data/c, compression: gzip}";
    let arrow = "customers: data/c.arrow.zst";
    let named = "customers: {parquet: data/c, partitions: yes_all}";
    let empty = "customers: {parquet: data/c, partitions: {}}";
    let odd = "customers: {arrow: data/c, partitions: {day: DAY}}";
    let twice = "customers: {csv: data/c.csv, partitions: {id: DATE}, columns: {id: DATE}}";
    let union = "customers: {csv: data/c.csv, schema: union}";
    let rule = "customers: {arrow: data/c, schema: first}";
    let select = "SELECT id, email FROM customers";
    let each = "body: {json: {people: {each: \"{{record}}\"}}}";
    for (from, to, place, words) in [
        ("customers: data/customers.csv", csv, "columns.id", "unknown type `FLOATY`"),
        ("customers: data/customers.csv", long, "columns.id", "unknown type `VARCHAR(20)`"),
        ("customers: data/customers.csv", json, "columns.id", "`JSON` is for NDJSON"),
        ("customers: data/customers.csv", unknown, "columns.id", "unknown type `FLOATY`"),
        ("customers: data/customers.csv", nulls, "customers.nulls", "this table is NDJSON"),
        ("customers: data/customers.csv", both, "customers", "both `csv` and `ndjson`"),
        ("customers: data/customers.csv", packed, "customers", "a Parquet file inside of another"),
        ("customers: data/customers.csv", brotli, "customers.compression", "not a compression"),
        ("customers: data/customers.csv", other, "customers.compression", "is for CSV and NDJSON"),
        ("customers: data/customers.csv", arrow, "customers", "an Arrow file inside of another"),
        ("customers: data/customers.csv", named, "customers.partitions", "write `auto`"),
        ("customers: data/customers.csv", empty, "customers.partitions", "without columns"),
        ("customers: data/customers.csv", odd, "partitions.day", "unknown type `DAY`"),
        ("customers: data/customers.csv", twice, "partitions.id", "under `columns` too"),
        ("customers: data/customers.csv", union, "customers.schema", "is for Parquet and Arrow"),
        ("customers: data/customers.csv", rule, "customers.schema", "write `same` or `union`"),
        (select, "DROP TABLE customers", "models.active.sql", "a DROP statement"),
        (select, "SELECT id FROM custmers", "models.active.sql", "did you mean `customers`?"),
        (select, "SELECT id FROM", "models.active.sql", "is not valid SQL"),
        ("lower(email)", "\"lower(nope\"", "syncs.people.mapping.email", "lower(nope"),
        ("lower(email)", "email AS mail", "syncs.people.mapping.email", "AS"),
        ("/people/batch", "/people/../batch", "syncs.people.upsert.post", "`..` cannot stand"),
        (
            each,
            "body: {json: {each: {x: \"a {{record.id}}\"}}}",
            "upsert.body.json.each.x",
            "text around",
        ),
        (
            each,
            "body: {json: [{each: \"{{record}}\"}, {each: 1}]}",
            "upsert.body.json",
            "at most one `each`",
        ),
        (each, "body: {json: {people: \"{{record}}\"}}", "upsert.batch", "`batch: {records: 1}`"),
        (
            "      outcome:\n        - {status: [200, 2xx]",
            "      headers: {X-R: \"{{record.id}}\"}\n      outcome:\n        - {status: [200, 2xx]",
            "upsert.headers.X-R",
            "not built yet",
        ),
        (
            "      outcome:\n        - {status: [200, 2xx]",
            "      idempotency: {header: Authorization}\n      outcome:\n        - {status: [200, 2xx]",
            "upsert.idempotency.header",
            "has a meaning already",
        ),
    ] {
        let problems = broken(from, to);
        let [problem] = problems.list() else { panic!("{to:?}: {problems}") };
        let shown = problems.to_string();
        assert!(problem.place.contains(place) && shown.contains(words), "{to:?}: {problems}");
        let text = GOOD.replacen(from, to, 1);
        let line = text.lines().nth(problem.line - 1).unwrap();
        let near = to.lines().next().unwrap();
        assert!(
            place == "upsert.batch" || line.contains(near) || near.contains(line.trim()),
            "{to:?}: {line:?}"
        );
    }
}

#[test]
fn what_is_broken_already_is_not_judged_by_a_stand_in() {
    let text = GOOD.replacen("records: 50", "records: many", 1).replacen(
        "SELECT id, email FROM customers",
        "SELECT id, email FROM nobody",
        1,
    );
    let problems = load_text(&text).unwrap_err();
    assert_eq!(problems.list().len(), 2, "{problems}");
}

#[test]
fn a_rule_that_refuses_does_not_look_at_the_body_unless_it_says_so() {
    let rules = "        - {status: 503, then: retry}\n        - {status: 401, then: halt}\n        - \
        {status: 409, decode: json, then: reject}\n        - {status: 400, when: {/a: 1}, then: split}\n        - \
        {status: [200, 2xx]";
    let config = load_text(&GOOD.replacen("        - {status: [200, 2xx]", rules, 1)).unwrap();
    let outcome = &config.syncs[0].requests.upsert.outcome;
    let decodes: Vec<_> = outcome.iter().map(|rule| (rule.then.clone(), rule.decode)).collect();
    assert_eq!(
        decodes,
        [
            (Then::Retry, Decode::None),
            (Then::Halt, Decode::None),
            (Then::Reject, Decode::Json),
            (Then::Split, Decode::Json),
            (Then::Delivered, Decode::Json),
        ]
    );
}
