//! Whole files, good and bad: line, place, what and remedy.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

mod comparisons;
mod database;
mod example;
mod joined;
mod options;
mod problems;
mod schedules;
mod schema;
mod stations;
mod stores;
mod telemetry;

use super::*;
use crate::destination::definition::{Auth, Body, Repeat, StatusMatch};
use crate::domain::guard::MaxDeletes;
use crate::domain::sync::Mode;
use crate::source::definition::{Access, Format};

/// A small file without problems; tests break it line by line.
const GOOD: &str = r#"
sources:
  lake:
    files:
      customers: data/customers.csv
models:
  active:
    source: lake
    sql: SELECT id, email FROM customers
    primary_key: [id]
connections:
  crm:
    http:
      base_url: https://crm.example.com/v1/
      auth:
        bearer: ${TOKEN}
    rate_limit: 50/s
syncs:
  people:
    model: active
    connection: crm
    mode: mirror
    schedule: {cron: "*/15 * * * *", time_zone: Europe/Berlin}
    mapping: {id: id, email: lower(email)}
    key: [id]
    guard: {max_deletes: 5%}
    drain_timeout: 20s
    upsert:
      post: /people/batch
      batch: {records: 50, bytes: 64KiB}
      body: {json: {people: {each: "{{record}}"}}}
      outcome:
        - {status: [200, 2xx], then: delivered}
    delete:
      post: /people/archive
      body: {json: {each: "{{record.id}}"}}
      outcome:
        - {status: 200, then: delivered}
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("s3cret-token".to_owned()),
        "HOST" => Some("crm.internal".to_owned()),
        _ => None,
    }
}

fn write(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counterflow.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn load_text(text: &str) -> Result<Config, Problems> {
    let (_folder, path) = write(text);
    load_with(&path, &environment)
}

/// The good file with one stretch replaced.
fn broken(from: &str, to: &str) -> Problems {
    assert!(GOOD.contains(from), "{from}");
    match load_text(&GOOD.replacen(from, to, 1)) {
        Ok(_) => panic!("no problem found with {to:?}"),
        Err(problems) => problems,
    }
}

#[test]
fn a_good_file_becomes_values() {
    let (folder, path) = write(GOOD);
    let config = load_with(&path, &environment).unwrap();
    assert_eq!(config.state, folder.path().join("counterflow-state"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    let Access::Files(files) = &config.sources["lake"].access else {
        panic!("it is made of files")
    };
    let table = &files.tables[0];
    assert_eq!(table.path(), folder.path().join("data/customers.csv"));
    assert!(matches!(&table.format, Format::Csv(csv) if csv.has_header && csv.nulls == [""]));
    assert_eq!(table.compression, None);
    let connection = &config.connections["crm"];
    assert_eq!(connection.definition.base_url, "https://crm.example.com/v1");
    assert_eq!((connection.limits.concurrency, connection.limits.retry.attempts), (4, 6));
    let sync = config.sync("people").unwrap();
    assert_eq!(sync.sync.mode, Mode::Mirror);
    assert_eq!(sync.sync.mapping[1].expression, "lower(email)");
    assert_eq!(sync.sync.limits.max_deletes, MaxDeletes::BasisPoints(500));
    let upsert = &sync.requests.upsert;
    assert_eq!((upsert.batch.records, upsert.batch.bytes), (50, 65_536));
    assert_eq!(upsert.outcome[0].status, [StatusMatch::Exactly(200), StatusMatch::Class(2)]);
    assert_eq!(upsert.idempotency.header.as_deref(), Some("Idempotency-Key"));
    assert_eq!(upsert.idempotency.repeat, Repeat::Never);
    let delete = sync.requests.delete.as_ref().unwrap();
    assert_eq!(delete.batch.records, 100);
    assert_eq!(delete.body, Body::Json(serde_json::json!({"each": "{{record.id}}"})));
    let names: Vec<&str> = config.sources_of(sync).map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["lake"]);
    assert_eq!(config.connection_of(sync).definition.name, "crm");
}

#[test]
fn references_reach_values_but_neither_sql_nor_mappings() {
    let text = GOOD
        .replacen("https://crm.example.com/v1/", "\"https://${HOST}/${PATH_:-v2}\"", 1)
        .replacen("FROM customers", "FROM customers WHERE x = '${NONE}'", 1)
        .replacen("lower(email)", "\"concat(email, '${NONE}')\"", 1);
    let config = load_text(&text).unwrap();
    assert_eq!(config.connections["crm"].definition.base_url, "https://crm.internal/v2");
    assert!(config.syncs[0].sync.model.sql.contains("'${NONE}'"));
    assert!(config.syncs[0].sync.mapping[1].expression.contains("'${NONE}'"));
}

#[test]
fn secrets_are_read_and_never_shown() {
    use secrecy::ExposeSecret;
    let basic = "basic: {user: \"${HOST}\", password: \"file:secrets/pw\"}";
    let text = GOOD.replacen("bearer: ${TOKEN}", basic, 1);
    let (folder, path) = write(&text);
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    std::fs::write(folder.path().join("secrets/pw"), "s3cret-pw\n").unwrap();
    let config = load_with(&path, &environment).unwrap();
    let Auth::Basic { user, password } = &config.connections["crm"].definition.auth else {
        panic!("not basic")
    };
    assert_eq!((user.as_str(), password.expose_secret()), ("crm.internal", "s3cret-pw"));
    assert!(!format!("{config:?}").contains("s3cret"));
    let config = load_text(GOOD).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn no_form_of_a_problem_shows_a_secret() {
    for to in [
        "bearer: s3cret",
        "bearer: [s3cret]",
        "bearer: ${TOKEN:-s3cret}",
        "bearer: \"${TOKEN} s3cret\"",
        "bearre: s3cret",
        "basic: {user: x, password: s3cret}",
        "basic: {user: x, passwort: s3cret}",
        "bearer: \"s3cret",
        "bearer: |\n          s3cret\n",
    ] {
        let problems = broken("bearer: ${TOKEN}", to);
        let forms =
            format!("{problems}\n{problems:?}\n{}\n{}", problems.fancy(false), problems.to_json());
        assert!(!forms.contains("s3cret"), "{to}: {forms}");
    }
    for to in [
        "https://x/?api_key=s3cret",
        "https://u:s3cret@x/\n      base_url: https://x/",
        "https://x/\n      base_url: https://u:s3cret@x/",
        "https://x/\n      headers: {X-Auth: s3cret}",
        "https://x/\n      headers: {X-Access-Key: s3cret}",
    ] {
        let problems = broken("https://crm.example.com/v1/", to);
        let forms =
            format!("{problems}\n{problems:?}\n{}\n{}", problems.fancy(false), problems.to_json());
        assert!(!forms.contains("s3cret"), "{to}: {forms}");
    }
    // A value from the environment is not shown either, whatever is wrong with it.
    let problems = broken("https://crm.example.com/v1/", "${TOKEN}");
    assert!(problems.to_string().contains("`${TOKEN}` is not a URL"), "{problems}");
    for to in ["{{${TOKEN}}}", "{{record.${TOKEN}}}", "{{${TOKEN}"] {
        let problems = broken("{each: \"{{record.id}}\"}", &format!("{{each: \"{to}\"}}"));
        let forms = format!("{problems}{}{}", problems.fancy(false), problems.to_json());
        assert!(!forms.contains("s3cret") && forms.contains("***"), "{to}: {forms}");
    }
}

#[test]
fn what_a_reference_stands_for_is_hidden_in_what_is_stored_and_printed() {
    let text = GOOD
        .replacen("https://crm.example.com/v1/", "https://crm.example.com/${TOKEN}/", 1)
        .replacen("/people/batch", "\"/people/batch?key=${TOKEN}\"", 1)
        .replacen("      auth:\n        bearer: ${TOKEN}\n", "", 1);
    let config = load_text(&text).unwrap();
    let (connection, requests) = (&config.connections["crm"].definition, &config.syncs[0].requests);
    assert_eq!(connection.written.as_deref(), Some("https://crm.example.com/${TOKEN}"));
    assert_eq!(requests.upsert.written.as_deref(), Some("/people/batch?key=${TOKEN}"));
    assert_eq!((connection.hidden.len(), requests.upsert.hidden.len()), (1, 1));
    let fields = ["id", "email"].map(str::to_owned);
    let http = crate::destination::http::Http::new(connection, requests, &fields, &[0]).unwrap();
    let shown = format!("{config:?} {http:?} {}", http.identity());
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn secrets_that_a_command_does_not_use_may_be_missing() {
    let other = "connections:\n  other:\n    http:\n      base_url: https://${NONE}/\n      \
        auth: {bearer: \"${NONE_EITHER}\"}\n";
    let text = GOOD.replacen("connections:\n", other, 1);
    let (_folder, path) = write(&text);
    assert_eq!(load_with(&path, &environment).unwrap_err().list().len(), 2);
    let config = read_with(&path, &environment, Wanted::Of("people")).unwrap();
    assert_eq!(config.connections.keys().collect::<Vec<_>>(), ["crm"]);
    let (_folder, path) = write(&text.replacen("${TOKEN}", "${NONE}", 1));
    assert!(read_with(&path, &environment, Wanted::None).unwrap().connections.is_empty());
    let problems = read_with(&path, &environment, Wanted::Of("people")).unwrap_err();
    assert_eq!(problems.list().len(), 1, "{problems}");
    let (_folder, path) = write(&text.replacen("${NONE_EITHER}", "open", 1));
    assert!(read_with(&path, &environment, Wanted::None).is_err(), "a fault of the file itself");
}

#[test]
fn a_tilde_is_no_home() {
    let problems = load_text(&format!("state: ~/here\n{GOOD}")).unwrap_err();
    assert!(problems.to_string().contains("`~` stands for nothing here"), "{problems}");
}

#[test]
fn problems_have_a_form_for_people_and_one_for_machines() {
    let (_folder, path) = write(&GOOD.replacen("mode: mirror", "mode: miror", 1));
    let problems = load_with(&path, &environment).expect_err("broken");
    let file = path.display().to_string();
    assert_eq!(
        problems.to_string(),
        format!(
            "{file}:22:11: syncs.people.mode: unknown word `miror`; did you mean `mirror`? known here: `upsert`, `mirror`"
        )
    );
    let fancy = problems.fancy(false);
    for part in ["counterflow.yaml:22:11", "mode: miror", "syncs.people.mode", "help: did you mean"]
    {
        assert!(fancy.contains(part), "{part}: {fancy}");
    }
    let Value::Array(list) = problems.to_json() else { panic!("not a list") };
    assert_eq!(list[0]["line"], 22);
    assert_eq!(list[0]["place"], "syncs.people.mode");
}

#[test]
fn files_that_are_no_config_are_named() {
    for (text, what) in [
        ("", "the file is empty"),
        ("- a\n", "expected a map of keys, found a list"),
        ("just text", "expected a map of keys, found text"),
        ("a: {b: ${X}}\n", "not valid YAML"),
    ] {
        let problems = load_text(text).expect_err(text).to_string();
        assert!(problems.contains(what), "{text:?}: {problems}");
    }
    let missing = load(Path::new("/nowhere/counterflow.yaml")).expect_err("missing");
    assert!(
        missing
            .to_string()
            .starts_with("/nowhere/counterflow.yaml: the config file cannot be read")
    );
    assert!(!missing.fancy(false).is_empty());
}

#[test]
fn the_state_is_found_beside_other_problems() {
    let (folder, path) = write("state: ./here\nsyncs: 5\nother: ${NONE}\n");
    assert_eq!(state_directory(&path).unwrap(), folder.path().join("here"));
    let (_folder, path) = write("state: [5]\n");
    let problems = state_directory(&path).expect_err("broken state");
    assert_eq!(problems.list().len(), 1, "{problems}");
}

#[test]
fn a_file_cut_or_short_of_a_line_is_judged_without_a_panic() {
    let lines: Vec<&str> = GOOD.split_inclusive('\n').collect();
    for index in 0..lines.len() {
        let without = [&lines[..index], &lines[index + 1..]].concat().concat();
        let cut = lines[..index].concat() + &lines[index][..lines[index].len() / 2];
        for text in [without, cut] {
            if let Err(problems) = load_text(&text) {
                assert!(!problems.list().is_empty());
                assert!(!problems.fancy(true).is_empty());
            }
        }
    }
}
