//! The session that one read is planned and run in.
//!
//! Invariant: a row's values come from the pages of a file, never from statistics in its footer.

use std::sync::Arc;

use datafusion::catalog::{MemorySchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::arithmetic;
use super::error::{Error, planning};
use super::reader::Settings;

/// Parquet's old INT96 holds a time of any year. In nanoseconds, as it would be read otherwise, 64 bits reach from 1677 to
/// 2262, and the 9999-12-31 of Spark and Hive wraps around to another year; in microseconds only digits beyond those are lost.
const INT96_UNIT: &str = "us";

/// One that knows no table yet.
pub(super) fn new(settings: &Settings) -> Result<SessionContext, Error> {
    let mode = match &settings.spill {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::Disabled,
    };
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(settings.memory_limit)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
        .build_arc()
        .map_err(|error| Error::Query(planning(&error, "the spill folder")))?;
    let mut context = SessionContext::new_with_config_rt(config(settings), runtime);
    arithmetic::check(&mut context)
        .map_err(|error| Error::Query(planning(&error, "the session")))?;
    Ok(context)
}

/// Lets SQL name the table; a source that stands before its name is a schema.
pub(super) fn register(
    context: &SessionContext,
    name: &TableReference,
    table: Arc<dyn TableProvider>,
) -> Result<(), DataFusionError> {
    if let Some(source) = name.schema() {
        let catalog = context.state().config_options().catalog.default_catalog.clone();
        let catalog = context.catalog(&catalog).expect("a session has its default catalog");
        if catalog.schema(source).is_none() {
            catalog.register_schema(source, Arc::new(MemorySchemaProvider::new()))?;
        }
    }
    context.register_table(name.clone(), table).map(drop)
}

/// Statistics of files are not collected, and filters found while a query runs (the threshold of an ORDER BY with a
/// LIMIT, the keys of a join) are not handed to the scans, which would hold them against statistics: a footer's
/// least and greatest value say nothing of NaN, so that values, whole columns and row groups would be taken from
/// them wrongly. The cost: joins are not reordered by size, and scans under those filters read every row group.
fn config(settings: &Settings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(settings.partitions.max(1))
        .with_batch_size(settings.batch_size.max(1))
        .with_information_schema(false)
        .with_collect_statistics(false);
    config.options_mut().execution.parquet.coerce_int96 = Some(INT96_UNIT.to_owned());
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    config
}
