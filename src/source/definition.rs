//! What the config says of a source, validated.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::remote::Remote;
use super::store::definition::{Location, Scheme, Store};
use super::trimmed::Dialect;
use super::{mysql, postgres};

/// Where rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    pub access: Access,
}

/// How its rows are reached, one arm a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Files(Files),
    Postgres(Box<postgres::definition::Definition>),
    MySql(Box<mysql::definition::Definition>),
}

/// Tables made of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub tables: Vec<Table>,
    /// Of the tables that are made of objects.
    pub store: Box<Store>,
}

/// A table made of files, under the name that models use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// The folder that a relative location begins at: the config file's.
    pub folder: PathBuf,
    /// A path, or a glob over paths, as it stands in the config.
    pub location: PathBuf,
    /// What the location means where it is that of objects, which are no files of this machine.
    pub objects: Option<Location>,
    pub format: Format,
    /// Of texts; other formats have their own.
    pub compression: Option<Compression>,
    /// Columns whose values stand in the names of the files' directories.
    pub partitions: Option<Partitions>,
    /// Of formats whose files say their columns and types themselves.
    pub schema: SchemaRule,
    /// The files are written anew under new names each time, so that names that vanish prove nothing; what proves that a
    /// set is complete, if anything does.
    pub rewritten: Option<Rewritten>,
}

impl Table {
    /// A table of which nothing more is said.
    #[cfg(test)]
    pub fn example(name: &str, location: impl Into<PathBuf>, format: Format) -> Table {
        Table {
            name: name.into(),
            folder: PathBuf::new(),
            location: location.into(),
            objects: None,
            format,
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: None,
        }
    }

    /// The location below its folder.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.location).components().collect()
    }

    /// The same table under the name that a model has for it.
    pub(super) fn named(&self, name: String) -> Table {
        Table { name, ..self.clone() }
    }
}

impl Definition {
    /// What of it may be meant and is dangerous, in words with what to do.
    pub fn warnings(&self) -> Vec<String> {
        let is_open = self.access.remote().is_some_and(Remote::verifies_nothing);
        let open = is_open.then(|| {
            format!(
                "source `{}` is read by TLS that verifies nothing, so that whoever stands between can read and change everything; \
                 say `tls: {{verify: full}}`, with the server's authority as `ca` where it is one of its own",
                self.name
            )
        });
        open.into_iter().collect()
    }

    /// Whether only the source itself can judge the SQL of its models.
    pub fn is_database(&self) -> bool {
        self.access.dialect().is_some()
    }

    /// The names of its tables, in the order of the config.
    pub(super) fn tables(&self) -> impl Iterator<Item = &str> {
        let files = match &self.access {
            Access::Files(files) => files.tables.as_slice(),
            Access::Postgres(_) | Access::MySql(_) => &[],
        };
        let queried = self.access.remote().map_or(&[][..], |remote| &remote.tables);
        files
            .iter()
            .map(|table| table.name.as_str())
            .chain(queried.iter().map(|it| it.name.as_str()))
    }

    /// Whether it is a database of which models can read nothing beside other sources.
    pub fn lacks_tables(&self) -> bool {
        self.is_database() && self.tables().next().is_none()
    }

    pub(super) fn has_table(&self, name: &str) -> bool {
        self.tables().any(|table| table == name)
    }

    /// What the snapshot's header keeps of the source: its name and, of these tables of it, all that decides which rows
    /// they have. The same whenever the config says the same, on any machine: locations stand as they are written, so that
    /// a project whose folder moves keeps its source.
    pub(super) fn described(&self, tables: &[&str]) -> Value {
        match &self.access {
            Access::Files(files) => match files.store.described(&files.schemes(tables)) {
                None => json!([self.name, files.described(tables)]),
                Some(store) => json!([self.name, files.described(tables), store]),
            },
            Access::Postgres(database) => {
                self.of_database(database.described(), &database.remote, tables)
            }
            Access::MySql(database) => {
                self.of_database(database.described(), &database.remote, tables)
            }
        }
    }

    /// [`Definition::described`] of a database: of the tables, what each of them asks it.
    fn of_database(&self, database: Value, remote: &Remote, tables: &[&str]) -> Value {
        let read = remote.tables.iter().filter(|table| tables.contains(&table.name.as_str()));
        let mut read: Vec<_> = read.map(|table| json!([table.name, table.sql])).collect();
        read.sort_by_key(Value::to_string);
        match read.is_empty() {
            true => json!([self.name, database]),
            false => json!([self.name, database, read]),
        }
    }
}

impl Access {
    /// Where it is, if it is a database.
    pub(super) fn remote(&self) -> Option<&Remote> {
        match self {
            Access::Files(_) => None,
            Access::Postgres(database) => Some(&database.remote),
            Access::MySql(database) => Some(&database.remote),
        }
    }

    /// Whose SQL a model of it is written in, where it is not ours.
    pub(super) fn dialect(&self) -> Option<Dialect> {
        match self {
            Access::Files(_) => None,
            Access::Postgres(_) => Some(Dialect::Postgres),
            Access::MySql(_) => Some(Dialect::MySql),
        }
    }
}

impl Files {
    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The kinds of stores that these tables are in, each once.
    pub(super) fn schemes(&self, tables: &[&str]) -> Vec<Scheme> {
        let tables = self.tables.iter().filter(|table| tables.contains(&table.name.as_str()));
        let objects = tables.filter_map(|table| table.objects.as_ref());
        let mut schemes: Vec<_> = objects.map(|location| location.scheme).collect();
        schemes.sort();
        schemes.dedup();
        schemes
    }

    fn described(&self, tables: &[&str]) -> Vec<Value> {
        let is_read = |table: &&Table| tables.contains(&table.name.as_str());
        let mut tables = self.tables.iter().filter(is_read).collect::<Vec<_>>();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        let table = |table: &&Table| {
            let format = match &table.format {
                Format::Parquet => json!("parquet"),
                Format::Arrow => json!("arrow"),
                Format::Csv(csv) => {
                    let (mut nulls, mut columns) = (csv.nulls.clone(), csv.columns.clone());
                    nulls.sort();
                    columns.sort();
                    let delimiter = char::from(csv.delimiter);
                    json!({ "csv": [delimiter, csv.has_header, nulls, columns] })
                }
                Format::NdJson(ndjson) => {
                    let mut columns = ndjson.columns.clone();
                    columns.sort();
                    json!({ "ndjson": [columns] })
                }
                Format::Delta(Delta { version }) => json!({ "delta": [version] }),
            };
            let rewritten = table.rewritten.as_ref().map(|rewritten| [&rewritten.marker]);
            let location = table.location.to_string_lossy();
            let mut said = vec![json!(table.name), json!(location), format, json!(rewritten)];
            said.extend(table.compression.map(|compression| json!(compression.name())));
            said.extend(table.partitions.as_ref().map(Partitions::described));
            said.extend((table.schema == SchemaRule::Union).then(|| json!({ "schema": "union" })));
            json!(said)
        };
        tables.iter().map(table).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    pub fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

/// Directories named `name=value` that are columns of the files below them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitions {
    /// All below the first wildcard of the location, as texts.
    Auto,
    /// These, with their SQL types as [`Csv::columns`] has them.
    Declared(Vec<(String, String)>),
}

impl Partitions {
    fn described(&self) -> Value {
        match self {
            Partitions::Auto => json!({ "partitions": "auto" }),
            Partitions::Declared(columns) => {
                let mut columns = columns.clone();
                columns.sort();
                json!({ "partitions": columns })
            }
        }
    }
}

impl Format {
    /// Whether its files are texts, of which a shorter one can be whole.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Format::Csv(_) | Format::NdJson(_))
    }
}

/// How the columns of the files of one table come together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SchemaRule {
    /// All have the same.
    #[default]
    Same,
    /// A column is NULL where a file lacks it, and its type is one that has the values of all files as they are.
    Union,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Parquet,
    /// IPC, in the file format or the stream format.
    Arrow,
    Csv(Csv),
    NdJson(NdJson),
    Delta(Delta),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    pub delimiter: u8,
    pub has_header: bool,
    /// Words that mean NULL when they are the whole field and not in quotes; an empty field is one where `""` is among
    /// them.
    pub nulls: Vec<String>,
    /// Declared types by column: SQL type names such as `BIGINT`, `VARCHAR`, `DECIMAL(10,2)`, `TIMESTAMP`, `DATE`,
    /// `BOOLEAN`, `DOUBLE`. Columns not named are pinned at the first run that sees a value of them.
    pub columns: Vec<(String, String)>,
}

/// An object a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NdJson {
    /// As [`Csv::columns`]; there is `JSON` too, for values that are sent as they are written.
    pub columns: Vec<(String, String)>,
}

/// A Delta table: its location is the folder that has its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// The version that is read; the newest one unless said.
    pub version: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// A file beside the data that is there only when the set is complete, such as `_SUCCESS`.
    pub marker: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::super::store::definition::S3Access;
    use super::*;

    fn lake(change: impl FnOnce(&mut Table)) -> String {
        let csv = Csv { delimiter: b',', has_header: true, nulls: vec![], columns: vec![] };
        let mut table = Table {
            name: "people".into(),
            folder: "/srv/project".into(),
            location: "data/*.csv".into(),
            objects: None,
            format: Format::Csv(csv),
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: None,
        };
        let other = Table { name: "other".into(), location: "o.csv".into(), ..table.clone() };
        change(&mut table);
        let access = Access::Files(Files { tables: vec![table, other], store: Box::default() });
        Definition { name: "lake".into(), access }.described(&["people"]).to_string()
    }

    fn with_csv(change: impl FnOnce(&mut Csv)) -> String {
        lake(|table| {
            let Format::Csv(csv) = &mut table.format else { panic!("it is CSV") };
            change(csv);
        })
    }

    #[test]
    fn a_source_is_described_without_its_folder_and_without_unread_tables() {
        let expected = r#"["lake",[["people","data/*.csv",{"csv":[",",true,[],[]]},null]]]"#;
        assert_eq!(lake(|_| ()), expected);
        assert_eq!(lake(|table| table.folder = "/home/me".into()), expected);
    }

    /// What is written here stands in headers: whatever changes it holds the deletes of every sync.
    #[test]
    fn the_description_of_files_is_what_it_always_was() {
        let parquet = lake(|table| table.format = Format::Parquet);
        assert_eq!(parquet, r#"["lake",[["people","data/*.csv","parquet",null]]]"#);
        let marked = lake(|table| table.rewritten = Some(Rewritten { marker: Some("_OK".into()) }));
        let expected = r#"["lake",[["people","data/*.csv",{"csv":[",",true,[],[]]},["_OK"]]]]"#;
        assert_eq!(marked, expected);
        let unmarked = lake(|table| table.rewritten = Some(Rewritten { marker: None }));
        let expected = r#"["lake",[["people","data/*.csv",{"csv":[",",true,[],[]]},[null]]]]"#;
        assert_eq!(unmarked, expected);
        let column = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
        let said = with_csv(|csv| {
            csv.delimiter = b'\t';
            csv.has_header = false;
            csv.nulls = vec!["NA".to_owned(), String::new()];
            csv.columns = vec![column("b", "DATE"), column("a", "DECIMAL(10,2)")];
        });
        let expected = r#"["lake",[["people","data/*.csv",{"csv":["\t",false,["","NA"],[["a","DECIMAL(10,2)"],["b","DATE"]]]},null]]]"#;
        assert_eq!(said, expected);
        let both = Definition {
            name: "lake".into(),
            access: Access::Files(Files {
                tables: ["orders", "customers"].map(parquet_table).into(),
                store: Box::default(),
            }),
        };
        let expected = r#"["lake",[["customers","customers.parquet","parquet",null],["orders","orders.parquet","parquet",null]]]"#;
        assert_eq!(both.described(&["orders", "customers"]).to_string(), expected);
        assert_eq!(both.described(&[]).to_string(), r#"["lake",[]]"#);
    }

    fn parquet_table(name: &str) -> Table {
        Table {
            name: name.into(),
            folder: "/srv/project".into(),
            location: format!("{name}.parquet").into(),
            objects: None,
            format: Format::Parquet,
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: None,
        }
    }

    #[test]
    fn a_certificate_that_is_not_verified_is_warned_of() {
        use super::super::remote::{Remote, Tls, Trust, Verify, example};
        let of = |tls| {
            let database = mysql::definition::Definition {
                remote: Remote { tls, ..example() },
                server_key: None,
                is_zero_date_null: false,
                is_tinyint1_boolean: false,
            };
            Definition { name: "shop".into(), access: Access::MySql(Box::new(database)) }.warnings()
        };
        let trust = |verify| Tls::On(Trust { verify, ..Trust::default() });
        let warned = of(trust(Verify::Nothing)).concat();
        assert!(warned.contains("`shop`") && warned.contains("`tls: {verify: full}`"), "{warned}");
        for tls in [Tls::Off, trust(Verify::Full), trust(Verify::Authority)] {
            assert_eq!(of(tls), [""; 0]);
        }
    }

    #[test]
    fn objects_are_described_with_the_endpoint_that_has_them_and_no_secret() {
        let secret = || Secret::new("canary".into());
        let described = |change: &dyn Fn(&mut Store), scheme: Scheme| {
            let mut store = Store::default();
            store.s3.access = S3Access::Keys { id: secret(), secret: secret(), token: None };
            store.headers = vec![("authorization".into(), secret())];
            change(&mut store);
            let location = Location { scheme, holder: "lake".into(), pattern: "a/*".into() };
            let written = location.to_string().into();
            let table = parquet_table("t");
            let table = Table { location: written, objects: Some(location), ..table };
            let files = Files { tables: vec![table, parquet_table("u")], store: Box::new(store) };
            let access = Access::Files(files);
            Definition { name: "lake".into(), access }.described(&["t"]).to_string()
        };
        let plain = r#"["lake",[["t","s3://lake/a/*","parquet",null]]]"#;
        assert_eq!(described(&|_| (), Scheme::S3), plain);
        assert_eq!(described(&|store| store.s3.access = S3Access::Anonymous, Scheme::S3), plain);
        assert_eq!(
            described(&|store| store.gs.endpoint = Some("http://g".into()), Scheme::S3),
            plain
        );
        let other = described(&|store| store.s3.endpoint = Some("http://h:1".into()), Scheme::S3);
        let expected = r#"["lake",[["t","s3://lake/a/*","parquet",null]],[["s3","http://h:1"]]]"#;
        assert_eq!(other, expected);
        let web = |name: &str, value: &str| {
            let headers = vec![(name.to_owned(), Secret::new(value.into()))];
            described(&|store| store.headers = headers.clone(), Scheme::Http)
        };
        let one = web("X-Tenant", "canary");
        assert!(!one.contains("canary") && one.contains(r#"[["http",""#), "{one}");
        assert_eq!(web("x-tenant", "canary"), one);
        assert!(web("x-tenant", "another") != one && web("x-other", "canary") != one);
        let none = described(&|store| store.headers.clear(), Scheme::Http);
        assert_eq!(none, r#"["lake",[["t","lake/a/*","parquet",null]]]"#);
        let az = described(&|store| store.az.account = "me".into(), Scheme::Az);
        let expected = r#"["lake",[["t","az://lake/a/*","parquet",null]],[["az","me"]]]"#;
        assert_eq!(az, expected);
    }

    #[test]
    fn whatever_decides_which_rows_a_table_has_is_in_the_description() {
        let column = ("a".to_owned(), "DATE".to_owned());
        let changed = [
            lake(|_| ()),
            lake(|table| table.location = "data/2/*.csv".into()),
            lake(|table| table.format = Format::Parquet),
            lake(|table| table.rewritten = Some(Rewritten { marker: None })),
            lake(|table| table.rewritten = Some(Rewritten { marker: Some("_OK".into()) })),
            with_csv(|csv| csv.delimiter = b';'),
            with_csv(|csv| csv.has_header = false),
            with_csv(|csv| csv.nulls.push("NA".to_owned())),
            with_csv(|csv| csv.columns.push(column.clone())),
            lake(|table| table.compression = Some(Compression::Gzip)),
            lake(|table| table.compression = Some(Compression::Zstd)),
            lake(|table| table.format = Format::NdJson(NdJson::default())),
            lake(|table| table.format = Format::NdJson(NdJson { columns: vec![column.clone()] })),
            lake(|table| table.format = Format::Arrow),
            lake(|table| table.schema = SchemaRule::Union),
            lake(|table| table.partitions = Some(Partitions::Auto)),
            lake(|table| table.partitions = Some(Partitions::Declared(vec![column]))),
            lake(|table| table.format = Format::Delta(Delta::default())),
            lake(|table| table.format = Format::Delta(Delta { version: Some(0) })),
            lake(|table| table.format = Format::Delta(Delta { version: Some(1) })),
        ];
        for (position, one) in changed.iter().enumerate() {
            assert!(!changed[..position].contains(one), "{one}");
        }
    }
}
