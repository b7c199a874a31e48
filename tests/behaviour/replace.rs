//! `connection replace`: the file is rewritten in place, and no snapshot vouches for an account that it was not made with.

use serde_json::json;

#[cfg(feature = "faults")]
use super::http_commands::{keyed, log};
use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Api, Server, until};
use crate::support::workspace::{Setup, Workspace};

const REPLACE: [&str; 5] = ["connection", "replace", "crm", "next", "--yes"];

/// A workspace whose config also has the connection `next`, to another oracle; both mirror the people 1 to 20.
fn workspace(first: &Oracle, second: &Oracle) -> Workspace {
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let setup = Setup { head, max_deletes: Some("100%"), concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(first, setup);
    workspace.write_people(&people(1..=20));
    let url = second.base_url();
    let next = format!(
        "connections: # two of them\n  next:\n    http: {{ base_url: \"{url}\", auth: {{ bearer: \"${{TOKEN}}\" }} }}\n  dead:\n    http: {{ base_url: \"http://127.0.0.1:1\" }}\n"
    );
    let config = workspace.config().replacen("connections:\n", &next, 1);
    let config = config.replace("    connection: crm\n", "    connection: crm   # for now\n");
    workspace.write("counterflow.yaml", &config);
    workspace
}

fn config(workspace: &Workspace) -> String {
    std::fs::read_to_string(workspace.path().join("counterflow.yaml")).expect("it is there")
}

#[test]
fn a_replaced_connection_begins_a_snapshot_afresh_and_deletes_nothing_e5_e7() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(3..=22));
    let (before, sent) = (config(&workspace), first.request_count());
    let asked = workspace.run(&REPLACE[..4]).expect_code(2);
    asked.expect_printed(&["`people` write over `next`", "set aside", "--yes"]);
    assert_eq!(config(&workspace), before);
    let words = ["`people` write over `next`", "the next run of each is full"];
    workspace.run(&REPLACE).expect_code(0).expect_printed(&words);
    assert_eq!(config(&workspace), before.replace("connection: crm   #", "connection: next   #"));
    let full = workspace.sync(&[]).expect_kind("full", "rebaselined");
    full.expect(0, "succeeded", &[("delivered", 20), ("deletes", 0)]);
    check_mirror(&second, &expected(&people(3..=22)));
    assert_eq!(first.request_count(), sent, "the old account is left alone");
    workspace.run(&REPLACE).expect_code(2).expect_printed(&["none of the syncs"]);
}

#[test]
fn a_server_that_starts_on_a_bad_file_goes_by_the_connection_that_was_replaced_last() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    Server::start(&workspace).end().expect_code(0);
    workspace.run(&REPLACE).expect_code(0);
    let bad = config(&workspace).replace("mode: mirror", "mode: mirrored");
    workspace.write("counterflow.yaml", &bad);
    let server = Server::start(&workspace);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    server.end().expect_code(0);
    assert_eq!(first.request_count(), 0, "the old account is left alone");
    check_mirror(&second, &expected(&people(1..=20)));
}

#[test]
fn a_kept_snapshot_is_taken_to_be_true_and_its_first_deletes_are_held() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    people(1..=20).into_iter().for_each(|person| second.plant(person.record()));
    workspace.write_people(&people(3..=22));
    let keep = [&REPLACE[..], &["--keep-snapshot", "--sync", "people", "-m", "moved"]].concat();
    workspace.run(&keep).expect_code(0).expect_printed(&["first deletes are held"]);
    let held = workspace.sync(&[]).expect_kind("incremental", "usual");
    let held = held.expect(4, "partial", &[("delivered", 2), ("held", 2), ("unchanged", 18)]);
    assert!(held.json["holds"].to_string().contains("the destination"), "{held:#?}");
}

#[test]
fn nothing_is_replaced_by_a_connection_that_is_not_there_or_fails_its_test_e6() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let before = config(&workspace);
    for (names, code, words) in [
        (["crm", "nobody"], 2, ["no connection `nobody`", "`next`"]),
        (["nobody", "next"], 2, ["no connection `nobody`", "`crm`"]),
        (["crm", "crm"], 2, ["by itself", "`crm`"]),
        (["crm", "dead"], 1, ["does not pass its test", "nothing was replaced"]),
        (["next", "crm"], 2, ["none of the syncs", "`next`"]),
    ] {
        let args = [&["connection", "replace"][..], &names, &["--yes"]].concat();
        workspace.run(&args).expect_code(code).expect_printed(&words);
    }
    let other = [&REPLACE[..], &["--sync", "nobody"]].concat();
    workspace.run(&other).expect_code(2).expect_printed(&["no sync `nobody`"]);
    let other = [&REPLACE[..], &["--group", "none"]].concat();
    workspace.run(&other).expect_code(2).expect_printed(&["none of the syncs"]);
    let server = Server::start(&workspace);
    let path = "/api/v1/connections/crm/replace";
    let asked = |new: &str, more: &str| format!("{{ \"new\": \"{new}\"{more} }}");
    for (body, status, words) in [
        (asked("nobody", ""), 404, ["no connection `nobody`", "`next`"]),
        (asked("crm", ""), 409, ["by itself", "name another"]),
        (asked("dead", ""), 409, ["does not pass its test", "nothing was replaced"]),
        (asked("next", ", \"syncs\": [\"nobody\"]"), 404, ["no sync `nobody`", "counterflow.yaml"]),
        (asked("next", ", \"group\": \"none\""), 409, ["none of the syncs", "`crm`"]),
        (asked("next", ", \"group\": \"a\", \"syncs\": [\"b\"]"), 422, ["`group`", "`syncs`"]),
        ("{}".to_owned(), 404, ["no connection ``", "`next`"]),
    ] {
        server.post(path, &body).expect_problem(status, &words);
    }
    server.post("/api/v1/connections/next/replace", &asked("crm", "")).expect(409);
    server.post("/api/v1/connections/nobody/replace", &asked("crm", "")).expect(404);
    workspace.run(&REPLACE[..4]).expect_code(2).expect_printed(&["--yes"]);
    let dead = ["connection", "replace", "crm", "dead", "--yes"];
    workspace.run(&dead).expect_code(2).expect_printed(&["does not pass its test"]);
    assert_eq!(config(&workspace), before);
    assert_eq!(server.ended(server.run(""))["tally"]["requests"], 0);
    server.end().expect_code(0);
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_connection_of_another_kind_takes_the_place_of_none_e8() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let whole = config(&workspace);
    let server = Server::start(&workspace);
    for (kind, named) in [("sftp: { host: x }", "`sftp`"), ("concurrency: 1", "`http` is missing")]
    {
        let other = format!("connections:\n  other: {{ {kind} }}\n");
        let before = whole.replacen("connections:", &other, 1);
        workspace.write("counterflow.yaml", &before);
        let replace = ["connection", "replace", "crm", "other", "--yes"];
        workspace.run(&replace).expect_code(2).expect_printed(&[named, "counterflow.yaml:"]);
        server.post("/api/v1/reload", "").expect_problem(422, &[named]);
        assert_eq!(config(&workspace), before, "nothing is rewritten");
    }
    // The server works by the last good config, which has no such connection.
    let body = json!({ "new": "other", "message": "why" }).to_string();
    let answered = server.post("/api/v1/connections/crm/replace", &body);
    assert!((400..500).contains(&answered.status), "{answered:#?}");
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    server.end().expect_code(0);
    assert_eq!(second.connections(), 0);
}

#[test]
fn runs_that_go_are_drained_and_what_is_queued_is_dropped_with_the_reason_e7() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    first.on_request(2, Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    first.wait_for_requests(2, SOON);
    let replace = workspace.spawn(&[&REPLACE[..], &["-m", "they moved"]].concat());
    workspace.wait_for_run(|run| run["phase"] == "draining");
    first.release();
    workspace.report(process).expect(6, "cancelled", &[("delivered", 20)]);
    workspace.end(replace, SOON).expect_code(0);
    let runs = workspace.json(&["runs"]);
    let why = runs[0]["stop_message"].as_str().expect("a reason");
    assert!(why.contains("connection `crm` replaced by `next`: they moved"), "{runs:#}");
    workspace.sync(&[]).expect_kind("full", "rebaselined").expect(0, "succeeded", &[]);
    check_mirror(&second, &expected(&people(1..=20)));
}

#[test]
fn a_server_drains_drops_and_goes_on_over_the_new_connection_with_a_fresh_snapshot_e5_e7() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let before = config(&workspace);
    let server = Server::start(&workspace);
    workspace.write_people(&people(3..=40));
    first.on_next(Fault::Hold);
    let going = server.run("");
    first.wait_for_requests(3, SOON);
    let queued = server.run("");
    let replace = workspace.spawn(&[&REPLACE[..], &["-m", "they moved"]].concat());
    server.wait_for_phase(going, "draining");
    let dropped = server.ended(queued);
    first.release();
    workspace.end(replace, SOON).expect_code(0).expect_printed(&["`people` write over `next`"]);
    let why = "connection `crm` replaced by `next`: they moved";
    let ended = server.ended(going);
    assert_eq!((&ended["phase"], &ended["stop_message"]), (&json!("cancelled"), &json!(why)));
    assert_eq!(dropped["phase"], "cancelled", "{dropped:#}");
    assert!(dropped["error"].as_str().is_some_and(|error| error.contains("`next`")), "{dropped:#}");
    assert_eq!(config(&workspace), before.replace("connection: crm   #", "connection: next   #"));
    let sent = first.request_count();
    let full = server.ended(server.run(""));
    assert_eq!(
        (&full["kind"], &full["reason"]),
        (&json!("full"), &json!("rebaselined")),
        "{full:#}"
    );
    check_mirror(&second, &expected(&people(3..=40)));
    assert_eq!(first.request_count(), sent, "the old account is left alone");
    assert_eq!(server.get("/api/v1/connections/next").expect(200).json["syncs"], json!(["people"]));
    server.end().expect_code(0);
}

#[test]
fn a_server_keeps_the_snapshot_where_a_person_says_so_and_holds_the_first_deletes() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    people(1..=20).into_iter().for_each(|person| second.plant(person.record()));
    workspace.write_people(&people(3..=22));
    let server = Server::start(&workspace);
    let body = r#"{ "new": "next", "syncs": ["people"], "keep_snapshot": true }"#;
    let done = server.post("/api/v1/connections/crm/replace", body).expect(200).json;
    let sync = json!([{ "sync": "people", "run": null }]);
    let expected = json!({ "old": "crm", "new": "next", "syncs": sync, "keeps_snapshot": true });
    assert_eq!(done, expected);
    let held = server.ended(server.run(""));
    assert_eq!(
        (&held["kind"], &held["tally"]["held"]),
        (&json!("incremental"), &json!(2)),
        "{held:#}"
    );
    server.end().expect_code(0);
}

#[test]
fn only_the_syncs_of_a_group_or_those_that_are_named_are_replaced_e5() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    let one = config(&workspace).replacen("sources:", "groups: { sales: {} }\nsources:", 1);
    let (head, sync) = one.split_once("  people:\n").expect("there is a sync");
    let two = format!(
        "{head}  people:\n    group: sales\n    shared: true\n{sync}  others:\n    shared: true\n{sync}"
    );
    workspace.write("counterflow.yaml", &two);
    let server = Server::start(&workspace);
    let of_next = || server.get("/api/v1/connections/next").expect(200).json["syncs"].clone();
    let group = r#"{ "new": "next", "group": "sales" }"#;
    server.post("/api/v1/connections/crm/replace", group).expect(200);
    let changed = two.replacen("connection: crm   #", "connection: next   #", 1);
    assert_eq!((config(&workspace), of_next()), (changed, json!(["people"])));
    workspace.run(&[&REPLACE[..], &["--group", "sales"]].concat()).expect_code(2);
    workspace.run(&[&REPLACE[..], &["--sync", "others"]].concat()).expect_code(0);
    assert_eq!(of_next(), json!(["people", "others"]));
    server.end().expect_code(0);
}

const PATH: &str = "/api/v1/connections/crm/replace";

/// A server that is held in the middle of a replacement, until the file `held` is gone.
#[cfg(feature = "faults")]
fn held(workspace: &mut Workspace) -> Server<'_> {
    let hold = ("COUNTERFLOW_HOLD_AT", "decided:1:held".to_owned());
    workspace.setup.environment.push(hold);
    Server::start(workspace)
}

#[cfg(feature = "faults")]
#[test]
fn of_two_replacements_at_once_the_second_waits_and_decides_nothing() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let mut workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    people(1..=20).into_iter().for_each(|person| second.plant(person.record()));
    let hold = workspace.path().join("held");
    let server = held(&mut workspace);
    let api: &Api = &server;
    std::thread::scope(|scope| {
        let kept = r#"{ "new": "next", "keep_snapshot": true }"#;
        let one = scope.spawn(|| api.post(PATH, kept));
        until("one is decided", || hold.exists().then_some(()));
        let other = scope.spawn(|| api.post(PATH, r#"{ "new": "next" }"#));
        // One that does not wait comes to its end meanwhile.
        let mut looks = 0;
        until("the other waits", || {
            looks += 1;
            (looks > 50 || other.is_finished()).then_some(())
        });
        std::fs::remove_file(&hold).expect("it is held");
        one.join().expect("it is answered").expect(200);
        let words = ["none of the syncs"];
        other.join().expect("it is answered").expect_problem(409, &words);
    });
    let run = server.ended(server.run(""));
    let (kind, unchanged) = (&run["kind"], &run["tally"]["unchanged"]);
    assert_eq!((kind, unchanged), (&json!("incremental"), &json!(20)), "{run:#}");
    server.end().expect_code(0);
}

#[cfg(feature = "faults")]
#[test]
fn a_replacement_that_comes_to_nothing_stops_no_run() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let mut workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(1..=40));
    let (hold, file) = (workspace.path().join("held"), workspace.path().join("counterflow.yaml"));
    let edited = format!("{}# edited\n", config(&workspace));
    let server = held(&mut workspace);
    first.on_next(Fault::Hold);
    let sent = first.request_count();
    let (going, queued) = (server.run(""), server.run(""));
    first.wait_for_requests(sent + 1, SOON);
    let api: &Api = &server;
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| api.post(PATH, r#"{ "new": "next" }"#));
        until("it is decided", || hold.exists().then_some(()));
        std::fs::write(&file, &edited).expect("it can be written");
        std::fs::remove_file(&hold).expect("it is held");
        let words = ["changed meanwhile", "nothing was replaced"];
        asked.join().expect("it is answered").expect_problem(409, &words);
    });
    first.release();
    for run in [going, queued] {
        assert_eq!(server.ended(run)["phase"], "succeeded");
    }
    server.end().expect_code(0);
}

#[test]
fn a_replacement_whose_test_goes_while_the_server_ends_is_given_up_and_changes_nothing() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let workspace = workspace(&first, &second);
    let before = config(&workspace);
    let server = Server::start(&workspace);
    second.hold_question();
    let api: &Api = &server;
    std::thread::scope(|scope| {
        let begun = scope.spawn(|| api.post(PATH, r#"{ "new": "next" }"#));
        until("it is tested", || (second.question_count() > 0).then_some(()));
        server.process.sigterm();
        let answer = begun.join().expect("it is answered");
        answer.expect_problem(503, &["is shutting down"]);
    });
    server.wait().expect_code(0);
    assert_eq!(config(&workspace), before);
}

/// Kills a server in the middle of a replacement under the key `once`, at this point.
#[cfg(feature = "faults")]
fn killed_at(workspace: &mut Workspace, point: &str) {
    workspace.setup.environment.push(("COUNTERFLOW_END_AT", format!("{point}:1")));
    let server = Server::start(workspace);
    server.lose("/api/v1/connections/crm/replace", "once", r#"{ "new": "next" }"#);
    assert_eq!(server.wait().code, None);
    workspace.setup.environment.clear();
}

#[cfg(feature = "faults")]
#[test]
fn a_kill_before_the_file_is_rewritten_leaves_everything_as_it_was_and_the_key_free() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let mut workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let before = config(&workspace);
    killed_at(&mut workspace, "decided");
    assert_eq!(config(&workspace), before);
    let server = Server::start(&workspace);
    let run = server.ended(server.run(""));
    assert_eq!(
        (&run["kind"], &run["tally"]["requests"]),
        (&json!("incremental"), &json!(0)),
        "{run:#}"
    );
    let withdrawn = &log(&server, 2)[1];
    assert_eq!(
        (&withdrawn[0], &withdrawn[1]),
        (&json!("counterflow"), &json!("connection replace"))
    );
    assert!(
        withdrawn[4].as_str().is_some_and(|why| why.contains("not carried out")),
        "{withdrawn}"
    );
    let body = r#"{ "new": "next" }"#;
    let done = keyed(&server, "/api/v1/connections/crm/replace", "once", body).expect(200).json;
    assert_eq!(done["new"], "next", "{done:#}");
    server.ended(server.run(""));
    check_mirror(&second, &expected(&people(1..=20)));
    server.end().expect_code(0);
}

#[cfg(feature = "faults")]
#[test]
fn a_kill_after_the_file_was_rewritten_leaves_the_new_state_and_a_repetition_knows() {
    let (first, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let mut workspace = workspace(&first, &second);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(3..=22));
    killed_at(&mut workspace, "rewritten");
    let server = Server::start(&workspace);
    let path = "/api/v1/connections/crm/replace";
    let again = keyed(&server, path, "once", r#"{ "new": "next" }"#).expect(200);
    assert_eq!(
        (&again.json["state"], &again.json["command"]),
        (&json!("done"), &json!("connection replace"))
    );
    let full = server.ended(server.run(""));
    assert_eq!(
        (&full["kind"], &full["reason"]),
        (&json!("full"), &json!("rebaselined")),
        "{full:#}"
    );
    check_mirror(&second, &expected(&people(3..=22)));
    assert!(first.deletes().is_empty() && second.deletes().is_empty());
    server.end().expect_code(0);
}
