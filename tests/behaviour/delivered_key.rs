//! Records that the destination knows by another key than the model's primary key: both keys are checked, and a record
//! whose delivered key changes is a removal and an addition.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

const HEAD: &str = "id,login,plan\n";

fn by_login() -> (Oracle, Workspace) {
    let oracle = Oracle::start(&["login"]);
    let setup = Setup { sync: "key: [login]", max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    (oracle, workspace)
}

fn write(workspace: &Workspace, rows: &[(u32, &str, &str)]) {
    let lines = rows.iter().map(|(id, login, plan)| format!("{id},{login},{plan}\n"));
    workspace.write("people.csv", &(HEAD.to_owned() + &lines.collect::<String>()));
}

fn held(rows: &[(u32, &str, &str)]) -> BTreeMap<String, Value> {
    let record = |(id, login, plan): &(u32, &str, &str)| {
        (json!([login]).to_string(), json!({ "id": id, "login": login, "plan": plan }))
    };
    rows.iter().map(record).collect()
}

#[test]
fn a_changed_delivered_key_is_a_removal_and_an_addition() {
    let (oracle, workspace) = by_login();
    write(&workspace, &[(1, "ann", "free"), (2, "bob", "free")]);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    let moved = [(1, "anna", "free"), (2, "bob", "pro")];
    write(&workspace, &moved);
    workspace
        .run(&["plan", "people"])
        .expect_code(0)
        .expect_printed(&["add     anna", "remove  ann"]);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 2), ("deletes", 1)]);
    check_mirror(&oracle, &held(&moved));
    workspace.run(&["explain", "people", "anna"]).expect_code(0).expect_printed(&["anna"]);
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 2), ("requests", 0)]);
}

#[test]
fn rows_with_one_primary_key_are_named_and_none_is_sent_or_deleted() {
    let (oracle, workspace) = by_login();
    write(&workspace, &[(1, "ann", "free"), (2, "bob", "free"), (3, "cid", "free")]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let twice = [(1, "ann", "free"), (2, "bob", "pro"), (2, "bobby", "pro"), (3, "cid", "free")];
    write(&workspace, &twice);
    let report = workspace.sync(&[]).expect(
        3,
        "partial",
        &[("invalid", 2), ("upserts", 0), ("unchanged", 2), ("deletes", 0)],
    );
    report.finished.expect_printed(&["`bob` its primary key comes more than once", "`bobby` its"]);
    let before = held(&[(1, "ann", "free"), (2, "bob", "free"), (3, "cid", "free")]);
    check_mirror(&oracle, &before);
    // Unchanged rows are taken back too, from wherever they come.
    write(
        &workspace,
        &[(1, "ann", "free"), (2, "bob", "free"), (2, "bobby", "pro"), (3, "cid", "pro")],
    );
    workspace.sync(&[]).expect(3, "partial", &[("invalid", 2), ("upserts", 1), ("unchanged", 1)]);
    let mended = [(1, "ann", "free"), (2, "bobby", "pro"), (3, "cid", "pro")];
    write(&workspace, &mended);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("deletes", 1)]);
    check_mirror(&oracle, &held(&mended));
}

#[test]
fn a_row_without_a_primary_key_is_named_and_keeps_what_the_destination_holds() {
    let (oracle, workspace) = by_login();
    let whole = [(1, "ann", "free"), (2, "bob", "free")];
    write(&workspace, &whole);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write("people.csv", &format!("{HEAD}1,ann,free\n,bob,pro\n,new,pro\n"));
    let report =
        workspace.sync(&[]).expect(3, "partial", &[("invalid", 2), ("upserts", 0), ("deletes", 0)]);
    report.finished.expect_printed(&["`bob` a column of the primary key is NULL"]);
    check_mirror(&oracle, &held(&whole));
}

#[test]
fn two_primary_keys_that_share_a_delivered_key_are_named() {
    let (oracle, workspace) = by_login();
    write(&workspace, &[(1, "ann", "free"), (2, "ann", "pro"), (3, "cid", "free")]);
    let report = workspace.sync(&[]).expect(3, "partial", &[("invalid", 2), ("delivered", 1)]);
    report.finished.expect_printed(&["`ann` the key comes more than once"]);
    check_mirror(&oracle, &held(&[(3, "cid", "free")]));
}

#[test]
fn a_kill_between_request_and_receipt_leaves_no_orphan_of_the_old_key_or_the_new_one() {
    let (oracle, workspace) = by_login();
    write(&workspace, &[(1, "ann", "free"), (2, "bob", "free")]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    write(&workspace, &[(1, "anna", "free"), (2, "bob", "free")]);
    workspace.kill_between_request_and_receipt(&oracle);
    let last = [(1, "annika", "free"), (2, "bob", "free")];
    write(&workspace, &last);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("deletes", 2)]);
    check_mirror(&oracle, &held(&last));
}

#[test]
fn a_decimal_key_is_deleted_by_the_digits_it_was_sent_with() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup {
        sql: "SELECT CAST(id AS DECIMAL(10,2)) AS id, plan FROM people".to_owned(),
        max_deletes: Some("100%"),
        ..Setup::default()
    };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write("people.csv", "id,plan\n12.50,free\n13.25,free\n");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    workspace.write("people.csv", "id,plan\n13.25,free\n");
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 1)]);
    let requests = oracle.requests();
    let [sent, deleted] = [&requests[0], &requests[1]].map(|request| &request.sent.beginning);
    assert!(sent.contains(r#""id":12.50"#), "{sent}");
    assert!(deleted.contains(r#""id":12.50"#), "{deleted}");
}

#[test]
fn a_mapped_name_of_the_primary_key_is_what_the_destination_knows() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup {
        sql: "SELECT id AS customer_id, plan FROM people".to_owned(),
        key: &["customer_id"],
        sync: "mapping: { id: customer_id, plan: upper(plan) }",
        max_deletes: Some("100%"),
        ..Setup::default()
    };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write("people.csv", "id,plan\n1,free\n2,pro\n");
    workspace.run(&["validate"]).expect_code(0);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    workspace.write("people.csv", "id,plan\n2,pro\n");
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 1), ("deleted", 1)]);
    let record = json!({ "id": 2, "plan": "PRO" });
    check_mirror(&oracle, &BTreeMap::from([(json!([2]).to_string(), record)]));
}
