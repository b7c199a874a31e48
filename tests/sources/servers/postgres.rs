//! A PostgreSQL server: over TCP without a password, for `scram_user` over TLS with one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::free_port;
use super::process::{self, Server};
use crate::support::certificates::{Authority, Good};
use crate::support::{SOON, TOKEN};

/// A running server.
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    pub port: u16,
    /// Who vouches for its certificate, which is for `localhost`.
    pub authority: Authority,
    databases: AtomicUsize,
}

/// A database of a server.
pub struct Database<'s> {
    pub server: &'s Postgres,
    pub name: String,
}

/// Where the programs of the newest version are.
pub fn programs() -> Result<PathBuf, String> {
    let version = |path: &PathBuf| -> Option<u32> {
        path.parent()?.file_name()?.to_string_lossy().parse().ok()
    };
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = found.map(|entry| entry.path().join("bin")).collect();
    found.sort_by_key(version);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path);
    let has_all = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file())
    };
    found.into_iter().rev().chain(others).find(has_all).ok_or_else(|| {
        "`initdb` of PostgreSQL is not on this machine (apt-get install postgresql-15)".to_owned()
    })
}

impl Postgres {
    pub fn start() -> Postgres {
        let programs = programs().expect("it was looked for before");
        let authority = Authority::new();
        let folder = process::folder();
        let data = folder.path().join("data");
        let mut initdb = process::command(&programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "--auth=trust", "--no-sync"]);
        initdb.args(["-E", "UTF8", "--locale=C"]).current_dir(folder.path());
        let made = initdb.output().expect("it was found before");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let hba = "local all all trust\nhostssl all scram_user all scram-sha-256\n\
                   hostnossl all scram_user all reject\nhost all all all trust\n";
        write(&data.join("pg_hba.conf"), hba);
        let (certificate, key) = authority.pem("localhost", Good::Now);
        write(&data.join("server.crt"), &certificate);
        write(&data.join("server.key"), &key);
        let port = free_port();
        let mut command = process::command(&programs.join("postgres"));
        command.arg("-D").arg(&data);
        let sockets = format!("unix_socket_directories={}", folder.path().display());
        let port_said = format!("port={port}");
        for setting in [
            "listen_addresses=127.0.0.1",
            &port_said,
            &sockets,
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=50",
            "logging_collector=off",
            "ssl=on",
        ] {
            command.args(["-c", setting]);
        }
        let server = Server::start(folder, command, "QUIT");
        let databases = AtomicUsize::new(0);
        let mut started = Postgres { server, programs, port, authority, databases };
        started.wait();
        started.psql("postgres", &format!("CREATE ROLE scram_user LOGIN PASSWORD '{TOKEN}'"));
        started
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while self.try_psql("postgres", "SELECT 1").is_err() {
            assert!(self.server.is_running() && begun.elapsed() < SOON, "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The folder of its Unix socket.
    pub fn socket(&self) -> &Path {
        self.server.folder()
    }

    /// A new database, in which these statements were made.
    pub fn database(&self, sql: &str) -> Database<'_> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.psql(&name, sql);
        Database { server: self, name }
    }

    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|said| panic!("{sql}: {said}"))
    }

    fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        let done = psql.stdin(Stdio::null()).output().expect("it was found before");
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }
}

impl Database<'_> {
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql)
    }

    /// The source of a config that reads it, over this port.
    pub fn source_at(&self, port: u16, more: &str) -> String {
        let name = &self.name;
        format!(
            "lake: {{ postgres: {{ host: 127.0.0.1, port: {port}, database: {name}, user: postgres{more} }} }}"
        )
    }

    pub fn source(&self) -> String {
        self.source_at(self.server.port, "")
    }

    /// How many sessions our sync has open.
    pub fn count_sessions(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                   application_name LIKE 'counterflow%'";
        self.psql(sql).parse().expect("it is a number")
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = self.server.try_psql("postgres", &drop);
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("a file can be written");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("it is ours");
    process::give(path);
}
