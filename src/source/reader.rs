//! Opening a read: from a model and a selection to streams of batches and their proof.
//!
//! Each read has a session of its own, so that nothing of an earlier one, such as a cached listing, is seen by it.
//! Nothing is spawned here: the streams do their work where they are polled, and the work of planning and of inferring
//! types is done by the future of [`Reader::open`], which can be dropped at any time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, Volatility};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};

use super::blame::Blamed;
use super::cancel::Cancels;
use super::databases::{Databases, Joined};
use super::definition::Definition;
use super::describe::{Described, described};
use super::error::{Error, planning, unknown};
use super::facts::{Facts, Listed};
use super::hint::Hint;
use super::mapping::{self, FieldInfo, Selection};
use super::moment::Held;
use super::opening::Planned;
use super::pins::Pins;
use super::proof::Proof;
use super::queried::refusal;
use super::restriction::{Met, Restriction};
use super::spent::Spent;
use super::statement::{self, Checked};
use super::table::{Known, Opened};
use super::volatile::volatile;
use super::watched::Watched;
use super::weights::Weights;
use super::{opening, session, weights};
use crate::domain::file::FileFact;
use crate::domain::sync::{Model, Reads};

/// How long a store may take to say what a read would begin with.
const LOOK: Duration = Duration::from_secs(10);

/// What a read may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many streams a read is split into; the number of cores.
    pub partitions: usize,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Bytes that sorts, groups and joins of one query may hold.
    pub memory_limit: usize,
    /// Bytes that are read and not decoded yet, in all streams together; of each one row group is there, whatever its size.
    pub undecoded: usize,
    /// Where sorts and groups beyond that may spill, unencrypted; without it such a query fails.
    pub spill: Option<PathBuf>,
    /// What databases are told who reads.
    pub name: String,
    /// Where queries of databases are given up.
    pub cancels: Cancels,
    /// Where it is counted what listing costs.
    pub spent: Arc<Spent>,
}

impl Settings {
    /// Batches of 8192 rows, no spilling, and nobody who cancels.
    pub fn new(partitions: usize, memory_limit: usize, undecoded: usize) -> Self {
        Settings {
            partitions,
            batch_size: 8192,
            memory_limit,
            undecoded,
            spill: None,
            name: "counterflow".to_owned(),
            cancels: Cancels::default(),
            spent: Arc::default(),
        }
    }

    /// For a run of this sync, whose queries are given up there, and whose lists are counted there.
    pub fn of(self, sync: &str, cancels: &Cancels, spent: &Arc<Spent>) -> Self {
        let (name, spent) = (format!("counterflow {sync}"), Arc::clone(spent));
        Settings { name, cancels: cancels.clone(), spent, ..self }
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
    /// What the partitions have met of the model's cursor, if it has one.
    pub cursor: Option<Met>,
    /// To be verified after all partitions ended without an error.
    pub proof: Proof,
    /// The pins given, with those of columns whose types were inferred now; to be kept.
    pub pins: Pins,
    /// Of the tables that the model reads.
    pub facts: Facts,
    /// What its databases hold still, for another read to see the same.
    pub held: Held,
    /// The sources as the snapshot's header keeps them: what of the config decides which rows the model's tables have.
    pub source: String,
    /// What in the model and the mapping can give another answer for the same rows, such as `now` or `LIMIT without
    /// ORDER BY`. Sorted, each once.
    pub volatile: Vec<String>,
}

/// A read of which the plan is known, before the mapping.
struct Begun {
    plan: LogicalPlan,
    watched: Vec<Watched>,
    /// Of the tables that say so, by their names.
    weights: HashMap<TableReference, Weights>,
    /// What the files of its tables differ in, for people.
    differences: Vec<String>,
    /// As [`Reading::source`].
    source: String,
    called_for_tables: Vec<String>,
    /// What the queries of databases call that can give another answer for the same rows.
    volatile: Vec<String>,
    pins: Pins,
    /// The databases that the tables are of.
    databases: Vec<Arc<Joined>>,
    held: Held,
    /// What the source calls the types of the columns, where it has names of its own for them.
    types: Vec<String>,
    /// It gives no more than the selection's restriction lets through.
    is_restricted: bool,
    /// It is no database that was asked, so that restrictions are put on top.
    is_planned_here: bool,
    /// What the config may have wrong where a column is not there.
    hint: Option<Hint>,
}

impl Reader {
    /// Over these sources, which other readers may share.
    pub fn new(definitions: Vec<Arc<Definition>>, settings: Settings) -> Self {
        Reader { definitions, settings }
    }

    /// Checks a model without touching its sources: they are known, and its SQL is one query over their tables, as far as that
    /// is not a database's to say. Columns are checked by [`Reader::open`]. Returns the tables it reads, as its SQL names
    /// them; of a database they are not known.
    pub fn check(&self, model: &Model) -> Result<Vec<String>, Error> {
        if self.database(model)?.is_some() {
            return Ok(Vec::new());
        }
        Ok(self.checked(model)?.1.tables.iter().map(ToString::to_string).collect())
    }

    /// Lists the files, fixes the columns' types and plans the query. Reads headers and footers, all of NDJSON
    /// files, and all of those CSV files that have columns of unknown type. Blocks on the file system now and then: poll it
    /// where that is allowed.
    pub async fn open(
        &self,
        model: &Model,
        selection: &Selection,
        pins: &Pins,
    ) -> Result<Reading, Error> {
        let context = session::new(&self.settings)?;
        let begun = self.plan(model, selection, &context, pins).await?;
        let (databases, hint) = (begun.databases.clone(), begun.hint.clone());
        let reading = self.finish(model, selection, &context, begun).await;
        let reading = reading.map_err(|error| hinted(error, hint.as_ref(), model))?;
        for database in databases {
            database.await_readers().await?;
        }
        Ok(reading)
    }

    /// What [`Reader::open`] would come to, and what of it would be refused. Of databases no row is asked for.
    ///
    /// # Errors
    /// As [`Reader::open`], before the fields are looked at.
    pub async fn describe(
        &self,
        model: &Model,
        selection: &Selection,
        pins: &Pins,
    ) -> Result<Described, Error> {
        let context = session::new(&self.settings)?;
        let mut begun = self.plan(model, selection, &context, pins).await?;
        let hint = begun.hint.take();
        let mut described =
            described(&context.state(), model, &begun.plan, &begun.types, selection)?;
        described.differences = std::mem::take(&mut begun.differences);
        described.versions = begun.watched.iter().filter_map(Watched::version).collect();
        match self.finish(model, selection, &context, begun).await {
            Ok(reading) => described.volatile = reading.volatile,
            Err(refused) => described.refused = Some(refused),
        }
        described.refine(|error| hinted(error, hint.as_ref(), model));
        Ok(described)
    }

    /// The model's own query, planned by whoever is asked it.
    async fn plan(
        &self,
        model: &Model,
        selection: &Selection,
        context: &SessionContext,
        pins: &Pins,
    ) -> Result<Begun, Error> {
        match self.database(model)? {
            Some(source) => self.ask(source, model, selection, pins).await,
            None => self.begin(model, selection, context, pins.clone()).await,
        }
    }

    /// What is asked for, on top of the model's query.
    async fn finish(
        &self,
        model: &Model,
        selection: &Selection,
        context: &SessionContext,
        begun: Begun,
    ) -> Result<Reading, Error> {
        let place = format!("model `{}`", model.name);
        let invalid = |error: DataFusionError| Error::Definition(planning(&error, &place));
        let Begun { mut plan, watched, weights, source, called_for_tables, pins, held, .. } = begun;
        let (proof, state) = (Proof::of(watched), context.state());
        let mut is_restricted = begun.is_restricted;
        let restriction = selection.restriction.as_ref().filter(|_| begun.is_planned_here);
        if let Some(restriction) = restriction.filter(|it| it.fits(plan.schema().as_arrow())) {
            plan = restricted(plan, restriction).map_err(invalid)?;
            is_restricted = true;
        }
        let met = |cursor| Met::begin(model, cursor, plan.schema().as_arrow(), is_restricted);
        let cursor = model.cursor.as_ref().filter(|_| !selection.is_keys_only);
        let cursor = cursor.map(met).transpose()?;
        let of_cursor = model.cursor.as_ref().filter(|_| cursor.is_some());
        let projected = mapping::project(&state, model, plan, selection, of_cursor)?;
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
        volatile.extend(begun.volatile);
        volatile.extend(called_for_tables.into_iter().filter(|name| !is_pure(name)));
        volatile.sort();
        volatile.dedup();
        let unplannable = |error: DataFusionError| unplannable(&error, &model.name, &place);
        let optimized = state.optimize(&projected.plan).map_err(unplannable)?;
        let undecoded = self.settings.undecoded;
        let state = weights::bound(state, &optimized, &weights, undecoded).map_err(unplannable)?;
        let planner = Arc::clone(state.query_planner());
        let blaming = Blamed::of(&model.name, selection, &projected.plan).planner(&state);
        let physical = planner.create_physical_plan(&optimized, &blaming).await;
        let physical = physical.map_err(unplannable)?;
        begun.databases.iter().try_for_each(|database| database.check(&place))?;
        let streams = streams(&physical, &state.task_ctx(), &model.name);
        Ok(Reading {
            fields: as_read(projected.fields, &physical),
            key: projected.key,
            primary_key: projected.primary_key,
            partitions: match &cursor {
                Some(met) => streams.into_iter().map(|stream| met.watch(stream)).collect(),
                None => streams,
            },
            cursor,
            facts: proof.facts(),
            held,
            proof,
            pins,
            source,
            volatile,
        })
    }

    /// The answer of a database.
    async fn ask(
        &self,
        source: &Definition,
        model: &Model,
        selection: &Selection,
        pins: &Pins,
    ) -> Result<Begun, Error> {
        let place = format!("model `{}`", model.name);
        let planned = opening::query(source, model, selection, &self.settings).await?;
        let Planned { opened, types, held, identity } = planned;
        let provider = provider_as_source(opened.provider);
        let name = TableReference::bare(model.name.as_str());
        let plan = LogicalPlanBuilder::scan(name, provider, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| Error::Definition(planning(&error, &place)))?;
        Ok(Begun {
            plan,
            watched: vec![opened.watched],
            weights: HashMap::new(),
            differences: Vec::new(),
            is_restricted: opened.is_restricted,
            is_planned_here: false,
            source: identified(source.described(&[]).to_string(), identity),
            called_for_tables: Vec::new(),
            volatile: opened.volatile,
            pins: pins.clone(),
            databases: Vec::new(),
            held,
            types,
            hint: None,
        })
    }

    /// The SQL over tables.
    async fn begin(
        &self,
        model: &Model,
        selection: &Selection,
        context: &SessionContext,
        mut pins: Pins,
    ) -> Result<Begun, Error> {
        let (known, checked) = self.checked(model)?;
        let read = known.read(&checked.tables);
        let (state, settings) = (context.state(), &self.settings);
        let mut databases = Databases::new(&model.name, settings, &selection.moment);
        let opened =
            opening::open(&state, &read, &mut pins, &mut databases, &settings.spent).await?;
        let mut weights = HashMap::with_capacity(opened.len());
        let (mut watched, mut differences) = (Vec::with_capacity(opened.len()), Vec::new());
        let mut volatile = Vec::new();
        let mut hint = None;
        for (named, table) in read.iter().zip(opened) {
            let Opened { provider, watched: of_table, weights: of_columns, .. } = table;
            differences.extend(table.differences);
            volatile.extend(table.volatile);
            hint = hint.or_else(|| of_table.hint(&provider.schema(), read.len() == 1));
            watched.push(of_table);
            weights.insert(named.name.clone(), of_columns);
            session::register(context, &named.name, provider)
                .map_err(|error| Error::Definition(planning(&error, &named.name.to_string())))?;
        }
        let place = format!("model `{}`", model.name);
        let invalid = |error: DataFusionError| Error::Definition(planning(&error, &place));
        let plan = context.state().statement_to_plan(checked.statement).await;
        let plan = plan.map_err(|error| hinted(invalid(error), hint.as_ref(), model))?;
        Ok(Begun {
            plan,
            watched,
            weights,
            differences,
            source: identified(known.described(&read), databases.identities()),
            called_for_tables: checked.called_for_tables,
            volatile,
            pins,
            held: databases.held(),
            databases: databases.joined(),
            types: Vec::new(),
            is_restricted: false,
            is_planned_here: true,
            hint,
        })
    }

    /// What a read of the model would begin with; of files nothing is read but the last byte of texts, and stores are only asked
    /// for their lists. Tables that count their versions are held against what an `earlier` read took. May block on the
    /// file system.
    ///
    /// # Errors
    /// As [`Reader::check`], or a file is not there.
    pub async fn list(&self, model: &Model, earlier: &[FileFact]) -> Result<Listed, Error> {
        if let Some(source) = self.database(model)? {
            // It is not asked: whatever it said, nothing would be proven.
            return Ok(Listed {
                source: source.described(&[]).to_string(),
                facts: Facts::default(),
            });
        }
        let (known, checked) = self.checked(model)?;
        let read = known.read(&checked.tables);
        if read.iter().any(|named| named.source.is_database()) {
            // As above; what the others have proves nothing then.
            return Ok(Listed { source: known.described(&read), facts: Facts::default() });
        }
        let watched = opening::watch(&read, LOOK, earlier, &self.settings.spent).await?;
        Ok(Listed { source: known.described(&read), facts: Watched::facts(&watched) })
    }

    /// The one source of the model, where it is a database: that takes the SQL as it stands.
    fn database(&self, model: &Model) -> Result<Option<&Definition>, Error> {
        let Reads::One(source) = &model.reads else { return Ok(None) };
        let source = self.definition(model, source)?;
        let Some(dialect) = source.access.dialect() else { return Ok(None) };
        match refusal(&model.sql, dialect) {
            Some(why) => Err(Error::Definition(format!("model `{}` {why}", model.name))),
            None => Ok(Some(source)),
        }
    }

    fn checked(&self, model: &Model) -> Result<(Known<'_>, Checked), Error> {
        let known = match &model.reads {
            Reads::One(source) => Known::One(self.definition(model, source)?),
            Reads::Joined(sources) => {
                let sources = sources.iter().map(|source| self.definition(model, source));
                Known::Joined(sources.collect::<Result<Vec<_>, Error>>()?)
            }
        };
        let checked = statement::check(&model.name, &model.sql, &known)?;
        Ok((known, checked))
    }

    fn definition(&self, model: &Model, source: &str) -> Result<&Definition, Error> {
        let found = self.definitions.iter().find(|definition| definition.name == source);
        found.map(Arc::as_ref).ok_or_else(|| {
            let known = self.definitions.iter().map(|definition| definition.name.as_str());
            let place = format!("model `{}`", model.name);
            Error::Definition(unknown("source", source, &place, &known.collect::<Vec<_>>()))
        })
    }
}

/// The rows of the plan that the restriction, which fits it, lets through.
fn restricted(
    plan: LogicalPlan,
    restriction: &Restriction,
) -> Result<LogicalPlan, DataFusionError> {
    let predicate = restriction.expression(plan.schema());
    LogicalPlanBuilder::from(plan).filter(predicate)?.build()
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

/// With what may be behind it.
fn hinted(error: Error, hint: Option<&Hint>, model: &Model) -> Error {
    match hint {
        Some(hint) => hint.explain(&model.name, error),
        None => error,
    }
}

/// The sources as the config describes them, and which databases they turned out to be.
fn identified(described: String, identities: impl IntoIterator<Item = String>) -> String {
    identities.into_iter().fold(described, |source, identity| format!("{source} {identity}"))
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
