//! Who is let in, and what of it is told.

use std::os::unix::fs::PermissionsExt as _;

use crate::servers::Database as _;
use crate::servers::postgres::Postgres;
use crate::shared::{people, reads, workspace};
use crate::support::TOKEN;
use crate::support::certificates::{Authority, Good};
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
    let other = Authority::new();
    let other = format!("{{ verify: full, ca: {} }}", other.file().display());
    for (source, words) in [
        (
            source("localhost", "${PG_PASSWORD}", "{ verify: full }"),
            vec!["TLS", "cannot be reached"],
        ),
        (
            source("localhost", "${PG_PASSWORD}", &other),
            vec!["cannot be reached", "invalid peer certificate"],
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

pub fn certificate(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 10);
    database.ask("GRANT SELECT ON people TO cert_user");
    let stranger = Authority::new();
    for (authority, name) in [(&server.authority, "own"), (&stranger, "other")] {
        let (certificate, key) = authority.pem("cert_user", Good::Now);
        workspace.write(&format!("{name}.pem"), &certificate);
        workspace.write(&format!("{name}.key"), &key);
    }
    let (port, name, ca) = (server.port, &database.name, server.authority.file());
    let source = |more: &str| {
        format!(
            "lake: {{ postgres: {{ host: localhost, port: {port}, database: {name}, user: cert_user, tls: {{ ca: {}{more} }} }} }}",
            ca.display()
        )
    };
    for (more, words) in [
        ("", ["refused the connection", "certificate"]),
        (
            ", certificate: own.pem, key: other.key",
            ["own.pem` and its key do not fit", "cannot be asked"],
        ),
        (", certificate: own.pem, key: none.key", ["the key", "none.key` cannot be used"]),
        (", certificate: other.pem, key: other.key", ["cannot be reached", "TLS"]),
    ] {
        reads(&workspace, &source(more));
        let refused = workspace.run(&["sync", "people"]);
        assert_ne!(refused.code, Some(0), "{more}");
        refused.expect_printed(&words);
    }
    reads(&workspace, &source(", certificate: own.pem, key: own.key"));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
}

pub fn settings(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
         CREATE SCHEMA \"o'ther\"; CREATE TABLE \"o'ther\".t (id int PRIMARY KEY); INSERT INTO \"o'ther\".t VALUES (2), (3)",
    );
    let at =
        |settings: &str| database.source_at(server.port, &format!(", settings: {{ {settings} }}"));
    let workspace = workspace(&oracle, &at(r#"search_path: "\"o'ther\"""#), "SELECT id FROM t");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    for (settings, words) in [
        ("no_such_setting: x", ["42704", "`settings`"]),
        ("work_mem: much", ["22023", "`settings`"]),
    ] {
        reads(&workspace, &at(settings));
        workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&words);
    }
    // Another path is another source: its first deletes wait for a person.
    reads(&workspace, &database.source());
    workspace.sync(&[]).expect(4, "partial", &[("delivered", 1), ("held", 2)]);
}
