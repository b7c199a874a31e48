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
    let listed = schedules.iter().map(|(sync, when)| match when {
        When::At(next) => json!({ "sync": sync, "next": next }),
        When::After(first) => json!({ "sync": sync, "next": [], "after": first }),
    });
    let listed: Vec<_> = listed.collect();
    let answer = json!({
        "file": config.path.display().to_string(),
        "state": config.state.display().to_string(),
        "syncs": names,
        "schedules": listed,
    });
    output.answer(&answer, || {
        let mut text =
            format!("`{}` has no problems; syncs: {}\n", config.path.display(), names.join(", "));
        for (sync, when) in &schedules {
            text.push_str(&match when {
                When::At(next) => format!("  `{sync}` fires at {}\n", next.join(", ")),
                When::After(first) => format!("  `{sync}` runs after `{first}` has succeeded\n"),
            });
        }
        text
    });
    Ok(Exit::Done)
}

enum When<'c> {
    At(Vec<String>),
    After(&'c str),
}

/// When each schedule fires next, as it is written: a recorded pause is not looked at.
fn firings(config: &Config) -> Vec<(&str, When<'_>)> {
    let now = time::now();
    let firings = config.syncs.iter().filter_map(|sync| {
        let schedule = sync.schedule.as_ref()?;
        let when = match (schedule.timing(), schedule.after()) {
            (Some(timing), _) => {
                let next = timing.next(now, FIRINGS).into_iter();
                When::At(next.map(|at| timing.shown(at)).collect())
            }
            (None, first) => When::After(first?),
        };
        Some((sync.sync.name.as_str(), when))
    });
    firings.collect()
}
