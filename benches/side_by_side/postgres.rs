//! 5 million rows of a PostgreSQL table, read, fingerprinted and compared, beside `psql` that copies the same rows to nowhere,
//! and beside what one would take otherwise: psycopg, which reads them, and DuckDB, which computes the delta.
//!
//! The server is the bench's own, in a temporary folder, and shares the cores with whoever reads it.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Options;
use crate::delta::expect;
use crate::peers::Readers;
use crate::process::{self, median};
use crate::product::Workspace;
use crate::servers::process::{self as servers, Server};
use crate::sink::Sink;
use crate::table::Table;

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(30);
/// All rows, for those that do not name a table.
pub const QUERY: &str = "SELECT customer_id, email, name, company, country, plan, is_active, signed_up, seats, mrr, score, updated_at FROM customers";
/// The ways to have an answer in binary, and what they are called in the table.
const WAYS: [(&str, &str); 3] = [
    ("copy", "tokio-postgres: COPY in binary, dropped"),
    ("portal", "tokio-postgres: the extended query in binary, dropped"),
    ("cursor", "tokio-postgres: a cursor in binary, 10,000 rows at once, dropped"),
];

pub fn run(options: &Options, sink: &Sink) -> io::Result<()> {
    let server = Postgres::start()?;
    let rows = options.records;
    server.psql(&filling(rows))?;
    let readers = (!options.is_alone).then(|| Readers::install(&options.folder)).transpose();
    let readers =
        readers.inspect_err(|error| eprintln!("the alternatives are not measured: {error}"));
    let readers = readers.ok().flatten();

    let folder = options.folder.join(format!("postgres-{rows}"));
    let source = format!(
        "{{ postgres: {{ host: 127.0.0.1, port: {}, database: postgres, user: postgres }} }}",
        server.port
    );
    let workspace = Workspace::create(&folder, &source, sink.address, options.concurrency)?;
    let mut table = Table::new();
    let (first, answer) = workspace.sync()?;
    expect(answer["tally"]["delivered"].as_u64().unwrap_or(0), rows)?;
    table.add("`sync`: the first, full run", &first, None);
    let known = folder.join("known.duckdb");
    if let Some(readers) = &readers {
        readers.read("prepare", server.port, &known)?;
    }
    let changed = server.psql(CHANGE)?.trim().parse().map_err(io::Error::other)?;
    server.psql("VACUUM (ANALYZE, FREEZE) customers")?;

    let (mut texts, mut binaries, mut plans) = (Vec::new(), Vec::new(), Vec::new());
    let (mut psycopg, mut duckdb) = (Vec::new(), Vec::new());
    let mut answers: [Vec<process::Measured>; WAYS.len()] = Default::default();
    for round in 0..options.rounds {
        texts.push(server.copy("text")?);
        binaries.push(server.copy("binary")?);
        let (plan, answer) = workspace.plan()?;
        expect(answer["tally"]["rows_read"].as_u64().unwrap_or(0), rows)?;
        expect(answer["tally"]["upserts"].as_u64().unwrap_or(0), changed)?;
        plans.push(plan);
        for ((way, _), answers) in WAYS.iter().zip(&mut answers) {
            let answer = server.answer(way)?;
            expect(answer.output.trim().parse().map_err(io::Error::other)?, rows)?;
            answers.push(answer);
        }
        if let Some(readers) = &readers {
            let read = readers.read("psycopg", server.port, &known)?;
            expect(read.output.trim().parse().map_err(io::Error::other)?, rows)?;
            psycopg.push(read);
            let compared = readers.read("duckdb", server.port, &known)?;
            expect(compared.output.trim().parse().map_err(io::Error::other)?, changed)?;
            duckdb.push(compared);
        }
        println!("  round {} of {}", round + 1, options.rounds);
    }
    let copy = median(&texts);
    table.add("`psql`: COPY in text, to nowhere", &copy, None);
    let against = Some(("COPY", &copy));
    table.add("`psql`: COPY in binary, to nowhere", &median(&binaries), against);
    table.add("`plan`: the delta", &median(&plans), against);
    for ((_, name), answers) in WAYS.iter().zip(&answers) {
        table.add(name, &median(answers), against);
    }
    if readers.is_some() {
        table.add("psycopg: the rows read", &median(&psycopg), against);
        table.add("DuckDB: the delta", &median(&duckdb), against);
    }
    table.print();
    let mut stops = Vec::new();
    for _ in 0..options.rounds {
        stops.push(stop(&server, &workspace)?.as_millis());
    }
    stops.sort_unstable();
    let (middle, longest) = (stops[stops.len() / 2], stops[stops.len() - 1]);
    println!(
        "a stop in the middle of a read frees its backend after {middle} ms, at most {longest} ms"
    );
    Ok(())
}

/// Stops a run that reads; how long the server goes on with its query after that, and with its session.
fn stop(server: &Postgres, workspace: &Workspace) -> io::Result<Duration> {
    let sessions = || -> io::Result<String> {
        server.psql(
            "SELECT coalesce(string_agg(state || ' ' || left(query, 4), ','), '') FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )
    };
    let mut run = workspace.start(&["sync", "customers", "--full"])?;
    let begun = Instant::now();
    let wait_until = |is_so: &dyn Fn(&str) -> bool| -> io::Result<()> {
        while !is_so(sessions()?.trim()) {
            if begun.elapsed() > START {
                return Err(io::Error::other("a run neither reads nor ends"));
            }
        }
        Ok(())
    };
    wait_until(&|sessions| sessions.contains("active COPY"))?;
    std::thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status()?;
    wait_until(&str::is_empty)?;
    let took = told.elapsed();
    run.wait()?;
    Ok(took)
}

/// Changes 0.6 % of the rows and says how many.
const CHANGE: &str = "WITH changed AS (UPDATE customers SET plan = 'other', seats = seats + 1 \
                      WHERE abs(hashint8extended(customer_id, 20) % 1000) < 6 RETURNING 1) SELECT count(*) FROM changed";

/// The table of the other benches in the server's own words: from the row's number alone.
fn filling(rows: u64) -> String {
    let mix = |seed: u32, below: u32| format!("abs(hashint8extended(n, {seed}) % {below})");
    let pick = |words: &str, seed: u32| {
        let below = words.split(',').count();
        let below = u32::try_from(below).expect("a few words");
        format!("(ARRAY[{words}])[1 + {}]", mix(seed, below))
    };
    let first = pick("'Ada','Bela','Chen','Dora','Emil','Fatou','Goro','Hana'", 2);
    let last = pick("'Ames','Brandt','Castro','Diallo','Eriksen','Ferrari','Gruber','Haddad'", 3);
    let country = pick("'AT','BR','CA','DE','EG','FR','GB','IN','JP','US'", 6);
    let plan = pick("'free','starter','team','enterprise'", 7);
    let columns = [
        "n AS customer_id".to_owned(),
        "'user' || n || '@example.com' AS email".to_owned(),
        format!("{first} || ' ' || {last} AS name"),
        format!("CASE WHEN {} > 0 THEN 'Company ' || {} END AS company", mix(4, 20), mix(5, 5000)),
        format!("{country} AS country"),
        format!("{plan} AS plan"),
        format!("{} = 0 AS is_active", mix(8, 3)),
        format!("DATE '2013-10-22' + {}::int AS signed_up", mix(9, 3650)),
        format!("{}::int AS seats", mix(10, 500)),
        format!(
            "CASE WHEN {} > 0 THEN ({} * 0.50)::numeric(12, 2) END AS mrr",
            mix(12, 20),
            mix(11, 2000)
        ),
        format!("{}::float8 / 1000 AS score", mix(13, 1000)),
        format!("to_timestamp(1700000000 + {} * 3600) AS updated_at", mix(14, 8760)),
    ];
    let columns = columns.join(", ");
    format!(
        "CREATE TABLE customers AS SELECT {columns} FROM generate_series(1, {rows}::bigint) AS n"
    )
}

/// A server that keeps nothing safe, as its data are made anew for each run.
struct Postgres {
    server: Server,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    fn start() -> io::Result<Postgres> {
        let programs = servers::postgres_programs().map_err(io::Error::other)?;
        let folder = servers::folder();
        let data = folder.path().join("data");
        let mut initdb = servers::command(&programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "--auth=trust", "--no-sync"]);
        let made = initdb.args(["-E", "UTF8", "--locale=C"]).current_dir(folder.path()).output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        let port = servers::free_port();
        let mut command = servers::command(&programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-c", &format!("port={port}")]);
        command.args(["-c", &format!("unix_socket_directories={}", folder.path().display())]);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_wal_size=4GB"] {
            command.args(["-c", setting]);
        }
        let started = Postgres { server: Server::start(folder, command, "QUIT"), programs, port };
        let begun = Instant::now();
        while started.psql("SELECT 1").is_err() {
            if begun.elapsed() > START || !started.server.is_running() {
                return Err(io::Error::other(started.server.log()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(started)
    }

    fn client(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-p",
            &self.port.to_string(),
        ]);
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1"]);
        psql
    }

    /// What the server answers.
    fn psql(&self, sql: &str) -> io::Result<String> {
        let done = self.client().args(["-c", sql]).stdin(Stdio::null()).output()?;
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned())),
        }
    }

    /// All rows by way of `psql`, which drops them.
    fn copy(&self, format: &str) -> io::Result<process::Measured> {
        let mut psql = self.client();
        let copy = format!("\\copy ({QUERY}) TO '/dev/null' WITH (FORMAT {format})");
        process::measure(psql.args(["-c", &copy]), &self.server.folder().join("psql.log"))
    }

    /// All rows in this way, dropped by this program in a process of its own.
    fn answer(&self, way: &str) -> io::Result<process::Measured> {
        let mut reader = Command::new(std::env::current_exe()?);
        reader.args(["answer", "--way", way, "--port", &self.port.to_string()]);
        process::measure(&mut reader, &self.server.folder().join("answer.log"))
    }
}
