use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::arguments::Arguments;
use super::exit::Exit;
use super::output::Output;

/// Prints a script by which the shell completes commands and their options.
pub fn run(output: &Output, shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "counterflow", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let document = json!({ "shell": shell.to_string(), "script": script });
    output.answer(&document, || script);
    Exit::Done
}
