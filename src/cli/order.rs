//! What the engine needs to know of each sync, from the config.
//!
//! Not responsible for the config itself, nor for when a sync runs. Invariant: the syncs of one connection share its budget,
//! those of one source its definition, and all of them the room of the delivery log.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, SyncConfig};
use crate::delivery::Budget;
use crate::delivery::spool::{self, Place};
use crate::domain::run::Trigger;
use crate::engine::order::Order;
use crate::export::Exporter;
use crate::history;
use crate::source::definition::Definition;
use crate::store::Store;

/// Bytes that a process may take for a run where the config does not say.
pub const MEMORY_LIMIT: u64 = 512 << 20;

/// What exports the runs of this state, where the config asks for a delivery log.
pub fn exporter(config: &Config, store: &Store) -> Option<Exporter> {
    let log = config.delivery_log.as_ref()?;
    Some(Exporter {
        store: store.clone(),
        spool: config.state.join(spool::FOLDER),
        location: log.path.clone(),
        every: log.every,
    })
}

/// How long what stays in the state.
pub fn history(config: &Config) -> history::Rules {
    let halts = config.syncs.iter().map(|sync| sync.disable_after_halts);
    history::Rules {
        runs: config.history.runs,
        audit: config.history.audit,
        results: halts.max().unwrap_or_default(),
        spool: config.state.join(spool::FOLDER),
        awaits_export: config.delivery_log.is_some(),
    }
}

/// What the engine needs to know for the one run of the sync in this process.
pub fn order(config: &Config, sync: &SyncConfig, is_full: bool, trigger: Trigger) -> Order {
    let budget = Budget::new(&config.connection_of(sync).limits);
    let sources = config.sources_of(sync).map(|source| Arc::new(source.clone())).collect();
    Order { is_full, trigger, ..standing(config, sync, budget, sources, spool(config)) }
}

/// The budgets of a process, by connection. One is kept once it is there: runs of an earlier config may use it.
pub type Budgets = BTreeMap<String, Arc<Budget>>;

/// What the engine needs to know for every sync of the config, an incremental run each; those of one connection share
/// its budget, which is made where there is none yet, and those of one source its definition.
pub fn orders(config: &Config, budgets: &mut Budgets) -> Vec<Order> {
    for (name, connection) in &config.connections {
        let budget = || Budget::new(&connection.limits);
        budgets.entry(name.clone()).or_insert_with(budget);
    }
    let budget = |sync: &SyncConfig| Arc::clone(&budgets[sync.sync.connection.as_str()]);
    let shared: BTreeMap<&str, Arc<Definition>> = config
        .sources
        .iter()
        .map(|(name, source)| (name.as_str(), Arc::new(source.clone())))
        .collect();
    let sources = |sync: &SyncConfig| {
        let names = sync.sync.model.sources();
        names.map(|name| Arc::clone(&shared[name])).collect::<Vec<_>>()
    };
    let spool = spool(config);
    let standing = |sync| standing(config, sync, budget(sync), sources(sync), spool.clone());
    config.syncs.iter().map(standing).collect()
}

/// Where receipts wait, where the config asks for a delivery log.
fn spool(config: &Config) -> Option<Place> {
    let log = config.delivery_log.as_ref()?;
    Some(Place::new(config.state.join(spool::FOLDER), log.spool))
}

fn standing(
    config: &Config,
    sync: &SyncConfig,
    budget: Arc<Budget>,
    sources: Vec<Arc<Definition>>,
    spool: Option<Place>,
) -> Order {
    let connection = config.connection_of(sync);
    Order {
        sync: sync.sync.clone(),
        sources,
        connection: connection.definition.clone(),
        requests: sync.requests.clone(),
        limits: connection.limits,
        budget,
        priority: sync.priority,
        is_full: false,
        keeps_snapshot: false,
        chosen: None,
        trigger: Trigger::Manual,
        revision: config.content.revision.clone(),
        state: config.state.clone(),
        spool,
        memory_limit: config.memory_limit.unwrap_or(MEMORY_LIMIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_of_one_source_share_its_definition_and_those_of_one_connection_its_budget() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counterflow.yaml");
        let starter = include_str!("starter.yaml");
        let open = starter.replace("      auth:\n        bearer: ${CRM_TOKEN}\n", "");
        std::fs::write(&path, open).unwrap();
        let mut config = crate::config::load(&path).unwrap();
        config.syncs.push(config.syncs[0].clone());
        let orders = orders(&config, &mut Budgets::new());
        assert!(Arc::ptr_eq(&orders[0].sources[0], &orders[1].sources[0]));
        assert!(Arc::ptr_eq(&orders[0].budget, &orders[1].budget));
    }
}
