//! What the commands answer when they are used wrongly, or when the place they work in is at its limits.

use std::process::{Command, Stdio};

use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::process::Process;
use crate::support::workspace::{Setup, Workspace};
use crate::support::{SOON, TOKEN};

/// Runs a line of the shell in the workspace, with `$C` the binary and its config.
fn shell(workspace: &Workspace, line: &str) -> std::process::Output {
    let line = line
        .replace("$C", &format!("{} --config counterflow.yaml", env!("CARGO_BIN_EXE_counterflow")));
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(workspace.path()).env("TOKEN", TOKEN);
    command.stdin(Stdio::null()).output().expect("there is a shell")
}

fn synced(oracle: &Oracle) -> Workspace {
    let workspace = Workspace::new(oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace
}

#[test]
fn a_paused_sync_is_not_run_by_hand() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let open = workspace.config();
    workspace.write("counterflow.yaml", &open.replace("    mode:", "    paused: true\n    mode:"));
    for more in [&[][..], &["--full"]] {
        let words = [&["sync", "people"][..], more].concat();
        workspace
            .run(&words)
            .expect_code(2)
            .expect_printed(&["`people` is paused", "counterflow resume people -m WHY"]);
    }
    assert_eq!(oracle.connections(), 0);
    workspace.write("counterflow.yaml", &open);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
}

#[test]
fn a_usage_error_is_json_where_json_is_asked_for() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    for words in [&["--format", "json", "synch"][..], &["sync", "--format=json"]] {
        let refused = workspace.run(words).expect_code(2);
        assert!(refused.json()["error"].is_string(), "{refused:#?}");
        assert_eq!(refused.stderr, "");
    }
    let help = workspace.run(&["--format", "json", "--help"]).expect_code(0);
    assert!(help.stdout.contains("Usage"), "{help:#?}");
}

#[test]
fn a_number_that_no_run_can_have_is_a_run_that_is_not_there() {
    let oracle = Oracle::start(&["id"]);
    let workspace = synced(&oracle);
    let far = u64::MAX.to_string();
    for words in [&["release", &far, "-m", "x"][..], &["discard", &far, "-m", "x", "--yes"]] {
        workspace.run(words).expect_code(2).expect_printed(&[&far, "counterflow runs"]);
    }
    workspace.run(&["rejected", "people", "--run", &far]).expect_code(0);
}

#[test]
fn what_only_the_config_can_mend_is_a_usage_error_even_if_the_data_shows_it() {
    let oracle = Oracle::start(&["id"]);
    for sql in ["SELECT id, shoe_size FROM people", "SELECT email FROM people"] {
        let workspace = Workspace::new(&oracle, Setup { sql: sql.into(), ..Setup::default() });
        workspace.write_people(&people(1..=3));
        workspace.sync(&[]).expect(2, "failed", &[]);
        workspace.run(&["plan", "people"]).expect_code(2);
    }
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.sync(&[]).expect(1, "failed", &[]);
    assert_eq!(oracle.connections(), 0);
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let oracle = Oracle::start(&["id"]);
    let workspace = synced(&oracle);
    let full = shell(&workspace, "$C status > /dev/full");
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    assert!(String::from_utf8_lossy(&full.stderr).contains("could not be written"), "{full:?}");
    let gone = shell(&workspace, "$C status | true");
    assert_eq!(gone.status.code(), Some(0), "{gone:?}");
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_the_end_of_the_process() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    let limited = shell(&workspace, "ulimit -f 20; $C sync people");
    assert_eq!(limited.status.code(), Some(1), "{limited:?}");
    let said = String::from_utf8_lossy(&limited.stderr).into_owned();
    let said = said + &String::from_utf8_lossy(&limited.stdout);
    assert!(said.contains("full") && said.contains("make room"), "{said}");
}

#[test]
fn the_config_file_may_be_named_by_the_environment_and_the_flag_wins() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    let path = workspace.path();
    let named = ["with.yaml", "other.yaml"];
    named.iter().for_each(|name| workspace.write(name, &workspace.config()));
    let checked = |line: &[&str]| {
        let environment = [("TOKEN", TOKEN), ("COUNTERFLOW_CONFIG", named[0])];
        let checked = Process::spawn(path, line, &environment).wait(SOON).expect_code(0).stdout;
        named.map(|name| checked.contains(&format!("{name}` has no problems")))
    };
    assert_eq!(checked(&["validate"]), [true, false]);
    assert_eq!(checked(&["--config", named[1], "validate"]), [false, true]);
}
