use crate::config::{Config, SyncConfig};
use crate::domain::run::Trigger;
use crate::engine::order::Order;

/// Bytes that queries may take where the config does not say.
const MEMORY_LIMIT: u64 = 1 << 30;

/// What the engine needs to know for one run of the sync.
pub fn order(config: &Config, sync: &SyncConfig, is_full: bool, trigger: Trigger) -> Order {
    let connection = config.connection_of(sync);
    Order {
        sync: sync.sync.clone(),
        source: config.source_of(sync).clone(),
        connection: connection.definition.clone(),
        requests: sync.requests.clone(),
        limits: connection.limits,
        is_full,
        trigger,
        state: config.state.clone(),
        memory_limit: config.memory_limit.unwrap_or(MEMORY_LIMIT),
    }
}
