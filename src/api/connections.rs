//! Connections and groups: their status over their syncs.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::extract::{FromPath, FromQuery};
use super::paging::Asked;
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::runs::Page;
use super::shape::StatusWord;
use super::status::Status;
use super::syncs::standings_of;
use crate::config::SyncConfig;
use crate::domain::status::status;
use axum::http::StatusCode;

/// The paths of connections and groups.
pub fn routes(routes: Routes) -> Routes {
    let one = Route::get("/api/v1/connections/{connection}", "connection", "One connection");
    routes
        .add(
            Route::get("/api/v1/connections", "connections", "Every connection over its syncs")
                .query::<Asked>()
                .json::<Vec<Connection>>(200, "A page of connections, by name"),
            get(list),
        )
        .add(one.json::<Connection>(200, "The connection"), get(self::one))
}

/// A connection: a group whose members are the syncs that use it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Connection {
    connection: String,
    status: StatusWord,
    status_reason: String,
    syncs: Vec<String>,
}

async fn list(
    State(app): State<App>,
    FromQuery(asked): FromQuery<Asked>,
) -> Result<Page<Connection>, Problem> {
    let connections = app.config.connections.keys().map(String::as_str);
    let page = asked.of("/api/v1/connections", connections, |name| name, no_connection)?;
    let documents = documents(&app, &page.items).await;
    Ok(page.answer(documents))
}

async fn one(
    State(app): State<App>,
    FromPath(name): FromPath<String>,
) -> Result<Json<Connection>, Problem> {
    if !app.config.connections.contains_key(&name) {
        return Err(no_connection(&name));
    }
    Ok(Json(documents(&app, &[name.as_str()]).await.remove(0)))
}

fn no_connection(name: &str) -> Problem {
    let detail =
        format!("there is no connection `{name}`; `GET /api/v1/connections` lists those there are");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// The connections of these names, in their order.
pub async fn documents(app: &App, names: &[&str]) -> Vec<Connection> {
    let members = |name: &&str| -> Vec<&SyncConfig> {
        app.config.syncs.iter().filter(|sync| sync.sync.connection == *name).collect()
    };
    let parts: Vec<Vec<&SyncConfig>> = names.iter().map(members).collect();
    let statuses = standings_of(app, &parts).await;
    names.iter().zip(statuses).map(|(name, statuses)| document(name, statuses)).collect()
}

fn document(name: &str, statuses: Vec<Status<'_>>) -> Connection {
    let syncs = statuses.iter().map(|status| status.sync.sync.name.clone()).collect();
    let facts: Vec<_> = statuses.into_iter().map(|status| status.facts).collect();
    let status = status(&facts);
    Connection {
        connection: name.to_owned(),
        status: StatusWord(status.word),
        status_reason: status.reason,
        syncs,
    }
}
