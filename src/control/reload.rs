//! A config read anew while the server runs: how it is asked for, what is known of the one that runs, what is put in place.
//!
//! Not responsible for reading a config (`cli::reloading`), for comparing two (`config::compare`), nor for putting one in
//! place (`service::reloading`). Invariant: whoever is refused has changed nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::handle;
use super::queue;
use super::service::Standing;
use crate::delivery::Budget;
use crate::delivery::limits::Limits;
use crate::domain::id::Instant;
use crate::store::Store;

/// Requests that wait to be heard.
const ASKED: usize = 16;

/// What is put in place of what runs.
#[derive(Debug)]
pub struct Change {
    /// All syncs there are from now on, an incremental run each.
    pub syncs: Vec<Standing>,
    pub limits: queue::Limits,
    /// Budgets that bear something else from now on, in use by runs that go.
    pub budgets: Vec<(Arc<Budget>, Limits)>,
    /// Syncs that do something else from now on; they count as restarting until their first result.
    pub changed: BTreeSet<String>,
    /// Those of them whose schedule is another one.
    pub rescheduled: BTreeSet<String>,
    pub who: String,
    /// What changes, for the audit.
    pub message: String,
    /// As the command writes it that asked for it, if one did.
    pub store: Option<Store>,
}

/// The config that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub revision: String,
    /// When it was put in place.
    pub since: Instant,
    /// Why the file as it is now does not run, if it does not.
    pub warning: Option<String>,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The one that runs now.
    pub revision: String,
    pub is_changed: bool,
    /// What changed, for programs.
    pub changes: Value,
    /// The same, for people.
    pub words: String,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "revision `{expected}` was expected and `{running}` runs; look at what changed since, and ask again with `{running}`"
    )]
    Stale { expected: String, running: String },
    /// The file has these problems, in words and for programs.
    #[error("{text}")]
    Bad { text: String, problems: Value },
    #[error(transparent)]
    Service(#[from] handle::Refused),
}

/// A request to read the config anew.
#[derive(Debug)]
pub struct Request {
    pub who: String,
    /// Why, for the audit.
    pub why: Option<String>,
    /// As the command writes it that asks, if one does.
    pub store: Option<Store>,
    /// The revision that must run.
    pub expected: Option<String>,
}

impl Request {
    /// One that is no command of its own: whatever runs will do.
    pub fn of(who: &str) -> Request {
        Request { who: who.to_owned(), why: None, store: None, expected: None }
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Asked {
    pub request: Request,
    pub reply: oneshot::Sender<Result<Reloaded, Refused>>,
}

/// To whoever reads the config anew. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Line {
    asks: mpsc::Sender<Asked>,
    known: watch::Receiver<Known>,
}

/// The other end of the line.
#[derive(Debug)]
pub struct Desk {
    pub asks: mpsc::Receiver<Asked>,
    pub known: watch::Sender<Known>,
}

pub fn channel(known: Known) -> (Line, Desk) {
    let (sender, asks) = mpsc::channel(ASKED);
    let (tell, known) = watch::channel(known);
    (Line { asks: sender, known }, Desk { asks, known: tell })
}

impl Line {
    pub fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// # Errors
    /// Why nothing has changed.
    pub async fn ask(&self, request: Request) -> Result<Reloaded, Refused> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { request, reply };
        self.asks.try_send(asked).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => handle::Refused::Busy,
            mpsc::error::TrySendError::Closed(_) => handle::Refused::Draining,
        })?;
        answer.await.unwrap_or_else(|_gone| Err(handle::Refused::Draining.into()))
    }
}
