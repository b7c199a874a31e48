use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;
use super::time;
use crate::api::status::FIRINGS;
use crate::config::Config;

/// Reads the config and says that nothing is wrong with it; what is wrong is the failure.
pub fn run(place: &Place, output: &Output) -> Result<Exit, Failure> {
    let config = place.config()?;
    let names: Vec<&str> = config.syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
    let schedules = firings(&config);
    let listed: Vec<_> =
        schedules.iter().map(|(sync, next)| json!({ "sync": sync, "next": next })).collect();
    let answer = json!({
        "file": config.path.display().to_string(),
        "state": config.state.display().to_string(),
        "syncs": names,
        "schedules": listed,
    });
    output.answer(&answer, || {
        let mut text =
            format!("`{}` has no problems; syncs: {}\n", config.path.display(), names.join(", "));
        for (sync, next) in &schedules {
            text.push_str(&format!("  `{sync}` fires at {}\n", next.join(", ")));
        }
        text
    });
    Ok(Exit::Done)
}

/// When each schedule fires next, as it is written: a recorded pause is not looked at.
fn firings(config: &Config) -> Vec<(&str, Vec<String>)> {
    let now = time::now();
    let firings = config.syncs.iter().filter_map(|sync| {
        let next = sync.schedule.as_ref()?.timing().next(now, FIRINGS);
        Some((sync.sync.name.as_str(), next.iter().map(ToString::to_string).collect()))
    });
    firings.collect()
}
