//! Commands and questions to the server over HTTP; a run that it carries out is waited for, and reported like one of this
//! process.
//!
//! Not responsible for finding the server (`address`). A signal ends the waiting, not the run. Invariant: every command has a
//! key, so that a repetition after an answer that was lost has no second effect.

use std::net::SocketAddr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::failure::Failure;
use super::output::Output;
use super::state::Place;
use super::stopping::{Cause, Signals};
use super::{sync, time};
use crate::api::status::Status;
use crate::api::{self, probes};
use crate::control::waiting;
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
    /// What the person who gives the command knows it by.
    key: Option<String>,
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
pub async fn is_reinitializing(place: &Place) -> bool {
    let Ok(Some(server)) = place.server() else { return false };
    let asked = server.client.get(server.url("/ready")).timeout(BRIEFLY);
    let Ok((StatusCode::SERVICE_UNAVAILABLE, problem)) = ask(asked).await else { return false };
    matches!(problem["readiness"].as_str(), Some(probes::STARTING | probes::RELOADING))
}

/// Takes the words of the server that owns the state, if one does, for runs that wait for nothing that the state says: it
/// alone knows of queries that runs have left behind.
pub async fn hear_waits(place: &Place, statuses: &mut [Status<'_>]) {
    let Ok(Some(server)) = place.server() else { return };
    for status in statuses {
        let waiting = status.facts.waiting.as_ref();
        if !waiting.is_some_and(|waiting| waiting.what_for.starts_with(waiting::TURN)) {
            continue;
        }
        let name = utf8_percent_encode(&status.sync.sync.name, NON_ALPHANUMERIC);
        let path = format!("/api/v1/syncs/{name}");
        let asked = server.client.get(server.url(&path)).timeout(BRIEFLY);
        let Ok((StatusCode::OK, said)) = ask(asked).await else { return };
        if said["status"] == status.status.word.to_string()
            && let Some(reason) = said["status_reason"].as_str()
        {
            status.status.reason = reason.to_owned();
        }
    }
}

/// The path of a command to one of these things, such as `/api/v1/syncs/NAME/stop`.
pub fn path(things: &str, name: &str, command: &str) -> String {
    format!("/api/v1/{things}/{}/{command}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

impl Server {
    /// The server at this address. `key`: what a repetition of the command is known by, where the person said it.
    pub fn at(address: SocketAddr, key: Option<String>) -> Result<Server, Failure> {
        let mut headers = HeaderMap::new();
        let user = HeaderValue::try_from(time::who_as_name()).expect("a name is plain ASCII");
        headers.insert(api::USER, user);
        if let Some(token) = token()? {
            headers.insert(AUTHORIZATION, token);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            // It speaks to this machine, without TLS: the certificates of the system need not be there.
            .tls_certs_only([])
            .build()
            .map_err(|error| Failure::of(&error))?;
        Ok(Server { client, address, key })
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
        let path = path("syncs", sync, "run");
        let sync::Asked { is_full, keeps_snapshot, message } = asked;
        let body = json!({ "full": is_full, "keep_snapshot": keeps_snapshot, "message": message });
        self.carried_out(place, output, sync, &path, &body, signals).await
    }

    /// Has the server send chosen rows of the sync, and waits for the end of that run.
    pub async fn sample(
        &self,
        place: &Place,
        output: &Output,
        sync: &str,
        chosen: &Chosen,
        message: Option<&str>,
        signals: Signals,
    ) -> Result<(Report, Exit), Failure> {
        let path = path("syncs", sync, "sample");
        let mut body =
            serde_json::to_value(chosen).expect("a choice is plain data and always JSON");
        body["message"] = json!(message);
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
        let accepted = self.command(path, body).await?;
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

    /// Asks the server; its answer.
    pub async fn question(&self, path: &str) -> Result<Value, Failure> {
        match ask(self.client.get(self.url(path))).await {
            Ok((status, document)) => granted(status, document),
            Err(_) => Err(self.gone()),
        }
    }

    /// Gives the server a command; its answer.
    pub async fn command(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.command_within(path, body, TIMEOUT).await
    }

    /// As [`Server::command`], for one that reads the model, or asks a destination, before it is answered.
    pub async fn long_command(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.command_within(path, body, LONG).await
    }

    async fn command_within(
        &self,
        path: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<Value, Failure> {
        let (status, document) = self.answered(path, body, limit).await?;
        granted(status, document)
    }

    /// As [`Server::command`]; its answer, whatever it is.
    pub async fn told(&self, path: &str, body: &Value) -> Result<(StatusCode, Value), Failure> {
        self.answered(path, body, TIMEOUT).await
    }

    /// Repeats the command once, under the same key, where the connection broke before there was an answer.
    async fn answered(
        &self,
        path: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<(StatusCode, Value), Failure> {
        let key = self.key.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        let body = body.to_string();
        let once = || {
            let request = self.client.post(self.url(path)).timeout(limit).header(api::KEY, &key);
            ask(request.header(CONTENT_TYPE, "application/json").body(body.clone()))
        };
        let answered = match once().await {
            Err(error) if !error.is_timeout() => once().await,
            answered => answered,
        };
        answered.map_err(|_| self.gone())
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

    pub fn gone(&self) -> Failure {
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

/// The document of an answer; `None` if there was none, as of a server that has closed its state on its way out.
async fn while_open(request: reqwest::RequestBuilder) -> Result<Option<Value>, Failure> {
    match ask(request).await {
        Err(_) | Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => Ok(None),
        Ok((status, document)) => granted(status, document).map(Some),
    }
}

async fn ask(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), reqwest::Error> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// The document of an answer that is no refusal.
pub fn granted(status: StatusCode, document: Value) -> Result<Value, Failure> {
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
pub fn of_row(row: RunRow) -> Option<Report> {
    let Phase::Ended(outcome) = row.phase else { return None };
    Some(Report {
        kind: row.choice.map(|choice| choice.kind),
        reason: row.choice.map(|choice| choice.reason),
        unchanged_since: row.choice.and_then(|choice| choice.unchanged_since),
        unchanged_version: row.choice.and_then(|choice| choice.unchanged_version),
        bound_stays: row.choice.and_then(|choice| choice.bound_stays).map(|why| why.to_string()),
        outcome,
        tally: row.tally,
        error: row.error,
        ..Report::new(row.id, row.sync)
    })
}
