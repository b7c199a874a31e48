//! Runs, and the records that they could not deliver.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::AppendHeaders;
use axum::routing::get;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::document::{PhaseWord, Run};
use super::events::Counts;
use super::extract::{FromPath, FromQuery, limit};
use super::problem::Problem;
use super::routes::{Route, Routes};
use crate::domain::entry::Operation;
use crate::domain::id::RunId;
use crate::domain::run::Trigger;
use crate::engine::report::Report;
use crate::store::{self, NoteFilter, RunFilter, RunNote, Verdict};

/// Runs of one answer, where the question does not say.
const USUAL: u32 = 20;
/// Records of one answer, where the question does not say.
const USUAL_RECORDS: u32 = 100;
const MOST: u32 = 500;

/// The paths of runs.
pub fn routes(routes: Routes) -> Routes {
    let one = Route::get("/api/v1/runs/{run}", "run", "One run, with its report while it is kept");
    let of_run =
        Route::get("/api/v1/runs/{run}/rejected", "rejected_of_run", "What it could not deliver");
    let of_sync = Route::get(
        "/api/v1/syncs/{sync}/rejected",
        "rejected_of_sync",
        "What its last runs could not deliver",
    );
    routes
        .add(
            Route::get("/api/v1/runs", "runs", "Runs, the newest first")
                .query::<Asked>()
                .json::<Vec<Run>>(200, "A page of runs"),
            get(list),
        )
        .add(one.json::<WithReport>(200, "The run"), get(self::one))
        .add(
            of_run.query::<AskedRecords>().json::<Vec<Record>>(200, "A page of records"),
            get(rejected_of_run),
        )
        .add(
            of_sync.query::<AskedRecords>().json::<Vec<Record>>(200, "A page of records"),
            get(rejected_of_sync),
        )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Of this sync only.
    sync: Option<String>,
    /// That are in this phase, or ended so.
    phase: Option<PhaseWord>,
    /// That were started so.
    trigger: Option<Trigger>,
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// Before this run, for the next page.
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    before: Option<u64>,
}

/// A page, and the way to the next.
pub type Page<T> = (AppendHeaders<Next>, Json<Vec<T>>);

/// The header with the way to the next page, where there is one.
pub type Next = Option<(HeaderName, String)>;

/// Runs, the newest first.
async fn list(
    State(app): State<App>,
    FromQuery(asked): FromQuery<Asked>,
) -> Result<Page<Run>, Problem> {
    let Asked { sync, phase, trigger, limit: most, before } = asked;
    let most = limit(most, USUAL, MOST)?;
    let phase = phase.map(|PhaseWord(phase)| phase);
    let filter = RunFilter { sync, phase, trigger, before: before.map(RunId) };
    let rows = app.store.runs_by(&filter, most).await?;
    if let (true, Some(sync)) = (rows.is_empty(), &filter.sync)
        && app.config.sync(sync).is_none()
    {
        return Err(Problem::no_sync(sync));
    }
    let mut query = Vec::new();
    query.extend(filter.sync.map(|sync| ("sync", sync)));
    query.extend(phase.map(|phase| ("phase", phase.to_string())));
    query.extend(trigger.map(|trigger| ("trigger", trigger.to_string())));
    let link = next("/api/v1/runs", query, most, rows.len(), rows.last().map(|row| row.id.0));
    Ok((AppendHeaders(link), Json(rows.iter().map(Run::from).collect())))
}

/// The header with the next page; without one where this page is not full.
pub fn next(
    path: &str,
    query: Vec<(&str, String)>,
    most: u32,
    found: usize,
    last: Option<u64>,
) -> Next {
    let is_full = u32::try_from(found).is_ok_and(|found| found >= most);
    let last = last.filter(|_| is_full)?;
    let mut link = format!("<{path}?limit={most}&before={last}");
    for (name, value) in query {
        let set = percent_encoding::NON_ALPHANUMERIC;
        let value = percent_encoding::utf8_percent_encode(&value, set);
        link.push_str(&format!("&{name}={value}"));
    }
    Some((header::LINK, format!("{link}>; rel=\"next\"")))
}

/// A run, with its report if it ended in this process.
#[derive(Debug, Serialize, JsonSchema)]
struct WithReport {
    #[serde(flatten)]
    run: Run,
    is_ended: bool,
    /// Of the run as it goes; at its end the tally has them.
    live: Option<Counts>,
    /// The run failed by what the config says; for the exit code.
    is_config_fault: Option<bool>,
    report: Option<Report>,
}

async fn one(
    State(app): State<App>,
    FromPath(run): FromPath<u64>,
) -> Result<Json<WithReport>, Problem> {
    let run = RunId(run);
    // The report comes after the end is stored: asked for first, it never lacks beside an end for good.
    let report = app.handle.report(run);
    let row = app.store.run(run).await?.ok_or(store::Error::NoRun(run))?;
    Ok(Json(WithReport {
        run: Run::from(&row),
        is_ended: row.phase.is_ended(),
        live: Counts::of(&app, run).filter(|_| !row.phase.is_ended()),
        is_config_fault: report.as_ref().map(|report| report.is_config_fault),
        report,
    }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskedRecords {
    /// That came to this only.
    verdict: Option<Verdict>,
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// Before this note, for the next page.
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    before: Option<u64>,
}

/// A record that a run could not deliver: its key, and what was said of it.
#[derive(Debug, Serialize, JsonSchema)]
struct Record {
    /// The number of this note, for `before`.
    note: u64,
    run: RunId,
    key: String,
    verdict: Verdict,
    operation: Option<Operation>,
    code: Option<String>,
    message: Option<String>,
}

async fn rejected_of_run(
    State(app): State<App>,
    FromPath(run): FromPath<u64>,
    FromQuery(asked): FromQuery<AskedRecords>,
) -> Result<Page<Record>, Problem> {
    let run = RunId(run);
    app.store.run(run).await?.ok_or(store::Error::NoRun(run))?;
    let filter = NoteFilter { run: Some(run), ..NoteFilter::default() };
    records(&app, &format!("/api/v1/runs/{run}/rejected"), filter, asked).await
}

async fn rejected_of_sync(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    FromQuery(asked): FromQuery<AskedRecords>,
) -> Result<Page<Record>, Problem> {
    if app.config.sync(&sync).is_none() {
        return Err(Problem::no_sync(&sync));
    }
    let path = format!("/api/v1/syncs/{sync}/rejected");
    let filter = NoteFilter { sync: Some(sync), ..NoteFilter::default() };
    records(&app, &path, filter, asked).await
}

async fn records(
    app: &App,
    path: &str,
    filter: NoteFilter,
    AskedRecords { verdict, limit: most, before }: AskedRecords,
) -> Result<Page<Record>, Problem> {
    let most = limit(most, USUAL_RECORDS, MOST)?;
    let page = app.store.notes_page(&NoteFilter { verdict, before, ..filter }, most).await?;
    let words = verdict.and_then(|verdict| serde_json::to_value(verdict).ok());
    let words = words.and_then(|word| word.as_str().map(str::to_owned));
    let query = words.into_iter().map(|word| ("verdict", word)).collect();
    let link = next(path, query, most, page.len(), page.last().map(|(note, _)| *note));
    let records = page.into_iter().map(|(note, RunNote { run, note: record })| {
        let store::RecordNote { key, verdict, operation, code, message } = record;
        Record { note, run, key, verdict, operation, code, message }
    });
    Ok((AppendHeaders(link), Json(records.collect())))
}
