//! Bad files: line, place, what and remedy of each problem.

use super::*;

/// Each breakage has exactly one problem, with this place, what and remedy.
pub(super) fn each_is_one_problem(cases: &[(&str, &str, &str, &str, &str)]) {
    for (from, to, place, what, remedy) in cases {
        let problems = broken(from, to);
        let [problem] = problems.list() else { panic!("{to:?}: {problems}") };
        assert_eq!(problem.place, *place, "{to:?}: {problems}");
        assert!(problem.what.contains(what), "{to:?}: {problems}");
        assert!(problem.remedy.contains(remedy), "{to:?}: {problems}");
        // The line that is named has the last name of the place.
        let text = GOOD.replacen(from, to, 1);
        let named = text.lines().nth(problem.line - 1).unwrap();
        let name = place.rsplit('.').next().unwrap().split('[').next().unwrap();
        assert!(named.contains(name), "{to:?}: {problems}");
        assert!(problem.column > 0);
    }
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
            (19, "syncs.people", "`model` is missing"),
            (20, "syncs.people.modle", "unknown key `modle`"),
            (22, "syncs.people.mode", "unknown word `miror`"),
            (23, "syncs.people.schedule.cron", "cron line `*/15 * * *` has 4 fields"),
            (35, "syncs.people.delete.post", "`people/archive` is not a path"),
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
            "rate_limit: 50/s",
            "concurrency: 0",
            "connections.crm.concurrency",
            "0 is too small",
            "at least 1",
        ),
        (
            "rate_limit: 50/s",
            "concurrency: two",
            "connections.crm.concurrency",
            "expected a whole number, found text",
            "a whole number",
        ),
        (
            "rate_limit: 50/s",
            "concurrency:",
            "connections.crm.concurrency",
            "found nothing",
            "remove the key",
        ),
        (
            "mode: mirror",
            "mode: mirror\n    keep_values: true",
            "syncs.people.keep_values",
            "not built yet",
            "remove it",
        ),
        (
            "rate_limit: 50/s",
            "rate_limit: 50",
            "connections.crm.rate_limit",
            "expected text, found a number",
            "\"50\"",
        ),
        ("    source: lake\n", "", "models.active", "a model without a source", "add `source:`"),
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
            "    check_keys: always\n    guard: {",
            "syncs.people.check_keys",
            "unknown word `always`",
            "`streaming`, `first`",
        ),
        (
            "    files:\n      customers: data/customers.csv",
            "    sqlite: {url: x}\n    files:\n      customers: data/customers.csv",
            "sources.lake.sqlite",
            "`sqlite` is not built yet",
            "remove it",
        ),
        (
            "mode: mirror",
            "mode: mirror\n    mode: upsert",
            "",
            "`mode` stands here again, first in line 22",
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
            "ftp://b/customers.csv",
            "sources.lake.files.customers",
            "not a store that is known here",
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
            "    key: [id]\n    guard",
            "    key: [id, ident]\n    guard",
            "syncs.people.key[1]",
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
            "sources:",
            "server: {listen: \"localhost:8080\"}\nsources:",
            "server.listen",
            "`localhost:8080`",
            "IP address",
        ),
        (
            "sources:",
            "server: {hosts: [\"sync.example.com:8080\"]}\nsources:",
            "server.hosts[0]",
            "`sync.example.com:8080`",
            "between",
        ),
        ("sources:", "server: {rate_limit: often}\nsources:", "server.rate_limit", "`often`", "/s"),
        (
            "cron: \"*/15 * * * *\"",
            "cron: \"0 0 30 2 *\"",
            "syncs.people.schedule.cron",
            "never fires",
            "choose a day",
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
    each_is_one_problem(&[
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
        ("      post: /people/batch\n", "", "syncs.people.upsert", "without a method", "`post:`"),
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
    ]);
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
