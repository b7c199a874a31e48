use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;

/// Reads the config and says that nothing is wrong with it; what is wrong is the failure.
pub fn run(place: &Place, output: &Output) -> Result<Exit, Failure> {
    let config = place.config()?;
    let names: Vec<&str> = config.syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
    let answer = json!({
        "file": config.path.display().to_string(),
        "state": config.state.display().to_string(),
        "syncs": names,
    });
    output.answer(&answer, || {
        format!("`{}` has no problems; syncs: {}", config.path.display(), names.join(", "))
    });
    Ok(Exit::Done)
}
