//! A MariaDB server: for `app` without a password, for `tls_user` over TLS with one.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Words;
use super::cutting::Protocol;
use super::process::{self, Server, free_port, write};
use crate::support::certificates::{Authority, Good};
use crate::support::{SOON, TOKEN};

/// A running server.
pub struct MySql {
    server: Server,
    client: PathBuf,
    pub port: u16,
    /// Who vouches for its certificate, which is for `localhost`.
    pub authority: Authority,
    databases: AtomicUsize,
}

/// A database of a server.
pub struct Database<'s> {
    pub server: &'s MySql,
    pub name: String,
}

/// The server, what makes its first files, and a client.
struct Programs {
    server: PathBuf,
    install: PathBuf,
    client: PathBuf,
}

fn programs() -> Option<Programs> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let folders: Vec<PathBuf> = folders.collect();
    let find = |name: &str| {
        folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file())
    };
    find("my_print_defaults")?;
    Some(Programs {
        server: find("mariadbd")?,
        install: find("mariadb-install-db")?,
        client: find("mariadb")?,
    })
}

/// What the machine lacks for one.
pub fn lacking() -> Option<String> {
    match programs() {
        Some(_) => None,
        None => Some(
            "`mariadbd` is not on this machine (apt-get install mariadb-server-core mariadb-client-core)"
                .to_owned(),
        ),
    }
}

impl MySql {
    pub fn start() -> MySql {
        let Programs { server, install, client } = programs().expect("it was looked for before");
        let authority = Authority::new();
        let folder = process::folder();
        let data = folder.path().join("data");
        let mut installed = process::command(&install);
        installed.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        installed.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        installed.args(["--skip-name-resolve", "--force"]).current_dir(folder.path());
        let made = installed.output().expect("it was found before");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (certificate, key) = authority.pem("localhost", Good::Now);
        let at = |name: &str| folder.path().join(name);
        write(&at("server.crt"), &certificate);
        write(&at("server.key"), &key);
        let trusted = std::fs::read_to_string(authority.file()).expect("it was made");
        write(&at("root.crt"), &trusted);
        let port = free_port();
        let mut command = process::command(&server);
        command.arg("--no-defaults");
        for (option, value) in [
            ("datadir", data.display().to_string()),
            ("socket", at("socket").display().to_string()),
            ("pid-file", at("pid").display().to_string()),
            ("ssl-cert", at("server.crt").display().to_string()),
            ("ssl-key", at("server.key").display().to_string()),
            ("ssl-ca", at("root.crt").display().to_string()),
            ("port", port.to_string()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("innodb-flush-log-at-trx-commit", "0".to_owned()),
            ("character-set-server", "utf8mb4".to_owned()),
        ] {
            command.arg(format!("--{option}={value}"));
        }
        command.arg("--skip-name-resolve");
        let server = Server::start(folder, command, "TERM");
        let databases = AtomicUsize::new(0);
        let started = MySql { server, client, port, authority, databases };
        started.wait();
        started.sql(
            "mysql",
            &format!(
                "DELETE FROM global_priv WHERE User = ''; FLUSH PRIVILEGES; CREATE USER app@'%'; GRANT ALL ON *.* TO app@'%';
                 CREATE USER tls_user@'%' IDENTIFIED BY '{TOKEN}' REQUIRE SSL; GRANT SELECT ON *.* TO tls_user@'%';
                 CREATE USER guest@'%'; CREATE USER cert_user@'%' REQUIRE X509; GRANT SELECT ON *.* TO cert_user@'%';
                 CREATE USER renewed_user@'%'"
            ),
        );
        started
    }

    /// Waits until it is there, and gives it what a server may have for all and a session of ours is to undo: a limit, a zone.
    fn wait(&self) {
        let begun = Instant::now();
        while self.try_sql("mysql", "SELECT 1").is_err() {
            assert!(self.server.is_running() && begun.elapsed() < SOON, "{}", self.server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.sql("mysql", "SET GLOBAL sql_select_limit = 3, GLOBAL time_zone = '+05:30'");
    }

    /// As [`super::Server::database`].
    pub fn new_database(&self, sql: &str) -> Database<'_> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("mysql", &format!("CREATE DATABASE {name}"));
        self.sql(&name, sql);
        Database { server: self, name }
    }

    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|said| panic!("{sql}: {said}"))
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut client = Command::new(&self.client);
        client.arg("--no-defaults").arg("--socket").arg(self.server.folder().join("socket"));
        client.args(["--user=root", "--batch", "--raw", "--skip-column-names"]);
        // Statements go together, as bodies of functions have semicolons.
        client.args(["--default-character-set=utf8mb4", "--delimiter=//"]);
        // The administrator sees all.
        let sql = format!("SET SESSION sql_select_limit = 1000000; {sql}");
        client.args(["--execute", &sql, database]);
        let done = client.stdin(Stdio::null()).output().expect("it was found before");
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }
}

impl super::Server for MySql {
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
        self.server.outage(meanwhile, &|| self.wait());
    }

    fn count_cancels(&self) -> usize {
        let said = self.sql("mysql", "SHOW GLOBAL STATUS LIKE 'Com_kill'");
        said.split_whitespace().last().and_then(|count| count.parse().ok()).expect("a number")
    }
}

const WORDS: Words = Words {
    protocol: Protocol::MySql,
    series: |first, last| format!("(SELECT seq AS g FROM seq_{first}_to_{last}) AS t"),
    sleep: |seconds| format!("CAST(SLEEP({seconds}) AS CHAR)"),
    long: "SELECT count(*) AS id FROM seq_1_to_1000000 a, seq_1_to_1000000 b WHERE a.seq <> b.seq",
    ended: &["the next run reads again"],
    too_long: "1969",
    not_let_in: "1045",
    flapping: &[
        ("CAST(NOW(6) AS CHAR)", "now"),
        ("CAST(CURRENT_TIMESTAMP(6) AS CHAR)", "current_timestamp"),
        ("CAST(RAND() AS CHAR)", "rand"),
        ("UUID()", "uuid"),
    ],
    renewed: |password| format!("ALTER USER renewed_user@'%' IDENTIFIED BY '{password}'"),
    timestamps: ["timestamp", "datetime"],
};

impl super::Database for Database<'_> {
    #[track_caller]
    fn ask(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }

    fn source_at(&self, port: u16, more: &str) -> String {
        let name = &self.name;
        format!(
            "lake: {{ mysql: {{ host: 127.0.0.1, port: {port}, database: {name}, user: app{more} }} }}"
        )
    }

    fn source(&self) -> String {
        self.source_at(self.server.port, "")
    }

    fn socket_source(&self) -> String {
        let socket = self.server.server.folder().join("socket");
        self.source().replace("127.0.0.1", &socket.display().to_string())
    }

    fn count_sessions(&self) -> usize {
        let sql = format!(
            "SELECT count(*) FROM information_schema.processlist WHERE user = 'app' AND db = '{}'",
            self.name
        );
        self.ask(&sql).parse().expect("it is a number")
    }

    fn count_active(&self) -> usize {
        let sql = format!(
            "SELECT count(*) FROM information_schema.processlist WHERE user = 'app' AND db = '{}' AND command = 'Execute'",
            self.name
        );
        self.ask(&sql).parse().expect("it is a number")
    }

    fn end_sessions(&self) {
        let sql = format!(
            "SELECT id FROM information_schema.processlist WHERE user = 'app' AND db = '{}'",
            self.name
        );
        for id in self.ask(&sql).lines() {
            self.ask(&format!("KILL CONNECTION {id}"));
        }
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        let _ = self.server.try_sql("mysql", &format!("DROP DATABASE IF EXISTS {}", self.name));
    }
}
