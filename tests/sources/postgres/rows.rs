//! Rows that arrive: what is sent, what is sent again, and by which way they come.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::{fill, people, reads, workspace};
use crate::servers::postgres::Postgres;
use crate::support::oracle::Oracle;
use crate::support::{SOON, TOKEN};

pub fn mirror(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, &database, 250);
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 250), ("delivered", 250)]);
    // Never skipped: no database can say that nothing changed.
    let again = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 250), ("requests", 0)]);
    again.expect_kind("incremental", "usual");
    database.psql("UPDATE people SET name = NULL WHERE id <= 3; DELETE FROM people WHERE id > 245");
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 3), ("deletes", 5)]);
    let table = oracle.table();
    assert_eq!(table.values().filter(|record| record["name"].is_null()).count(), 3);
    assert_eq!(table.len(), 245);
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

pub fn empty(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, &database, 0);
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["gave no rows"]);
    fill(&database, 1..=20);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    database.psql("DELETE FROM people");
    let held = workspace.run(&["sync", "people"]);
    assert!(held.code == Some(0) || held.printed().contains("held"), "{}", held.printed());
    assert_eq!(oracle.table().len(), 20, "an empty answer deletes nothing by itself");
}

pub fn huge(server: &Postgres) {
    const ROWS: u64 = 200_000;
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let sql =
        format!("SELECT g AS id, repeat('x', 1500) || g AS t FROM generate_series(1, {ROWS}) g");
    let workspace = workspace(&oracle, &database.source(), &sql);
    let process = workspace.spawn(&["--format", "json", "plan", "people"]);
    let mut most = 0;
    while process.is_running() {
        most = most.max(process.most_memory());
        std::thread::sleep(Duration::from_millis(20));
    }
    let planned = workspace.end(process, Duration::from_secs(120)).expect_code(0);
    assert!(planned.printed().contains(&ROWS.to_string()), "{}", planned.printed());
    // The answer has 300 MB.
    assert!(most > 0 && most < 200 << 20, "{} MiB", most >> 20);
}

pub fn one_state(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, &database, 1_000);
    let slow = "SELECT id, name, note || pg_sleep(0.002)::text AS note FROM people";
    let config = workspace.config_now().replace("SELECT id, name, note FROM people", slow);
    workspace.write("counterflow.yaml", &config);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(1, SOON);
    database.psql("DELETE FROM people WHERE id > 500; UPDATE people SET name = 'new'");
    workspace.end(process, Duration::from_secs(120)).expect_code(0);
    let table = oracle.table();
    assert_eq!(table.len(), 1_000);
    assert!(table.values().all(|record| record["name"] != "new"), "a later state was seen");
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 500), ("deletes", 500)]);
}

pub fn tls(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let mut workspace = people(&oracle, &database, 10);
    database.psql("GRANT SELECT ON people TO scram_user");
    workspace.setup.environment = vec![
        ("PG_PASSWORD", TOKEN.to_owned()),
        (
            "PG_URL",
            format!("postgres://scram_user:{TOKEN}@localhost:{}/{}", server.port, database.name),
        ),
        ("WRONG", "another".to_owned()),
    ];
    let ca = server.authority.file();
    let ca = ca.display();
    let source = |host: &str, password: &str, tls: &str| {
        let (port, name) = (server.port, &database.name);
        format!(
            "lake: {{ postgres: {{ host: {host}, port: {port}, database: {name}, user: scram_user, password: \"{password}\", tls: {tls} }} }}"
        )
    };
    let full = format!("{{ verify: full, ca: {ca}, channel_binding: require }}");
    for (source, words) in [
        (
            source("localhost", "${PG_PASSWORD}", "{ verify: full }"),
            vec!["TLS", "cannot be reached"],
        ),
        (source("127.0.0.1", "${PG_PASSWORD}", &full), vec!["not valid for name"]),
        (source("localhost", "${PG_PASSWORD}", "off"), vec!["refused the connection", "28000"]),
        (source("localhost", "${WRONG}", &full), vec!["28P01", "correct `user`, `password`"]),
        (source("localhost", "${UNSET}", &full), vec!["`UNSET` is not set"]),
    ] {
        reads(&workspace, &source);
        let refused = workspace.run(&["sync", "people"]);
        assert_ne!(refused.code, Some(0), "{source}");
        refused.expect_printed(&words);
    }
    // Who only looks needs no password.
    workspace.run(&["status", "people"]).expect_code(0);
    reads(&workspace, &source("localhost", "${PG_PASSWORD}", &full));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    reads(
        &workspace,
        &source("127.0.0.1", "${PG_PASSWORD}", &format!("{{ verify: ca, ca: {ca} }}")),
    );
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    let url = format!("lake: {{ postgres: {{ url: \"${{PG_URL}}\", tls: {full} }} }}");
    reads(&workspace, &url);
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

pub fn passfile(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let mut workspace = people(&oracle, &database, 10);
    database.psql("GRANT SELECT ON people TO scram_user");
    let file = workspace.path().join("passwords");
    workspace.setup.environment = vec![("PGPASSFILE", file.display().to_string())];
    std::fs::write(&file, format!("localhost:*:*:scram_user:{TOKEN}\n")).expect("it can be");
    let (port, name, ca) = (server.port, &database.name, server.authority.file());
    let url = format!(
        "postgres://scram_user@localhost:{port}/{name}?sslmode=verify-full&sslrootcert={}",
        ca.display()
    );
    reads(&workspace, &format!("lake: {{ postgres: {{ url: \"{url}\" }} }}"));
    let mode = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    mode(0o644);
    workspace.run(&["sync", "people"]).expect_printed(&["others may read", "chmod 600"]);
    mode(0o600);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
}

pub fn socket(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, &database, 10);
    let (folder, port, name) = (server.socket().display(), server.port, &database.name);
    let source = format!(
        "lake: {{ postgres: {{ host: {folder}, port: {port}, database: {name}, user: postgres }} }}"
    );
    reads(&workspace, &source);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
}
