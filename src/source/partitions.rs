//! Columns whose values stand in the names of directories, `name=value`, as Hive and those after it lay tables out.
//!
//! Not responsible for putting them beside a file's own columns (`grouped`, `parquet`). Invariants: a value is read as a
//! declared field of a text is, or the file is refused; so is a file that lacks a directory or has it twice, and a column that
//! is in the files too; no file is left out but by a filter that its values decide.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use percent_encoding::percent_decode_str;

use super::definition::{Partitions, Table};
use super::error::Error;
use super::text::column::Column;
use super::text::column_type::ColumnType;
use crate::domain::file::FileFact;

/// What stands for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// What the directories of a table say of its files.
#[derive(Debug)]
pub(super) struct Values {
    fields: Vec<FieldRef>,
    /// One value a field; each once.
    different: Vec<Vec<ScalarValue>>,
    /// By file, its place in `different`.
    of_files: Vec<usize>,
}

/// A directory named `name=value`, decoded; `None` where the value is NULL.
type Directory = (String, Option<String>);

/// Of the files of a table, where it has such columns.
///
/// # Errors
/// A file lacks a directory, or has one that says nothing or of which the value does not fit.
pub(super) fn of(table: &Table, files: &[FileFact]) -> Result<Option<Arc<Values>>, Error> {
    let Some(partitions) = &table.partitions else { return Ok(None) };
    let columns = match partitions {
        Partitions::Declared(columns) => declared(table, columns)?,
        Partitions::Auto => {
            let first = directories(table, &files[0])?;
            if first.is_empty() {
                return Err(Error::Damaged(format!(
                    "table `{}`: file `{}` lies in no directory named `name=value` below the first wildcard of the \
                     location; put it into one, or leave out `partitions`",
                    table.name, files[0].path
                )));
            }
            first.into_iter().map(|(name, _)| (name, ColumnType::Varchar)).collect()
        }
    };
    let mut places = HashMap::new();
    let mut values = Values {
        fields: Vec::new(),
        different: Vec::new(),
        of_files: Vec::with_capacity(files.len()),
    };
    for file in files {
        let found = directories(table, file)?;
        if matches!(partitions, Partitions::Auto)
            && let Some((name, _)) =
                found.iter().find(|(name, _)| !columns.iter().any(|it| it.0 == *name))
        {
            return Err(Error::Damaged(format!(
                "table `{}`: file `{}` lies in a directory `{name}=`, which file `{}` lacks; lay all files out alike, or \
                 declare the `partitions` that count",
                table.name, file.path, files[0].path
            )));
        }
        let found = columns.iter().map(|(name, _)| only(table, file, &found, name));
        let found = found.collect::<Result<Vec<_>, Error>>()?;
        let place = match places.get(&found) {
            Some(place) => *place,
            None => {
                let tuple = columns.iter().zip(&found);
                let tuple = tuple
                    .map(|((name, kind), text)| value(table, file, name, *kind, text.as_deref()));
                values.different.push(tuple.collect::<Result<_, Error>>()?);
                places.insert(found, values.different.len() - 1);
                values.different.len() - 1
            }
        };
        values.of_files.push(place);
    }
    let field =
        |(name, kind): (String, ColumnType)| Arc::new(Field::new(name, kind.data_type(), true));
    values.fields = columns.into_iter().map(field).collect();
    Ok(Some(Arc::new(values)))
}

fn declared(
    table: &Table,
    columns: &[(String, String)],
) -> Result<Vec<(String, ColumnType)>, Error> {
    let column = |(name, kind): &(String, String)| match kind.parse() {
        Ok(kind) => Ok((name.clone(), kind)),
        Err(()) => Err(Error::Definition(format!(
            "table `{}`: `{name}` under `partitions` has the unknown type `{kind}`",
            table.name
        ))),
    };
    columns.iter().map(column).collect()
}

/// The directories of a file that are named `name=value`: for `auto` those below the first wildcard, else those below the
/// table's folder or in its bucket.
fn directories(table: &Table, file: &FileFact) -> Result<Vec<Directory>, Error> {
    let (path, written): (&str, &Path) = match &table.objects {
        Some(location) => {
            let key = file.path.strip_prefix(&location.place(""));
            (key.unwrap_or(&file.path), Path::new(&location.pattern))
        }
        None => {
            let folder = std::path::absolute(&table.folder).ok();
            let below = folder.and_then(|it| Path::new(&file.path).strip_prefix(it).ok()?.to_str());
            (below.filter(|_| !table.location.is_absolute()).unwrap_or(&file.path), &table.location)
        }
    };
    let is_fixed = |part: &Component<'_>| {
        !part.as_os_str().to_str().is_some_and(|part| part.contains(['*', '?', '[']))
    };
    let parts = || written.components().filter(|part| *part != Component::CurDir);
    let fixed = match &table.partitions {
        Some(Partitions::Auto) => parts().take_while(is_fixed).count(),
        _ => 0,
    };
    // Without a wildcard all directories count.
    let fixed = if fixed == parts().count() { 0 } else { fixed };
    let parts = Path::new(path).parent().unwrap_or(Path::new("")).components();
    let parts = parts.skip(fixed).filter_map(|part| part.as_os_str().to_str());
    let named = parts.filter_map(|part| part.split_once('=')).filter(|(name, _)| !name.is_empty());
    named.map(|(name, value)| directory(table, file, name, value)).collect()
}

fn directory(table: &Table, file: &FileFact, name: &str, value: &str) -> Result<Directory, Error> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
    let refused = |what: &str| {
        Error::Damaged(format!(
            "table `{}`: the directory `{name}=` of file `{}` {what}; rename it",
            table.name, file.path
        ))
    };
    let decoded = decoded(name).zip(decoded(value));
    let (name, text) = decoded.ok_or_else(|| refused("is not UTF-8 once it is decoded"))?;
    match value {
        "" => Err(refused(&format!("has no value, where `{NULL}` stands for NULL"))),
        NULL => Ok((name, None)),
        _ => Ok((name, Some(text))),
    }
}

/// What the one directory of this name says.
fn only(
    table: &Table,
    file: &FileFact,
    found: &[Directory],
    name: &str,
) -> Result<Option<String>, Error> {
    let mut of_name = found.iter().filter(|(found, _)| found == name);
    let refused = |what: &str| {
        Err(Error::Damaged(format!(
            "table `{}`: file `{}` lies in {what} `{name}=`; lay all files out alike, or correct `partitions`",
            table.name, file.path
        )))
    };
    match (of_name.next(), of_name.next()) {
        (Some((_, value)), None) => Ok(value.clone()),
        (Some(_), Some(_)) => refused("two directories"),
        (None, _) => refused("no directory"),
    }
}

/// Whole numbers may begin with zeros, as months do.
fn value(
    table: &Table,
    file: &FileFact,
    name: &str,
    kind: ColumnType,
    text: Option<&str>,
) -> Result<ScalarValue, Error> {
    let mut column = Column::new(kind, true);
    let is_whole = matches!(kind, ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt);
    let fits = match text {
        None => {
            column.push_null();
            true
        }
        Some(text) if is_whole => {
            let (sign, digits) = text.split_at(usize::from(text.starts_with('-')));
            let kept = digits.trim_start_matches('0');
            let digits = if kept.is_empty() && !digits.is_empty() { "0" } else { kept };
            column.push(format!("{sign}{digits}").as_bytes())
        }
        Some(text) => column.push(text.as_bytes()),
    };
    if !fits {
        return Err(Error::Misfit(format!(
            "table `{}`: the directory `{name}=` of file `{}` says no {kind}, as `{name}` is declared; correct its name, or \
             declare `{name}: VARCHAR` under `partitions`",
            table.name, file.path
        )));
    }
    Ok(ScalarValue::try_from_array(&column.finish(), 0).expect("it has one value"))
}

impl Values {
    pub fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// Of one file, by field.
    pub fn of_file(&self, file: usize) -> &[ScalarValue] {
        &self.different[self.of_files[file]]
    }

    /// Whether two files have the same values.
    pub fn are_alike(&self, one: usize, other: usize) -> bool {
        self.of_files[one] == self.of_files[other]
    }

    /// The columns of the files and, behind them, these.
    ///
    /// # Errors
    /// A column is among both.
    pub fn behind(&self, table: &str, files: &Schema) -> Result<Schema, Error> {
        if let Some(field) =
            self.fields.iter().find(|field| files.field_with_name(field.name()).is_ok())
        {
            return Err(Error::Damaged(format!(
                "table `{table}`: column `{}` is in the files and in the names of their directories; name under \
                 `partitions` those alone that the files do not have",
                field.name()
            )));
        }
        let fields = files.fields().iter().chain(&self.fields);
        Ok(Schema::new(fields.map(Arc::clone).collect::<Vec<_>>()))
    }

    /// What becomes of filters: those that these values alone decide leave files out. All are asked again of the rows.
    pub fn pushed(&self, filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
        let pushed = |filter: &&Expr| match self.decide(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        filters.iter().map(pushed).collect()
    }

    fn decide(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        let is_mine = |name: &str| self.fields.iter().any(|field| field.name() == name);
        !columns.is_empty()
            && columns.iter().all(|column| is_mine(&column.name))
            && !filter.is_volatile()
    }

    /// The files that have rows for which all these filters hold, as far as these values can say.
    pub fn kept(&self, state: &dyn Session, filters: &[Expr]) -> Vec<usize> {
        let mut is_kept = vec![true; self.different.len()];
        for filter in filters.iter().filter(|filter| self.decide(filter)) {
            // What cannot be computed here fails where the rows are asked.
            if let Ok(held) = self.held(state, filter) {
                is_kept.iter_mut().zip(held).for_each(|(is_kept, held)| *is_kept &= held);
            }
        }
        let files = self.of_files.iter().enumerate();
        files.filter(|(_, place)| is_kept[**place]).map(|(file, _)| file).collect()
    }

    /// By place in `different`, whether the filter holds.
    fn held(&self, state: &dyn Session, filter: &Expr) -> Result<Vec<bool>, DataFusionError> {
        let schema = Arc::new(Schema::new(self.fields.clone()));
        let columns = 0..self.fields.len();
        let columns = columns
            .map(|column| {
                ScalarValue::iter_to_array(self.different.iter().map(|it| it[column].clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        let filter = state.create_physical_expr(filter.clone(), &DFSchema::try_from(schema)?)?;
        let held = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
        let held = held
            .as_boolean_opt()
            .ok_or_else(|| DataFusionError::Plan("a filter is true or false".to_owned()))?;
        Ok((0..held.len()).map(|row| held.is_valid(row) && held.value(row)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use datafusion::arrow::datatypes::DataType;
    use datafusion::functions::math::expr_fn::random;
    use datafusion::prelude::{SessionContext, col, lit};

    use super::super::definition::{Format, SchemaRule};
    use super::super::store::definition::{Location, Scheme};
    use super::*;

    fn table(location: &str, partitions: Partitions) -> Table {
        Table {
            name: "t".into(),
            folder: PathBuf::from("/srv/of=me"),
            location: location.into(),
            objects: None,
            format: Format::Parquet,
            compression: None,
            partitions: Some(partitions),
            schema: SchemaRule::Same,
            rewritten: None,
        }
    }

    fn declared(columns: &[(&str, &str)]) -> Partitions {
        let column = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
        Partitions::Declared(columns.iter().map(column).collect())
    }

    fn files(paths: &[&str]) -> Vec<FileFact> {
        let fact = |path: &&str| FileFact {
            table: "t".into(),
            path: format!("/srv/of=me/{path}"),
            size: 1,
            inode: 1,
            changed: 1,
            ends_within_line: None,
            etag: None,
        };
        paths.iter().map(fact).collect()
    }

    fn shown(table: &Table, paths: &[&str]) -> Result<Vec<Vec<String>>, String> {
        let values = of(table, &files(paths)).map_err(|error| error.to_string())?.unwrap();
        let of_file = |file| values.of_file(file).iter().map(ToString::to_string).collect();
        Ok((0..paths.len()).map(of_file).collect())
    }

    #[test]
    fn values_are_decoded_and_read_as_they_are_declared() {
        let columns = declared(&[("m", "BIGINT"), ("d", "DATE"), ("r", "VARCHAR")]);
        let table = table("a/*/*/*/*.csv", columns);
        let paths = [
            "a/d=2026-01-02/r=S%C3%BCd%2Fb+%zz/m=007/x.csv",
            "a/r=__HIVE_DEFAULT_PARTITION__/m=-0/d=2026-01-03/x.csv",
            "a/r=%5F_HIVE_DEFAULT_PARTITION__/m=10/d=2026-01-03/x.csv",
        ];
        let expected = [
            ["7", "2026-01-02", "Süd/b+%zz"],
            ["0", "2026-01-03", "NULL"],
            ["10", "2026-01-03", "__HIVE_DEFAULT_PARTITION__"],
        ];
        let shown = shown(&table, &paths);
        // A sign before nothing but zeros is none of a whole number's.
        assert!(shown.unwrap_err().contains("says no BIGINT"));
        let paths = [paths[0], "a/r=__HIVE_DEFAULT_PARTITION__/m=00/d=2026-01-03/x.csv", paths[2]];
        assert_eq!(super::tests::shown(&table, &paths).unwrap(), expected);
    }

    #[test]
    fn all_below_the_first_wildcard_are_texts_where_none_are_declared() {
        let table = |location: &str| table(location, Partitions::Auto);
        let paths = ["a=1/b=01/c=x/f.csv", "a=1/b=2/c=__HIVE_DEFAULT_PARTITION__/f.csv"];
        let expected = [["01", "x"], ["2", "NULL"]];
        assert_eq!(shown(&table("a=1/b=*/*/*.csv"), &paths).unwrap(), expected);
        assert_eq!(shown(&table("./a=1/**/*.csv"), &paths).unwrap(), expected);
        let values = of(&table("a=1/**/*.csv"), &files(&paths)).unwrap().unwrap();
        let names: Vec<_> = values.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(shown(&table("a=1/b=01/f.csv"), &["a=1/b=01/f.csv"]).unwrap(), [["1", "01"]]);
    }

    #[test]
    fn files_are_left_out_by_filters_that_their_directories_decide_and_by_no_other() {
        let table = table("*/f.csv", declared(&[("m", "BIGINT"), ("r", "VARCHAR")]));
        let null = "m=2/r=__HIVE_DEFAULT_PARTITION__/f.csv";
        let paths = ["m=1/r=a/f.csv", "m=2/r=a/f.csv", "m=1/r=a/g.csv", null];
        let values = of(&table, &files(&paths)).unwrap().unwrap();
        assert!(values.are_alike(0, 2) && !values.are_alike(0, 1) && !values.are_alike(1, 3));
        let state = SessionContext::new().state();
        let coin = || random().gt(lit(0.5)).and(col("m").gt(lit(1_i64)));
        for (filters, kept, is_decided) in [
            (vec![], vec![0, 1, 2, 3], true),
            (vec![col("m").eq(lit(1_i64))], vec![0, 2], true),
            // Of what is NULL nothing holds.
            (vec![col("r").not_eq(lit("b"))], vec![0, 1, 2], true),
            (vec![col("m").gt(lit(1_i64)), col("r").is_not_null()], vec![1], true),
            (vec![col("r").eq(lit("c"))], vec![], true),
            // A column of the files, and a function that says something else of each row.
            (vec![col("m").eq(lit(1_i64)).or(col("n").eq(lit(1_i64)))], vec![0, 1, 2, 3], false),
            (vec![coin()], vec![0, 1, 2, 3], false),
        ] {
            assert_eq!(values.kept(&state, &filters), kept, "{filters:?}");
            let asked_again = match is_decided {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            };
            let pushed = values.pushed(&filters.iter().collect::<Vec<_>>());
            assert!(pushed.iter().all(|it| *it == asked_again), "{filters:?}: {pushed:?}");
        }
    }

    #[test]
    fn a_column_is_in_the_files_or_in_the_names_of_directories() {
        let table = table("*/f.csv", declared(&[("d", "DATE")]));
        let values = of(&table, &files(&["d=2026-01-02/f.csv"])).unwrap().unwrap();
        let column = |name: &str| Field::new(name, DataType::Int64, false);
        let beside = values.behind("t", &Schema::new(vec![column("a"), column("b")])).unwrap();
        let names: Vec<_> = beside.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["a", "b", "d"]);
        let both = values.behind("t", &Schema::new(vec![column("a"), column("d")])).unwrap_err();
        assert!(both.to_string().contains("column `d` is in the files and in the names"), "{both}");
    }

    #[test]
    fn of_objects_the_directories_of_their_keys_count_below_the_first_wildcard() {
        let pattern = "a=1/*/*.csv".to_owned();
        let objects = Some(Location { scheme: Scheme::S3, holder: "lake".into(), pattern });
        let table = Table { objects, ..table("s3://lake/a=1/*/*.csv", Partitions::Auto) };
        let mut files = files(&["", ""]);
        for (file, day) in files.iter_mut().zip(["x", "y"]) {
            file.path = format!("s3://lake/a=1/d={day}/f.csv");
        }
        let values = of(&table, &files).unwrap().unwrap();
        let names: Vec<_> = values.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["d"]);
        assert_eq!([0, 1].map(|file| values.of_file(file)[0].to_string()), ["x", "y"]);
    }

    #[test]
    fn what_does_not_say_a_value_for_each_column_once_is_refused_by_name() {
        let one = || declared(&[("d", "DATE")]);
        let day = "d=2026-01-02/";
        for (partitions, paths, words) in [
            (one(), [day, "e=2026-01-02/"], "in no directory `d=`"),
            (one(), [day, "d=2026-01-02/d=2026-01-03/"], "in two directories `d=`"),
            (
                one(),
                [day, "d=today/"],
                "the directory `d=` of file `/srv/of=me/d=today/f` says no DATE",
            ),
            (one(), [day, "d=/"], "has no value"),
            (one(), [day, "d=%FF/"], "is not UTF-8"),
            (Partitions::Auto, [day, "d=2026-01-02/e=1/"], "a directory `e=`, which file"),
            (Partitions::Auto, [day, ""], "in no directory `d=`"),
            (Partitions::Auto, ["", day], "in no directory named `name=value`"),
        ] {
            let paths = paths.map(|path| format!("{path}f"));
            let said = shown(&table("**/f", partitions), &paths.each_ref().map(String::as_str));
            let said = said.unwrap_err();
            assert!(said.contains(words) && said.contains("table `t`"), "no {words} in {said}");
        }
    }
}
