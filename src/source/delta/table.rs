//! A Delta table as DataFusion sees it: its columns, and for each scan the data files of its version, in groups, one stream a
//! group.
//!
//! Filters are not handed on: what the log knows of least and greatest values says nothing of NaN.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use delta_kernel::engine::arrow_conversion::TryIntoArrow as _;
use delta_kernel::scan::Scan;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::schema::DataType;
use delta_kernel::table_features::{ColumnMappingMode, TableFeature};
use delta_kernel::{KernelError, Snapshot, SnapshotRef};

use super::super::definition::{Delta, Table};
use super::super::error::Error;
use super::super::spent::Spent;
use super::super::store::definition::Store;
use super::super::weights::Share;
use super::error::told;
use super::kernel::{self, ROOT, on_thread};
use super::place::Place;
use super::room::Room;
use super::rows::{DataFile, Group, plain};
use super::versions::WatchedDelta;

/// One version of a table.
#[derive(Debug)]
pub(in crate::source) struct DeltaTable {
    place: Place,
    snapshot: SnapshotRef,
    schema: SchemaRef,
    /// Bytes of the data files that are read.
    size: Arc<AtomicU64>,
}

/// Finds the version, which is all that is read of the table until it is scanned.
///
/// # Errors
/// There is no such table or version, or it has what cannot be read.
pub(in crate::source) async fn open(
    table: &Table,
    delta: &Delta,
    store: &Store,
    spent: &Arc<Spent>,
) -> Result<(DeltaTable, WatchedDelta), Error> {
    let place = Place::open(table, store, spent)?;
    let counting = place.counting();
    let (version, at) = (delta.version, place.clone());
    let found = on_thread(&place, move |engine| {
        let builder = Snapshot::builder_for(ROOT);
        let builder = match version {
            Some(version) => builder.at_version(version),
            None => builder,
        };
        let snapshot = builder.build(engine).map_err(|error| told(&at, version, &error))?;
        check_whole(&at, version, &snapshot)?;
        // Whatever cannot be read is refused before a column is looked for.
        let scan = Arc::clone(&snapshot).scan_builder().build();
        scan.map_err(|error| told(&at, version, &error))?;
        Ok(snapshot)
    });
    let snapshot = found.await?;
    drop(counting);
    let number = snapshot.version();
    let schema: Result<Schema, _> = snapshot.schema().as_ref().try_into_arrow();
    let schema = schema.map_err(|error| told(&place, version, &KernelError::from(error)))?;
    let fields = schema.fields().iter().map(|field| plain(field)).collect::<Vec<_>>();
    let size = Arc::<AtomicU64>::default();
    let id = snapshot.table_configuration().metadata().id().to_owned();
    let features = features(&snapshot);
    let watched = WatchedDelta::at(place.clone(), table, number, &id, Arc::clone(&size), features);
    let schema = Arc::new(Schema::new(fields));
    Ok((DeltaTable { place, snapshot, schema, size }, watched))
}

/// The kernel takes a log for whole that begins behind its first commits.
fn check_whole(place: &Place, version: Option<u64>, snapshot: &Snapshot) -> Result<(), Error> {
    let log = snapshot.log_segment();
    let first = log.listed.ascending_commit_files.first().map(|commit| commit.version);
    match log.checkpoint_version.is_some() || first == Some(0) {
        true => Ok(()),
        false => Err(told(place, version, &KernelError::MissingVersion(0))),
    }
}

/// What whoever reads the table has to know of, by the names that Delta has for it.
fn features(snapshot: &Snapshot) -> Vec<String> {
    let table = snapshot.table_configuration();
    let said = table.protocol().reader_features().unwrap_or_default();
    let mut features: Vec<String> = said.iter().map(ToString::to_string).collect();
    let mapping = TableFeature::ColumnMapping.to_string();
    // Older tables say a number in place of names.
    if table.column_mapping_mode() != ColumnMappingMode::None && !features.contains(&mapping) {
        features.push(mapping);
    }
    features.sort();
    features
}

impl DeltaTable {
    /// The scan of these columns, and its files.
    async fn files(&self, names: &[&str]) -> Result<(Arc<Scan>, Vec<DataFile>), Error> {
        let (place, version) = (&self.place, Some(self.snapshot.version()));
        let _counting = place.counting();
        let wrong = |error: KernelError| told(place, version, &error);
        let logical = self.snapshot.schema().project(names).map_err(wrong)?;
        let variant = logical.fields().find(|field| is_variant(field.data_type()));
        if let Some(field) = variant {
            return Err(Error::Damaged(format!(
                "table `{}`: column `{}` of the Delta table `{}` is a VARIANT, which cannot be read here; read a copy without it",
                place.table,
                field.name(),
                place.root
            )));
        }
        let scan = Arc::clone(&self.snapshot).scan_builder().with_schema(logical).build();
        let scan = Arc::new(scan.map_err(wrong)?);
        let (asked, at) = (Arc::clone(&scan), place.clone());
        let files = on_thread(place, move |engine| listed(&asked, engine, &at, version)).await?;
        Ok((scan, files))
    }
}

/// The data files of the scan.
fn listed(
    scan: &Scan,
    engine: &kernel::Engine,
    place: &Place,
    version: Option<u64>,
) -> Result<Vec<DataFile>, Error> {
    let wrong = |error: KernelError| told(place, version, &error);
    let mut files = Vec::new();
    for metadata in scan.scan_metadata(engine).map_err(wrong)? {
        let found = metadata.and_then(|metadata| {
            metadata
                .visit_scan_files(Vec::new(), |found: &mut Vec<ScanFile>, file| found.push(file))
        });
        for file in found.map_err(wrong)? {
            files.push(DataFile::of(place, file)?);
        }
        if files.len() > place.most {
            return Err(place.too_many("data files"));
        }
    }
    Ok(files)
}

fn is_variant(data_type: &DataType) -> bool {
    match data_type {
        DataType::Variant(_) => true,
        DataType::Array(list) => is_variant(list.element_type()),
        DataType::Map(map) => is_variant(map.key_type()) || is_variant(map.value_type()),
        DataType::Struct(members) => members.fields().any(|member| is_variant(member.data_type())),
        _ => false,
    }
}

#[async_trait]
impl TableProvider for DeltaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let name = |field| -> &str { Field::name(field) };
        let mut names: Vec<&str> = schema.fields().iter().map(|field| name(field)).collect();
        let partitions = self.snapshot.table_configuration().logical_partition_columns();
        let is_stored = |name: &&str| !partitions.iter().any(|partition| partition == name);
        if !names.iter().any(is_stored) {
            // The kernel makes nothing of a file without a column of it; nobody sees this one.
            names.extend(self.schema.fields().iter().map(|field| name(field)).find(is_stored));
        }
        let (scan, mut files) = self.files(&names).await?;
        self.place.spent.saw(files.len());
        self.size.store(files.iter().map(|file| file.size).sum(), Ordering::Relaxed);
        files.sort_by_key(|file| std::cmp::Reverse(file.size));
        let share = state.config().get_extension::<Share>();
        let room = Room::of(share.map_or(0, |share| share.0));
        let streams = state.config().target_partitions().clamp(1, files.len().max(1));
        let mut groups: Vec<(u64, Vec<DataFile>)> = vec![(0, Vec::new()); streams];
        for file in files {
            let least = groups.iter_mut().min_by_key(|(bytes, _)| *bytes);
            let (bytes, files) = least.expect("there is one at least");
            *bytes += file.size;
            files.push(file);
        }
        let group = |(_, files): (u64, Vec<DataFile>)| -> Arc<dyn PartitionStream> {
            Arc::new(Group {
                place: self.place.clone(),
                scan: Arc::clone(&scan),
                files,
                room: room.clone(),
                schema: Arc::clone(&schema),
            })
        };
        let partitions = groups.into_iter().map(group).collect();
        let plan = StreamingTableExec::try_new(schema.clone(), partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}
