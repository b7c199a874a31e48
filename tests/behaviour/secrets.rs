//! Secrets and contents of rows: stored and printed nowhere, whatever a destination answers (I12).

use std::path::Path;

use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{CANARY, people};
use crate::support::workspace::{Setup, Workspace};

/// Pieces of the row's address that its forms leave whole, in small letters.
const PIECES: [&str; 4] = ["canary", "person", "example.org", r"example\u002eorg"];

/// The row as a destination written in another language would print it.
fn rows() -> [String; 5] {
    let cell = format!("{CANARY}.1@example.org");
    [
        format!("row {{\\\"id\\\": 1, \\\"email\\\": \\\"{cell}\\\"}} is refused"),
        format!("bad {}", cell.to_uppercase()),
        format!("bad {}", cell.replace('.', "\\\\u002e").replace('@', "\\\\u0040")),
        format!("bad {}...", &cell[..CANARY.len() + 2]),
        format!("bad {}", cell.replace('@', "%40")),
    ]
}

#[test]
fn a_destination_that_repeats_a_row_in_any_form_makes_nothing_of_it_known() {
    for message in rows() {
        let oracle = Oracle::start(&["id"]);
        let workspace = Workspace::new(&oracle, Setup::default());
        workspace.write_people(&people(1..=1));
        let item = format!(
            "{{\"results\":[{{\"status\":\"bad\",\"error\":{{\"code\":\"x\",\"message\":\"{message}\"}}}}]}}"
        );
        oracle.on_next(Fault::Json200(item));
        let report = workspace.sync(&[]).expect(3, "partial", &[("rejected", 1)]);
        let refused = workspace.run(&["rejected", "people"]).expect_code(0);
        let explained = workspace.run(&["explain", "people", "1"]);
        for printed in [report.finished, refused, explained] {
            assert_no_piece(&message, "what was printed", &printed.printed());
        }
        assert_no_piece_in_files(&message, &workspace.state());
        oracle.on_next(Fault::Status {
            code: 422,
            headers: Vec::new(),
            body: format!("{{\"message\":\"{message}\"}}"),
        });
        let report = workspace.sync(&["--full"]);
        assert_no_piece(&message, "what was printed", &report.finished.printed());
        assert_no_piece_in_files(&message, &workspace.state());
    }
}

#[track_caller]
fn assert_no_piece(message: &str, place: &str, text: &str) {
    let text = text.to_lowercase();
    for piece in PIECES {
        assert!(!text.contains(piece), "I12: `{piece}` of `{message}` is in {place}: {text}");
    }
}

#[track_caller]
fn assert_no_piece_in_files(message: &str, folder: &Path) {
    for path in std::fs::read_dir(folder).expect("it is there").flatten().map(|entry| entry.path())
    {
        if path.is_dir() {
            assert_no_piece_in_files(message, &path);
        } else {
            let bytes = std::fs::read(&path).expect("it can be read");
            let place = path.display().to_string();
            assert_no_piece(message, &place, &String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_secret_in_an_address_is_neither_stored_nor_printed() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::at(format!("{}/${{TOKEN}}", oracle.base_url()), Setup::default());
    workspace.write_people(&people(1..=3));
    workspace.run(&["sync", "people"]);
    assert!(oracle.request_count() > 0, "the snapshot has begun");
    workspace.assert_state_holds_no_canary();
    let moved = workspace.config().replace("/${TOKEN}\"", "/v2/${TOKEN}\"");
    workspace.write("counterflow.yaml", &moved);
    workspace.run(&["sync", "people"]).expect_printed(&["the destination changed"]);
    workspace.assert_state_holds_no_canary();
}

#[test]
fn an_unset_secret_of_another_connection_is_asked_for_by_validate_alone() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let other = "connections:\n  other:\n    http: { base_url: \"https://${NOT_SET}\", auth: { bearer: \"${NOR_THIS}\" } }\n";
    workspace.write("counterflow.yaml", &workspace.config().replacen("connections:\n", other, 1));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
    workspace.run(&["status"]).expect_code(0);
    workspace.run(&["validate"]).expect_code(2).expect_printed(&["NOT_SET", "NOR_THIS"]);
}
