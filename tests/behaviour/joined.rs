//! A model that joins tables of several sources: each of them counts, for what is read, skipped, held and disabled.

use std::ops::RangeInclusive;

use serde_json::json;

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::Server;
use crate::support::workspace::{Setup, Workspace};

const HEAD: &str = "server: { listen: \"127.0.0.1:0\" }";
const SQL: &str = "SELECT p.* FROM lake.people p JOIN shop.buyers b ON p.id = b.id";
const LAKE: &str = "lake: { files: { people: \"people.csv\" } }";

/// The people 1 to 20 in one source, and in another those of them who buy.
fn workspace(oracle: &Oracle, buyers: RangeInclusive<u32>) -> Workspace {
    let setup = Setup { rests: true, sql: SQL.into(), head: HEAD, ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    let config = workspace.config();
    assert!(config.contains(LAKE), "{config}");
    let shop = format!("{LAKE}, shop: {{ files: {{ buyers: \"buyers.csv\" }} }}");
    let config = config.replace(LAKE, &shop).replace("source: lake", "sources: [lake, shop]");
    workspace.write("counterflow.yaml", &config);
    workspace.write_people(&people(1..=20));
    write_buyers(&workspace, buyers);
    workspace
}

fn write_buyers(workspace: &Workspace, ids: RangeInclusive<u32>) {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    workspace.write("buyers.csv", &format!("id\n{}\n", ids.join("\n")));
    workspace.wait_until_at_rest();
}

#[test]
fn a_model_joins_two_sources_and_is_skipped_only_where_both_are_as_they_were() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, 1..=10);
    let expect_skip = || {
        workspace
            .sync(&[])
            .expect(0, "skipped", &[("rows_read", 0), ("requests", 0)])
            .expect_kind("incremental", "unchanged");
    };
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    expect_skip();
    write_buyers(&workspace, 1..=12);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 2), ("deletes", 0)]);
    expect_skip();
    let mut changed = people(1..=20);
    changed[4].counter += 1;
    workspace.write_people(&changed);
    workspace.wait_until_at_rest();
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("deletes", 0)]);
    expect_skip();
    write_buyers(&workspace, 1..=9);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 0), ("deletes", 3)]);
    expect_skip();
    check_mirror(&oracle, &expected(&changed[..9]));
}

#[test]
fn a_file_that_is_gone_from_either_source_fails_the_run_and_deletes_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, 1..=10);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    for (file, table) in [("people.csv", "lake.people"), ("buyers.csv", "shop.buyers")] {
        let (here, aside) = (workspace.path().join(file), workspace.path().join("aside"));
        std::fs::rename(&here, &aside).expect("it is there");
        workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&[table, file]);
        std::fs::rename(&aside, &here).expect("it is there");
    }
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn one_disabled_source_of_two_keeps_the_sync_from_running() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, 1..=10);
    for source in ["lake", "shop"] {
        let disabled = format!("`{source}` is disabled");
        let way_out = format!("counterflow source enable {source} -m WHY");
        workspace
            .run(&["source", "disable", source, "-m", "it moves"])
            .expect_code(0)
            .expect_printed(&[&disabled, "`people`"]);
        workspace
            .run(&["sync", "people"])
            .expect_code(2)
            .expect_printed(&[&format!("source {disabled} since"), &way_out]);
        workspace.run(&["status", "people"]).expect_printed(&["Disabled", &disabled]);
        let server = Server::start(&workspace);
        server.post("/api/v1/syncs/people/run", "").expect_problem(409, &[&disabled, &way_out]);
        let shown = server.get(&format!("/api/v1/sources/{source}")).expect(200).json;
        assert_eq!((&shown["is_disabled"], &shown["syncs"]), (&json!(true), &json!(["people"])));
        server.end().expect_code(0);
        workspace.run(&["source", "enable", source, "-m", "it has moved"]).expect_code(0);
    }
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    check_mirror(&oracle, &expected(&people(1..=10)));
}

#[test]
fn what_is_wrong_with_a_joined_model_is_said_by_validate_with_its_line() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, 1..=10);
    let config = workspace.path().join("counterflow.yaml");
    let good = std::fs::read_to_string(config).expect("it is there");
    workspace.run(&["validate"]).expect_code(0);
    for (from, to, words) in [
        ("[lake, shop]", "[lake, shp]", ["there is no source `shp`", "did you mean `shop`?"]),
        ("[lake, shop]", "[lake]", ["`shop` is none of its sources", "add it to `sources`"]),
        ("lake.people p", "people p", ["reads `people` without its source", "`lake.people`"]),
        ("shop.buyers", "shop.sellers", ["unknown table `shop.sellers`", "`shop.buyers`"]),
    ] {
        workspace.write("counterflow.yaml", &good.replace(from, to));
        workspace.run(&["validate"]).expect_code(2).expect_printed(&words);
    }
}
