//! Opening a read: from a model and a selection to streams of batches and their proof.
//!
//! Each read has a session of its own, so that nothing of an earlier one, such as a cached listing, is seen by it.
//! Nothing is spawned here: the streams do their work where they are polled, and the work of planning and of inferring
//! types is done by the future of [`Reader::open`], which can be dropped at any time.
//!
//! Invariant: a row's values come from the pages of a file, never from statistics in its footer.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Volatility;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};

use super::definition::{Definition, Format, Table};
use super::error::{Error, planning, unknown};
use super::files;
use super::mapping::{self, FieldInfo, Selection};
use super::pins::Pins;
use super::proof::{Completeness, Proof};
use super::statement::{self, Checked};
use super::volatile::volatile;
use super::{arithmetic, csv, parquet};
use crate::domain::file::FileFact;
use crate::domain::sync::Model;

/// Parquet's old INT96 holds a time of any year. In nanoseconds, as it would be read otherwise, 64 bits reach from 1677 to
/// 2262, and the 9999-12-31 of Spark and Hive wraps around to another year; in microseconds only digits beyond those are lost.
const INT96_UNIT: &str = "us";

/// What a read may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many streams a read is split into; the number of cores.
    pub partitions: usize,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Bytes that sorts, groups and joins of one query may hold.
    pub memory_limit: usize,
    /// Where sorts and groups beyond that may spill, unencrypted; without it such a query fails.
    pub spill: Option<PathBuf>,
}

impl Settings {
    /// Batches of 8192 rows, no spilling.
    pub fn new(partitions: usize, memory_limit: usize) -> Self {
        Settings { partitions, batch_size: 8192, memory_limit, spill: None }
    }
}

/// Reads models over the sources it was made with.
#[derive(Debug, Clone)]
pub struct Reader {
    definitions: Vec<Arc<Definition>>,
    settings: Settings,
}

/// A read that has begun.
pub struct Reading {
    /// The mapped fields, which are the first columns of each batch.
    pub fields: Vec<FieldInfo>,
    /// Which columns are the delivered key.
    pub key: Vec<usize>,
    /// Which columns are the primary key: mapped fields where they carry it as it is, else columns after the fields.
    pub primary_key: Vec<usize>,
    /// To be polled to their ends, on any runtime. Their errors are to be read with [`Error::of_stream`] and hold no
    /// values of rows.
    pub partitions: Vec<SendableRecordBatchStream>,
    /// To be verified after all partitions ended without an error.
    pub proof: Proof,
    /// The pins given, with those of columns whose types were inferred now; to be kept.
    pub pins: Pins,
    /// The files of the tables that the model reads, as they were before the first byte was read; by their names below the
    /// config's folder.
    pub files: Vec<FileFact>,
    /// Whether the source can say that it is as it was: then equal files mean equal rows.
    pub can_prove_unchanged: bool,
    /// The source as the snapshot's header keeps it: [`Definition::described`] of the tables that the model reads.
    pub source: String,
    /// What in the model and the mapping can give another answer for the same rows, such as `now` or `LIMIT without
    /// ORDER BY`. Sorted, each once.
    pub volatile: Vec<String>,
}

/// The files that a read would begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As [`Reading::source`].
    pub source: String,
    /// As [`Reading::files`].
    pub files: Vec<FileFact>,
    /// As [`Reading::can_prove_unchanged`].
    pub can_prove_unchanged: bool,
    pub completeness: Vec<Completeness>,
}

impl Reader {
    /// Over these sources, which other readers may share.
    pub fn new(definitions: Vec<Arc<Definition>>, settings: Settings) -> Self {
        Reader { definitions, settings }
    }

    /// Checks a model without touching its files: its source is known and its SQL is one query over the source's tables.
    /// Columns are checked by [`Reader::open`]. Returns the names of the tables it reads.
    pub fn check(&self, model: &Model) -> Result<Vec<String>, Error> {
        Ok(self.checked(model)?.1.tables)
    }

    /// Lists the files, fixes the columns' types and plans the query. Reads headers and footers, and all of those CSV
    /// files that have columns of unknown type. Blocks on the file system now and then: poll it where that is allowed.
    pub async fn open(
        &self,
        model: &Model,
        selection: &Selection,
        pins: &Pins,
    ) -> Result<Reading, Error> {
        let (definition, checked) = self.checked(model)?;
        let tables = definition.tables.iter();
        let tables =
            tables.filter(|table| checked.tables.contains(&table.name)).collect::<Vec<_>>();
        let proof = Proof::begin(&tables)?;
        let source = definition.described(&checked.tables);

        let context = self.session()?;
        let mut pins = pins.clone();
        for table in &tables {
            let files = proof.files_of(&table.name);
            let provider = match &table.format {
                Format::Parquet => parquet::open(&context.state(), &table.name, files).await?,
                Format::Csv(csv) => Arc::new(csv::open(&table.name, csv, files, &mut pins).await?),
            };
            let name = datafusion::common::TableReference::bare(table.name.as_str());
            context
                .register_table(name, provider)
                .map_err(|error| Error::Definition(planning(&error, &table.name)))?;
        }

        let place = format!("model `{}`", model.name);
        let invalid = |error: DataFusionError| Error::Definition(planning(&error, &place));
        let state = context.state();
        let plan = state.statement_to_plan(checked.statement).await.map_err(invalid)?;
        let projected = mapping::project(&state, model, plan, selection)?;
        let placeholders = projected.plan.get_parameter_names().map_err(invalid)?;
        if let Some(placeholder) = placeholders.iter().min() {
            return Err(Error::Definition(format!(
                "{place} has the placeholder `{placeholder}`; write the value itself"
            )));
        }
        let mut volatile = volatile(&projected.plan).map_err(invalid)?;
        let is_pure = |name: &String| {
            let function = state.scalar_functions().get(name);
            function.is_some_and(|it| it.signature().volatility == Volatility::Immutable)
        };
        volatile.extend(checked.called_for_tables.into_iter().filter(|name| !is_pure(name)));
        volatile.sort();
        volatile.dedup();
        let physical = state
            .create_physical_plan(&projected.plan)
            .await
            .map_err(|error| unplannable(&error, &model.name, &place))?;
        Ok(Reading {
            fields: as_read(projected.fields, &physical),
            key: projected.key,
            primary_key: projected.primary_key,
            partitions: streams(&physical, &context.task_ctx(), &model.name),
            files: files::below(proof.files(), &tables),
            can_prove_unchanged: proof.can_prove_unchanged(),
            proof,
            pins,
            source,
            volatile,
        })
    }

    /// What a read of the model would begin with; of the files nothing is read but the last byte of texts. Blocks on the file
    /// system.
    ///
    /// # Errors
    /// As [`Reader::check`], or a file is not there.
    pub fn list(&self, model: &Model) -> Result<Listed, Error> {
        let (definition, checked) = self.checked(model)?;
        let tables = definition.tables.iter();
        let tables: Vec<&Table> =
            tables.filter(|table| checked.tables.contains(&table.name)).collect();
        let proof = Proof::begin(&tables)?;
        Ok(Listed {
            source: definition.described(&checked.tables),
            files: files::below(proof.files(), &tables),
            can_prove_unchanged: proof.can_prove_unchanged(),
            completeness: proof.completeness(),
        })
    }

    fn checked(&self, model: &Model) -> Result<(&Definition, Checked), Error> {
        let definition = self.definition(model)?;
        let known = definition.tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>();
        Ok((definition, statement::check(&model.name, &model.sql, &known)?))
    }

    fn definition(&self, model: &Model) -> Result<&Definition, Error> {
        let found = self.definitions.iter().find(|definition| definition.name == model.source);
        found.map(Arc::as_ref).ok_or_else(|| {
            let known = self.definitions.iter().map(|definition| definition.name.as_str());
            let place = format!("model `{}`", model.name);
            Error::Definition(unknown("source", &model.source, &place, &known.collect::<Vec<_>>()))
        })
    }

    fn session(&self) -> Result<SessionContext, Error> {
        let mode = match &self.settings.spill {
            Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
            None => DiskManagerMode::Disabled,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.settings.memory_limit)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .build_arc()
            .map_err(|error| Error::Query(planning(&error, "the spill folder")))?;
        let mut context = SessionContext::new_with_config_rt(self.session_config(), runtime);
        arithmetic::check(&mut context)
            .map_err(|error| Error::Query(planning(&error, "the session")))?;
        Ok(context)
    }

    /// Statistics of files are not collected, and filters found while a query runs (the threshold of an ORDER BY with a
    /// LIMIT, the keys of a join) are not handed to the scans, which would hold them against statistics: a footer's
    /// least and greatest value say nothing of NaN, so that values, whole columns and row groups would be taken from
    /// them wrongly. The cost: joins are not reordered by size, and scans under those filters read every row group.
    fn session_config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.settings.partitions.max(1))
            .with_batch_size(self.settings.batch_size.max(1))
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
}

/// The fields with the types that the batches will have.
fn as_read(mut fields: Vec<FieldInfo>, plan: &Arc<dyn ExecutionPlan>) -> Vec<FieldInfo> {
    for (field, column) in fields.iter_mut().zip(plan.schema().fields()) {
        field.data_type = column.data_type().clone();
    }
    fields
}

/// One stream a partition. Execution begins when a stream is first polled, on the runtime that polls it.
fn streams(
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    model: &str,
) -> Vec<SendableRecordBatchStream> {
    let stream = |partition: usize| -> SendableRecordBatchStream {
        let (plan, context) = (Arc::clone(plan), Arc::clone(context));
        let model = model.to_owned();
        let schema = plan.schema();
        let batches = futures::stream::once(async move { plan.execute(partition, context) })
            .try_flatten()
            .map(move |batch| {
                batch.map_err(|error| DataFusionError::from(Error::of_stream(&error, &model)))
            });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    };
    (0..plan.output_partitioning().partition_count()).map(stream).collect()
}

/// Constants are computed while planning, so what fails here may be either the SQL's or the engine's fault.
fn unplannable(error: &DataFusionError, model: &str, place: &str) -> Error {
    match error.find_root() {
        DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => Error::Definition(planning(error, place)),
        _ => Error::of_stream(error, model),
    }
}
