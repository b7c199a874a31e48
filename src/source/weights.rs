//! How much of its tables a read has in memory at a time, and how it is cut so that this stays within bounds.
//!
//! Of a Parquet file each stream holds the chunks of one row group, as they are compressed, of the columns that are read, and
//! of an Arrow file one record batch: where these are large there are fewer streams. Batches of wide rows have fewer rows.
//! Formats whose scans bound both by themselves have no weights; those that do so within what they are given take a share of the
//! memory for each scan.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::parquet::width;

/// Bytes of a batch, roughly: several are on their way in each stream.
const BATCH_BYTES: usize = 4 << 20;
/// Rows of a batch, however wide they are: what is done once for each batch has to be worth it.
const LEAST_ROWS: usize = 64;

/// Bytes of one column in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Of one value, decoded; on average, in the part of the table where that is most.
    pub value: usize,
    /// What one stream holds of it before it is decoded, at most.
    pub chunk: usize,
}

/// Of columns, by name.
pub(super) type OfColumns = BTreeMap<String, Weight>;

/// Of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Weights {
    pub columns: OfColumns,
    /// What one stream holds of it before it is decoded, whichever columns are read.
    pub whole: usize,
    /// Its scans bound by themselves what they hold, within a [`Share`].
    pub takes_share: bool,
}

/// Bytes that one scan may hold before they are decoded, in all its streams together; an extension of the session's config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(pub usize);

impl Weight {
    /// As heavy as the heavier of both.
    pub fn max(self, other: Weight) -> Weight {
        Weight { value: self.value.max(other.value), chunk: self.chunk.max(other.chunk) }
    }

    pub fn add(&mut self, other: Weight) {
        self.value = self.value.saturating_add(other.value);
        self.chunk = self.chunk.saturating_add(other.chunk);
    }
}

/// Bytes that a row of these columns takes in memory, whatever it holds.
pub(super) fn row_width(schema: &Schema) -> usize {
    schema.fields().iter().map(|field| width(field.data_type())).sum()
}

/// How many rows a batch has, `most` of them, where a row has so many bytes.
pub(super) fn rows(bytes: usize, most: usize) -> usize {
    (BATCH_BYTES / bytes.max(1)).max(LEAST_ROWS).min(most)
}

/// Has the read that `plan` describes hold no more than about `memory` bytes before they are decoded, in all streams together.
/// `plan` is optimized, so that its scans name the columns that are read.
///
/// # Errors
/// The plan cannot be walked.
pub(super) fn bound(
    state: SessionState,
    plan: &LogicalPlan,
    tables: &HashMap<TableReference, Weights>,
    memory: usize,
) -> Result<SessionState, DataFusionError> {
    let (mut read, mut shares) = (Weight::default(), 0_usize);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(weights) = tables.get(&scan.table_name)
        {
            let columns = scan.projected_schema.fields().iter();
            let columns = columns.filter_map(|column| weights.columns.get(column.name()));
            columns.for_each(|it| read.add(*it));
            read.add(Weight { value: 0, chunk: weights.whole });
            shares += usize::from(weights.takes_share);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    shares += usize::from(read.chunk > 0 && shares > 0);
    let memory = memory / shares.max(1);
    let mut state = state;
    let config = state.config_mut();
    config.set_extension(Arc::new(Share(memory)));
    let rows = rows(read.value, config.batch_size());
    let streams = (memory / read.chunk.max(1)).clamp(1, config.target_partitions());
    *config = std::mem::take(config).with_batch_size(rows).with_target_partitions(streams);
    Ok(state)
}
