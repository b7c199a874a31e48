//! A look at a source by itself: whether it is reached, by whose right, and what is there.
//!
//! Of databases nothing is read but what they say of themselves, of files and objects their lists alone, of tables that count
//! their versions the log. Not responsible for what models give (`describe`). Invariants: a look at a server ends in time; no
//! secret is told, only where it is from.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use datafusion::common::TableReference;
use futures::StreamExt as _;
use tokio::time::timeout;

use super::definition::{Access, Definition, Files, Format, Table};
use super::describe::VersionSeen;
use super::error::Error;
use super::facts::Facts;
use super::remote::{Remote, Tls, Verify, is_near};
use super::spent::Spent;
use super::table::Named;
use super::user::{self, Writing};
use super::watched::Watched;
use super::{delta, mysql, opening, postgres, volatile};
use crate::domain::id::Instant;
use crate::domain::sync::{Model, Reads};
use crate::points::wall_clock;
use crate::shutdown::blocking;

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
    /// Whether who reads it could write there too; of objects nobody knows.
    pub writing: Option<Writing>,
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
    let tables = futures::stream::iter(0..files.tables.len())
        .map(|place| see(source, &files.tables[place], patience));
    let tables = tables.buffered(AT_ONCE).collect().await;
    let mut examined = Examined { tables, ..Examined::default() };
    blocking(|| examined.rights(files));
    examined
}

async fn see(source: &Definition, table: &Table, patience: Duration) -> TableSeen {
    let location = match &table.objects {
        Some(objects) => objects.to_string(),
        None => table.path().display().to_string(),
    };
    let found = timeout(patience, listed(source, table, patience)).await;
    let found = found.unwrap_or_else(|_| {
        Err(Error::Missing(format!(
            "table `{}`: what `{location}` has was not found within {patience:?}; name fewer files, or see why they are slow",
            table.name
        )))
    });
    TableSeen { table: table.name.clone(), location, found }
}

async fn listed(
    source: &Definition,
    table: &Table,
    patience: Duration,
) -> Result<FilesSeen, Error> {
    let named = [Named { name: TableReference::bare(table.name.as_str()), source }];
    let spent = Arc::<Spent>::default();
    let watched = opening::look(&named, patience, &spent).await?;
    let Facts { files, .. } = Watched::facts(&watched);
    let newest = files.iter().map(|file| file.changed / 1_000_000).max();
    let version = watched.iter().find_map(Watched::version);
    let writing = table.objects.is_none().then(|| {
        blocking(|| match table.format {
            Format::Delta(_) => user::writing([table.path().join(delta::LOG)]),
            _ => user::writing(files.iter().map(|file| table.folder.join(&file.path))),
        })
    });
    Ok(FilesSeen {
        files: if version.is_none() { files.len() as u64 } else { 0 },
        bytes: files.iter().map(|file| file.size).sum(),
        newest: newest.and_then(|newest| i64::try_from(newest).ok()).map(Instant),
        requests: spent.total().requests,
        version,
        writing,
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

    /// By whose right the files are read, and whether it could write to them.
    fn rights(&mut self, files: &Files) {
        let mut writing = Vec::new();
        if files.tables.iter().any(|table| table.objects.is_none()) {
            self.fact("role", user::name());
            writing.extend(self.told_of_writing().map(|told| ("files", told)));
        }
        let names: Vec<&str> = files.tables.iter().map(|table| table.name.as_str()).collect();
        for scheme in files.schemes(&names) {
            self.fact(scheme.key(), files.store.told(scheme));
            writing.push((scheme.key(), files.store.told_of_writing(scheme).to_owned()));
            if files.store.could_write(scheme) == Some(true) {
                self.advice.push(format!(
                    "the signature for `{}` lets write: one with `sp=rl` is better",
                    scheme.key()
                ));
            }
        }
        match writing.as_slice() {
            [] => {}
            [(_, told)] => self.fact("read_only", told.as_str()),
            all => {
                let all: Vec<_> =
                    all.iter().map(|(key, told)| format!("for `{key}` {told}")).collect();
                self.fact("read_only", all.join("; "));
            }
        }
    }

    /// Whether who reads could write to the files of this machine; `None` where none was found.
    fn told_of_writing(&self) -> Option<String> {
        let seen = self
            .tables
            .iter()
            .filter_map(|table| Some((table.table.as_str(), table.found.as_ref().ok()?.writing?)));
        let seen: Vec<(&str, Writing)> = seen.collect();
        let could = |(_, writing): &&(&str, Writing)| *writing == Writing::Could;
        let is_mounted = |(_, writing): &(&str, Writing)| *writing == Writing::MountedReadOnly;
        let is_untold = |(_, writing): &(&str, Writing)| *writing == Writing::Untold;
        let (first, _) = seen.first()?;
        Some(match seen.iter().filter(could).count() {
            all if all == seen.len() => "could write to its files".to_owned(),
            0 if seen.iter().any(is_untold) => "not known, as the system does not tell".to_owned(),
            0 if seen.iter().all(is_mounted) => "its files are mounted read-only".to_owned(),
            0 => "could write to none of its files".to_owned(),
            some => {
                let such = seen.iter().find(could).map_or(*first, |(table, _)| *table);
                format!("could write to {some} of its tables, such as `{such}`")
            }
        })
    }

    /// Of a model that the server does not plan.
    pub(super) fn refuse(&mut self, model: &Model) {
        let name = &model.name;
        self.problems.push(format!(
            "the server refuses model `{name}`; `counterflow validate --sources {name}` says why"
        ));
    }

    /// Of a model, or a table's own query, that uses what can give another answer for the same rows.
    pub(super) fn flaps(&mut self, of: &str, used: &[String]) {
        self.advice.extend(used.iter().map(|used| volatile::told_of(of, used)));
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
    use std::path::Path;
    use std::time::Instant;

    use super::super::definition::Delta;
    use super::super::remote::{Trust, example};
    use super::super::store::definition::{Location, S3, Scheme, Store};
    use super::*;

    fn local(name: &str, folder: &Path, format: Format) -> Table {
        Table { folder: folder.to_owned(), ..Table::example(name, "*.csv", format) }
    }

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

    /// A store to which one connects, and which never answers.
    #[tokio::test]
    async fn a_store_that_says_nothing_is_given_up_with_a_word_of_the_table() {
        const PATIENCE: Duration = Duration::from_millis(300);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let table = |name: &str, pattern: &str, format| {
            let (holder, pattern) = ("lake".to_owned(), pattern.to_owned());
            let objects = Location { scheme: Scheme::S3, holder, pattern };
            Table { objects: Some(objects), ..local(name, Path::new(""), format) }
        };
        let tables = vec![
            table("objects", "in/*.arrow", Format::Arrow),
            table("commits", "people", Format::Delta(Delta::default())),
        ];
        let s3 = S3 { endpoint: Some(endpoint), is_path_style: true, ..S3::default() };
        let files = Files { tables, store: Box::new(Store { s3, ..Store::default() }) };
        let source = Definition { name: "lake".into(), access: Access::Files(files) };
        let begun = Instant::now();
        let seen = examine(&source, &[], PATIENCE).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(seen.tables.len(), 2);
        for table in seen.tables {
            let said = table.found.unwrap_err().to_string();
            for words in [&table.table, "`s3://lake/", "within 300ms"] {
                assert!(said.contains(words), "no `{words}` in {said}");
            }
        }
        let [(s3, _), (read_only, told)] = &seen.facts[..] else { panic!("{:?}", seen.facts) };
        assert_eq!((*s3, *read_only), ("s3", "read_only"));
        assert!(told.contains("not known"), "{told}");
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
        let table = local("t", folder.path(), Format::Arrow);
        let files = Files { tables: vec![table], ..Files::default() };
        let source = Definition { name: "lake".into(), access: Access::Files(files) };
        let seen = examine(&source, &[], Duration::from_secs(9)).await.unwrap();
        let found = seen.tables[0].found.as_ref().unwrap();
        let newest = Some(crate::domain::id::Instant(last));
        assert_eq!((found.files, found.bytes, found.newest), (2, 11, newest));
        assert_eq!(found.writing, Some(Writing::Could));
    }
}
