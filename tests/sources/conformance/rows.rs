//! Rows that arrive: their values, none of them, and more than fit into memory.

use std::time::{Duration, Instant};

use super::place::{New, Place, WIDTH, workspace};
use crate::stores::{assert_holds, of_age};
use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

/// The body of the newest request that has the record of this key, as it came.
fn body(oracle: &Oracle, id: u32) -> String {
    let key = format!("[{id}]");
    let requests = oracle.requests();
    let newest = requests.iter().rev().find(|request| request.sent.keys().any(|it| it == key));
    newest.expect("each row was sent").sent.beginning.clone()
}

/// The members that are not as said, each with what they should be.
fn others(body: &str, expected: &[(String, String)]) -> Vec<String> {
    let said = expected.iter().map(|(name, json)| format!("\"{name}\":{json}"));
    let is_there =
        |said: &String| [",", "}"].iter().any(|end| body.contains(&format!("{said}{end}")));
    said.filter(|said| !is_there(said)).collect()
}

fn one_a_batch(oracle: &Oracle, place: &dyn Place) -> Workspace {
    workspace(oracle, place, Setup { batch: 1, ..Setup::default() })
}

pub fn types(new: &New<'_>) {
    let (oracle, place) = (Oracle::start(&["id"]), new());
    let expected = place.put_values(true);
    let workspace = one_a_batch(&oracle, &*place);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2), ("invalid", 0)]);
    let (first, second) = (body(&oracle, 1), body(&oracle, 2));
    assert!(!expected.is_empty() && first.len() < 4_096, "all of it must be seen");
    let others = [others(&first, &expected), others(&second, &nulls_of(&expected))].concat();
    assert!(others.is_empty(), "not as in the source: {others:#?}\n{first}\n{second}");
    // What is read again is the same.
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("rows_read", 2), ("invalid", 0)]);
    assert_eq!(workspace.sync(&[]).count("requests"), 0, "what is unchanged was sent");
}

fn nulls_of(expected: &[(String, String)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, _)| (name.clone(), "null".to_owned())).collect()
}

/// A value that becomes NULL is sent as that, and an empty text is none (E7).
pub fn nulls(new: &New<'_>) {
    let (oracle, place) = (Oracle::start(&["id"]), new());
    let expected = place.put_values(true);
    let is_empty_text = |(_, json): &&(String, String)| json == "\"\"";
    let empty: Vec<_> = expected.iter().filter(is_empty_text).cloned().collect();
    assert!(!empty.is_empty(), "a text that is empty is among the values");
    let workspace = one_a_batch(&oracle, &*place);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    assert_eq!(others(&body(&oracle, 1), &empty), [""; 0], "empty text became NULL");
    let nulls = nulls_of(&place.put_values(false));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("delivered", 1)]);
    assert_eq!(others(&body(&oracle, 1), &nulls), [""; 0], "NULL is said as that");
    assert_eq!(workspace.sync(&[]).count("requests"), 0, "what is unchanged was sent");
    place.put_values(true);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("delivered", 1)]);
    assert_eq!(others(&body(&oracle, 1), &expected), [""; 0], "and back again");
}

/// E1, and that a second empty read is not believed because the first one was empty too.
pub fn empty(new: &New<'_>) {
    let (oracle, place) = (Oracle::start(&["id"]), new());
    place.put(&[]);
    let workspace = workspace(&oracle, &*place, Setup { batch: 100, ..Setup::default() });
    // Also where nothing but rows says what columns there are.
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["gave no rows"]);
    assert_eq!(oracle.request_count(), 0, "{}", oracle.print());
    place.put(&of_age(1..=20, 0));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    place.put(&[]);
    for more in [&[][..], &[], &["--full"]] {
        let held = workspace.sync(more).expect(4, "partial", &[("held", 20), ("deleted", 0)]);
        assert_eq!(held.count("rows_read"), 0);
    }
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    place.put(&of_age(1..=19, 0));
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 1), ("held", 0)]);
    assert_holds(&oracle, &of_age(1..=19, 0));
}

/// A run over what a run has read that left nothing to do is skipped, once what it read was at rest; and none over anything else.
pub fn skip(new: &New<'_>) {
    let (oracle, place) = (Oracle::start(&["id"]), new());
    place.put(&of_age(1..=20, 0));
    let setup = Setup { rests: true, batch: 100, ..Setup::default() };
    let workspace = workspace(&oracle, &*place, setup);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    for age in [1, 2] {
        let begun = Instant::now();
        while workspace.sync(&[]).word("outcome") != "skipped" {
            assert!(begun.elapsed() < SOON, "it is never skipped");
        }
        workspace.sync(&[]).expect(0, "skipped", &[("requests", 0), ("rows_read", 0)]);
        place.put(&of_age(1..=20, age));
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 20)]);
    }
    assert_holds(&oracle, &of_age(1..=20, 2));
}

/// Bytes that a run may take beside what one row takes: its `memory_limit`, and half as much for what is on its way.
const MEMORY: u64 = 96 << 20;
const ROWS: u32 = 96_000;

pub fn huge(new: &New<'_>) {
    let oracle = Oracle::start(&["id"]);
    let most = |rows: u32| {
        let place = new();
        place.put_huge(rows);
        let setup = Setup { head: "memory_limit: 64MiB", ..Setup::default() };
        let workspace = workspace(&oracle, &*place, setup);
        let process = workspace.spawn(&["--format", "json", "plan", "people"]);
        let most = process.peak_memory();
        let planned = workspace.end(process, Duration::from_secs(60)).expect_code(0);
        assert!(planned.printed().contains(&rows.to_string()), "{}", planned.printed());
        most
    };
    let (few, many) = (most(1), most(ROWS));
    let (took, bytes) = (many.saturating_sub(few), u64::from(ROWS) * WIDTH as u64);
    println!("             {} MiB for {} MiB of rows", took >> 20, bytes >> 20);
    assert!(few > 0 && took < MEMORY && MEMORY < bytes, "it took {} MiB", took >> 20);
}
