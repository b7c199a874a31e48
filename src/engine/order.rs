use std::path::PathBuf;
use std::sync::Arc;

use crate::delivery::Budget;
use crate::delivery::limits::Limits;
use crate::delivery::spool;
use crate::destination::definition::{Connection, Requests};
use crate::domain::chosen::Chosen;
use crate::domain::priority::Priority;
use crate::domain::run::Trigger;
use crate::domain::sync::Sync;
use crate::source;

/// Everything one run needs to know; made from the config, which the engine never sees.
#[derive(Debug, Clone)]
pub struct Order {
    pub sync: Sync,
    /// Those of the model, in its order; each is shared by all syncs that read it, as it may have many tables.
    pub sources: Vec<Arc<source::definition::Definition>>,
    pub connection: Connection,
    pub requests: Requests,
    pub limits: Limits,
    /// Made from the connection's limits once in a process, and shared by all syncs of the connection.
    pub budget: Arc<Budget>,
    /// Of its requests, beside those of other syncs of the connection.
    pub priority: Priority,
    /// Force Full Resync.
    pub is_full: bool,
    /// A person says that the snapshot is true of another key or destination than it was made under.
    pub keeps_snapshot: bool,
    /// A sample of these rows, and no run of all.
    pub chosen: Option<Chosen>,
    pub trigger: Trigger,
    /// Of the config that this was made from; stored with the run.
    pub revision: String,
    /// The state's folder; the sync's snapshot is in `snapshots/NAME` below it.
    pub state: PathBuf,
    /// Where receipts are spooled for the delivery log, if there is one.
    pub spool: Option<spool::Place>,
    /// Bytes that a run may take.
    pub memory_limit: u64,
}
