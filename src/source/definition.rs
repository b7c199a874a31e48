//! What the config says of a source, validated.

use std::path::PathBuf;

use serde_json::{Value, json};

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
    /// The files are written anew under new names each time, so that names that vanish prove nothing; what proves that a
    /// set is complete, if anything does.
    pub rewritten: Option<Rewritten>,
}

impl Table {
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
    /// The names of its tables, in the order of the config.
    pub(super) fn tables(&self) -> impl Iterator<Item = &str> {
        let tables = match &self.access {
            Access::Files(files) => files.tables.as_slice(),
            // A model of it says all in its own SQL.
            Access::Postgres(_) | Access::MySql(_) => &[],
        };
        tables.iter().map(|table| table.name.as_str())
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
            Access::Postgres(database) => json!([self.name, database.described()]),
            Access::MySql(database) => json!([self.name, database.described()]),
        }
    }
}

impl Access {
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
    fn schemes(&self, tables: &[&str]) -> Vec<Scheme> {
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
            match table.compression {
                None => json!([table.name, location, format, rewritten]),
                Some(compression) => {
                    json!([table.name, location, format, rewritten, compression.name()])
                }
            }
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Parquet,
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
            rewritten: None,
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
            lake(|table| table.format = Format::NdJson(NdJson { columns: vec![column] })),
            lake(|table| table.format = Format::Delta(Delta::default())),
            lake(|table| table.format = Format::Delta(Delta { version: Some(0) })),
            lake(|table| table.format = Format::Delta(Delta { version: Some(1) })),
        ];
        for (position, one) in changed.iter().enumerate() {
            assert!(!changed[..position].contains(one), "{one}");
        }
    }
}
