//! Parquet tables.
//!
//! Invariants: every listed file is read or the table is refused. (DataFusion passes over empty files in silence.) No
//! row is passed over because of what statistics say of a column that can hold NaN.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::datasource::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingTableUrl, PartitionedFile};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use datafusion::parquet::file::metadata::RowGroupMetaData;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use futures::{StreamExt, TryStreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::agreed::Agreed;
use super::definition::SchemaRule;
use super::error::Error;
use super::partitions::Values;
use super::store::{Pinned, own};
use super::weights::{OfColumns, Weight, Weights};
use crate::domain::file::FileFact;

/// Footers read at once.
const FOOTERS: usize = 8;
/// What need not be escaped in the path of a URL.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The files of one table.
#[derive(Debug)]
struct ParquetTable {
    format: ParquetFormat,
    store: ObjectStoreUrl,
    schema: TableSchema,
    /// Sorted by name.
    files: Vec<PartitionedFile>,
    partitions: Option<Arc<Values>>,
}

/// Reads the footers and makes a table of the files, with the weights of its columns and what the files differ in. `objects`
/// gives their bytes where they are no files of this machine, by a number that no other table of the read has.
pub(super) async fn open(
    state: &dyn Session,
    (table, rule): (&str, SchemaRule),
    files: &[FileFact],
    objects: Option<(usize, &Arc<Pinned>)>,
    partitions: Option<Arc<Values>>,
) -> Result<(Arc<dyn TableProvider>, Weights, Vec<String>), Error> {
    let format = ParquetFormat::default().with_options(state.default_table_options().parquet);
    let (store, urls) = match objects {
        Some((number, objects)) => listed(state, number, objects),
        None => {
            let store = state.runtime_env().object_store(ObjectStoreUrl::local_filesystem());
            let urls = files.iter().map(|file| url(table, file)).collect::<Result<_, Error>>()?;
            (store.map_err(|error| damaged(table, "", &error))?, urls)
        }
    };
    let mut columns = OfColumns::new();
    let mut agreed = Agreed::new(table, rule);
    let mut found = Vec::with_capacity(files.len());
    let mut footers = futures::stream::iter(0..files.len())
        .map(|place| footer(state, &format, &store, table, &files[place], &urls[place]))
        .buffered(FOOTERS);
    while let Some(footer) = footers.try_next().await? {
        let place = found.len();
        agreed.add(&files[place].path, &footer.schema)?;
        for (name, weight) in footer.weights {
            let known = columns.entry(name).or_default();
            *known = known.max(weight);
        }
        let values = partitions.as_ref().map(|partitions| partitions.of_file(place).to_vec());
        let file = PartitionedFile::new_from_meta(footer.object);
        found.push(file.with_partition_values(values.unwrap_or_default()));
    }
    drop(footers);
    let differences = agreed.differences();
    let merged = agreed.schema();
    let format = if merged.fields().iter().any(|field| has_float(field.data_type())) {
        without_pruning(format)
    } else {
        format
    };
    let behind = partitions
        .as_ref()
        .map(|partitions| partitions.behind(table, &merged).map(|_| partitions.fields().to_vec()));
    let schema = TableSchema::builder(Arc::new(merged))
        .with_table_partition_cols(behind.transpose()?.unwrap_or_default())
        .build();
    let store = urls[0].object_store();
    let opened = ParquetTable { format, store, schema, files: found, partitions };
    Ok((Arc::new(opened), Weights { columns, ..Weights::default() }, differences))
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let files: Vec<_> = match &self.partitions {
            None => self.files.clone(),
            Some(partitions) => {
                let kept = partitions.kept(state, filters).into_iter();
                kept.map(|file| self.files[file].clone()).collect()
            }
        };
        if files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema().project(columns)?),
                None => self.schema(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let source = self.format.file_source(self.schema.clone());
        let scan = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        self.format.create_physical_plan(state, scan).await
    }

    /// Row groups and pages are passed over by filters, which are asked again of their rows.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// Reads every row group and page whatever the filters are. Statistics leave NaN out, so that a row group of 1.0 and NaN
/// has the greatest value 1.0, and `v > 2`, which holds for NaN, would pass over it. The cost is only felt by models with
/// a filter over a large table with a float column: all of its row groups are decoded.
fn without_pruning(format: ParquetFormat) -> ParquetFormat {
    let mut options = format.options().clone();
    options.global.pruning = false;
    options.global.enable_page_index = false;
    options.global.bloom_filter_on_read = false;
    format.with_options(options)
}

fn has_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::Dictionary(_, values) => has_float(values),
        DataType::RunEndEncoded(_, values) => has_float(values.data_type()),
        nested => nested.is_nested(),
    }
}

/// A store that has the objects of the table alone, under the names that it gives them, and their URLs there.
fn listed(
    state: &dyn Session,
    number: usize,
    objects: &Arc<Pinned>,
) -> (Arc<dyn ObjectStore>, Vec<ListingTableUrl>) {
    let base = Url::parse(&format!("objects://table-{number}")).expect("it is made of letters");
    let store = Arc::clone(objects) as Arc<dyn ObjectStore>;
    state.runtime_env().register_object_store(&base, Arc::clone(&store));
    let url = |name| ListingTableUrl::parse(format!("objects://table-{number}/{name}"));
    let urls = objects.names().map(|name| url(name).expect("it is made of letters"));
    (store, urls.collect())
}

/// The URL of one file; every character that means something in URLs or globs is escaped. Links are resolved first, as
/// `..` behind a link is another place in a URL than in a path.
fn url(table: &str, file: &FileFact) -> Result<ListingTableUrl, Error> {
    let resolved = std::fs::canonicalize(&file.path).ok();
    let url = resolved.as_ref().and_then(|path| path.to_str()).and_then(|path| {
        let url = format!("file://{}", utf8_percent_encode(path, PATH));
        ListingTableUrl::parse(url).ok()
    });
    url.ok_or_else(|| {
        Error::Missing(format!(
            "table `{table}`: the path of file `{}` cannot be used; rename it",
            file.path
        ))
    })
}

/// What a file says of itself.
struct Footer {
    object: ObjectMeta,
    schema: SchemaRef,
    weights: OfColumns,
}

async fn footer(
    state: &dyn Session,
    format: &ParquetFormat,
    store: &Arc<dyn ObjectStore>,
    table: &str,
    file: &FileFact,
    url: &ListingTableUrl,
) -> Result<Footer, Error> {
    if file.size == 0 {
        return Err(Error::Damaged(format!(
            "table `{table}`: file `{}` is empty; put the whole Parquet file there",
            file.path
        )));
    }
    let broken = |error: DataFusionError| damaged(table, &file.path, &error);
    let object = store.head(url.prefix()).await;
    let object = object.map_err(|error| broken(DataFusionError::ObjectStore(Box::new(error))))?;
    // It is read once: it stays in the cache of the session.
    let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
    let metadata = DFParquetMetadata::new(store.as_ref(), &object)
        .with_metadata_size_hint(format.metadata_size_hint())
        .with_file_metadata_cache(Some(cache));
    let metadata = metadata.fetch_metadata().await.map_err(broken)?;
    let schema = format.infer_schema(state, store, std::slice::from_ref(&object)).await;
    let schema = schema.map_err(broken)?;
    let weights = weights(&schema, metadata.row_groups());
    Ok(Footer { object, schema, weights })
}

/// Values are as heavy as they are without compression; where dictionaries or runs have them in fewer bytes, as heavy as their
/// type or, where the file says it, their texts.
fn weights(schema: &Schema, groups: &[RowGroupMetaData]) -> OfColumns {
    let bytes = |bytes: i64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let width = |field: &Arc<Field>| Weight { value: width(field.data_type()), chunk: 0 };
    let mut weights: OfColumns =
        schema.fields().iter().map(|field| (field.name().clone(), width(field))).collect();
    for group in groups {
        let mut of_group = OfColumns::new();
        let rows = bytes(group.num_rows()).max(1);
        for column in group.columns() {
            let name = column.column_path().parts().first().cloned().unwrap_or_default();
            let weight: &mut Weight = of_group.entry(name).or_default();
            // A nested column has a chunk for each of its leaves.
            let texts = column.unencoded_byte_array_data_bytes().unwrap_or(0);
            weight.add(Weight {
                value: bytes(column.uncompressed_size().max(texts)).div_ceil(rows),
                chunk: bytes(column.compressed_size()),
            });
        }
        for (name, weight) in of_group {
            let known = weights.entry(name).or_default();
            *known = weight.max(*known);
        }
    }
    weights
}

/// Bytes that each value of the type takes in memory, whatever it is; of what has any length, where it lies.
pub(super) fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeBinary(length) => usize::try_from(*length).unwrap_or(0),
        DataType::FixedSizeList(item, length) => {
            usize::try_from(*length).unwrap_or(0).saturating_mul(width(item.data_type()))
        }
        DataType::Struct(members) => members.iter().map(|member| width(member.data_type())).sum(),
        DataType::Utf8View | DataType::BinaryView => size_of::<u128>(),
        other => other.primitive_width().unwrap_or(1),
    }
}

fn damaged(table: &str, path: &str, error: &DataFusionError) -> Error {
    if let Some(own) = own(error) {
        return own.clone();
    }
    let message = error.strip_backtrace();
    let cause = message.lines().next().unwrap_or_default();
    Error::Damaged(format!(
        "table `{table}`: file `{path}` cannot be read as Parquet: {cause}; put a whole Parquet file there"
    ))
}
