//! Every operation of the served OpenAPI document: who may, and whether a repetition of it is known by a key.

use std::collections::BTreeMap;

use serde_json::Value;

use super::access::token;
use super::control_plane::{HEAD, workspace};
use crate::support::oracle::Oracle;
use crate::support::server::{Answered, Server};

/// From the least to the most.
const SCOPES: [&str; 4] = ["read", "run", "write", "admin"];
/// For operations that are open to all.
const OPEN: &str = "";

/// The scope that each needs, by hand: what the document lists and is not here is a failure. Commands take a key, questions
/// take none.
const OPERATIONS: [(&str, &str, &str); 36] = [
    ("GET", "/health", OPEN),
    ("GET", "/ready", OPEN),
    ("GET", "/version", "read"),
    ("GET", "/metrics", "read"),
    ("GET", "/api/v1/openapi.json", "read"),
    ("GET", "/api/v1/audit", "read"),
    ("GET", "/api/v1/syncs", "read"),
    ("GET", "/api/v1/syncs/{sync}", "read"),
    ("GET", "/api/v1/syncs/{sync}/rejected", "read"),
    ("GET", "/api/v1/syncs/{sync}/backlog", "read"),
    ("POST", "/api/v1/syncs/{sync}/run", "run"),
    ("POST", "/api/v1/syncs/{sync}/stop", "run"),
    ("POST", "/api/v1/syncs/{sync}/sample", "run"),
    ("POST", "/api/v1/syncs/{sync}/pause", "write"),
    ("POST", "/api/v1/syncs/{sync}/resume", "write"),
    ("POST", "/api/v1/syncs/{sync}/discard-backlog", "write"),
    ("POST", "/api/v1/syncs/{sync}/rebaseline", "write"),
    ("POST", "/api/v1/syncs/{sync}/forget", "admin"),
    ("GET", "/api/v1/runs", "read"),
    ("GET", "/api/v1/runs/{run}", "read"),
    ("GET", "/api/v1/runs/{run}/rejected", "read"),
    ("GET", "/api/v1/runs/{run}/events", "read"),
    ("POST", "/api/v1/runs/{run}/release", "write"),
    ("POST", "/api/v1/runs/{run}/discard", "write"),
    ("GET", "/api/v1/connections", "read"),
    ("GET", "/api/v1/connections/{connection}", "read"),
    ("POST", "/api/v1/connections/{connection}/replace", "write"),
    ("GET", "/api/v1/groups", "read"),
    ("GET", "/api/v1/groups/{group}", "read"),
    ("POST", "/api/v1/groups/{group}/start", "write"),
    ("POST", "/api/v1/groups/{group}/stop", "write"),
    ("GET", "/api/v1/sources", "read"),
    ("GET", "/api/v1/sources/{source}", "read"),
    ("POST", "/api/v1/sources/{source}/disable", "write"),
    ("POST", "/api/v1/sources/{source}/enable", "write"),
    ("POST", "/api/v1/reload", "admin"),
];
/// Those of the RudderStack wire.
const WIRE: [(&str, &str, &str); 4] = [
    ("POST", "/v2/retl-connections/{connection}/start", "run"),
    ("POST", "/v2/retl-connections/{connection}/stop", "run"),
    ("GET", "/v2/retl-connections/{connection}/syncs", "read"),
    ("GET", "/v2/retl-connections/{connection}/syncs/{sync}", "read"),
];

fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OPERATIONS.into_iter().chain(WIRE)
}

/// Every operation of the document, by method and path.
pub fn described(server: &Server) -> BTreeMap<(String, String), Value> {
    let document = server.get("/api/v1/openapi.json").expect(200).json;
    let paths = document["paths"].as_object().expect("there are paths");
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("there are methods").iter();
        methods.map(|(name, operation)| ((name.to_uppercase(), path.clone()), operation.clone()))
    });
    operations.collect()
}

/// Asks about something that is not there, so that nothing comes of it.
fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answered {
    let path = path.replace("{run}", "999").replace('{', "no-").replace('}', "");
    server.ask(method, &path, headers, "")
}

#[test]
fn every_operation_is_refused_to_whoever_has_no_token_or_too_small_a_scope() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "")]);
    let server = Server::start(&workspace);
    let said = described(&server);
    let bearers =
        SCOPES.map(|scope| format!("Bearer {}", token(&workspace, scope, &["--scope", scope])));
    let missing = said.keys().filter(|(method, path)| {
        !operations().any(|(a, b, _)| (a, b) == (method.as_str(), path.as_str()))
    });
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not in the table");
    for (method, path, needed) in operations() {
        let operation = &said[&(method.to_owned(), path.to_owned())];
        let least = SCOPES.iter().position(|scope| *scope == needed);
        let described = operation["description"].as_str().unwrap_or_default();
        let in_words = least.map_or(String::new(), |_| format!("Needs the scope `{needed}`."));
        assert_eq!(described, in_words, "{method} {path}");
        let anonymous = ask(&server, method, path, &[]).status;
        assert_eq!(anonymous == 401, least.is_some(), "{method} {path}: {anonymous}");
        for (index, bearer) in bearers.iter().enumerate() {
            let answered = ask(&server, method, path, &[("Authorization", bearer)]);
            let is_refused = least.is_some_and(|least| index < least);
            assert_ne!(answered.status, 401, "{method} {path}: {answered:#?}");
            let case = format!("{method} {path} with `{}`: {answered:#?}", SCOPES[index]);
            assert_eq!(answered.status == 403, is_refused, "{case}");
        }
    }
    server.end().expect_code(0);
}

#[test]
fn every_command_takes_a_key_and_no_question_does() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "")]);
    let server = Server::start(&workspace);
    let said = described(&server);
    for (method, path, _) in operations() {
        let parameters = &said[&(method.to_owned(), path.to_owned())]["parameters"];
        let mut names = parameters.as_array().into_iter().flatten().map(|one| &one["name"]);
        let is_command = method == "POST";
        assert_eq!(names.any(|name| name == "Idempotency-Key"), is_command, "{method} {path}");
        let refused = ask(&server, method, path, &[("Idempotency-Key", "a b")]);
        let body = refused.json.to_string();
        let is_read = refused.status == 400 && body.contains("`Idempotency-Key` is no key");
        assert_eq!(is_read, is_command, "{method} {path}: {refused:#?}");
    }
    server.end().expect_code(0);
}
