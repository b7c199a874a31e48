//! `connection replace`: the file is rewritten in place, and no snapshot vouches for an account that it was not made with.

use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::Server;
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
    workspace.run(&REPLACE).expect_code(5).expect_printed(&["end it first"]);
    server.end().expect_code(0);
    assert_eq!(config(&workspace), before);
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
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
