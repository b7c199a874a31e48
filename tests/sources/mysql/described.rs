//! What a model would give, and how the server stands to us, before a row is read.

use std::time::Duration;

use counterflow::source::definition::Access;
use counterflow::source::mysql::definition::Definition;
use counterflow::source::remote::Remote;
use serde_json::{Value, json};

use crate::reading::{looked_at, remote};
use crate::servers::Database as _;
use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::mysql::MySql;
use crate::shared::{reads, workspace};
use crate::support::TOKEN;
use crate::support::oracle::Oracle;
use crate::support::people::CANARY;

pub fn model(server: &MySql) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE t (id int unsigned PRIMARY KEY, mrr decimal(12,2), name varchar(40), note text, seen timestamp(3) NULL,
                         at datetime NULL, photo varbinary(16), mood enum('well', 'ill'), flag tinyint(1), big bigint)",
    );
    database.ask(&format!("INSERT INTO t (id, name) VALUES (1, '{CANARY}')"));
    let workspace = workspace(&oracle, &database.source(), "SELECT * FROM t");
    let seen = workspace.json(&["validate", "--sources"]);
    let seen = &seen["models"][0];
    for (place, (name, source_type, words)) in [
        ("id", "int unsigned", "whole number"),
        ("mrr", "decimal(12,2)", "number with 2 decimals"),
        ("name", "varchar(40)", "text"),
        ("note", "text", "text"),
        ("seen", "timestamp(3)", "text, RFC 3339 in UTC"),
        ("at", "datetime", "text, RFC 3339 without a zone"),
        ("photo", "varbinary(16)", "text, base64"),
        ("mood", "enum", "text"),
        ("flag", "tinyint(1)", "whole number"),
        ("big", "bigint", "whole number"),
    ]
    .into_iter()
    .enumerate()
    {
        let (column, field) = (&seen["columns"][place], &seen["fields"][place]);
        assert_eq!((&column["name"], &field["field"]), (&json!(name), &json!(name)), "{seen:#}");
        assert_eq!((&column["source_type"], &field["json"]), (&json!(source_type), &json!(words)));
    }
    assert_eq!(oracle.request_count(), 0);
    let sql = "SELECT id, POINT(1, 2) AS p FROM t";
    let refused = crate::shared::workspace(&oracle, &database.source(), sql);
    let said = refused.run(&["--format", "json", "validate", "--sources"]).expect_code(2).json();
    let said = said["models"][0]["problems"][0].as_str().expect("words").to_owned();
    assert!(said.contains("`p`") && said.contains("ST_AsGeoJSON"), "{said}");
    refused.run(&["sync", "people"]).expect_code(2).expect_printed(&[&said]);
}

pub fn doctor(server: &MySql) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database("CREATE TABLE t (id int PRIMARY KEY) ENGINE=InnoDB");
    let mut workspace = workspace(&oracle, &database.source(), "SELECT id FROM t");
    let looked = |workspace: &crate::support::workspace::Workspace| -> Value {
        workspace.json(&["doctor", "lake"])[0].clone()
    };
    let fact =
        |seen: &Value, word: &str| seen["facts"][word].as_str().unwrap_or_default().to_owned();
    let seen = looked(&workspace);
    assert!(fact(&seen, "version").starts_with("MariaDB 1"), "{seen:#}");
    assert_eq!(fact(&seen, "role"), "user `app@%`");
    assert_eq!(fact(&seen, "grants"), "may ALL PRIVILEGES");
    assert_eq!(
        (fact(&seen, "read_only").as_str(), fact(&seen, "time_zone").as_str()),
        ("`read_only` is off", "time zone +05:30")
    );
    assert_eq!(
        (fact(&seen, "tls").as_str(), fact(&seen, "clock").as_str()),
        ("not encrypted", "its clock is right")
    );
    let advice = seen["advice"].to_string();
    assert!(advice.contains("one with `SELECT` alone is better"), "{seen:#}");
    assert!(!advice.contains("outside of transactions"), "{seen:#}");
    database.ask("CREATE TABLE log (id int) ENGINE=MyISAM");
    let advice = looked(&workspace)["advice"].to_string();
    let words = format!("table `{}.log (MyISAM)` is outside of transactions", database.name);
    assert!(advice.contains(&words), "{advice}");
    workspace
        .run(&["doctor", "lake"])
        .expect_code(0)
        .expect_printed(&["well, MariaDB", "better: user `app@%`"]);
    workspace.setup.environment = vec![
        ("PW", TOKEN.to_owned()),
        ("URL", format!("mysql://hidden_user@127.0.0.1:{}/hidden_shop", server.port)),
    ];
    let (port, name) = (server.port, &database.name);
    let over_tls = |verify: &str| {
        format!(
            "lake: {{ mysql: {{ host: localhost, port: {port}, database: {name}, user: tls_user, password: \"${{PW}}\", tls: {{ {verify} }} }} }}"
        )
    };
    let ca = format!("verify: full, ca: {}", server.authority.file().display());
    reads(&workspace, &over_tls(&ca));
    let seen = looked(&workspace);
    assert_eq!(fact(&seen, "grants"), "may SELECT", "{seen:#}");
    assert!(fact(&seen, "tls").ends_with("certificate and host verified"), "{seen:#}");
    assert!(!seen["advice"].to_string().contains("is better"), "{seen:#}");
    reads(&workspace, &over_tls("verify: none"));
    assert!(looked(&workspace)["advice"].to_string().contains("verifies nothing"));
    reads(&workspace, "lake: { mysql: { url: \"${URL}\" } }");
    for command in [&["doctor", "lake"][..], &["sync", "people"]] {
        let hidden = workspace.run(command).expect_code(1);
        assert!(!hidden.printed().contains("hidden_"), "{hidden:#?}");
        hidden.expect_printed(&["refused the connection", "Access denied", "1045"]);
    }
}

pub fn silent(server: &MySql) {
    let database = server.new_database("SELECT 1");
    let look = |breaks: Breaks, idle_timeout: Duration| {
        let front = Cutting::start(Protocol::MySql, server.port, breaks);
        let remote = Remote { idle_timeout, ..remote(front.port, &database.name, "app") };
        let definition = Definition {
            remote,
            server_key: None,
            is_zero_date_null: false,
            is_tinyint1_boolean: false,
        };
        let looked = looked_at(Access::MySql(Box::new(definition)), Duration::from_secs(2));
        assert_eq!(front.broken(), 1, "the question was not swallowed");
        looked
    };
    let patient = Duration::from_secs(300);
    // The last question.
    let seen =
        look(Breaks::Swallows("information_schema.tables"), patient).expect("what was said counts");
    assert!(seen.facts.iter().any(|(word, _)| *word == "version"), "{seen:?}");
    let told = seen.advice.concat();
    assert!(told.contains("not all of it was seen") && told.contains("within 2s"), "{told}");
    assert!(!told.contains("_timeout"), "{told}");
    // What is the source's own to say is named.
    let seen = look(Breaks::Swallows("information_schema.tables"), Duration::from_millis(500));
    let told = seen.expect("what was said counts").advice.concat();
    assert!(told.contains("said nothing for 500ms") && told.contains("`idle_timeout`"), "{told}");
    // Who says nothing at all is not well.
    let refused = look(Breaks::Swallows("CURRENT_USER"), patient).expect_err("nothing was said");
    let told = refused.to_string();
    assert!(told.contains("did not answer within 2s") && !told.contains("_timeout"), "{told}");
}
