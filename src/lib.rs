//! Counterflow, a reverse-ETL sync engine: it reads a model, compares each row with what the destination is known to
//! hold, and sends only the difference. This page is the guide to the architecture.
//!
//! # The rooms
//!
//! Every module here is a room, and every room has a rank. A room imports only rooms of lower rank; the stations of rank
//! 1 never import one another; rooms of rank 0 and those of rank 5 may. `tests/tidy.rs` holds these arrows.
//!
//! | rank | room | what it does |
//! |---|---|---|
//! | 0 | [`domain`] | values and pure rules: keys, entries, the decision for each key, the guard, the phases of a run |
//! | 0 | [`shutdown`] | the stages Running < Draining < Aborting, and the one place that spawns tasks |
//! | 0 | [`telemetry`] | logs |
//! | 0 | [`points`] | the moments and the planted defects of the fault kit; nothing of it is in a release build |
//! | 0 | [`spill`] | what does not fit into memory, in a temporary file that nobody else can read |
//! | 1 | [`source`] | runs a model's query, yields record batches, proves the end of the read |
//! | 1 | [`delta`] | rows against the snapshot → changes |
//! | 1 | [`snapshot`] | what the destination is known to hold: format, journal, commit, compaction |
//! | 1 | [`destination`] | says one batch to one API and judges the answer |
//! | 1 | [`store`] | small rows: runs, pauses, audit, the lock on the state |
//! | 2 | [`delivery`] | many batches in flight: batches, the pure window, the loop, retry, the connection's budget |
//! | 3 | [`engine`] | the run, its recovery, its plan and its report |
//! | 3 | [`export`] | the delivery log: runs and receipts as Parquet files |
//! | 4 | [`history`] | the past that nobody needs any more, and its removal |
//! | 4 | [`control`] | who may run when: schedules, the queue, the service that owns them |
//! | 5 | [`config`] | YAML → validated values |
//! | 5 | [`api`] | the HTTP interface of the server, and the documents that the command line prints too |
//! | 5 | [`cli`] | one file a command |
//! | 5 | [`demo`] | a destination that misbehaves, and the story told with it |
//!
//! Only `engine` sees the whole line. A new source or destination is one folder and one arm of an enum. SQL that the
//! engine runs is a file under `sql/`.
//!
//! # The life of a run
//!
//! ```text
//! In Queue → Starting → Reading → Draining → Committing → ended
//! ```
//!
//! 1. *Starting.* The snapshot is opened. If the last run died, its journal is committed first ([`snapshot::open`]).
//!    The definition is compared with the one that the snapshot was made under, and the kind follows, full or
//!    incremental ([`domain::kind`]).
//! 2. *Reading.* Rows stream from the source; each is decided on by its entry ([`domain::decision`]). Upserts leave
//!    while the source is still being read. Where the snapshot does not fit into memory, rows of any part of it but the
//!    first wait on disk, and are decided on after the read of the source has ended, part by part ([`engine::passes`]).
//!    For each request there are two notes in the [`snapshot::journal`]: the **intent**, durable before the first byte
//!    leaves, and the **receipt**, once the answer was read in full and judged record by record.
//! 3. *Deletes* go last, and only after the proof that the read was complete ([`source::Proof`]), within the guard
//!    ([`domain::guard`]). Above it they are held for a person.
//! 4. *Draining*, when the run is stopped: nothing new is sent, what is in flight may finish within its limit; what does
//!    not is in doubt.
//! 5. *Committing.* Intents and receipts are folded into the next generation, atomically, and in bounded memory however many
//!    there are ([`snapshot::commit`]). The tally must add up, and it decides on the outcome ([`domain::run`],
//!    [`domain::tally`]). What makes the snapshot smaller comes behind the run, and gives way to whoever wants
//!    the snapshot ([`engine::compacting`]).
//!
//! [`domain::run::Phase`] has the table of the legal steps. A kill at any moment leaves a journal, and a key with an
//! intent and no receipt is in doubt: the next run asserts it again, whatever its fingerprint says.
//!
//! # What there is none of
//!
//! - No progress marker that runs ahead of delivery: only receipts and recorded decisions of people move a snapshot.
//! - No outcome that begins as success: a record is unknown until an answer in full says otherwise.
//! - No delete from a read that is not proven complete, and none for a key that this sync never sent.
//! - No damaged, missing or foreign file that is read as empty.
//! - No IO, no clock and no async in `domain`; no retry and no concurrency in `destination`; no config in `engine`.
//! - No task without an owner, no queue, body or batch without a bound.
//! - No secret and no content of a row, keys aside, in an error or a log.
//! - No second process on the same state ([`store::lock`]).
//! - No unsafe code.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!(
    "the feature `faults` is for the fault kit alone: build with debug assertions, or without it"
);

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod delivery;
pub mod delta;
pub mod demo;
pub mod destination;
pub mod domain;
pub mod engine;
pub mod export;
pub mod folders;
pub mod history;
pub mod identity;
pub mod points;
pub mod shutdown;
pub mod small_file;
pub mod snapshot;
pub mod source;
pub mod spill;
pub mod store;
pub mod telemetry;
