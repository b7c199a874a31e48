use super::exit::Exit;
use super::output::Output;
use crate::config;

/// Prints the schema that `validate` goes by.
pub fn run(output: &Output) -> Exit {
    let schema = config::schema();
    output.answer(&schema, || format!("{schema:#}"));
    Exit::Done
}
