//! Who is let in, and what of it is told.

use crate::servers::mysql::MySql;
use crate::shared::{people, reads};
use crate::support::TOKEN;
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
    for (source, words) in [
        (
            source("localhost", "${PW}", "{ verify: full }"),
            vec!["UnknownIssuer", "cannot be reached"],
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
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = other.local_addr().expect("it is bound").port();
    drop(other);
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
