//! Whether the process lives, whether it is ready, and what it is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::problem::Problem;
use super::routes::{Route, Routes};
use crate::control::handle::{Readiness, Refused};

/// The words of `/ready` while every sync is Server Reinitializing.
pub const STARTING: &str = "starting";
pub const RELOADING: &str = "reloading";

/// The paths of the probes.
pub fn routes(routes: Routes) -> Routes {
    let (health, ready) = (
        Route::get("/health", "health", "Whether the process lives").open(),
        Route::get("/ready", "ready", "Whether triggers are taken in").open(),
    );
    routes
        .add(health.json::<Alive>(200, "It lives"), get(self::health))
        .add(ready.json::<Ready>(200, "They are"), get(self::ready))
        .add(
            Route::get("/version", "version", "Which version and which config run")
                .json::<Version>(200, "The version"),
            get(version),
        )
}

#[derive(Debug, Serialize, JsonSchema)]
struct Alive {
    /// `alive`.
    status: &'static str,
}

/// What was looked at, without names: whoever asks is answered.
#[derive(Debug, Serialize, JsonSchema)]
struct Ready {
    /// `ready`.
    status: &'static str,
    checks: Vec<Check>,
    /// Of the config that runs.
    revision: Option<String>,
    /// Set while the file as it is now does not run.
    warning: Option<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Check {
    /// `recovery`, `schedules` or `state`.
    check: &'static str,
    is_met: bool,
    detail: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Version {
    version: &'static str,
    /// Of the config that runs.
    revision: Option<String>,
    /// When it was put in place.
    #[schemars(extend("format" = "date-time"))]
    since: Option<String>,
    /// Why the file as it is now does not run.
    warning: Option<String>,
}

/// Said where whoever asks is answered.
const WARNING: &str = "the config file as it is now does not run, the last good revision does; `GET /version` and the log say why";

async fn health() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Triggers are taken in: the state is ours and can be written, and what an earlier process left is recovered.
async fn ready(State(app): State<App>) -> Result<Response, Problem> {
    match app.handle.readiness() {
        Readiness::Starting => {
            return Err(Problem::from(Refused::Starting).after(1).while_it_is(STARTING));
        }
        Readiness::Reloading => {
            let detail = "another config is being put in place; ask again in a moment";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            return Err(problem.after(1).while_it_is(RELOADING));
        }
        Readiness::Draining => {
            return Err(Problem::from(Refused::Draining).after(5).while_it_is("draining"));
        }
        Readiness::Ready => {}
    }
    if let Err(error) = app.store.probe().await {
        // Whoever asks is answered, and a path is not for everybody.
        tracing::warn!(%error, "the state cannot be written");
        let detail = "the state cannot be written; the server's log says why";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(5));
    }
    let met = |check, detail| Check { check, is_met: true, detail };
    let checks = vec![
        met("recovery", "what an earlier process left is taken up"),
        met("schedules", "schedules are armed"),
        met("state", "the state is ours and can be written"),
    ];
    let config = app.handle.config();
    let warning = config.as_ref().and_then(|config| config.warning.as_ref()).map(|_| WARNING);
    let revision = config.map(|config| config.revision);
    Ok(Json(Ready { status: "ready", checks, revision, warning }).into_response())
}

async fn version(State(app): State<App>) -> Json<Version> {
    let config = app.handle.config();
    Json(Version {
        version: env!("CARGO_PKG_VERSION"),
        revision: config.as_ref().map(|config| config.revision.clone()),
        since: config.as_ref().map(|config| config.since.to_string()),
        warning: config.and_then(|config| config.warning),
    })
}
