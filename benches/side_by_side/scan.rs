//! The bare scan: DataFusion reads all columns of a file and drops them, settings as in the product, in a process of
//! its own.

use std::path::Path;

use datafusion::error::DataFusionError;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt as _;

/// Returns the rows read.
pub async fn scan(path: &Path) -> Result<usize, DataFusionError> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let config = SessionConfig::new().with_target_partitions(cores).with_batch_size(8192);
    let context = SessionContext::new_with_config(config);
    let path = path
        .to_str()
        .ok_or_else(|| DataFusionError::Execution("the path of the data is not text".to_owned()))?;
    context.register_parquet("customers", path, ParquetReadOptions::default()).await?;
    let streams =
        context.sql("SELECT * FROM customers").await?.execute_stream_partitioned().await?;
    let mut readers = tokio::task::JoinSet::new();
    for mut stream in streams {
        readers.spawn(async move {
            let mut rows = 0;
            while let Some(batch) = stream.next().await {
                rows += batch?.num_rows();
            }
            Ok::<usize, DataFusionError>(rows)
        });
    }
    let mut rows = 0;
    while let Some(ended) = readers.join_next().await {
        rows += ended.map_err(|error| DataFusionError::Execution(error.to_string()))??;
    }
    Ok(rows)
}
