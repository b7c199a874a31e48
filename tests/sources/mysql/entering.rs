//! Who is let in, and what of it is told.

use serde_json::json;

use crate::servers::Database as _;
use crate::servers::mysql::MySql;
use crate::shared::{people, reads, workspace};
use crate::support::TOKEN;
use crate::support::certificates::{Authority, Good};
use crate::support::oracle::Oracle;

pub fn tls(server: &MySql) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let mut workspace = people(&oracle, server, &database, 10);
    let (port, name) = (server.port, &database.name);
    workspace.setup.environment = vec![
        ("PW", TOKEN.to_owned()),
        ("URL", format!("mysql://tls_user:{TOKEN}@localhost:{port}/{name}")),
        ("WRONG", "another".to_owned()),
    ];
    let ca = server.authority.file();
    let ca = ca.display();
    let source = |host: &str, password: &str, tls: &str| {
        format!(
            "lake: {{ mysql: {{ host: {host}, port: {port}, database: {name}, user: tls_user, password: \"{password}\", tls: {tls} }} }}"
        )
    };
    let full = format!("{{ verify: full, ca: {ca} }}");
    let other = Authority::new();
    let other = format!("{{ verify: full, ca: {} }}", other.file().display());
    for (source, words) in [
        (
            source("localhost", "${PW}", "{ verify: full }"),
            vec!["UnknownIssuer", "cannot be reached"],
        ),
        (
            source("localhost", "${PW}", &other),
            vec!["cannot be reached", "invalid peer certificate"],
        ),
        (source("127.0.0.1", "${PW}", &full), vec!["not valid for name"]),
        (
            source("localhost", "${PW}", "off"),
            vec!["refused the connection", "1045", "`tls` where the server demands it"],
        ),
        (source("localhost", "${WRONG}", &full), vec!["1045", "correct `user` and `password`"]),
        (source("localhost", "${UNSET}", &full), vec!["`UNSET` is not set"]),
    ] {
        reads(&workspace, &source);
        let refused = workspace.run(&["sync", "people"]);
        assert_ne!(refused.code, Some(0), "{source}");
        assert!(!refused.printed().contains(TOKEN), "{source}");
        refused.expect_printed(&words);
    }
    // Who only looks needs no password.
    workspace.run(&["status", "people"]).expect_code(0);
    reads(&workspace, &source("localhost", "${PW}", &full));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    for tls in [format!("{{ verify: ca, ca: {ca} }}"), "{ verify: none }".to_owned()] {
        reads(&workspace, &source("127.0.0.1", "${PW}", &tls));
        workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    }
    reads(&workspace, &format!("lake: {{ mysql: {{ url: \"${{URL}}\", tls: {full} }} }}"));
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    let url =
        format!("mysql://tls_user@localhost:{port}/{name}?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}");
    reads(&workspace, &format!("lake: {{ mysql: {{ url: \"{url}\", password: \"${{PW}}\" }} }}"));
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

pub fn refused(server: &MySql) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 10);
    let (port, name) = (server.port, &database.name);
    let source = |host: &str, port: u16, database: &str, user: &str| {
        format!(
            "lake: {{ mysql: {{ host: {host}, port: {port}, database: {database}, user: {user}, tls: off }} }}"
        )
    };
    let silent = 1;
    for (source, words) in [
        (
            source("127.0.0.1", port, name, "nobody"),
            vec!["Access denied", "1045", "correct `user`"],
        ),
        (
            source("127.0.0.1", port, "missing", "app"),
            vec!["Unknown database", "1049", "correct `database`"],
        ),
        (
            source("127.0.0.1", port, name, "guest"),
            vec!["Access denied", "1044", "correct `database`, or grant"],
        ),
        (
            source("127.0.0.1", silent, name, "app"),
            vec!["cannot be reached", "refused", "that the server is up"],
        ),
        (
            source("no-such-host.invalid", port, name, "app"),
            vec!["cannot be reached", "check the source's address"],
        ),
        (
            source("/no/such/socket", port, name, "app"),
            vec!["cannot be reached", "/no/such/socket"],
        ),
    ] {
        reads(&workspace, &source);
        let refused = workspace.run(&["sync", "people"]);
        assert_ne!(refused.code, Some(0), "{source}");
        refused.expect_printed(&words);
    }
}

pub fn certificate(server: &MySql) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 10);
    let stranger = Authority::new();
    for (authority, name) in [(&server.authority, "own"), (&stranger, "other")] {
        let (certificate, key) = authority.pem("cert_user", Good::Now);
        workspace.write(&format!("{name}.pem"), &certificate);
        workspace.write(&format!("{name}.key"), &key);
    }
    let (port, name, ca) = (server.port, &database.name, server.authority.file());
    let source = |more: &str| {
        format!(
            "lake: {{ mysql: {{ host: localhost, port: {port}, database: {name}, user: cert_user, tls: {{ ca: {}{more} }} }} }}",
            ca.display()
        )
    };
    for (more, words) in [
        ("", ["refused the connection", "1045"]),
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

pub fn settings(server: &MySql) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE t (id INT PRIMARY KEY, note LONGTEXT); INSERT INTO t VALUES (1, repeat('x', 900000)), (2, repeat('y', 900000))",
    );
    let at =
        |settings: &str| database.source_at(server.port, &format!(", settings: {{ {settings} }}"));
    // `||` joins texts in one mode and is an `OR` in others; and text that is cut where it is not allowed to be longer.
    let sql = "SELECT max(id) AS id, '#' || length(group_concat(note)) AS name FROM t";
    let workspace = workspace(
        &oracle,
        &at("sql_mode: PIPES_AS_CONCAT, group_concat_max_len: \"4000000\""),
        sql,
    );
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    let table = oracle.table();
    let record = table.values().next().expect("one row");
    assert_eq!((&record["id"], &record["name"]), (&json!(2), &json!("#1800001")));
    for (settings, words) in [
        ("no_such_setting: x", ["1193", "correct `settings`"]),
        ("sql_mode: NO_SUCH_MODE", ["1231", "correct `settings`"]),
    ] {
        reads(&workspace, &at(settings));
        workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&words);
    }
}

/// A key that is no key, and files that are none: a pipe would be waited for by whoever opens it.
pub fn keys(server: &MySql) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 10);
    workspace.write("key.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    let pipe = workspace.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("it is of every system").success());
    for (more, words) in [
        (
            ", server_public_key: key.pem",
            ["key.pem` is no public key of RSA", "`server_public_key`"],
        ),
        (
            ", server_public_key: pipe",
            ["pipe` cannot be read: it is no regular file", "`server_public_key`"],
        ),
        (", password: \"file:pipe\"", ["pipe` cannot be read", "it is no regular file"]),
        (", tls: { ca: pipe }", ["pipe` cannot be used", "it is no regular file"]),
    ] {
        reads(&workspace, &database.source_at(server.port, more));
        let process = workspace.spawn(&["sync", "people"]);
        let refused = workspace.end(process, std::time::Duration::from_secs(20));
        assert_ne!(refused.code, Some(0), "{more}");
        refused.expect_printed(&words);
    }
}
