//! What models would give, and how sources stand, before anything is sent.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::workspace::{Setup, Workspace};

const LAKE: &str = "lake: { files: { people: \"people.csv\" } }";
/// Nobody listens there.
const APP: &str = "lake: { postgres: { host: 127.0.0.1, port: 1, database: shop, user: reader, tls: { verify: none } } }";

fn workspace(oracle: &Oracle, sync: &'static str) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { sync, ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace
}

/// Of `validate --sources`, the one model.
fn model(document: &Value) -> &Value {
    assert_eq!(document["models"].as_array().map(Vec::len), Some(1), "{document:#}");
    &document["models"][0]
}

#[test]
fn validate_opens_models_and_says_how_each_field_will_look_in_json_d13() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "");
    let seen = workspace.json(&["validate", "--sources"]);
    let (seen, columns) = (model(&seen), &model(&seen)["columns"]);
    assert_eq!((&seen["model"], &seen["sync"]), (&json!("people"), &json!("people")));
    let id = json!({ "name": "id", "source_type": null, "type": "Int64", "nullable": true });
    assert_eq!(columns[0], id, "{seen:#}");
    let field = |field: &str, json: &str| json!({ "field": field, "json": json, "refused": null });
    assert_eq!(seen["fields"][0], field("id", "whole number"));
    assert_eq!(seen["fields"][3], field("email", "text"));
    let words = ["model `people`", "as `people` sends it", "in JSON", "whole number", "Int64"];
    workspace.run(&["validate", "--sources", "people"]).expect_code(0).expect_printed(&words);
    let unknown = workspace.run(&["validate", "--sources", "peple"]).expect_code(2);
    unknown.expect_printed(&["no model `peple`", "`people`"]);
    workspace.run(&["validate", "people"]).expect_code(2).expect_printed(&["--sources"]);
    assert!(!workspace.state().exists(), "nothing is written");
    // The words of a run's start.
    workspace.change(|setup| {
        setup.sync = "mapping: { id: id, at: { sql: email, numbers: text }, n: emial }";
    });
    let refused = workspace.run(&["--format", "json", "validate", "--sources"]).expect_code(2);
    let refused = refused.json();
    let problems = model(&refused)["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    let said = |place: usize| problems[place].as_str().expect("words");
    assert!(said(0).contains("`numbers: text` is for integers and decimals"), "{problems:#?}");
    assert!(said(1).contains("did you mean `email`"), "{problems:#?}");
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&[said(1)]);
    workspace.change(|setup| {
        setup.sync = "mapping: { id: id, at: { sql: email, numbers: text } }";
    });
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&[said(0)]);
    // A file that is not there is no fault of the config.
    std::fs::remove_file(workspace.path().join("people.csv")).expect("it was there");
    let gone = workspace.run(&["validate", "--sources"]).expect_code(1);
    gone.expect_printed(&["not well", "no file", "people.csv"]);
    assert_eq!(oracle.request_count(), 0, "nothing is sent");
}

#[test]
fn what_no_key_is_made_of_is_refused_by_name_before_anything_is_sent_d13() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "");
    workspace.change(|setup| {
        setup.sql = "SELECT make_array(id) AS id, counter, checksum, email FROM people".to_owned();
    });
    let plain = workspace.run(&["validate"]).expect_code(0);
    plain.expect_printed(&["not held against their sources: `people`"]);
    let seen = workspace.run(&["--format", "json", "validate", "--sources"]).expect_code(2).json();
    let problems = model(&seen)["problems"].as_array().expect("a list");
    let said = problems[0].as_str().expect("words");
    assert!(said.contains("`id`") && said.contains("list") && said.contains("key"), "{said}");
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&[said]);
    assert_eq!(oracle.request_count(), 0, "nothing is sent");
}

#[test]
fn models_are_held_against_their_sources_by_name_and_those_that_no_sync_reads_as_well_d13() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "");
    workspace.change(|setup| setup.sql = "SELECT id, 7 AS seven FROM people".to_owned());
    let unread = ", unread: { source: lake, sql: \"SELECT nothing FROM people\", primary_key: [id] } }\nconnections:";
    let config = workspace.config().replacen(" }\nconnections:", unread, 1);
    workspace.write("counterflow.yaml", &config);
    let one = workspace.json(&["validate", "--sources", "people"]);
    let columns = &model(&one)["columns"];
    let nullable = [0, 1].map(|place| columns[place]["nullable"].as_bool());
    assert_eq!(nullable, [Some(true), Some(false)], "{columns:#}");
    let text = workspace.run(&["validate", "--sources", "people"]).expect_code(0);
    text.expect_printed(&["no problems; syncs", "never"]);
    let all = workspace.run(&["--format", "json", "validate", "--sources"]).expect_code(2);
    let all = all.json();
    let [people, unread] = all["models"].as_array().map(Vec::as_slice).expect("a list") else {
        panic!("{all:#}");
    };
    assert_eq!((&people["sync"], &people["problems"]), (&json!("people"), &json!([])));
    assert_eq!((&unread["model"], &unread["sync"]), (&json!("unread"), &Value::Null));
    assert!(unread["problems"][0].as_str().is_some_and(|it| it.contains("nothing")), "{all:#}");
    let text = workspace.run(&["validate", "--sources"]).expect_code(2);
    text.expect_printed(&["no problems in itself", "model `unread`", "not well"]);
}

#[test]
fn types_are_those_that_the_runs_of_the_sync_go_by_d13() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    let mut lines = String::from("id,counter,checksum,email\n");
    lines.push_str("1,one,c,e\n");
    workspace.write("people.csv", &lines);
    let seen = workspace.json(&["validate", "--sources"]);
    assert_eq!(model(&seen)["columns"][1]["type"], "Int64", "{seen:#}");
}

#[test]
fn plain_validate_asks_no_source_and_says_which_models_it_did_not_open_d13() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    let plain = workspace.json(&["validate"]);
    assert_eq!((&plain["unopened"], &plain["warnings"]), (&json!(["people"]), &json!([])));
    workspace.write("counterflow.yaml", &workspace.config().replace(LAKE, APP));
    let plain = workspace.run(&["validate"]).expect_code(0);
    plain.expect_printed(&[
        "not held against their sources: `people`",
        "`counterflow validate --sources`",
        "warning: source `lake`",
        "verifies nothing",
        "`tls: {verify: full}`",
    ]);
    let asked = workspace.run(&["validate", "--sources"]).expect_code(1);
    asked.expect_printed(&["not well", "database `shop` at `127.0.0.1:1` cannot be reached"]);
    let doctor = workspace.run(&["doctor", "lake"]).expect_code(1);
    doctor.expect_printed(&[
        "source lake (database `shop`",
        "not well",
        "cannot be reached",
        "is up",
    ]);
}

#[test]
fn a_doctor_looks_at_sources_and_asks_which_where_a_name_is_both_d14() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    let file = workspace.path().join("people.csv");
    let bytes = std::fs::metadata(&file).expect("it is there").len();
    let seen = workspace.json(&["doctor", "lake"]);
    let (seen, table) = (&seen[0], &seen[0]["tables"][0]);
    assert_eq!((&seen["source"], &seen["is_well"]), (&json!("lake"), &json!(true)), "{seen:#}");
    assert_eq!((&table["files"], &table["bytes"]), (&json!(1), &json!(bytes)), "{seen:#}");
    assert!(table["newest"].as_str().is_some_and(|at| at.starts_with('2')), "{seen:#}");
    let one = workspace.run(&["doctor", "lake"]).expect_code(0);
    assert!(!one.printed().contains("the disk for"), "only what was named: {one:#?}");
    let role = seen["facts"]["role"].as_str().expect("words");
    let user = std::fs::metadata("/proc/self").expect("it is Linux").uid();
    assert!(role.starts_with("user ") && role.contains(&user.to_string()), "{seen:#}");
    let writes = (&seen["facts"]["read_only"], &table["could_write"]);
    assert_eq!(writes, (&json!("could write to its files"), &json!(true)), "{seen:#}");
    assert!(one.printed().contains(&format!("well, {role}, could write to its files")), "{one:#?}");
    let location = file.display().to_string();
    let human = workspace.run(&["doctor"]).expect_code(0);
    human.expect_printed(&[
        "source lake (1 table): well",
        "1 file",
        &location,
        "crm at http://",
        "the disk for people: well",
    ]);
    let config =
        workspace.config().replace("crm:", "lake:").replace("connection: crm", "connection: lake");
    workspace.write("counterflow.yaml", &config);
    let both = workspace.run(&["doctor", "lake"]).expect_code(2);
    both.expect_printed(&["`connection/lake` or `source/lake`"]);
    workspace.run(&["doctor", "source/lake"]).expect_code(0).expect_printed(&["source lake"]);
    let connection = workspace.run(&["doctor", "connection/lake"]).expect_code(0);
    assert!(!connection.printed().contains("source lake"), "{connection:#?}");
    std::fs::remove_file(&file).expect("it was there");
    let gone = workspace.run(&["doctor", "source/lake"]).expect_code(1);
    gone.expect_printed(&[
        "source lake (1 table): not well",
        "1 of its tables cannot be read",
        "no file",
        &location,
    ]);
    let nowhere = workspace.config().replace(LAKE, "lake: { postgres: { url: \"${NOT_SET}\" } }");
    workspace.write("counterflow.yaml", &nowhere);
    let absent = workspace.run(&["doctor"]).expect_code(2);
    absent.expect_printed(&["source lake: not tested", "`NOT_SET` is not set", "crm at http://"]);
}

/// Files of the kernel's, which nobody may write to, not even the superuser.
#[test]
fn a_doctor_says_of_files_whether_who_reads_them_could_write_and_writes_nothing_d14() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    let people = workspace.path().join("people.csv");
    let before = std::fs::read(&people).expect("it is there");
    let doctor = |tables: &str, code| {
        let lake = format!("lake: {{ files: {{ {tables} }} }}");
        workspace.write_config();
        workspace.write("counterflow.yaml", &workspace.config().replace(LAKE, &lake));
        let doctor = workspace.run(&["--format", "json", "doctor", "lake"]).expect_code(code);
        doctor.json()[0].clone()
    };
    let kernels = "{ csv: /proc/sys/kernel/ostype }";
    let seen = doctor(&format!("people: {kernels}"), 0);
    let none = (json!("could write to none of its files"), json!(false));
    let told = |seen: &Value| seen["facts"]["read_only"].clone();
    assert_eq!((told(&seen), seen["tables"][0]["could_write"].clone()), none, "{seen:#}");
    let seen = doctor(&format!("people: people.csv, kernels: {kernels}"), 0);
    let some = json!("could write to 1 of its tables, such as `people`");
    assert_eq!(told(&seen), some, "{seen:#}");
    // Beside a store, where nobody answers, each is told by itself.
    let seen = doctor("people: people.csv, others: \"http://127.0.0.1:1/o.csv\"", 1);
    let both = "for `files` could write to its files; for `http` only GET and HEAD are sent";
    assert_eq!(told(&seen), json!(both), "{seen:#}");
    assert_eq!(seen["facts"]["http"], json!("no credentials"), "{seen:#}");
    assert_eq!(std::fs::read(&people).expect("it is there"), before);
}

#[test]
fn a_source_that_says_nothing_is_given_up_and_a_stop_ends_the_question_d14() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    silent.set_nonblocking(true).expect("it can be");
    let at = format!("port: {}", silent.local_addr().expect("it is bound").port());
    let app = APP.replace("port: 1", &at).replace("tls: { verify: none }", "connect_timeout: 60s");
    workspace.write("counterflow.yaml", &workspace.config().replace(LAKE, &app));
    let begun = Instant::now();
    let doctor = workspace.spawn(&["doctor", "lake"]);
    let asked = workspace.spawn(&["validate", "--sources"]);
    // Both have connected, and wait for a word. What is accepted stays open.
    let mut open = Vec::new();
    while open.len() < 2 {
        open.extend(silent.accept());
        assert!(begun.elapsed() < SOON, "nobody asks");
        std::thread::sleep(Duration::from_millis(10));
    }
    let stopped = Instant::now();
    asked.sigterm();
    workspace.end(asked, Duration::from_secs(2));
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
    let given_up = workspace.end(doctor, SOON).expect_code(1);
    given_up.expect_printed(&["not well", "did not answer within"]);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}
