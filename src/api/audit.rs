//! The audit log, a page at a time.

use axum::Json;
use axum::extract::State;
use axum::response::AppendHeaders;
use axum::routing::get;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::extract::{FromQuery, limit};
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::runs::{Page, next};
use crate::domain::id::RunId;
use crate::store::{AuditFilter, Audited};

/// Entries of one answer, where the question does not say.
const USUAL: u32 = 50;
const MOST: u32 = 500;

/// The path of the audit log.
pub fn routes(routes: Routes) -> Routes {
    routes.add(
        Route::get("/api/v1/audit", "audit", "Commands, the newest first")
            .query::<Asked>()
            .json::<Vec<Entry>>(200, "A page of commands"),
        get(list),
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// About this sync only.
    sync: Option<String>,
    /// Given by this person or token only.
    who: Option<String>,
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// Before this entry, for the next page.
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    before: Option<u64>,
}

/// One command: who, what, why, when, and the run that it was about.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entry {
    /// The number of this entry, for `before`.
    entry: u64,
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// The name of a token; where there were none, `local` with the user that the command named, if it named one, as in
    /// `local (ada)`; or who used the command line without a server.
    pub who: String,
    pub command: String,
    pub sync: Option<String>,
    pub run: Option<RunId>,
    pub message: Option<String>,
}

impl From<(u64, Audited)> for Entry {
    fn from((entry, audited): (u64, Audited)) -> Entry {
        let Audited { at, who, command, sync, run, message } = audited;
        Entry { entry, at: at.to_string(), who, command, sync, run, message }
    }
}

async fn list(
    State(app): State<App>,
    FromQuery(Asked { sync, who, limit: most, before }): FromQuery<Asked>,
) -> Result<Page<Entry>, Problem> {
    let most = limit(most, USUAL, MOST)?;
    let filter = AuditFilter { sync, who, before };
    let page = app.store.audit_page(&filter, most).await?;
    let AuditFilter { sync, who, .. } = filter;
    let query =
        sync.map(|sync| ("sync", sync)).into_iter().chain(who.map(|who| ("who", who))).collect();
    let link = next("/api/v1/audit", query, most, page.len(), page.last().map(|(id, _)| *id));
    Ok((AppendHeaders(link), Json(page.into_iter().map(Entry::from).collect())))
}
