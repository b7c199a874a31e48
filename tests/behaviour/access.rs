//! Who may ask the server: tokens, scopes, names of the machine, how often.

use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::server::{Answered, Api, Server};
use crate::support::workspace::{Setup, Workspace};

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";
const REASON: &str = r#"{"message": "why"}"#;

fn workspace(oracle: &Oracle, head: &'static str) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { head, ..Setup::default() });
    workspace.write_people(&people(1..=3));
    workspace
}

/// Has a token made; its secret.
pub fn token(workspace: &Workspace, name: &str, more: &[&str]) -> String {
    let line = [&["--format", "json", "token", "create", name], more].concat();
    let made = workspace.run(&line).expect_code(0).json();
    assert_eq!(made["name"], name);
    made["token"].as_str().expect("a secret").to_owned()
}

fn ask(api: &Api, method: &str, path: &str, secret: &str, body: &str) -> Answered {
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    api.ask(method, path, &headers, body)
}

#[test]
fn a_loopback_server_is_open_until_the_first_token_and_never_again() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, LISTEN);
    let server = Server::start(&workspace);
    server.get("/api/v1/syncs").expect(200);
    let secret = token(&workspace, "ops", &["--scope", "admin"]);
    for path in ["/api/v1/syncs", "/api/v1/openapi.json", "/metrics", "/version", "/nowhere"] {
        let refused = server.get(path);
        assert!(refused.head.contains("www-authenticate: bearer"), "{refused:#?}");
        refused.expect_problem(401, &["Authorization: Bearer", "counterflow token create"]);
    }
    server.get("/health").expect(200);
    server.get("/ready").expect(200);
    ask(&server, "GET", "/api/v1/syncs", &secret, "").expect(200);
    for wrong in ["", "x", &secret[..secret.len() - 1], &format!("{secret}0")] {
        ask(&server, "GET", "/api/v1/syncs", wrong, "").expect_problem(401, &["token"]);
    }
    let basic = format!("Basic {secret}");
    server.ask("GET", "/version", &[("Authorization", &basic)], "").expect(401);

    // The command line beside it.
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&["COUNTERFLOW_TOKEN"]);
    let (listed, revoked) = {
        let environment = ("COUNTERFLOW_TOKEN", secret.clone());
        drop(server);
        workspace.change(|setup| setup.environment.push(environment));
        let server = Server::start(&workspace);
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
        let listed = workspace.run(&["token", "list"]).expect_code(0);
        let revoked = workspace.run(&["token", "revoke", "ops", "-m", "ada left"]).expect_code(0);
        ask(&server, "GET", "/api/v1/syncs", &secret, "").expect_problem(401, &["revoked"]);
        server.get("/api/v1/syncs").expect_problem(401, &[]);
        server.end().expect_code(0);
        (listed, revoked)
    };
    listed.clone().expect_printed(&["ops", "admin", "good"]);
    workspace.run(&["token", "revoke", "nobody"]).expect_code(2).expect_printed(&["`nobody`"]);
    workspace.run(&["token", "create", "ops", "--scope", "read"]).expect_code(2);
    let log = workspace.run(&["audit"]).expect_code(0);
    log.clone().expect_printed(&["token create", "token revoke", "`ops` may admin", "sync"]);
    log.clone().expect_printed(&["ada left: `ops`"]);
    for printed in [&listed, &revoked, &log] {
        assert!(!printed.stdout.contains(&secret), "a secret is shown once");
    }
    let state = std::fs::read(workspace.state().join("counterflow.db")).expect("there is a state");
    assert!(!state.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
}

#[test]
fn a_scope_opens_what_it_says_and_nothing_above() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, LISTEN);
    let server = Server::start(&workspace);
    let scopes = ["read", "run", "write", "admin"];
    let secrets = scopes.map(|scope| token(&workspace, scope, &["--scope", scope]));
    // What each needs, at least.
    let asked = [
        (0, "GET", "/api/v1/runs", ""),
        (0, "GET", "/api/v1/audit", ""),
        (0, "GET", "/metrics", ""),
        (0, "GET", "/version", ""),
        // While no run goes yet.
        (2, "POST", "/api/v1/syncs/people/rebaseline", REASON),
        (1, "POST", "/api/v1/syncs/people/run", ""),
        (1, "POST", "/api/v1/syncs/people/stop", ""),
        (2, "POST", "/api/v1/syncs/people/pause", REASON),
        (2, "POST", "/api/v1/syncs/people/resume", REASON),
    ];
    for (least, method, path, body) in asked {
        for (index, secret) in secrets.iter().enumerate() {
            let answered = ask(&server, method, path, secret, body);
            if index >= least {
                assert!(answered.status < 300, "{method} {path}: {answered:#?}");
            } else {
                let needed = format!("`{}`", scopes[least]);
                answered.expect_problem(403, &[&needed, scopes[index], "--scope"]);
            }
        }
    }
    let log = ask(&server, "GET", "/api/v1/audit?who=run", &secrets[0], "").expect(200).json;
    let commands: Vec<&str> =
        log.as_array().expect("a list").iter().filter_map(|e| e["command"].as_str()).collect();
    assert!(commands.contains(&"sync"), "{log:#}");
    server.end().expect_code(0);
}

#[test]
fn a_token_that_expired_opens_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, LISTEN);
    let server = Server::start(&workspace);
    let secret = token(&workspace, "short", &["--scope", "read", "--expires", "1m"]);
    ask(&server, "GET", "/version", &secret, "").expect(200);
    let path = workspace.state().join("counterflow.db");
    execute(&path, "UPDATE tokens SET expires_at = created_at");
    ask(&server, "GET", "/version", &secret, "").expect_problem(401, &["has expired"]);
    workspace.run(&["token", "list"]).expect_code(0).expect_printed(&["expired"]);
    server.end().expect_code(0);
}

#[test]
fn an_address_that_others_reach_is_refused_without_a_token() {
    let oracle = Oracle::start(&["id"]);
    // It is no loopback address by its form, and no other machine reaches it.
    let workspace = workspace(
        &oracle,
        "server: { listen: \"[::ffff:127.0.0.1]:0\", hosts: [sync.example.com] }",
    );
    workspace.run(&["validate"]).expect_code(0);
    let refused = workspace.run(&["serve"]).expect_code(2);
    refused.expect_printed(&["::ffff:127.0.0.1", "counterflow token create", "loopback"]);
    let secret = token(&workspace, "ops", &["--scope", "read", "--expires", "90d"]);
    let server = Server::start(&workspace);
    let bearer = format!("Bearer {secret}");
    let ours = server.address.as_str();
    for (host, status) in
        [("sync.example.com", 200), (ours, 200), ("10.1.2.3:8080", 403), ("evil.example", 403)]
    {
        let headers = [("Authorization", bearer.as_str()), ("Host", host)];
        assert_eq!(server.ask("GET", "/version", &headers, "").status, status, "{host}");
    }
    server.get("/version").expect(401);
    server.end().expect_code(0);
}

#[test]
fn whoever_asks_too_often_is_told_when_to_ask_again() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "server: { listen: \"127.0.0.1:0\", rate_limit: 2/s }");
    let server = Server::start(&workspace);
    let refused =
        (0..50).map(|_| server.ask_once("GET", "/version", &[], "")).find(|a| a.status == 429);
    let refused = refused.expect("50 requests at once are too many");
    assert!(refused.head.contains("retry-after: 1"), "{refused:#?}");
    refused.expect_problem(429, &["ask again in 1 s"]);
    server.get("/health").expect(200);
    server.end().expect_code(0);
}

#[test]
fn headers_have_a_bound() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, LISTEN);
    let server = Server::start(&workspace);
    let long = "x".repeat(20 << 10);
    server.ask("GET", "/version", &[("X-Long", &long)], "").expect_problem(431, &["16384"]);
    server.end().expect_code(0);
}

/// Writes the state database beside the server.
pub fn execute(path: &std::path::Path, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there are threads").block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let pool = sqlx::SqlitePool::connect_with(options).await.expect("there is a state");
        sqlx::raw_sql(statement).execute(&pool).await.expect("it can be written");
        pool.close().await;
    });
}
