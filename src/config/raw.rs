//! The file as it is written, before any meaning is checked.
//!
//! These structures serve twice: the schema made from them finds every structural problem at once, and what is left after the
//! broken parts are cut away is read into them. Therefore every field is optional for serde, and the ones that must be
//! there are marked `required` for the schema; a union is a structure of which one part is set, or text beside a
//! structure, because a schema of alternatives cannot say which one was meant. Not responsible for meaning or defaults.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::raw_database::{RawMySql, RawPostgres};
use super::raw_field::RawField;
use super::raw_forms::{ListOrOne, Named, NumberOrText, StructureOrText, Whole};
use super::raw_request::RawRequest;
use super::raw_store::RawStore;

/// Counterflow: sources, models, connections and the syncs between them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Counterflow configuration")]
pub struct RawConfig {
    /// The folder of runs and snapshots, relative to this file; `./counterflow-state` unless said.
    pub state: Option<String>,
    /// What a process takes for a run, such as `1GiB`; `512MiB` unless said. Sorts and joins may take half of it on top.
    pub memory_limit: Option<String>,
    pub server: Option<RawServer>,
    pub delivery_log: Option<RawDeliveryLog>,
    pub history: Option<RawHistory>,
    pub telemetry: Option<RawTelemetry>,
    /// Where rows are read, by name.
    #[schemars(required)]
    pub sources: Option<Named<RawSource>>,
    /// Queries with a primary key, by name.
    #[schemars(required)]
    pub models: Option<Named<RawModel>>,
    /// Syncs that share a limit and are started and stopped together, by name.
    pub groups: Option<Named<RawGroup>>,
    /// Accounts at APIs, by name; syncs share them.
    #[schemars(required)]
    pub connections: Option<Named<RawConnection>>,
    /// Standing definitions: model, connection, mapping, mode and schedule, by name.
    #[schemars(required)]
    pub syncs: Option<Named<RawSync>>,
}

/// The HTTP interface of `serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawServer {
    /// Address and port, `127.0.0.1:8080` unless said. One that is not loopback needs a token.
    pub listen: Option<String>,
    /// Names, without a port, by which clients reach the server besides its address.
    pub hosts: Option<Vec<String>>,
    /// Requests of one caller, such as `100/s`; `500/s` unless said.
    pub rate_limit: Option<String>,
    /// Runs that go at once, of all syncs together; 4 unless said.
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub max_running: Option<Whole>,
}

/// Syncs that name it as their `group`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGroup {
    /// Runs of its syncs that go at once; no limit but the server's unless said.
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub max_running: Option<Whole>,
}

/// Runs and receipts as Parquet files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDeliveryLog {
    /// The folder that files are written to, relative to this file. It must be there: one that is not counts as away.
    #[schemars(required)]
    pub path: Option<String>,
    /// How long between two exports of a server; `1m` unless said.
    pub every: Option<String>,
    /// How much may wait while the folder is away; `1GiB` unless said.
    pub spool: Option<String>,
}

/// How long the state keeps what has passed, in whole days such as `90d`, or `never` to remove nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHistory {
    /// Runs that have ended, with the records noted of them; `90d` unless said. The last ones of each sync stay.
    pub runs: Option<String>,
    /// Entries of the audit log; `never` unless said.
    pub audit: Option<String>,
}

/// What is told of runs beside the log and `/metrics`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTelemetry {
    pub otlp: Option<RawOtlp>,
}

/// Traces of runs, by OTLP over HTTP; for a build with the feature `otlp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOtlp {
    /// The collector's address, which `/v1/traces` follows, such as `http://127.0.0.1:4318`.
    #[schemars(required)]
    pub endpoint: Option<String>,
    /// Sent with every request; a credential is a reference, `${NAME}`, `Bearer ${NAME}` or `file:PATH`.
    pub headers: Option<Named<String>>,
}

/// A source; exactly one of `files` and `postgres`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    /// Tables made of files, by the name that models use.
    pub files: Option<Named<StructureOrText<RawTable>>>,
    /// How the object stores are reached that tables lie in.
    pub store: Option<RawStore>,
    /// A PostgreSQL database, where the SQL of models runs as it stands.
    pub postgres: Option<RawPostgres>,
    /// A MySQL or MariaDB database, where the SQL of models runs as it stands.
    pub mysql: Option<RawMySql>,
}

/// A table: a path, a glob, or a location in an object store such as `s3://bucket/data/*.parquet`, that ends in `.parquet`,
/// `.arrow`, `.feather`, `.ipc`, `.csv`, `.ndjson` or `.jsonl`, texts also with `.gz` or `.zst` behind that; or exactly one of
/// `parquet`, `arrow`, `csv` and `ndjson`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTable {
    /// A path, glob or location of Parquet files.
    pub parquet: Option<String>,
    /// A path, glob or location of Arrow files, in the IPC file format or stream format.
    pub arrow: Option<String>,
    /// A path, glob or location of CSV files.
    pub csv: Option<String>,
    /// A path, glob or location of NDJSON files: a JSON object a line.
    pub ndjson: Option<String>,
    /// The folder, or its location in a store, of a Delta table.
    pub delta: Option<String>,
    /// Delta: the version that is read; the newest one unless said.
    pub version: Option<Whole>,
    /// CSV and NDJSON: `gzip`, `zstd` or `none`; by the ending of the path, `.gz` or `.zst`, unless said.
    pub compression: Option<String>,
    /// CSV: the words that mean NULL when they are the whole field; `[""]` unless said.
    pub nulls: Option<Vec<String>>,
    /// CSV: one ASCII character, `,` unless said.
    pub delimiter: Option<String>,
    /// CSV: whether the first line names the columns; `true` unless said.
    pub header: Option<bool>,
    /// Parquet and Arrow: `same` or `union`, how the columns of several files come together; `same` unless said.
    pub schema: Option<String>,
    /// CSV and NDJSON: declared types by column, such as `VARCHAR` or `DECIMAL(10,2)`; others are pinned at the first run.
    pub columns: Option<Named<String>>,
    /// Columns whose values stand in the names of directories, `NAME=VALUE`: their types by name, or `auto` for all that are
    /// below the first wildcard, as texts.
    pub partitions: Option<StructureOrText<Named<String>>>,
    /// The files are written anew under new names each time.
    pub rewritten: Option<RawRewritten>,
}

/// What proves that a rewritten set of files is complete.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRewritten {
    /// A file beside the data that is there only when the set is complete, such as `_SUCCESS`.
    pub marker: Option<String>,
}

/// A query with a primary key; exactly one of `source` and `sources`, and of `sql` and `sql_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    /// The name of a source, whose tables the query names as they are called there.
    pub source: Option<String>,
    /// The names of several sources that the query joins; it names their tables as `SOURCE.TABLE`.
    #[schemars(length(min = 1))]
    pub sources: Option<Vec<String>>,
    /// One SELECT over the tables of the source or sources; taken as it stands.
    pub sql: Option<String>,
    /// A file with one SELECT, relative to this file.
    pub sql_file: Option<String>,
    /// The columns that identify a row.
    #[schemars(required, length(min = 1))]
    pub primary_key: Option<Vec<String>>,
    /// Syncs read no more than what is new by a column that rises with each change; only for `mode: upsert`.
    pub cursor: Option<RawCursor>,
}

/// The column by which rows are new.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCursor {
    /// A column of whole numbers, dates or timestamps that rises with each change of a row.
    #[schemars(required)]
    pub column: Option<String>,
    /// How far below the largest value met before a read begins: a duration such as `10m`, which is what stands here unless
    /// said, or a number; 0 unless said.
    pub overlap: Option<NumberOrText>,
    /// A run reads everything once the last that did is so long ago, such as `12h` or `7d`; `1d` unless said.
    pub full_every: Option<String>,
    /// The zone of dates and of times without one, such as `America/New_York` or `UTC`: a value beyond its clock is not believed.
    /// Unless said, it is that of the place whose clock is farthest behind, so that runs read 12 hours again.
    pub time_zone: Option<String>,
}

/// One account at one API, and how much it bears.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConnection {
    #[schemars(required)]
    pub http: Option<RawHttp>,
    /// Requests in flight at once; 4 unless said.
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub concurrency: Option<Whole>,
    /// Requests in a period, such as `50/s`, `100/10s` or `3000/m`; no limit unless said.
    pub rate_limit: Option<String>,
    pub retry: Option<RawRetry>,
}

/// An HTTP API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHttp {
    /// `https://` and host, with a path that all requests share, if there is one.
    #[schemars(required)]
    pub base_url: Option<String>,
    /// Exactly one of `bearer` and `basic`.
    pub auth: Option<RawAuth>,
    /// Sent with every request; credentials belong under `auth`.
    pub headers: Option<Named<String>>,
    /// `10s` unless said.
    pub connect_timeout: Option<String>,
    /// From the first byte sent to the last byte of the answer; `30s` unless said.
    pub request_timeout: Option<String>,
    /// The account the credentials are for: says that a new secret is for the same account.
    pub account: Option<String>,
    /// Asks for that account at the beginning of each run, in place of `account`.
    pub identify: Option<RawIdentify>,
}

/// A request whose answer says which account the credentials are for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawIdentify {
    /// The path that is asked, such as `/me`.
    #[schemars(required)]
    pub get: Option<String>,
    /// A JSON pointer to the account in the answer, such as `/account/id`.
    #[schemars(required)]
    pub account: Option<String>,
}

/// Credentials; a secret is a reference, `${NAME}` or `file:PATH`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAuth {
    /// A token, as a reference.
    pub bearer: Option<String>,
    pub basic: Option<RawBasic>,
}

/// A user and a password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBasic {
    #[schemars(required)]
    pub user: Option<String>,
    /// As a reference.
    #[schemars(required)]
    pub password: Option<String>,
}

/// When a batch is tried again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRetry {
    /// Attempts in all, the first included; 6 unless said.
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub attempts: Option<Whole>,
    /// The longest first pause, `500ms` unless said; it doubles with each attempt.
    pub first_delay: Option<String>,
    /// The longest pause of all, `1m` unless said.
    pub longest_delay: Option<String>,
    /// No attempt starts later than this after the first; `10m` unless said.
    pub longest_time: Option<String>,
}

/// The standing definition of a sync.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSync {
    /// The name of a model.
    #[schemars(required)]
    pub model: Option<String>,
    /// The name of a connection.
    #[schemars(required)]
    pub connection: Option<String>,
    /// `upsert`, or `mirror`, which deletes too.
    #[schemars(required)]
    pub mode: Option<RawMode>,
    pub schedule: Option<RawSchedule>,
    /// `now`: a sync that never ran is run at once; else it waits for its schedule.
    pub start: Option<RawStart>,
    /// The name of a group.
    pub group: Option<String>,
    /// `high`, `normal` or `low`, beside other syncs of the connection; `normal` unless said.
    pub priority: Option<RawPriority>,
    /// A partial run with more rejected records than this makes the sync Failed; none does unless said.
    #[schemars(extend("maximum" = 1_000_000_000_000_u64))]
    pub fail_above_rejected: Option<Whole>,
    /// After so many runs in a row that halted the sync is paused, with the reason; 5 unless said, 0 for never.
    #[schemars(extend("maximum" = 1000))]
    pub disable_after_halts: Option<Whole>,
    /// Fields of the destination object and the SQL expressions that fill them, taken as they stand, or structures with `sql`
    /// and how values are said and compared; every column of the model under its own name unless said.
    pub mapping: Option<Named<StructureOrText<RawField>>>,
    /// Without a mapping: columns whose changes alone do not make a row be sent.
    pub ignore: Option<Vec<String>>,
    /// The mapped fields that identify the record at the destination; the primary key unless said.
    #[schemars(length(min = 1))]
    pub key: Option<Vec<String>>,
    /// When repeated keys are found: while rows are sent (`streaming`, unless said), or by a pass over the key columns before
    /// anything is sent (`first`).
    pub check_keys: Option<RawCheckKeys>,
    pub guard: Option<RawGuard>,
    /// Null and repeated keys and unencodable values above this fail the run; 1000 unless said.
    #[schemars(extend("maximum" = 1_000_000_000_000_u64))]
    pub max_invalid: Option<Whole>,
    /// How long a stop waits for requests in flight; `30s` unless said.
    pub drain_timeout: Option<String>,
    /// Whether the sync begins paused; `false` unless said.
    pub paused: Option<bool>,
    /// Says that another sync may write the same object, though one of them is a mirror.
    pub shared: Option<bool>,
    #[schemars(required)]
    pub upsert: Option<RawRequest>,
    /// A mirror must have it.
    pub delete: Option<RawRequest>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawMode {
    Upsert,
    Mirror,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawStart {
    Now,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawPriority {
    High,
    Normal,
    Low,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawCheckKeys {
    Streaming,
    First,
}

/// When runs start by themselves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSchedule {
    /// Five fields: minute, hour, day of month, month, day of week.
    pub cron: Option<String>,
    /// An interval such as `15m`, in place of `cron`; it is counted from midnight UTC of the first of January 1970.
    pub every: Option<String>,
    /// Another sync, whose success starts this one, in place of `cron`.
    pub after: Option<String>,
    /// An IANA name such as `Europe/Berlin` that `cron` goes by; `UTC` unless said.
    pub time_zone: Option<String>,
}

/// Limits above which deletes are held until a person decides.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGuard {
    /// Rows (`50`) or a share of the records known (`10%`); unless said, over 10 % and over 10 rows are held.
    #[schemars(required)]
    pub max_deletes: Option<NumberOrText>,
}

/// Values of an outcome rule's `when`.
pub type RawWhen = Named<Value>;
/// One status or several.
pub type RawStatus = ListOrOne<NumberOrText>;
