use serde_json::json;

use super::exit::Exit;
use super::output::Output;

pub fn run(output: &Output) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    output.answer(&json!({ "version": version }), || format!("counterflow {version}"));
    Exit::Done
}
