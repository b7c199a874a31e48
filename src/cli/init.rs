use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;

const STARTER: &str = include_str!("starter.yaml");

/// Writes a config file to begin with; one that is there is never touched.
pub fn run(place: &Place, output: &Output) -> Result<Exit, Failure> {
    let path = place.file.display();
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&place.file).map_err(|error| {
            match error.kind() {
                ErrorKind::AlreadyExists => Failure::usage(format!(
                    "`{path}` is there already; name another file with `--config FILE`"
                )),
                _ => Failure::failed(format!("`{path}` cannot be written: {error}")),
            }
        })?;
    file.write_all(STARTER.as_bytes())
        .map_err(|error| Failure::failed(format!("`{path}` cannot be written: {error}")))?;
    output.answer(&json!({ "file": path.to_string() }), || {
        format!(
            "`{path}` is written; put your table, query and API in, then\n  \
             counterflow validate\n  counterflow plan people_to_crm\n  counterflow sync people_to_crm"
        )
    });
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;

    #[test]
    fn what_is_written_has_no_problems_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("counterflow.yaml"), None);
        let output = Output::new(Format::Json);
        assert_eq!(run(&place, &output).unwrap(), Exit::Done);
        let token = |name: &str| (name == "CRM_TOKEN").then(|| "x".to_owned());
        let config = crate::config::load_with(&place.file, &token).unwrap();
        assert_eq!(config.syncs.len(), 1);
        assert_eq!(run(&place, &output).unwrap_err().exit, Exit::Usage);
    }
}
