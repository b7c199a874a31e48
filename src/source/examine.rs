//! A look at a source by itself: whether it is reached, by whose right, and what is there.
//!
//! Of databases nothing is read but what they say of themselves, of files and objects their lists alone, of tables that count
//! their versions the log. Not responsible for what models give (`describe`). Invariants: a look ends in time; no secret is
//! told, only where it is from.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use datafusion::common::TableReference;
use futures::StreamExt as _;
use tokio::time::timeout;

use super::definition::{Access, Definition, Files, Table};
use super::describe::VersionSeen;
use super::error::Error;
use super::facts::Facts;
use super::remote::{Remote, Tls, Verify, is_near};
use super::spent::Spent;
use super::table::Named;
use super::watched::Watched;
use super::{mysql, opening, postgres, volatile};
use crate::domain::id::Instant;
use crate::domain::sync::{Model, Reads};
use crate::points::wall_clock;

/// Tables that are listed at once.
const AT_ONCE: usize = 8;
/// Seconds that clocks may differ by.
const APART: f64 = 2.0;

/// What a look at a source found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Each by a word for programs.
    pub facts: Vec<(&'static str, String)>,
    pub tables: Vec<TableSeen>,
    /// What a run would be refused.
    pub problems: Vec<String>,
    /// What would be better otherwise, and how.
    pub advice: Vec<String>,
}

/// A table of files or objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSeen {
    pub table: String,
    pub location: String,
    pub found: Result<FilesSeen, Error>,
}

/// What a table is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesSeen {
    pub files: u64,
    pub bytes: u64,
    /// When the newest of them was changed.
    pub newest: Option<Instant>,
    /// Requests that it took to list them.
    pub requests: u64,
    /// Of a table that counts its versions, whose files nobody has looked at.
    pub version: Option<VersionSeen>,
}

/// Looks at the source; `models` are those that may read it. What a server or a store takes longer for than `patience` is given
/// up. May block on the file system.
///
/// # Errors
/// It is a database, and it is not reached or does not let us in.
pub async fn examine(
    source: &Definition,
    models: &[Model],
    patience: Duration,
) -> Result<Examined, Error> {
    let models: Vec<&Model> =
        models.iter().filter(|model| model.reads == Reads::One(source.name.clone())).collect();
    let mut examined = Examined::default();
    match &source.access {
        Access::Files(files) => examined = list(source, files, patience).await,
        Access::Postgres(definition) => {
            let looking = postgres::examine(definition, &models, &mut examined);
            let seen = within(patience, &definition.remote, looking).await;
            examined.keep(seen)?;
        }
        Access::MySql(definition) => {
            let looking = mysql::examine(definition, &models, &mut examined);
            let seen = within(patience, &definition.remote, looking).await;
            examined.keep(seen)?;
        }
    }
    examined.advice.splice(0..0, source.warnings());
    Ok(examined)
}

/// What a look at a server came to, for which there is so long.
async fn within(
    patience: Duration,
    remote: &Remote,
    looking: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let seen = timeout(patience, looking).await.unwrap_or_else(|_| {
        Err(Error::Missing(format!(
            "{} did not answer within {patience:?}, which is all that a look may take; see why the server or the network is slow",
            remote.place()
        )))
    });
    seen.map_err(|error| remote.unsaid(error))
}

async fn list(source: &Definition, files: &Files, patience: Duration) -> Examined {
    let names = files.tables.iter().map(|table| table.name.as_str());
    let facts = files.schemes(&names.collect::<Vec<_>>());
    let facts = facts.into_iter().map(|scheme| (scheme.key(), files.store.told(scheme)));
    let tables = futures::stream::iter(0..files.tables.len())
        .map(|place| see(source, &files.tables[place], patience));
    Examined {
        facts: facts.collect(),
        tables: tables.buffered(AT_ONCE).collect().await,
        ..Examined::default()
    }
}

async fn see(source: &Definition, table: &Table, patience: Duration) -> TableSeen {
    let location = match &table.objects {
        Some(objects) => objects.to_string(),
        None => table.path().display().to_string(),
    };
    let found = timeout(patience, listed(source, &table.name, patience)).await;
    let found = found.unwrap_or_else(|_| {
        Err(Error::Missing(format!(
            "table `{}`: what `{location}` has was not found within {} s; name fewer files, or see why they are slow",
            table.name,
            patience.as_secs()
        )))
    });
    TableSeen { table: table.name.clone(), location, found }
}

async fn listed(source: &Definition, table: &str, patience: Duration) -> Result<FilesSeen, Error> {
    let named = [Named { name: TableReference::bare(table), source }];
    let spent = Arc::<Spent>::default();
    let watched = opening::look(&named, patience, &spent).await?;
    let Facts { files, .. } = Watched::facts(&watched);
    let newest = files.iter().map(|file| file.changed / 1_000_000).max();
    let version = watched.iter().find_map(Watched::version);
    Ok(FilesSeen {
        files: if version.is_none() { files.len() as u64 } else { 0 },
        bytes: files.iter().map(|file| file.size).sum(),
        newest: newest.and_then(|newest| i64::try_from(newest).ok()).map(Instant),
        requests: spent.total().requests,
        version,
    })
}

impl Examined {
    /// Where a part was seen, that counts, and what kept the rest from being seen is told beside it.
    fn keep(&mut self, seen: Result<(), Error>) -> Result<(), Error> {
        match seen {
            Err(error) if !self.facts.is_empty() => {
                self.advice.push(format!("not all of it was seen: {error}"));
                Ok(())
            }
            seen => seen,
        }
    }

    /// Of a model that the server does not plan.
    pub(super) fn refuse(&mut self, model: &Model) {
        let name = &model.name;
        self.problems.push(format!(
            "the server refuses model `{name}`; `counterflow validate --sources {name}` says why"
        ));
    }

    /// Of a model that uses what can give another answer for the same rows.
    pub(super) fn flaps(&mut self, model: &Model, used: &[String]) {
        self.advice.extend(used.iter().map(|used| volatile::told(&model.name, used)));
    }

    pub(super) fn fact(&mut self, word: &'static str, said: impl Into<String>) {
        self.facts.push((word, said.into()));
    }

    /// How the connection is protected; `version` is that of its TLS, as the server says it.
    pub(super) fn tls(&mut self, remote: &Remote, version: Option<&str>) {
        let verified = match &remote.tls {
            Tls::Off if remote.is_socket() => return self.fact("tls", "over a Unix socket"),
            Tls::Off => {
                if !is_near(&remote.host) {
                    self.advice.push(
                        "passwords and rows travel for all to read; say `tls: {verify: full}`"
                            .to_owned(),
                    );
                }
                return self.fact("tls", "not encrypted");
            }
            Tls::On(trust) => match trust.verify {
                Verify::Full => "certificate and host verified",
                Verify::Authority => "certificate verified and its host not",
                Verify::Nothing => "nothing verified",
            },
        };
        let version = version.filter(|version| !version.is_empty()).unwrap_or("TLS");
        self.fact("tls", format!("{version} with {verified}"));
    }

    /// How the server's clock stands to this machine's, of which these are the seconds since 1970 before and after it was read.
    pub(super) fn clock(&mut self, server: f64, before: f64, after: f64) {
        let apart = server - f64::midpoint(before, after);
        let way = if apart > 0.0 { "ahead" } else { "behind" };
        if apart.abs() <= APART + (after - before) / 2.0 {
            return self.fact("clock", "its clock is right");
        }
        self.fact("clock", format!("its clock {:.0} s {way}", apart.abs()));
        self.advice.push(format!(
            "the server's clock is {:.0} s {way} of this machine's, which the bound of a cursor is held against; have both set by \
             one time server",
            apart.abs()
        ));
    }
}

/// Seconds since 1970 by this machine's clock.
pub(super) fn seconds() -> f64 {
    wall_clock().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::super::definition::{Format, SchemaRule};
    use super::super::remote::{Trust, example};
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_the_question_took_are_told() {
        let told = |server, before, after| {
            let mut examined = Examined::default();
            examined.clock(server, before, after);
            (examined.facts[0].1.clone(), examined.advice.concat())
        };
        let right = ("its clock is right".to_owned(), String::new());
        assert_eq!(told(1_001.0, 1_000.0, 1_000.1), right);
        assert_eq!(told(1_004.0, 1_000.0, 1_006.0), right);
        assert_eq!(told(1_007.0, 1_000.0, 1_006.0), right);
        assert_eq!(told(1_009.0, 1_000.0, 1_006.0).0, "its clock 6 s ahead");
        assert_eq!(told(1_010.0, 1_000.0, 1_000.0).0, "its clock 10 s ahead");
        let (said, advice) = told(970.0, 1_000.0, 1_000.0);
        assert_eq!(said, "its clock 30 s behind");
        assert!(advice.contains("time server"), "{advice}");
    }

    #[test]
    fn what_protects_a_connection_is_told_and_advised_where_nothing_does() {
        let told = |host: &str, tls| {
            let mut examined = Examined::default();
            examined.tls(&Remote { host: host.into(), tls, ..example() }, Some("TLSv1.3"));
            (examined.facts[0].1.clone(), examined.advice.len())
        };
        let trust = |verify| Tls::On(Trust { verify, ..Trust::default() });
        assert_eq!(told("db", Tls::Off), ("not encrypted".to_owned(), 1));
        assert_eq!(told("127.0.0.1", Tls::Off), ("not encrypted".to_owned(), 0));
        assert_eq!(told("/run", Tls::Off), ("over a Unix socket".to_owned(), 0));
        let full = "TLSv1.3 with certificate and host verified".to_owned();
        assert_eq!(told("db", trust(Verify::Full)), (full, 0));
        assert!(told("db", trust(Verify::Nothing)).0.contains("nothing verified"));
        let host_not = "TLSv1.3 with certificate verified and its host not".to_owned();
        assert_eq!(told("db", trust(Verify::Authority)), (host_not, 0));
        // A server that does not say its version.
        let mut examined = Examined::default();
        let remote = Remote { tls: trust(Verify::Full), ..example() };
        [None, Some("")].into_iter().for_each(|version| examined.tls(&remote, version));
        let said = ("tls", "TLS with certificate and host verified".to_owned());
        assert_eq!(examined.facts, [said.clone(), said]);
    }

    #[tokio::test]
    async fn the_newest_of_the_files_of_a_table_tells_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let fact = path.metadata().unwrap();
            fact.ctime() * 1_000 + fact.ctime_nsec() / 1_000_000
        };
        let first = write("a.csv", "id\n1\n");
        let mut last = first;
        while last == first {
            last = write("b.csv", "id\n22\n");
        }
        let table = Table {
            name: "t".into(),
            folder: folder.path().to_owned(),
            location: "*.csv".into(),
            objects: None,
            format: Format::Arrow,
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: None,
        };
        let files = Files { tables: vec![table], ..Files::default() };
        let source = Definition { name: "lake".into(), access: Access::Files(files) };
        let seen = examine(&source, &[], Duration::from_secs(9)).await.unwrap();
        let found = seen.tables[0].found.as_ref().unwrap();
        assert_eq!((found.files, found.bytes, found.newest), (2, 11, Some(Instant(last))));
    }
}
