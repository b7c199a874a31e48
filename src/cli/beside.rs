//! A run that the server carries out: asked for over HTTP, waited for, and reported like one of this process.
//!
//! Not responsible for finding the server (`address`). A signal ends the waiting, not the run.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::address;
use super::exit::{self, Exit};
use super::failure::Failure;
use super::output::Output;
use super::state::Place;
use super::stopping::{Cause, Signals};
use super::sync;
use crate::api::probes;
use crate::domain::chosen::Chosen;
use crate::domain::id::RunId;
use crate::domain::run::Phase;
use crate::engine::report::Report;
use crate::store::RunRow;

/// The variable with the token that a server is shown.
const TOKEN: &str = "COUNTERFLOW_TOKEN";
const POLL: Duration = Duration::from_millis(200);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the answer to a question may take that can go without one.
const BRIEFLY: Duration = Duration::from_secs(2);
/// The same, where the model is read for it.
const LONG: Duration = Duration::from_secs(3_600);
/// How often an answer may fail to come before the server counts as gone.
const FAILURES: u32 = 10;

/// The server that owns the state.
#[derive(Debug)]
pub struct Server {
    client: reqwest::Client,
    address: SocketAddr,
}

/// What is needed of an answer to a question about a run.
#[derive(Debug, Deserialize)]
struct Asked {
    is_ended: bool,
    #[serde(default)]
    is_config_fault: Option<bool>,
    report: Option<Report>,
}

/// Whether the server that owns the state, if one does, starts or puts another config in place: then how its syncs stand is
/// not known yet. A server that does not answer is none.
pub async fn is_reinitializing(state: &Path) -> bool {
    let Some(address) = address::of_owner(state) else { return false };
    let Ok(server) = Server::at(address.address) else { return false };
    let asked = server.client.get(server.url("/ready")).timeout(BRIEFLY);
    let Some((StatusCode::SERVICE_UNAVAILABLE, problem)) = ask(asked).await else { return false };
    matches!(problem["readiness"].as_str(), Some(probes::STARTING | probes::RELOADING))
}

impl Server {
    pub fn at(address: SocketAddr) -> Result<Server, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token()? {
            headers.insert(AUTHORIZATION, token);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::of(&error))?;
        Ok(Server { client, address })
    }

    /// Has the server run the sync, and waits for the end of that run.
    pub async fn sync(
        &self,
        place: &Place,
        output: &Output,
        sync: &str,
        asked: sync::Asked,
        signals: Signals,
    ) -> Result<(Report, Exit), Failure> {
        let path = format!("/api/v1/syncs/{sync}/run");
        let body = json!({ "full": asked.is_full, "keep_snapshot": asked.keeps_snapshot });
        self.carried_out(place, output, sync, &path, &body, signals).await
    }

    /// Has the server send chosen rows of the sync, its name fit for a path, and waits for the end of that run.
    pub async fn sample(
        &self,
        place: &Place,
        output: &Output,
        sync: &str,
        chosen: &Chosen,
        signals: Signals,
    ) -> Result<(Report, Exit), Failure> {
        let path = format!("/api/v1/syncs/{sync}/sample");
        let body = serde_json::to_value(chosen).expect("a choice is plain data and always JSON");
        self.carried_out(place, output, sync, &path, &body, signals).await
    }

    /// Gives the server a command that begins a run, and waits for the end of that run.
    pub async fn carried_out(
        &self,
        place: &Place,
        output: &Output,
        sync: &str,
        path: &str,
        body: &Value,
        mut signals: Signals,
    ) -> Result<(Report, Exit), Failure> {
        let body = body.to_string();
        let request =
            self.client.post(self.url(path)).header("content-type", "application/json").body(body);
        let accepted = answer(request).await?.ok_or_else(|| self.gone())?;
        let run = accepted["run"].as_u64().map(RunId).ok_or_else(|| self.gone())?;
        output.aside(&format!(
            "run {run} of `{sync}` is carried out by the server at {}",
            self.address
        ));
        let report = tokio::select! {
            biased;
            cause = signals.next() => return Err(left(cause, run, sync)),
            report = self.wait(place, run) => report?,
        };
        let exit = exit::of(&report, None);
        Ok((report, exit))
    }

    /// Whether the sync, its name fit for a path, is paused by the config that the server was started with.
    pub async fn is_paused_in_config(&self, sync: &str) -> Result<bool, Failure> {
        let path = format!("/api/v1/syncs/{sync}");
        let status = answer(self.client.get(self.url(&path))).await?;
        let said = status.and_then(|status| status["is_paused_in_config"].as_bool());
        said.ok_or_else(|| self.gone())
    }

    /// Asks the server; its answer.
    pub async fn question(&self, path: &str) -> Result<Value, Failure> {
        answer(self.client.get(self.url(path))).await?.ok_or_else(|| self.gone())
    }

    /// Gives the server a command; its answer.
    pub async fn command(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        answer(request.body(body.to_string())).await?.ok_or_else(|| self.gone())
    }

    /// As [`Server::command`], for one that reads the model before it is answered.
    pub async fn long_command(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        let request = request.timeout(LONG).body(body.to_string());
        answer(request).await?.ok_or_else(|| self.gone())
    }

    async fn wait(&self, place: &Place, run: RunId) -> Result<Report, Failure> {
        let path = format!("/api/v1/runs/{run}");
        let mut failures = 0;
        while failures < FAILURES {
            match while_open(self.client.get(self.url(&path))).await? {
                Some(document) => {
                    let asked: Asked =
                        serde_json::from_value(document).map_err(|error| Failure::of(&error))?;
                    if let Some(report) = asked.report.filter(|_| asked.is_ended) {
                        let is_config_fault = asked.is_config_fault.unwrap_or_default();
                        return Ok(Report { is_config_fault, ..report });
                    }
                    // The report comes a moment after the end, or not at all if the server was started anew.
                    failures = if asked.is_ended { failures + 1 } else { 0 };
                }
                None => failures += 1,
            }
            tokio::time::sleep(POLL).await;
        }
        let row = match place.beside().await? {
            Some(store) => store.run(run).await?,
            None => None,
        };
        row.and_then(of_row).ok_or_else(|| {
            Failure::failed(format!(
                "the server at {} is gone before the end of run {run}; `counterflow runs` shows what came of it, and \
                 the server's next start goes on with it",
                self.address
            ))
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn gone(&self) -> Failure {
        Failure::failed(format!(
            "the server at {} does not answer; see its log, and try again",
            self.address
        ))
    }
}

/// What a server is shown, where it needs a token.
fn token() -> Result<Option<HeaderValue>, Failure> {
    let Some(secret) = std::env::var(TOKEN).ok().filter(|secret| !secret.trim().is_empty()) else {
        return Ok(None);
    };
    let mut value = HeaderValue::try_from(format!("Bearer {}", secret.trim())).map_err(|_| {
        Failure::usage(format!(
            "`{TOKEN}` holds no token; set it to what `counterflow token create` printed"
        ))
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The document of an answer; `None` if there was no answer.
async fn answer(request: reqwest::RequestBuilder) -> Result<Option<Value>, Failure> {
    let Some((status, document)) = ask(request).await else { return Ok(None) };
    granted(status, document).map(Some)
}

/// As [`answer`]; a server that has closed its state on its way out has none.
async fn while_open(request: reqwest::RequestBuilder) -> Result<Option<Value>, Failure> {
    match ask(request).await {
        None | Some((StatusCode::SERVICE_UNAVAILABLE, _)) => Ok(None),
        Some((status, document)) => granted(status, document).map(Some),
    }
}

async fn ask(request: reqwest::RequestBuilder) -> Option<(StatusCode, Value)> {
    let response = request.send().await.ok()?;
    let status = response.status();
    let body = response.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&body).unwrap_or_default()))
}

fn granted(status: StatusCode, document: Value) -> Result<Value, Failure> {
    if status.is_success() {
        return Ok(document);
    }
    let detail = document["detail"].as_str().unwrap_or("it gave no reason");
    let text = format!("the server refused ({}): {detail}", status.as_u16());
    // A sync that is not there or paused, a config with problems: the same exit code as without a server.
    Err(match status.as_u16() {
        401 | 403 => {
            Failure::usage(format!("{text}; the command line takes its token from `{TOKEN}`"))
        }
        404 | 409 | 422 => Failure::usage(text),
        _ => Failure::failed(text),
    })
}

fn left(cause: Cause, run: RunId, sync: &str) -> Failure {
    let exit = match cause {
        Cause::Terminate => Exit::Terminated,
        Cause::Interrupt | Cause::Command => Exit::Interrupted,
    };
    let text = format!("run {run} goes on in the server; `counterflow stop {sync}` stops it");
    Failure { exit, ..Failure::failed(text) }
}

/// The report of a run as far as the store has it.
fn of_row(row: RunRow) -> Option<Report> {
    let Phase::Ended(outcome) = row.phase else { return None };
    Some(Report {
        kind: row.choice.map(|choice| choice.kind),
        reason: row.choice.map(|choice| choice.reason),
        outcome,
        tally: row.tally,
        error: row.error,
        ..Report::new(row.id, row.sync)
    })
}
