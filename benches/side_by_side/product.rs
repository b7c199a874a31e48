//! The product under measure: a config for the bench's table and sink, and the binary's commands on it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::process::{self, Measured};

/// One state folder with its config and the file it reads.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
}

impl Workspace {
    /// A new one in `folder`, which is emptied. `source` is the definition of its source.
    pub fn create(
        folder: &Path,
        source: &str,
        sink: SocketAddr,
        concurrency: u32,
    ) -> io::Result<Workspace> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        Workspace::reopen(folder, source, sink, concurrency)
    }

    /// The one in `folder`, with another sink.
    pub fn reopen(
        folder: &Path,
        source: &str,
        sink: SocketAddr,
        concurrency: u32,
    ) -> io::Result<Workspace> {
        let config = CONFIG
            .replace("SOURCE", source)
            .replace("SINK", &sink.to_string())
            .replace("CONCURRENCY", &concurrency.to_string());
        std::fs::write(folder.join("counterflow.yaml"), config)?;
        Ok(Workspace { folder: folder.to_owned() })
    }

    /// Puts `data` where the source reads; a new link, by which it counts as changed.
    pub fn set_source(&self, data: &Path) -> io::Result<()> {
        let path = self.folder.join("customers.parquet");
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        std::fs::hard_link(data, path)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of the files of the state.
    pub fn state_size(&self) -> io::Result<u64> {
        size(&self.folder.join("state"))
    }

    pub fn plan(&self) -> io::Result<(Measured, Value)> {
        self.run("plan")
    }

    pub fn sync(&self) -> io::Result<(Measured, Value)> {
        self.run("sync")
    }

    /// The start of the binary, without config and state.
    pub fn version(&self) -> io::Result<Measured> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_counterflow"));
        process::measure(process.arg("version"), &self.folder.join("log"))
    }

    /// A command that goes on by itself.
    pub fn start(&self, args: &[&str]) -> io::Result<Child> {
        let mut process = self.command();
        process.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        process.spawn()
    }

    fn command(&self) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_counterflow"));
        process.arg("--config").arg(self.folder.join("counterflow.yaml"));
        process
    }

    fn run(&self, command: &str) -> io::Result<(Measured, Value)> {
        let mut process = self.command();
        process.args(["--format", "json", command, "customers"]);
        let measured = process::measure(&mut process, &self.folder.join("log"))?;
        let answer = serde_json::from_str(&measured.output).map_err(io::Error::other)?;
        Ok((measured, answer))
    }
}

fn size(folder: &Path) -> io::Result<u64> {
    std::fs::read_dir(folder)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let path = entry.path();
        Ok(sum + if path.is_dir() { size(&path)? } else { entry.metadata()?.len() })
    })
}

/// The source of a workspace that reads the file of [`Workspace::set_source`].
pub const FILE: &str = "{ files: { customers: customers.parquet } }";

const CONFIG: &str = r#"state: ./state
memory_limit: 512MiB
sources:
  bench: SOURCE
models:
  customers:
    source: bench
    sql: >
      SELECT customer_id, email, name, company, country, plan, is_active, signed_up, seats, mrr, score, updated_at
      FROM customers
    primary_key: [customer_id]
connections:
  sink:
    http:
      base_url: http://SINK
      account: bench
    concurrency: CONCURRENCY
syncs:
  customers:
    model: customers
    connection: sink
    mode: mirror
    upsert:
      post: /customers/batch
      batch:
        records: 100
      body:
        json:
          customers:
            each: "{{record}}"
      idempotency:
        repeat: natural
      outcome:
        - status: 200
          then:
            per_record:
              by: index
              items: /results
              status: /status
              delivered: [ok]
    delete:
      post: /customers/batch/archive
      batch:
        records: 100
      body:
        json:
          customers:
            each:
              customer_id: "{{record.customer_id}}"
      idempotency:
        repeat: natural
      outcome:
        - status: 200
          then:
            per_record:
              by: index
              items: /results
              status: /status
              delivered: [ok]
"#;
