//! The engine's functions as the commands call them, until the run is brought in.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::guard::HoldCause;
use crate::domain::id::RunId;
use crate::domain::kind::Choice;
use crate::domain::run::Outcome;
use crate::domain::tally::Tally;
use crate::engine::order::Order;
use crate::engine::report::Report;
use crate::shutdown::Shutdown;
use crate::store::Store;

const ABSENT: &str = "the run is not brought in yet";

#[derive(Debug, Default)]
pub struct Progress {
    rows_read: AtomicU64,
    delivered: AtomicU64,
    rejected: AtomicU64,
    in_flight: AtomicU64,
}

impl Progress {
    pub fn rows_read(&self) -> u64 {
        self.rows_read.load(Ordering::Relaxed)
    }

    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Plan {
    pub choice: Choice,
    pub tally: Tally,
    pub sample: Vec<PlanLine>,
    pub holds: Vec<HoldCause>,
    pub invalid: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct PlanLine {
    pub what: String,
    pub key: String,
}

pub async fn run(
    _store: &Store,
    order: Order,
    run: RunId,
    _shutdown: Shutdown,
    _progress: Arc<Progress>,
) -> Report {
    Report {
        run,
        sync: order.sync.name,
        kind: None,
        reason: None,
        outcome: Outcome::Failed,
        tally: Tally::default(),
        holds: Vec::new(),
        error: Some(ABSENT.to_owned()),
    }
}

pub async fn recover(_store: &Store) -> Result<Vec<RunId>, String> {
    Ok(Vec::new())
}

pub async fn plan(_order: Order) -> Result<Plan, String> {
    Err(ABSENT.to_owned())
}

pub async fn release(
    _store: &Store,
    _order: Order,
    _run: RunId,
    _message: &str,
) -> Result<Report, String> {
    Err(ABSENT.to_owned())
}

pub async fn discard(
    _store: &Store,
    _state: &Path,
    _sync: &str,
    _run: RunId,
    _message: &str,
) -> Result<u64, String> {
    Err(ABSENT.to_owned())
}
