//! What a model would give, and how the server stands to us, before a row is read.

use std::time::Duration;

use counterflow::source::definition::Access;
use counterflow::source::postgres::definition::Definition;
use counterflow::source::remote::Remote;
use serde_json::{Value, json};

use crate::reading::{looked_at, remote};
use crate::servers::Database as _;
use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::postgres::Postgres;
use crate::shared::{reads, workspace};
use crate::support::TOKEN;
use crate::support::oracle::Oracle;
use crate::support::people::CANARY;

pub fn model(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TYPE mood AS ENUM ('well');
         CREATE TABLE t (id int PRIMARY KEY, mrr numeric(12,2), name varchar(40), seen timestamptz(3),
                         tags int[], extra jsonb, place inet, mood mood)",
    );
    database.ask(&format!("INSERT INTO t VALUES (1, 1, '{CANARY}')"));
    let sql = "SELECT t.*, sum(mrr) OVER () AS total FROM t";
    let workspace = workspace(&oracle, &database.source(), sql);
    let seen = workspace.json(&["validate", "--sources"]);
    let seen = &seen["models"][0];
    let expected = [
        ("id", "int4", "Int32", "whole number"),
        ("mrr", "numeric(12,2)", "Decimal128(12, 2)", "number with 2 decimals"),
        ("name", "varchar(40)", "Utf8View", "text"),
        ("seen", "timestamptz(3)", "Timestamp(µs, \"UTC\")", "text, RFC 3339 in UTC"),
        ("tags", "int4[]", "", "list of whole numbers"),
        ("extra", "jsonb", "Utf8View", "text"),
        ("place", "inet", "Utf8View", "text"),
        ("mood", "mood", "Utf8View", "text"),
        ("total", "numeric", "Decimal256(76, 38)", "number with the decimals that it needs"),
    ];
    for (place, (name, source_type, data_type, words)) in expected.into_iter().enumerate() {
        let (column, field) = (&seen["columns"][place], &seen["fields"][place]);
        assert_eq!((&column["name"], &field["field"]), (&json!(name), &json!(name)), "{seen:#}");
        assert_eq!((&column["source_type"], &field["json"]), (&json!(source_type), &json!(words)));
        assert!(data_type.is_empty() || column["type"] == data_type, "{column}");
    }
    assert_eq!(oracle.request_count(), 0);
    // A type that is not read is refused as a run refuses it.
    let refused =
        crate::shared::workspace(&oracle, &database.source(), "SELECT id, row(1, 2) AS r FROM t");
    let said = refused.run(&["--format", "json", "validate", "--sources"]).expect_code(2).json();
    let said = said["models"][0]["problems"][0].as_str().expect("words").to_owned();
    assert!(said.contains("`r` of type `record`") && said.contains("to_jsonb"), "{said}");
    refused.run(&["sync", "people"]).expect_code(2).expect_printed(&[&said]);
    let unknown = crate::shared::workspace(&oracle, &database.source(), "SELECT nme AS id FROM t");
    unknown.run(&["validate"]).expect_code(0);
    let words = ["42703", "correct its SQL"];
    unknown.run(&["validate", "--sources"]).expect_code(2).expect_printed(&words);
}

pub fn doctor(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int);
         CREATE VIEW v AS SELECT id FROM t",
    );
    // Roles are the server's, and it may have been here before.
    for role in ["doctor_reader", "doctor_writer"] {
        database.ask(&format!("CREATE ROLE {role} LOGIN"));
        database.ask(&format!("GRANT SELECT ON t, v TO {role}"));
    }
    database.ask("GRANT INSERT ON t TO doctor_writer; GRANT DELETE ON other TO doctor_reader");
    database.ask("ALTER ROLE doctor_reader SET default_transaction_read_only = on");
    let mut workspace = workspace(&oracle, &database.source(), "SELECT id FROM v");
    let looked = |workspace: &crate::support::workspace::Workspace| -> Value {
        workspace.json(&["doctor", "lake"])[0].clone()
    };
    let seen = looked(&workspace);
    let fact =
        |seen: &Value, word: &str| seen["facts"][word].as_str().unwrap_or_default().to_owned();
    let advice = |seen: &Value| seen["advice"].to_string();
    assert_eq!((&seen["is_well"], fact(&seen, "role").as_str()), (&json!(true), "role `postgres`"));
    assert!(fact(&seen, "version").starts_with("PostgreSQL 1"), "{seen:#}");
    assert_eq!(
        (fact(&seen, "standby").as_str(), fact(&seen, "tls").as_str()),
        ("no standby", "not encrypted")
    );
    assert_eq!(fact(&seen, "clock"), "its clock is right");
    assert!(advice(&seen).contains("`postgres` is a superuser"), "{seen:#}");
    let as_role =
        |role: &str| database.source().replace("user: postgres", &format!("user: {role}"));
    reads(&workspace, &as_role("doctor_reader"));
    let seen = looked(&workspace);
    assert_eq!(
        (fact(&seen, "read_only").as_str(), advice(&seen).as_str()),
        ("reads only by default", "[]")
    );
    reads(&workspace, &as_role("doctor_writer"));
    let seen = looked(&workspace);
    assert_eq!(fact(&seen, "read_only"), "may write by default");
    let words = "`doctor_writer` could write to `public.t`: a read-only role is better";
    assert!(advice(&seen).contains(words), "{seen:#}");
    workspace.run(&["doctor", "lake"]).expect_printed(&[
        "source lake (database `",
        "well, PostgreSQL",
        "better: role",
    ]);
    // A model that the server refuses takes nothing of the rest.
    let refused =
        crate::shared::workspace(&oracle, &as_role("doctor_writer"), "SELECT id FROM missing");
    let seen = refused.run(&["--format", "json", "doctor", "lake"]).expect_code(1).json();
    let (seen, problems) = (&seen[0], seen[0]["problems"].to_string());
    assert_eq!(seen["is_well"], false, "{seen:#}");
    assert!(problems.contains("validate --sources people"), "{seen:#}");
    assert!(fact(seen, "version").starts_with("PostgreSQL 1"), "{seen:#}");
    refused
        .run(&["doctor", "lake"])
        .expect_code(1)
        .expect_printed(&["not well: the server refuses"]);
    // What is not verified is warned of, and a password that lacks is told as that.
    workspace.setup.environment = vec![
        ("PW", TOKEN.to_owned()),
        ("PG_URL", format!("postgres://hidden_user@127.0.0.1:{}/hidden_shop", server.port)),
    ];
    let (port, name) = (server.port, &database.name);
    let over_tls = |password: &str, verify: &str| {
        format!(
            "lake: {{ postgres: {{ host: localhost, port: {port}, database: {name}, user: scram_user{password}, tls: {verify} }} }}"
        )
    };
    database.ask("GRANT SELECT ON v TO scram_user");
    reads(&workspace, &over_tls(", password: \"${PW}\"", "{ verify: none }"));
    let seen = looked(&workspace);
    assert!(fact(&seen, "tls").ends_with("nothing verified"), "{seen:#}");
    assert!(fact(&seen, "tls").starts_with("TLSv1."), "{seen:#}");
    assert!(advice(&seen).contains("verifies nothing"), "{seen:#}");
    workspace.run(&["validate"]).expect_code(0).expect_printed(&["warning: source `lake`"]);
    let ca = server.authority.file();
    let full = format!("{{ verify: full, ca: {} }}", ca.display());
    reads(&workspace, &over_tls(", password: \"${PW}\"", &full));
    let seen = looked(&workspace);
    assert!(fact(&seen, "tls").ends_with("certificate and host verified"), "{seen:#}");
    reads(&workspace, &over_tls("", &full));
    let lacks = workspace.run(&["doctor", "lake"]).expect_code(1);
    lacks.expect_printed(&["asks for a password, and there is none", "`password`", "PGPASSFILE"]);
    let file = workspace.path().join("passwords");
    std::fs::create_dir(&file).expect("a folder can be made");
    workspace.setup.environment.push(("PGPASSFILE", file.display().to_string()));
    let unread = workspace.run(&["sync", "people"]);
    unread.expect_printed(&["asks for a password", "passwords` cannot be read"]);
    // What references stand for is not told by way of the server.
    reads(&workspace, "lake: { postgres: { url: \"${PG_URL}\" } }");
    for command in [&["doctor", "lake"][..], &["sync", "people"]] {
        let hidden = workspace.run(command).expect_code(1);
        assert!(!hidden.printed().contains("hidden_"), "{hidden:#?}");
        hidden.expect_printed(&["refused the connection", "\"..\" does not exist"]);
    }
    database.ask("DROP OWNED BY doctor_reader, doctor_writer");
    database.ask("DROP ROLE doctor_reader, doctor_writer");
}

pub fn silent(server: &Postgres) {
    let database = server.new_database("SELECT 1");
    let look = |breaks: Breaks, idle_timeout: Duration| {
        let front = Cutting::start(Protocol::Postgres, server.port, breaks);
        let remote = Remote { idle_timeout, ..remote(front.port, &database.name, "postgres") };
        let definition =
            Definition { remote, applies_row_security: false, role: None, is_infinity_null: false };
        let looked = looked_at(Access::Postgres(Box::new(definition)), Duration::from_secs(2));
        assert_eq!(front.broken(), 1, "the question was not swallowed");
        looked
    };
    let patient = Duration::from_secs(300);
    // The last question.
    let seen =
        look(Breaks::Swallows("has_table_privilege"), patient).expect("what was said counts");
    assert!(seen.facts.iter().any(|(word, _)| *word == "version"), "{seen:?}");
    let told = seen.advice.concat();
    assert!(told.contains("not all of it was seen") && told.contains("within 2s"), "{told}");
    assert!(!told.contains("_timeout"), "{told}");
    // What is the source's own to say is named.
    let seen = look(Breaks::Swallows("has_table_privilege"), Duration::from_millis(500));
    let told = seen.expect("what was said counts").advice.concat();
    assert!(told.contains("said nothing for 500ms") && told.contains("`idle_timeout`"), "{told}");
    // Who says nothing at all is not well.
    let refused = look(Breaks::Swallows("current_user"), patient).expect_err("nothing was said");
    let told = refused.to_string();
    assert!(told.contains("did not answer within 2s") && !told.contains("_timeout"), "{told}");
}
