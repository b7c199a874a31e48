//! The backlog of a sync, and the decision that what waits while it is paused shall not be sent.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::App;
use super::command::{By, Held};
use super::extract::{FromBody, FromPath, FromQuery};
use super::problem::Problem;
use super::reason::said;
use super::routes::{Route, Routes};
use crate::control::discarding::{self, Decision};
use crate::control::pausing::paused;
use crate::engine::backlog::Backlog;
use crate::engine::run::now;
use crate::store::Scope;

/// Seconds that a count is waited for, where the question does not say.
const USUAL_WAIT: u64 = 10;
/// Less than any question may take.
const LONGEST_WAIT: u64 = 15;
/// The path of the decision.
pub const DISCARD: &str = "/api/v1/syncs/{sync}/discard-backlog";

/// How it is refused where nothing was shown.
pub const UNSHOWN: &str = "`shown` says nothing";

/// What of the body of a decision is asked for. What was shown only bounds it: a repetition may have counted anew.
pub fn asked_for(body: &Bytes) -> Bytes {
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut fields)) => {
            fields.shift_remove("shown");
            Value::Object(fields).to_string().into()
        }
        _ => body.clone(),
    }
}

/// The paths of backlogs.
pub fn routes(routes: Routes) -> Routes {
    let count = Route::get(
        "/api/v1/syncs/{sync}/backlog",
        "backlog",
        "Count what waits while the sync is paused; the model is read for it",
    );
    let discard = Route::post(
        Scope::Write,
        DISCARD,
        "discard_backlog",
        "Decide that what waits shall never be sent",
    );
    let count = count
        .query::<HowLong>()
        .json::<OfSync>(200, "What waits")
        .json::<Counting>(202, "It is still being counted; ask again");
    routes.add(count, get(self::count)).add(
        discard.needed_body::<Asked>().json::<OfSync>(200, "It is discarded"),
        post(self::discard),
    )
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DiscardRequest", extend("required" = ["shown", "message"]))]
struct Asked {
    /// What was shown: no more than that is discarded. No part of what an `Idempotency-Key` is for.
    #[serde(default)]
    #[schemars(with = "Backlog")]
    shown: Option<Backlog>,
    /// Why.
    #[serde(default)]
    #[schemars(extend("pattern" = r"[^\s\x00-\x1f\x7f-\x9f]"))]
    message: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HowLong {
    /// Seconds that the answer may take; 10 unless said.
    #[schemars(range(max = 15))]
    wait: Option<u64>,
}

/// A count that takes longer than that.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CountingBacklog")]
struct Counting {
    sync: String,
    /// `counting`.
    state: &'static str,
}

/// How much waits of one sync.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BacklogOfSync")]
struct OfSync {
    sync: String,
    is_discarded: bool,
    #[serde(flatten)]
    backlog: Backlog,
}

/// Counts the backlog of a paused sync: 202 while that goes on for longer than the question may take.
async fn count(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    FromQuery(HowLong { wait }): FromQuery<HowLong>,
) -> Result<Response, Problem> {
    let wait = wait.unwrap_or(USUAL_WAIT);
    if wait > LONGEST_WAIT {
        let detail = format!("`wait` is {wait}; wait up to {LONGEST_WAIT} seconds, and ask again");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    check_paused(&app, &sync).await?;
    let patience = Duration::from_secs(wait);
    match app.counts.of(&app.samples, &app.store, &sync, patience).await? {
        Some(came) => {
            let backlog = came.map_err(|error| Problem::from(&*error))?;
            Ok(Json(OfSync { sync, is_discarded: false, backlog }).into_response())
        }
        None => {
            let again = [(header::RETRY_AFTER, "1")];
            let counting = Json(Counting { sync, state: "counting" });
            Ok((StatusCode::ACCEPTED, again, counting).into_response())
        }
    }
}

/// Discards the backlog of a paused sync, as far as it was shown.
async fn discard(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(By { who, store }): Extension<By>,
    Extension(held): Extension<Held>,
    FromBody(Asked { shown, message }): FromBody<Asked>,
) -> Result<Json<OfSync>, Problem> {
    let message = said(message)?;
    let Some(shown) = shown else {
        let detail = format!(
            "{UNSHOWN}; send what `GET /api/v1/syncs/{sync}/backlog` counts, as in `{{\"changes\": 3}}`"
        );
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    };
    check_paused(&app, &sync).await?;
    let decision = Decision { shown, message, who };
    let (samples, name) = (app.samples.clone(), sync.clone());
    let discarded = app.samples.threads().run(async move || {
        // It goes on though nobody waits for it any more, and so long its key is in use.
        let _held = held;
        Box::pin(discarding::discard(&samples, &store, &name, decision)).await
    });
    let backlog = discarded.await???;
    Ok(Json(OfSync { sync, is_discarded: true, backlog }))
}

async fn check_paused(app: &App, sync: &str) -> Result<(), Problem> {
    let configured = app.config.sync(sync).ok_or_else(|| Problem::no_sync(sync))?.paused;
    if paused(sync, app.store.pause(sync).await?, configured, now()).is_none() {
        let detail = format!("`{sync}` is not paused; pause it before its backlog is discarded");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access;

    #[test]
    fn a_count_is_answered_before_the_request_is_cut() {
        let cut = access::TIMEOUT.as_secs();
        assert!(USUAL_WAIT <= LONGEST_WAIT && LONGEST_WAIT < cut, "{LONGEST_WAIT} of {cut} s");
        let schema = schemars::schema_for!(HowLong);
        let wait = &schema.as_value()["properties"]["wait"];
        assert_eq!(wait["maximum"], LONGEST_WAIT);
        let usual = format!("{USUAL_WAIT} unless said");
        assert!(wait["description"].as_str().is_some_and(|text| text.contains(&usual)), "{wait}");
    }
}
