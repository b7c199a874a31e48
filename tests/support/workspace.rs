//! A folder with a config, the source's files and the state, in which the binary runs against an oracle.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::fault::Fault;
use super::oracle::Oracle;
use super::people::{CANARY, Person, csv};
use super::process::{Finished, Process};
use super::{SOON, TOKEN};

/// What a scenario's config says; the rest is the same for all.
#[derive(Debug, Clone)]
pub struct Setup {
    pub mode: &'static str,
    pub table: &'static str,
    pub location: String,
    pub sql: String,
    /// The primary key.
    pub key: &'static [&'static str],
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
    /// How long after `Retry-After` or back-off a batch may still be tried.
    pub longest_time: &'static str,
    /// What `TOKEN` is in the environment.
    pub token: &'static str,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            mode: "mirror",
            table: "people",
            location: "people.csv".to_owned(),
            sql: "SELECT * FROM people".to_owned(),
            key: &["id"],
            sync: "",
            batch: 10,
            concurrency: 4,
            attempts: 4,
            max_deletes: Some("50%"),
            max_invalid: None,
            drain_timeout: "5s",
            request_timeout: None,
            longest_time: "20s",
            token: TOKEN,
        }
    }
}

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

impl Workspace {
    pub fn new(oracle: &Oracle, setup: Setup) -> Workspace {
        Workspace::at(oracle.base_url(), setup)
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

    pub fn write_people(&self, people: &[Person]) {
        self.write("people.csv", &csv(people));
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
        let Setup { attempts, drain_timeout, longest_time, .. } = &self.setup;
        let base_url = &self.base_url;
        let key = key.join(", ");
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
        let outcome = "      outcome:
        - status: 200
          then: { per_record: { by: index, items: /results, status: /status, delivered: [ok], code: /error/code, message: /error/message } }";
        format!(
            "state: ./state
sources: {{ lake: {{ files: {{ {table}: \"{location}\" }} }} }}
models: {{ people: {{ source: lake, sql: \"{sql}\", primary_key: [{key}] }} }}
connections:
  crm:
    http: {{ base_url: \"{base_url}\", {timeout}auth: {{ bearer: \"${{TOKEN}}\" }} }}
    concurrency: {concurrency}
    retry: {{ attempts: {attempts}, first_delay: 10ms, longest_delay: 100ms, longest_time: {longest_time} }}
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
      idempotency: {{ repeat: natural, header: Idempotency-Key }}
{outcome}
    delete:
      post: /contacts/batch/archive
      batch: {{ records: {batch} }}
      body: {{ json: {{ ids: {{ each: \"{{{{record}}}}\" }} }} }}
      idempotency: {{ repeat: natural, header: Idempotency-Key }}
{outcome}
"
        )
    }

    /// Starts a command on this workspace's config.
    pub fn spawn(&self, args: &[&str]) -> Process {
        self.spawn_with(args, &[])
    }

    /// As `spawn`, with more of the environment.
    pub fn spawn_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Process {
        self.spawn_under(&[], args, environment)
    }

    /// As `spawn_with`, started by a command that is handed the binary and its arguments.
    pub fn spawn_under(
        &self,
        wrapper: &[&str],
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let mut all = vec!["--config", "counterflow.yaml"];
        all.extend_from_slice(args);
        let token = [("TOKEN", self.setup.token)];
        Process::spawn_under(wrapper, self.path(), &all, &[&token, environment].concat())
    }

    /// Runs a command to its end and makes sure that it printed no secret and no personal data (I12).
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Finished {
        self.end(self.spawn(args), Duration::from_secs(120))
    }

    /// Waits for a process of this workspace and makes sure that it printed no secret and no personal data (I12).
    #[track_caller]
    pub fn end(&self, process: Process, timeout: Duration) -> Finished {
        let finished = process.wait(timeout);
        for canary in [TOKEN, CANARY] {
            assert!(
                !finished.printed().contains(canary),
                "I12: `{canary}` was printed: {finished:#?}"
            );
        }
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
        let mut folders = vec![self.state()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("the state can be read").flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                files += 1;
                let bytes = std::fs::read(entry.path()).expect("a file of the state can be read");
                for canary in [TOKEN, CANARY] {
                    let is_there =
                        bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
                    assert!(!is_there, "I12: `{canary}` is in {}", entry.path().display());
                }
            }
        }
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
