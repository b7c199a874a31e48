//! Who is let in, and what of it is told.

use std::os::unix::fs::PermissionsExt as _;

use crate::servers::Database as _;
use crate::servers::postgres::Postgres;
use crate::shared::{people, reads};
use crate::support::TOKEN;
use crate::support::oracle::Oracle;

pub fn tls(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let mut workspace = people(&oracle, server, &database, 10);
    database.ask("GRANT SELECT ON people TO scram_user");
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
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let mut workspace = people(&oracle, server, &database, 10);
    database.ask("GRANT SELECT ON people TO scram_user");
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
