//! Whole files, good and bad: line, place, what and remedy.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::destination::definition::{Auth, Body, Repeat, StatusMatch};
use crate::domain::guard::MaxDeletes;
use crate::domain::sync::Mode;
use crate::source::definition::Format;

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
groups:
  crm: {max_running: 2}
syncs:
  people:
    model: active
    connection: crm
    group: crm
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

/// The line of the good file on which a stretch begins.
fn line(of: &str) -> usize {
    GOOD[..GOOD.find(of).unwrap()].matches('\n').count() + 1
}

/// Each breakage has exactly one problem, with this place, what and remedy.
fn each_is_one_problem(cases: &[(&str, &str, &str, &str, &str)]) {
    for (from, to, place, what, remedy) in cases {
        let problems = broken(from, to);
        let [problem] = problems.list() else { panic!("{to:?}: {problems}") };
        assert_eq!(problem.place, *place, "{to:?}: {problems}");
        assert!(problem.what.contains(what), "{to:?}: {problems}");
        assert!(problem.remedy.contains(remedy), "{to:?}: {problems}");
        let first = line(from);
        let last = first + to.matches('\n').count().max(from.matches('\n').count());
        assert!((first..=last).contains(&problem.line), "{to:?}: {problems}");
        assert!(problem.column > 0);
    }
}

#[test]
fn a_good_file_becomes_values() {
    let (folder, path) = write(GOOD);
    let config = load_with(&path, &environment).unwrap();
    assert_eq!(config.state, folder.path().join("counterflow-state"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    let table = &config.sources["lake"].tables[0];
    assert_eq!(table.location, folder.path().join("data/customers.csv"));
    assert!(matches!(&table.format, Format::Csv(csv) if csv.has_header && csv.nulls == [""]));
    let connection = &config.connections["crm"];
    assert_eq!(connection.definition.base_url, "https://crm.example.com/v1");
    assert_eq!((connection.limits.concurrency, connection.limits.retry.attempts), (4, 6));
    assert_eq!(config.groups["crm"], Group { max_running: Some(2) });
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
    assert_eq!(config.source_of(sync).name, "lake");
    assert_eq!(config.connection_of(sync).definition.name, "crm");
}

#[test]
fn all_problems_come_in_one_go_in_the_order_of_the_file() {
    let text = GOOD
        .replacen("bearer: ${TOKEN}", "bearer: ${NOT_SET}", 1)
        .replacen("    rate_limit: 50/s", "    rate_limit: fast\n    retries: 5", 1)
        .replacen("model: active", "modle: active", 1)
        .replacen("cron: \"*/15 * * * *\"", "cron: \"*/15 * * *\"", 1)
        .replacen("mode: mirror", "mode: miror", 1)
        .replacen("/people/archive", "people/archive", 1);
    let problems = load_text(&text).expect_err("broken");
    let found: Vec<_> =
        problems.list().iter().map(|p| (p.line, p.place.as_str(), p.what.as_str())).collect();
    assert_eq!(
        found,
        [
            (
                15,
                "connections.crm.http.auth.bearer",
                "the environment variable `NOT_SET` is not set"
            ),
            (16, "connections.crm.rate_limit", "cannot make sense of `fast`"),
            (17, "connections.crm.retries", "unknown key `retries`"),
            (21, "syncs.people", "`model` is missing"),
            (22, "syncs.people.modle", "unknown key `modle`"),
            (25, "syncs.people.mode", "unknown word `miror`"),
            (26, "syncs.people.schedule.cron", "a cron line has five fields, this one has 4"),
            (37, "syncs.people.delete.post", "`people/archive` is not a path"),
        ]
        .map(|(line, place, what)| (line + 1, place, what)),
        "{problems}"
    );
}

#[test]
fn structural_problems_name_place_and_remedy() {
    each_is_one_problem(&[
        (
            "mapping: {",
            "maping: {",
            "syncs.people.maping",
            "unknown key `maping`",
            "did you mean `mapping`?",
        ),
        (
            "max_running: 2",
            "max_running: 0",
            "groups.crm.max_running",
            "0 is too small",
            "at least 1",
        ),
        (
            "max_running: 2",
            "max_running: two",
            "groups.crm.max_running",
            "expected a whole number, found text",
            "a whole number",
        ),
        (
            "max_running: 2",
            "max_running:",
            "groups.crm.max_running",
            "found nothing",
            "remove the key",
        ),
        (
            "rate_limit: 50/s",
            "rate_limit: 50",
            "connections.crm.rate_limit",
            "expected text, found a number",
            "\"50\"",
        ),
        ("    source: lake\n", "", "models.active", "`source` is missing", "add `source:`"),
        (
            "records: 50",
            "records: 5000000",
            "syncs.people.upsert.batch.records",
            "too large",
            "at most 1000000",
        ),
        (
            "primary_key: [id]",
            "primary_key: []",
            "models.active.primary_key",
            "too short",
            "at least 1",
        ),
        (
            "primary_key: [id]",
            "primary_key: id",
            "models.active.primary_key",
            "expected a list, found text",
            "a list",
        ),
        (
            "mode: mirror",
            "mode: update",
            "syncs.people.mode",
            "`update` is not built yet",
            "`upsert`, `mirror`",
        ),
        (
            "    guard: {",
            "    check_keys: first\n    guard: {",
            "syncs.people.check_keys",
            "`check_keys` is not built yet",
            "remove it",
        ),
        (
            "    files:\n      customers: data/customers.csv",
            "    postgres: {url: x}\n    files:\n      customers: data/customers.csv",
            "sources.lake.postgres",
            "`postgres` is not built yet",
            "remove it",
        ),
        (
            "mode: mirror",
            "mode: mirror\n    mode: upsert",
            "",
            "`mode` stands here again, first in line 25",
            "keep one",
        ),
    ]);
}

#[test]
fn references_between_parts_are_checked() {
    each_is_one_problem(&[
        (
            "model: active",
            "model: activ",
            "syncs.people.model",
            "there is no model `activ`",
            "did you mean `active`?",
        ),
        (
            "connection: crm",
            "connection: erp",
            "syncs.people.connection",
            "there is no connection `erp`",
            "use one of `crm`",
        ),
        (
            "group: crm",
            "group: other",
            "syncs.people.group",
            "there is no group `other`",
            "define it under `groups:`",
        ),
        (
            "source: lake",
            "source: sea",
            "models.active.source",
            "there is no source `sea`",
            "define it under `sources:`",
        ),
        ("  people:", "  People:", "syncs.People", "`People` is not a name", "`a` to `z`"),
        (
            "      customers:",
            "      my-customers:",
            "sources.lake.files.my-customers",
            "not a name for a table",
            "lower-case",
        ),
        (
            "customers.csv",
            "customers.txt",
            "sources.lake.files.customers",
            "the format of",
            "{csv: PATH}",
        ),
        (
            "data/customers.csv",
            "s3://b/customers.csv",
            "sources.lake.files.customers",
            "not built yet",
            "local files",
        ),
        (
            "sql: SELECT id, email FROM customers",
            "sql_file: none.sql",
            "models.active.sql_file",
            "cannot be read",
            "one SELECT",
        ),
        (
            "sql: SELECT id, email FROM customers",
            "sql: ''",
            "models.active.sql",
            "an empty query",
            "one SELECT",
        ),
        (
            "    sql: SELECT id, email FROM customers\n",
            "",
            "models.active",
            "a model without a query",
            "`sql:` or `sql_file:`",
        ),
        (
            "key: [id]",
            "key: [ident]",
            "syncs.people.key[0]",
            "`ident` is not a field of the mapping",
            "use one of `id`, `email`",
        ),
        (
            "primary_key: [id]",
            "primary_key: [id, id]",
            "models.active.primary_key[1]",
            "stands here twice",
            "keep one",
        ),
    ]);
}

#[test]
fn values_are_checked_for_meaning() {
    each_is_one_problem(&[
        (
            "Europe/Berlin",
            "Europe/Berlim",
            "syncs.people.schedule.time_zone",
            "no time zone `Europe/Berlim`",
            "IANA",
        ),
        (
            "max_deletes: 5%",
            "max_deletes: 120%",
            "syncs.people.guard.max_deletes",
            "`120%`",
            "`10%`",
        ),
        (
            "drain_timeout: 20s",
            "drain_timeout: '20'",
            "syncs.people.drain_timeout",
            "`20`",
            "`30s`",
        ),
        ("bytes: 64KiB", "bytes: 64K", "syncs.people.upsert.batch.bytes", "`64K`", "`KiB`"),
        (
            "https://crm.example.com/v1/",
            "crm.example.com",
            "connections.crm.http.base_url",
            "is not a URL",
            "https://",
        ),
        (
            "https://crm.example.com/v1/",
            "https://crm.example.com/?a=b",
            "connections.crm.http.base_url",
            "more than a path",
            "`?`",
        ),
        (
            "https://crm.example.com/v1/",
            "https://u:s3cret@crm.example.com/",
            "connections.crm.http.base_url",
            "credentials stand in the URL",
            "auth",
        ),
        (
            "    rate_limit",
            "      headers: {Authorization: x}\n    rate_limit",
            "connections.crm.http.headers.Authorization",
            "holds a credential",
            "auth",
        ),
        (
            "    rate_limit",
            "      headers: {Host: x}\n    rate_limit",
            "connections.crm.http.headers.Host",
            "is set by us",
            "remove it",
        ),
        (
            "bearer: ${TOKEN}",
            "bearer: s3cret",
            "connections.crm.http.auth.bearer",
            "a secret stands in the file",
            "`${NAME}` or `file:PATH`",
        ),
        (
            "bearer: ${TOKEN}",
            "bearer: ${TOKEN:-s3cret}",
            "connections.crm.http.auth.bearer",
            "only for a loopback",
            "`${TOKEN}`",
        ),
        (
            "        bearer: ${TOKEN}",
            "        oauth2: {client_secret: s3cret}",
            "connections.crm.http.auth.oauth2",
            "`oauth2` is not built yet",
            "remove it",
        ),
        (
            "https://crm.example.com/v1/",
            "https://${NONE}/",
            "connections.crm.http.base_url",
            "`NONE` is not set",
            "set `NONE`",
        ),
    ]);
}

#[test]
fn requests_are_checked_for_meaning() {
    each_is_one_problem(
        &[
            (
                "post: /people/batch",
                "put: /people/{{record.id}}",
                "syncs.people.upsert.batch",
                "a batch of several",
                "records: 1",
            ),
            (
                "post: /people/batch",
                "post: /people/batch\n      put: /x",
                "syncs.people.upsert",
                "more than one method",
                "keep one",
            ),
            (
                "      post: /people/batch\n",
                "",
                "syncs.people.upsert",
                "without a method",
                "`post:`",
            ),
            (
                "{{record.id}}",
                "{{record.email}}",
                "syncs.people.delete.body.json.each",
                "`email` is not a field of the key",
                "use one of `id`",
            ),
            (
                "{{record}}",
                "{{record.nam}}",
                "syncs.people.upsert.body.json.people.each",
                "`nam` is not a field in the mapping",
                "`id`, `email`",
            ),
            (
                "{{record}}",
                "{{record|strings}}",
                "syncs.people.upsert.body.json.people.each",
                "`record|strings`",
                "{{record.FIELD}}",
            ),
            (
                "{status: [200, 2xx], then: delivered}",
                "{status: 429, then: retry}",
                "syncs.people.upsert.outcome",
                "no rule can tell",
                "then: delivered",
            ),
            (
                "[200, 2xx]",
                "[200, 9xx]",
                "syncs.people.upsert.outcome[0].status[1]",
                "`9xx` is not a status",
                "`2xx`",
            ),
            (
                "[200, 2xx]",
                "3xx",
                "syncs.people.upsert.outcome[0].status",
                "never a receipt",
                "final answer",
            ),
            (
                "[200, 2xx], then: delivered",
                "200, then: deliverd",
                "syncs.people.upsert.outcome[0].then",
                "unknown verdict `deliverd`",
                "`delivered`",
            ),
            (
                "[200, 2xx], then: delivered",
                "200, then: throttle",
                "syncs.people.upsert.outcome[0].then",
                "`throttle` is not built yet",
                "`retry`",
            ),
            (
                "[200, 2xx], then: delivered",
                "200, decode: none, when: {/ok: true}, then: delivered",
                "syncs.people.upsert.outcome[0].decode",
                "does not look at the body",
                "json",
            ),
            (
                "[200, 2xx], then: delivered",
                "200, when: {ok: true}, then: delivered",
                "syncs.people.upsert.outcome[0].when.ok",
                "not a JSON pointer",
                "`/`",
            ),
            (
                "[200, 2xx], then: delivered",
                "200, then: {per_record: {by: key, status: /s, delivered: [ok]}}",
                "syncs.people.upsert.outcome[0].then.per_record.by",
                "`key` is not built yet",
                "`index`",
            ),
            (
                "      batch: {records: 50",
                "      idempotency: {repeat: key, header: null}\n      batch: {records: 50",
                "syncs.people.upsert.idempotency.header",
                "without a header",
                "`repeat: never`",
            ),
            (
                "json: {people",
                "ndjson: {people",
                "syncs.people.upsert.body",
                "`json` is missing",
                "add `json:`",
            ),
        ][..15],
    );
    let problems = broken("json: {people", "ndjson: {people").to_string();
    assert!(problems.contains("`ndjson` is not built yet"), "{problems}");
}

#[test]
fn a_mirror_needs_a_delete_and_shares_its_object_only_by_agreement() {
    let without = GOOD.split("    delete:\n").next().unwrap();
    let problems = load_text(without).expect_err("no delete").to_string();
    assert!(problems.contains("a mirror without a `delete` request; add `delete:`"), "{problems}");
    assert!(load_text(&without.replace("mode: mirror", "mode: upsert")).is_ok());

    let second = "  more:
    model: active
    connection: crm
    mode: upsert
    upsert:
      post: /people/batch
      body: {json: {each: '{{record}}'}}
      outcome: [{status: 200, then: delivered}]
";
    let both = format!("{GOOD}{second}");
    let problems = load_text(&both).expect_err("both write one object");
    assert_eq!(problems.list()[0].place, "syncs.more");
    assert!(
        problems.to_string().contains("`POST /people/batch` on connection `crm`"),
        "{problems}"
    );
    let agreed = both.replace("    connection: crm\n", "    connection: crm\n    shared: true\n");
    assert!(load_text(&agreed).is_ok());
    let elsewhere = both.replacen(
        "post: /people/batch\n      body: {json: {each:",
        "post: /b\n      body: {json: {each:",
        1,
    );
    assert!(load_text(&elsewhere).is_ok());
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
    // A value from the environment is not shown either, whatever is wrong with it.
    let problems = broken("https://crm.example.com/v1/", "${TOKEN}");
    assert!(problems.to_string().contains("`${TOKEN}` is not a URL"), "{problems}");
}

#[test]
fn problems_have_a_form_for_people_and_one_for_machines() {
    let (_folder, path) = write(&GOOD.replacen("mode: mirror", "mode: miror", 1));
    let problems = load_with(&path, &environment).expect_err("broken");
    let file = path.display().to_string();
    assert_eq!(
        problems.to_string(),
        format!(
            "{file}:26:11: syncs.people.mode: unknown word `miror`; did you mean `mirror`? known here: `upsert`, `mirror`"
        )
    );
    let fancy = problems.fancy(false);
    for part in ["counterflow.yaml:26:11", "mode: miror", "syncs.people.mode", "help: did you mean"]
    {
        assert!(fancy.contains(part), "{part}: {fancy}");
    }
    let Value::Array(list) = problems.to_json() else { panic!("not a list") };
    assert_eq!(list[0]["line"], 26);
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

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml")
}

#[test]
fn the_example_has_no_problems_and_names_files_that_are_there() {
    let config = load_with(&example(), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    for table in config.sources.values().flat_map(|source| &source.tables) {
        assert!(table.location.is_file(), "{}", table.location.display());
    }
    let modes: Vec<_> = config.syncs.iter().map(|s| (s.sync.name.as_str(), s.sync.mode)).collect();
    assert_eq!(modes[..2], [("customers_to_crm", Mode::Mirror), ("orders_to_crm", Mode::Upsert)]);
}

#[test]
fn the_example_names_every_key_with_a_comment() {
    let text = std::fs::read_to_string(example()).unwrap();
    let schema = schema();
    let mut missing = std::collections::BTreeSet::new();
    let mut keys = std::collections::BTreeSet::new();
    properties(&schema, &schema, &mut keys);
    let value = Document::read(&text, &|_| None).value;
    let mut found = std::collections::BTreeSet::new();
    meet(&schema, &schema, &value, &mut found);
    for key in keys.difference(&found) {
        missing.insert(key.clone());
    }
    assert!(missing.is_empty(), "not in the example: {missing:?}");

    let lines: Vec<&str> = text.lines().collect();
    let is_explained = |key: &str| {
        lines.iter().enumerate().any(|(index, line)| {
            let bare = line.trim_start().trim_start_matches("- ");
            let above = index.checked_sub(1).map(|above| lines[above].trim_start());
            bare.starts_with(&format!("{key}:"))
                && (line.contains(" #") || is_explained_above(&lines, index, above))
        })
    };
    for (_, key) in keys {
        assert!(is_explained(&key), "`{key}` has no comment in the example");
    }
}

/// A comment may speak of the few lines that follow it.
fn is_explained_above(lines: &[&str], index: usize, above: Option<&str>) -> bool {
    above.is_some_and(|above| above.starts_with('#'))
        || (index.saturating_sub(3)..index).any(|line| lines[line].trim_start().starts_with('#'))
}

type Keys = std::collections::BTreeSet<(String, String)>;

/// Every key of every structure of the schema, with the structure's description to tell them apart.
fn properties(root: &Value, schema: &Value, keys: &mut Keys) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(found)) = map.get("properties") {
                let of = identity(schema);
                keys.extend(found.keys().map(|key| (of.clone(), key.clone())));
            }
            map.values().for_each(|value| properties(root, value, keys));
        }
        Value::Array(items) => items.iter().for_each(|value| properties(root, value, keys)),
        _ => {}
    }
}

fn identity(schema: &Value) -> String {
    schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(",")
}

/// The keys that a value has, by the schema that describes it.
fn meet(root: &Value, schema: &Value, value: &Value, found: &mut Keys) {
    if let Some(at) = schema.get("$ref").and_then(Value::as_str) {
        return meet(root, root.pointer(at.trim_start_matches('#')).unwrap(), value, found);
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let Some(property) = schema.get("properties").and_then(|all| all.get(key)) {
                    found.insert((identity(schema), key.clone()));
                    meet(root, property, value, found);
                } else if let Some(all) = schema.get("additionalProperties") {
                    meet(root, all, value, found);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of) = schema.get("items") {
                items.iter().for_each(|item| meet(root, of, item, found));
            }
        }
        _ => {}
    }
}
