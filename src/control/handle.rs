//! How the rest of the process talks to the service: a bounded line of commands, and what may be known of it.
//!
//! Not responsible for what a command does. A handle is made before the service, so that questions can be answered
//! while it starts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot, watch};

use super::disabling::Closed;
use super::grouping::Member;
use super::live::Live;
use super::queue::Wish;
use super::reload::{self, Change, Line};
use crate::domain::id::RunId;
use crate::engine::report::Report;
use crate::store::{self, Decision, Store};
use crate::telemetry::metrics::Metrics;

/// Commands that wait to be heard.
const COMMANDS: usize = 64;
/// Reports that are kept; older ones are what the store has of their runs.
const REPORTS: usize = 256;

/// Whether triggers are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// What an earlier process left is being recovered.
    Starting,
    Ready,
    /// Another config is being put in place.
    Reloading,
    /// Going runs are being drained.
    Draining,
}

/// A trigger that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The run that will answer it.
    pub run: RunId,
    /// The run waited already, for an earlier trigger.
    pub is_joined: bool,
}

/// Why a trigger was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is no sync `{0}`; `GET /api/v1/syncs` lists those there are")]
    UnknownSync(String),
    /// It is paused, or its source is disabled.
    #[error("{0}")]
    Closed(Closed),
    #[error("the server is starting; ask again when `/ready` answers 200")]
    Starting,
    #[error("the server is shutting down; ask again when it is back")]
    Draining,
    #[error("too many commands wait; ask again in a moment")]
    Busy,
    /// As many samples as may be have not ended.
    #[error("{0} samples go or wait, and there may be no more; ask again when one has ended")]
    Samples(usize),
    /// Somebody works on its snapshot.
    #[error(
        "a run of `{0}` goes, or another command works on its snapshot; wait for the end, or stop the run with \
         `counterflow stop {0}`, and ask again"
    )]
    Working(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What the service can be asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Run {
        sync: String,
        wish: Wish,
        given: Option<Given>,
        reply: oneshot::Sender<Result<Accepted, Refused>>,
    },
    StartGroup {
        group: String,
        syncs: Vec<String>,
        given: Given,
        reply: oneshot::Sender<Result<Vec<Started>, Refused>>,
    },
    Reload {
        change: Box<Change>,
        reply: oneshot::Sender<Result<(), Refused>>,
    },
}

/// Who asked for a run and why, for the audit; and the store as the command writes it.
#[derive(Debug, Clone)]
pub struct Given {
    pub who: String,
    pub message: Option<String>,
    pub store: Store,
    /// What the run is to carry out in the snapshot first.
    pub decision: Option<Decision>,
}

/// What the start of a group came to for one sync.
#[derive(Debug)]
pub struct Started {
    pub member: Member,
    /// Why no run of it was begun, where there is a reason.
    pub refused: Option<Closed>,
}

/// Talks to the service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    readiness: watch::Receiver<Readiness>,
    reports: Reports,
    metrics: Metrics,
    live: Live,
    /// To whoever reads the config anew, if anybody does.
    reloads: Option<Line>,
}

/// The service's end of its handles.
#[derive(Debug)]
pub struct Inbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) readiness: watch::Sender<Readiness>,
    pub(super) reports: Reports,
    pub(super) metrics: Metrics,
    pub(super) live: Live,
}

/// The last reports of this process's runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports(Arc<Mutex<VecDeque<Report>>>);

/// A handle, and what the service is made with.
pub fn channel() -> (Handle, Inbox) {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let (tell, readiness) = watch::channel(Readiness::Starting);
    let (reports, metrics, live) = (Reports::default(), Metrics::default(), Live::default());
    let inbox = Inbox {
        commands,
        readiness: tell,
        reports: reports.clone(),
        metrics: metrics.clone(),
        live: live.clone(),
    };
    (Handle { commands: sender, readiness, reports, metrics, live, reloads: None }, inbox)
}

impl Handle {
    /// Asks for a run of the sync. Once this returns, the trigger is durable.
    ///
    /// # Errors
    /// The trigger was not taken in, and nothing has changed.
    pub async fn run(&self, sync: &str, wish: Wish) -> Result<Accepted, Refused> {
        let sync = sync.to_owned();
        self.ask(|reply| Command::Run { sync, wish, given: None, reply }).await
    }

    /// As [`Handle::run`], for a command: its audit is written with the trigger, or there is no trigger.
    ///
    /// # Errors
    /// The trigger was not taken in, and nothing has changed.
    pub async fn run_for(&self, sync: &str, wish: Wish, given: Given) -> Result<Accepted, Refused> {
        let (sync, given) = (sync.to_owned(), Some(given));
        self.ask(|reply| Command::Run { sync, wish, given, reply }).await
    }

    /// Starts these syncs of a group: one that is paused is resumed, and each that does nothing is run, all in one write.
    ///
    /// # Errors
    /// Nothing has changed.
    pub async fn start_group(
        &self,
        group: &str,
        syncs: Vec<String>,
        given: Given,
    ) -> Result<Vec<Started>, Refused> {
        let group = group.to_owned();
        self.ask(|reply| Command::StartGroup { group, syncs, given, reply }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Command,
    ) -> Result<T, Refused> {
        match self.readiness() {
            Readiness::Starting => return Err(Refused::Starting),
            Readiness::Draining => return Err(Refused::Draining),
            // A config is in place in a moment: the command waits for it.
            Readiness::Ready | Readiness::Reloading => {}
        }
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Refused::Busy,
            mpsc::error::TrySendError::Closed(_) => Refused::Draining,
        })?;
        // A service that drains drops what it has not heard.
        answer.await.unwrap_or(Err(Refused::Draining))
    }

    /// The same, and a way to ask for another config.
    #[must_use]
    pub fn with_reloads(self, line: Line) -> Handle {
        Handle { reloads: Some(line), ..self }
    }

    /// The config that runs; `None` where nobody reads it anew.
    pub fn config(&self) -> Option<reload::Known> {
        self.reloads.as_ref().map(Line::known)
    }

    /// Has the config read anew.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub async fn reload(
        &self,
        request: reload::Request,
    ) -> Result<reload::Reloaded, reload::Refused> {
        match &self.reloads {
            Some(line) => line.ask(request).await,
            None => Err(Refused::Starting.into()),
        }
    }

    /// Puts another config in place.
    ///
    /// # Errors
    /// Nothing has changed.
    pub async fn apply(&self, change: Change) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Reload { change: Box::new(change), reply };
        if self.commands.send(command).await.is_err() {
            return Err(Refused::Draining);
        }
        answer.await.unwrap_or(Err(Refused::Draining))
    }

    /// Resolves once the process takes no commands in any more, as it ends. Cancel-safe.
    pub async fn draining(&self) {
        let mut readiness = self.readiness.clone();
        // Where nobody tells any more, it has ended.
        let _ = readiness.wait_for(|readiness| *readiness == Readiness::Draining).await;
    }

    pub fn readiness(&self) -> Readiness {
        *self.readiness.borrow()
    }

    /// The counts of runs that go.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// What is counted of this process's runs.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Remembers what a run came to that was carried out beside the service.
    pub(super) fn keep(&self, report: Report) {
        let Report { sync, outcome, tally, abandoned_queries, .. } = &report;
        self.metrics.ended(sync, *outcome, tally, *abandoned_queries);
        self.reports.keep(report);
    }

    /// What a run of this process came to, while it is remembered.
    pub fn report(&self, run: RunId) -> Option<Report> {
        self.reports.find(run)
    }
}

const WHOLE: &str = "nobody panics while holding the reports";

impl Reports {
    pub(super) fn keep(&self, report: Report) {
        let mut reports = self.0.lock().expect(WHOLE);
        reports.push_back(report);
        if reports.len() > REPORTS {
            reports.pop_front();
        }
    }

    fn find(&self, run: RunId) -> Option<Report> {
        let reports = self.0.lock().expect(WHOLE);
        reports.iter().find(|report| report.run == run).cloned()
    }
}
