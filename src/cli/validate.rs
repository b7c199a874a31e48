use serde_json::{Value, json};

use super::describing::{self, Seen};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;
use super::time;
use crate::api::status::FIRINGS;
use crate::config::Config;

/// Reads the config and says that nothing is wrong with it; what is wrong is the failure. `models`: those to hold against their
/// sources too, all where none is named.
pub async fn run(
    place: &Place,
    output: &Output,
    models: Option<Vec<String>>,
) -> Result<Exit, Failure> {
    let config = place.config()?;
    let seen = match &models {
        Some(names) => Some(Box::pin(describing::describe(&config, names)).await?),
        None => None,
    };
    let names: Vec<&str> = config.syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
    let schedules = firings(&config);
    let warnings: Vec<String> =
        config.sources.values().flat_map(|source| source.warnings()).collect();
    let unopened = if seen.is_some() { Vec::new() } else { all_models(&config) };
    let listed = schedules.iter().map(|(sync, when)| match when {
        When::At(next) => json!({ "sync": sync, "next": next }),
        When::After(first) => json!({ "sync": sync, "next": [], "after": first }),
    });
    let listed: Vec<_> = listed.collect();
    let mut answer = json!({
        "file": config.path.display().to_string(),
        "state": config.state.display().to_string(),
        "syncs": names,
        "schedules": listed,
        "warnings": warnings,
        "unopened": unopened,
    });
    if let Some(seen) = &seen {
        answer["models"] = seen.iter().map(Seen::to_json).collect::<Value>();
    }
    output.answer(&answer, || {
        let is_well = seen.as_ref().is_none_or(|seen| describing::exit(seen) == Exit::Done);
        let of = if is_well { "no problems" } else { "no problems in itself" };
        let mut text =
            format!("`{}` has {of}; syncs: {}\n", config.path.display(), names.join(", "));
        for (sync, when) in &schedules {
            text.push_str(&match when {
                When::At(next) => format!("  `{sync}` fires at {}\n", next.join(", ")),
                When::After(first) => format!("  `{sync}` runs after `{first}` has succeeded\n"),
            });
        }
        warnings.iter().for_each(|warning| text.push_str(&format!("  warning: {warning}\n")));
        if !unopened.is_empty() {
            text.push_str(&format!(
                "  not held against their sources: `{}`; `counterflow validate --sources` does it\n",
                unopened.join("`, `")
            ));
        }
        seen.iter().for_each(|seen| text.push_str(&describing::human(seen)));
        text
    });
    Ok(seen.map_or(Exit::Done, |seen| describing::exit(&seen)))
}

/// Models that nobody opened: what their columns are, and whether each can be sent, is not known.
fn all_models(config: &Config) -> Vec<&str> {
    config.models.values().map(|model| model.name.as_str()).collect()
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
