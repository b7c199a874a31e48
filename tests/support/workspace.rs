//! A folder with a config, the source's files and the state, in which the binary runs against an oracle.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::fault::Fault;
use super::oracle::Oracle;
use super::parquet;
use super::people::{Person, csv};
use super::process::{Finished, Process};
use super::{SOON, TOKEN, canaries};

/// What a scenario's config says; the rest is the same for all.
#[derive(Debug, Clone)]
pub struct Setup {
    pub mode: &'static str,
    pub table: &'static str,
    pub location: String,
    pub sql: String,
    /// The primary key.
    pub key: &'static [&'static str],
    /// The column that is the model's cursor, and more keys of it.
    pub cursor: Option<&'static str>,
    /// More keys of the whole config, as YAML.
    pub head: &'static str,
    /// More keys of the sync, as YAML.
    pub sync: &'static str,
    pub batch: u32,
    pub concurrency: u32,
    pub attempts: u32,
    /// The value of `max_deletes`; `None` leaves the guard at its default.
    pub max_deletes: Option<&'static str>,
    pub max_invalid: Option<u32>,
    pub drain_timeout: &'static str,
    /// How long a request may take.
    pub request_timeout: Option<&'static str>,
    /// Before the second attempt.
    pub first_delay: &'static str,
    /// How long after `Retry-After` or back-off a batch may still be tried.
    pub longest_time: &'static str,
    /// What `TOKEN` is in the environment.
    pub token: &'static str,
    /// The reference to the token, as it stands in the config.
    pub bearer: &'static str,
    /// More keys of the HTTP connection, as YAML: `connect_timeout: 1s, `.
    pub http: &'static str,
    /// Whether a request without a known outcome may be repeated: `natural`, `key` or `never`.
    pub repeat: &'static str,
    /// The rules that judge answers, as a YAML list in a line; the usual one if empty.
    pub outcome: String,
    /// Files come to rest, so that runs may be skipped; else every file counts as just changed.
    pub rests: bool,
    /// More of the environment of every process.
    pub environment: Vec<(&'static str, String)>,
    /// What every process is started under: a program and its arguments that become the command.
    pub under: Vec<String>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            mode: "mirror",
            table: "people",
            location: "people.csv".to_owned(),
            sql: "SELECT * FROM people".to_owned(),
            key: &["id"],
            cursor: None,
            head: "",
            sync: "",
            batch: 10,
            concurrency: 4,
            attempts: 4,
            max_deletes: Some("50%"),
            max_invalid: None,
            drain_timeout: "5s",
            request_timeout: None,
            first_delay: "10ms",
            longest_time: "20s",
            token: TOKEN,
            bearer: "${TOKEN}",
            http: "",
            repeat: "natural",
            outcome: String::new(),
            rests: false,
            environment: Vec::new(),
            under: Vec::new(),
        }
    }
}

/// How the oracle answers record by record, for a rule of `Setup::outcome`.
pub const PER_RECORD: &str = "{ per_record: { by: index, items: /results, status: /status, delivered: [ok], code: /error/code, message: /error/message } }";

/// Where a process of `spawn_logged` writes to instead of its standard error.
pub const LOG: &str = "serve.log";
/// Before the binary: what makes it write there.
const LOGGED: [&str; 4] = ["sh", "-c", "exec \"$@\" 2>\"$0\"", LOG];

/// A folder that is gone when the value is.
pub struct Workspace {
    folder: TempDir,
    pub setup: Setup,
    base_url: String,
}

/// What `sync --format json` says, with the exit code.
#[derive(Debug, Clone)]
pub struct Report {
    pub finished: Finished,
    pub json: Value,
}

/// The people as CSV that gzip has packed.
pub fn packed(people: &[Person]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, csv(people).as_bytes()).expect("it can be packed");
    encoder.finish().expect("it can be finished")
}

impl Workspace {
    pub fn new(oracle: &Oracle, setup: Setup) -> Workspace {
        let workspace = Workspace::at(oracle.base_url(), setup);
        oracle.has_state(workspace.state());
        workspace
    }

    pub fn at(base_url: String, setup: Setup) -> Workspace {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let workspace = Workspace { folder, setup, base_url };
        workspace.write_config();
        workspace
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes a file of the workspace anew, under a new inode.
    pub fn write(&self, name: &str, content: &str) {
        let next = self.path().join(format!("{name}.next"));
        std::fs::write(&next, content).expect("a file can be written");
        std::fs::rename(&next, self.path().join(name)).expect("a file can be renamed");
    }

    /// Writes the people where the setup says that the table lies, as CSV or Parquet by the ending; into three files, by
    /// the remainder of the id, where that is a glob.
    pub fn write_people(&self, people: &[Person]) {
        let location = &self.setup.location;
        if !location.contains('*') {
            return self.write_file(location, people);
        }
        for remainder in 0..3 {
            let part: Vec<Person> =
                people.iter().copied().filter(|person| person.id % 3 == remainder).collect();
            self.write_file(&location.replace('*', &remainder.to_string()), &part);
        }
    }

    /// Writes people into this file anew, under a new inode.
    pub fn write_file(&self, name: &str, people: &[Person]) {
        let path = self.path().join(name);
        let next = path.with_extension("next");
        if name.ends_with(".parquet") {
            parquet::write(&next, &parquet::people(people), 100);
        } else if name.ends_with(".gz") {
            std::fs::write(&next, packed(people)).expect("a file can be written");
        } else {
            return self.write(name, &csv(people));
        }
        std::fs::rename(next, path).expect("a file can be renamed");
    }

    /// Waits until every file beside the state was changed so long ago that a run that reads it now may be the last that has
    /// to.
    pub fn wait_until_at_rest(&self) {
        let changed = |path: &Path| {
            let metadata = std::fs::metadata(path).expect("a file of the workspace is there");
            (metadata.ctime(), metadata.ctime_nsec())
        };
        let files = std::fs::read_dir(self.path()).expect("the workspace can be read");
        let files = files.map(|entry| entry.expect("an entry can be read").path());
        let last = files.filter(|path| path.is_file()).map(|path| changed(&path)).max();
        let (seconds, rest) = last.expect("there is a file");
        let begun = Instant::now();
        // By the clock of the file system.
        let folder = tempfile::tempdir_in(self.path()).expect("a folder can be made");
        loop {
            let probe = folder.path().join("probe");
            std::fs::write(&probe, "").expect("a file can be written");
            if changed(&probe) > (seconds + 2, rest) {
                return;
            }
            assert!(begun.elapsed() < SOON, "the clock of the file system stands");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Changes the setup and writes the config anew.
    pub fn change(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        self.write_config();
    }

    pub fn write_config(&self) {
        self.write("counterflow.yaml", &self.config());
    }

    /// The config as text.
    pub fn config(&self) -> String {
        let Setup { mode, table, location, sql, key, batch, concurrency, .. } = &self.setup;
        let Setup { attempts, drain_timeout, first_delay, longest_time, head, .. } = &self.setup;
        let longest_delay = if *first_delay == "10ms" { "100ms" } else { first_delay };
        let base_url = &self.base_url;
        let key = key.join(", ");
        let cursor = self
            .setup
            .cursor
            .map_or(String::new(), |column| format!(", cursor: {{ column: {column} }}"));
        let guard =
            self.setup.max_deletes.map_or(String::new(), |most| format!("max_deletes: {most}"));
        let invalid = self
            .setup
            .max_invalid
            .map_or(String::new(), |most| format!("    max_invalid: {most}\n"));
        let guard = if guard.is_empty() { guard } else { format!("    guard: {{ {guard} }}\n") };
        let sync = match self.setup.sync {
            "" => String::new(),
            more => format!("    {more}\n"),
        };
        let timeout = self.setup.request_timeout;
        let timeout = timeout.map_or(String::new(), |time| format!("request_timeout: {time}, "));
        let Setup { bearer, http, outcome, repeat, .. } = &self.setup;
        let usual = format!("[{{ status: 200, then: {PER_RECORD} }}]");
        let outcome = if outcome.is_empty() { &usual } else { outcome };
        let outcome = format!("      outcome: {outcome}");
        format!(
            "state: ./state
{head}
sources: {{ lake: {{ files: {{ {table}: \"{location}\" }} }} }}
models: {{ people: {{ source: lake, sql: \"{sql}\", primary_key: [{key}]{cursor} }} }}
connections:
  crm:
    http: {{ base_url: \"{base_url}\", {timeout}{http}auth: {{ bearer: \"{bearer}\" }} }}
    concurrency: {concurrency}
    retry: {{ attempts: {attempts}, first_delay: {first_delay}, longest_delay: {longest_delay}, longest_time: {longest_time} }}
syncs:
  people:
    model: people
    connection: crm
    mode: {mode}
{sync}{guard}{invalid}    drain_timeout: {drain_timeout}
    upsert:
      post: /contacts/batch
      batch: {{ records: {batch}, bytes: 1MiB }}
      body: {{ json: {{ records: {{ each: \"{{{{record}}}}\" }} }} }}
      idempotency: {{ repeat: {repeat}, header: Idempotency-Key }}
{outcome}
    delete:
      post: /contacts/batch/archive
      batch: {{ records: {batch} }}
      body: {{ json: {{ ids: {{ each: \"{{{{record}}}}\" }} }} }}
      idempotency: {{ repeat: {repeat}, header: Idempotency-Key }}
{outcome}
"
        )
    }

    /// The config as it lies there.
    pub fn config_now(&self) -> String {
        std::fs::read_to_string(self.path().join("counterflow.yaml")).expect("it is there")
    }

    /// Starts a command on this workspace's config.
    pub fn spawn(&self, args: &[&str]) -> Process {
        self.spawn_with(args, &[])
    }

    /// As `spawn`, with more of the environment.
    pub fn spawn_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Process {
        self.spawn_under(&[], args, environment)
    }

    /// As `spawn_with`, with another program in front, such as one that sets limits and becomes the command.
    pub fn spawn_under(
        &self,
        front: &[&str],
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let mut all = vec!["--config", "counterflow.yaml"];
        all.extend_from_slice(args);
        let mut every = vec![("TOKEN", self.setup.token)];
        if !self.setup.rests {
            every.push(("COUNTERFLOW_FILES_REST", "never"));
        }
        every.extend(self.setup.environment.iter().map(|(name, value)| (*name, value.as_str())));
        let mut under: Vec<&str> = self.setup.under.iter().map(String::as_str).collect();
        under.extend_from_slice(front);
        every.extend_from_slice(environment);
        Process::spawn_under(&under, self.path(), &all, &every)
    }

    /// As `spawn_with`; what the process logs can be read while it runs, by `log`.
    pub fn spawn_logged(&self, args: &[&str], environment: &[(&str, &str)]) -> Process {
        self.spawn_under(&LOGGED, args, environment).logging_to(self.path().join(LOG))
    }

    /// What the last process of `spawn_logged` has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join(LOG)).expect("it is text")
    }

    /// Runs a command to its end and makes sure that it printed no secret and no personal data (I12).
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Finished {
        self.end(self.spawn(args), Duration::from_secs(120))
    }

    /// Waits for a process of this workspace and makes sure that it printed and left no secret and no personal data (I12).
    #[track_caller]
    pub fn end(&self, process: Process, timeout: Duration) -> Finished {
        let finished = process.wait(timeout);
        canaries::assert_none(&finished.printed(), "what was printed");
        canaries::assert_none_within(&self.state());
        finished
    }

    /// Starts a run that prints its report as JSON.
    pub fn spawn_sync(&self, more: &[&str]) -> Process {
        let mut args = vec!["--format", "json", "sync", "people"];
        args.extend_from_slice(more);
        self.spawn(&args)
    }

    /// Runs until the oracle has applied the next request, and kills the process before it has an answer.
    #[track_caller]
    pub fn kill_between_request_and_receipt(&self, oracle: &Oracle) {
        let before = oracle.request_count();
        oracle.on_next(Fault::ApplyThenHold);
        let process = self.spawn_sync(&[]);
        oracle.wait_for_requests(before + 1, SOON);
        process.kill();
        oracle.wait_until(SOON, |journal| !journal.requests[before].is_open);
        let request = &oracle.requests()[before];
        assert!(request.is_applied() && !request.is_answered_whole, "{}", oracle.print());
    }

    /// Runs a sync to its end; its report.
    #[track_caller]
    pub fn sync(&self, more: &[&str]) -> Report {
        self.report(self.spawn_sync(more))
    }

    /// The JSON of a command that succeeds.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--format", "json"];
        all.extend_from_slice(args);
        self.run(&all).expect_code(0).json()
    }

    /// What `status` says of the sync.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.json(&["status", "people"])[0].clone()
    }

    /// Asks again and again for the newest run until it is as wanted; the run.
    ///
    /// # Panics
    /// After `SOON`, with the last answer.
    #[track_caller]
    pub fn wait_for_run(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let run = self.json(&["runs"])[0].clone();
            if is_so(&run) {
                return run;
            }
            assert!(begun.elapsed() < SOON, "waited in vain: {run:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end of `spawn_sync`; its report.
    #[track_caller]
    pub fn report(&self, process: Process) -> Report {
        let finished = self.end(process, SOON * 4);
        let json = finished.json();
        Report { finished, json }
    }

    /// Makes sure that no file of the state holds a canary: only keys and hashes are stored (I12).
    #[track_caller]
    pub fn assert_state_holds_no_canary(&self) {
        let files = canaries::assert_none_within(&self.state());
        assert!(files > 0, "the state has files");
    }
}

impl Report {
    /// The run's number, as the commands take it.
    #[track_caller]
    pub fn run(&self) -> String {
        self.json["run"]
            .as_u64()
            .unwrap_or_else(|| panic!("a run has a number: {self:#?}"))
            .to_string()
    }

    #[track_caller]
    pub fn word(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_else(|| panic!("`{field}` is a word: {self:#?}"))
    }

    /// A count of the tally.
    #[track_caller]
    pub fn count(&self, field: &str) -> u64 {
        self.json["tally"][field]
            .as_u64()
            .unwrap_or_else(|| panic!("`{field}` is a count: {self:#?}"))
    }

    /// Makes sure of the exit code, the outcome, and the counts named; the counts agree with the oracle's (I10).
    #[track_caller]
    pub fn expect(self, code: i32, outcome: &str, counts: &[(&str, u64)]) -> Report {
        assert_eq!(self.finished.code, Some(code), "{self:#?}");
        assert_eq!(self.word("outcome"), outcome, "{self:#?}");
        for (field, count) in counts {
            assert_eq!(self.count(field), *count, "`{field}` of {self:#?}");
        }
        self
    }

    #[track_caller]
    pub fn expect_kind(self, kind: &str, reason: &str) -> Report {
        assert_eq!((self.word("kind"), self.word("reason")), (kind, reason), "I11: {self:#?}");
        self
    }
}
