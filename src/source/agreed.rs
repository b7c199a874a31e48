//! The columns of files that say their own: how those of one table come together.
//!
//! Invariant: no file's column is left out, and no value is changed by the type that its column is read as; where that cannot
//! be, the table is refused with the column and both files.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, Schema,
};

use super::definition::SchemaRule;
use super::error::Error;

/// The columns of the files seen so far.
#[derive(Debug)]
pub(super) struct Agreed<'t> {
    table: &'t str,
    rule: SchemaRule,
    /// The first file.
    first: Option<String>,
    files: usize,
    columns: Vec<Agreeing>,
}

#[derive(Debug)]
struct Agreeing {
    field: Field,
    /// The file that its type is of.
    path: String,
    /// Of files that are united: how many lack it, and how many have it as which type; each with the first of them.
    lacking: Option<(usize, String)>,
    kinds: BTreeMap<String, (usize, String)>,
}

impl Agreeing {
    fn meet(&mut self, kind: &DataType, path: &str) {
        self.kinds.entry(kind.to_string()).or_insert_with(|| (0, path.to_owned())).0 += 1;
    }
}

impl<'t> Agreed<'t> {
    pub fn new(table: &'t str, rule: SchemaRule) -> Self {
        Agreed { table, rule, first: None, files: 0, columns: Vec::new() }
    }

    /// One more file.
    ///
    /// # Errors
    /// Its columns are not those of the others, as far as the table's rule asks for that.
    pub fn add(&mut self, path: &str, schema: &Schema) -> Result<(), Error> {
        for (place, field) in schema.fields().iter().enumerate() {
            if schema.index_of(field.name()).is_ok_and(|first| first != place) {
                return Err(Error::Damaged(format!(
                    "table `{}`: file `{path}` has two columns named `{}`; rename one",
                    self.table,
                    field.name()
                )));
            }
        }
        let is_first = self.first.is_none();
        let first = self.first.get_or_insert_with(|| path.to_owned()).clone();
        for column in &mut self.columns {
            let name = column.field.name().clone();
            let Ok(other) = schema.field_with_name(&name) else {
                if self.rule == SchemaRule::Same {
                    return Err(missing(self.table, &name, &column.path, path));
                }
                column.field.set_nullable(true);
                column.lacking.get_or_insert_with(|| (0, path.to_owned())).0 += 1;
                continue;
            };
            if self.rule == SchemaRule::Union {
                column.meet(other.data_type(), path);
            }
            let (known, found) = (column.field.data_type(), other.data_type());
            if known != found {
                let wider = match self.rule {
                    SchemaRule::Same => None,
                    SchemaRule::Union => wider(known, found),
                };
                let Some(wider) = wider else {
                    return Err(differs(self.table, self.rule, column, found, path));
                };
                if wider != *known {
                    column.field.set_data_type(wider);
                    path.clone_into(&mut column.path);
                }
            }
            column.field.set_nullable(column.field.is_nullable() || other.is_nullable());
        }
        let is_known =
            |columns: &[Agreeing], name: &str| columns.iter().any(|it| it.field.name() == name);
        for field in schema.fields() {
            if is_known(&self.columns, field.name()) {
                continue;
            }
            if !is_first && self.rule == SchemaRule::Same {
                return Err(missing(self.table, field.name(), path, &first));
            }
            let field = field.as_ref().clone();
            let is_nullable = field.is_nullable() || !is_first;
            let field = field.with_nullable(is_nullable);
            let lacking = (!is_first).then(|| (self.files, first.clone()));
            let (kind, path_of) = (field.data_type().clone(), path.to_owned());
            let mut column = Agreeing { field, path: path_of, lacking, kinds: BTreeMap::new() };
            if self.rule == SchemaRule::Union {
                column.meet(&kind, path);
            }
            self.columns.push(column);
        }
        self.files += 1;
        Ok(())
    }

    /// What the files differ in and the table unites, for people.
    pub fn differences(&self) -> Vec<String> {
        let (table, files) = (self.table, self.files);
        let mut differences = Vec::new();
        for Agreeing { field, lacking, kinds, .. } in &self.columns {
            let column = format!("table `{table}`: column `{}` is", field.name());
            if let Some((count, first)) = lacking {
                differences.push(format!(
                    "{column} not in {count} of {files} files, such as `{first}`, and NULL there"
                ));
            }
            if kinds.len() > 1 {
                let said = kinds.iter().map(|(kind, (count, first))| {
                    format!("`{kind}` in {count} of {files} files, such as `{first}`")
                });
                let said: Vec<_> = said.collect();
                let (said, read) = (said.join(", "), field.data_type());
                differences.push(format!("{column} {said}, and read as `{read}`"));
            }
        }
        differences
    }

    pub fn schema(self) -> Schema {
        Schema::new(self.columns.into_iter().map(|column| column.field).collect::<Vec<_>>())
    }
}

fn missing(table: &str, name: &str, with: &str, without: &str) -> Error {
    Error::Damaged(format!(
        "table `{table}`: column `{name}` is in file `{with}` but not in `{without}`; the files of one table must have the \
         same columns, unless it says `schema: union`"
    ))
}

fn differs(
    table: &str,
    rule: SchemaRule,
    column: &Agreeing,
    found: &DataType,
    path: &str,
) -> Error {
    let Agreeing { field, path: known, .. } = column;
    let remedy = match rule {
        SchemaRule::Same => "the files of one table must have the same columns",
        SchemaRule::Union => {
            "no type has the values of both as they are: write them alike, or make two tables of them"
        }
    };
    Error::Damaged(format!(
        "table `{table}`: column `{}` is `{}` in file `{known}` but `{found}` in `{path}`; {remedy}",
        field.name(),
        field.data_type()
    ))
}

/// The type that has the values of both as they are, if there is one. Times in other units are none: not every time of the
/// coarser one is one of the finer; and floats of other widths are none: what is said of a value is the shortest of its width.
pub(super) fn wider(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if one == other {
        return Some(one.clone());
    }
    match (one, other) {
        (T::Null, known) | (known, T::Null) => Some(known.clone()),
        (T::Dictionary(_, values), known) | (known, T::Dictionary(_, values)) => {
            wider(values, known)
        }
        (T::Utf8View, T::Utf8 | T::LargeUtf8) | (T::Utf8 | T::LargeUtf8, T::Utf8View) => {
            Some(T::Utf8View)
        }
        (T::Utf8, T::LargeUtf8) | (T::LargeUtf8, T::Utf8) => Some(T::LargeUtf8),
        (T::BinaryView, T::Binary | T::LargeBinary)
        | (T::Binary | T::LargeBinary, T::BinaryView) => Some(T::BinaryView),
        (T::Binary, T::LargeBinary) | (T::LargeBinary, T::Binary) => Some(T::LargeBinary),
        _ if one.is_integer() && other.is_integer() => whole(one, other),
        _ => decimal(one, other),
    }
}

/// Of whole numbers.
fn whole(one: &DataType, other: &DataType) -> Option<DataType> {
    let bits = |kind: &DataType| kind.primitive_width().map_or(0, |bytes| bytes * 8);
    let is_signed = one.is_signed_integer() || other.is_signed_integer();
    // A number without sign takes one bit more where there is one.
    let needed =
        |kind: &DataType| bits(kind) + usize::from(is_signed && kind.is_unsigned_integer());
    match (needed(one).max(needed(other)), is_signed) {
        (..=16, true) => Some(DataType::Int16),
        (..=32, true) => Some(DataType::Int32),
        (..=64, true) => Some(DataType::Int64),
        (..=16, false) => Some(DataType::UInt16),
        (..=32, false) => Some(DataType::UInt32),
        (..=64, false) => Some(DataType::UInt64),
        _ => None,
    }
}

/// Of decimals: as many digits on either side of the point as either has.
fn decimal(one: &DataType, other: &DataType) -> Option<DataType> {
    let digits = |kind: &DataType| match kind {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            Some((i16::from(*precision), i16::from(*scale)))
        }
        _ => None,
    };
    let ((precision, scale), (other, others)) = (digits(one)?, digits(other)?);
    let wide = scale.max(others);
    let precision = (precision - scale).max(other - others) + wide;
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(wide).ok()?);
    if precision <= DECIMAL128_MAX_PRECISION {
        return Some(DataType::Decimal128(precision, scale));
    }
    (precision <= DECIMAL256_MAX_PRECISION).then_some(DataType::Decimal256(precision, scale))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), false);
        Schema::new(columns.iter().map(field).collect::<Vec<_>>())
    }

    fn agreed(rule: SchemaRule, files: &[&[(&str, DataType)]]) -> Result<Vec<String>, String> {
        let mut agreed = Agreed::new("t", rule);
        for (place, file) in files.iter().enumerate() {
            let added = agreed.add(&format!("f{place}"), &schema(file));
            added.map_err(|error| error.to_string())?;
        }
        let shown = |field: &std::sync::Arc<Field>| {
            let null = if field.is_nullable() { "?" } else { "" };
            format!("{}{null} {}", field.name(), field.data_type())
        };
        Ok(agreed.schema().fields().iter().map(shown).collect())
    }

    #[test]
    fn a_file_with_two_columns_of_one_name_is_refused() {
        for rule in [SchemaRule::Same, SchemaRule::Union] {
            let twice = &[("a", DataType::Int32), ("b", DataType::Utf8), ("a", DataType::Int32)];
            let said = agreed(rule, &[twice]).unwrap_err();
            assert!(said.contains("file `f0` has two columns named `a`"), "{said}");
        }
    }

    #[test]
    fn files_must_have_the_same_columns_in_any_order_unless_they_are_united() {
        use DataType::{Int32, Int64, Utf8};
        let one: &[_] = &[("a", Int32), ("b", Utf8)];
        let turned: &[_] = &[("b", Utf8), ("a", Int32)];
        assert_eq!(agreed(SchemaRule::Same, &[one, turned]).unwrap(), ["a Int32", "b Utf8"]);
        for (other, words) in [
            (&one[..1], "column `b` is in file `f0` but not in `f1`"),
            (
                &[("a", Int64), ("b", Utf8)],
                "column `a` is `Int32` in file `f0` but `Int64` in `f1`",
            ),
            (
                &[("a", Int32), ("b", Utf8), ("c", Int32)],
                "column `c` is in file `f1` but not in `f0`",
            ),
        ] {
            let said = agreed(SchemaRule::Same, &[one, other]).unwrap_err();
            assert!(said.contains(words) && said.contains("table `t`"), "no {words} in {said}");
        }
        let wide: &[_] = &[("a", Int64), ("c", Int32)];
        let expected = ["a Int64", "b? Utf8", "c? Int32"];
        assert_eq!(agreed(SchemaRule::Union, &[one, wide, one]).unwrap(), expected);
        let mut united = Agreed::new("t", SchemaRule::Union);
        for (path, file) in [("f0", one), ("f1", wide), ("f2", wide), ("f3", one)] {
            united.add(path, &schema(file)).unwrap();
        }
        assert_eq!(
            united.differences(),
            [
                "table `t`: column `a` is `Int32` in 2 of 4 files, such as `f0`, `Int64` in 2 of 4 files, such as `f1`, and \
                 read as `Int64`",
                "table `t`: column `b` is not in 2 of 4 files, such as `f1`, and NULL there",
                "table `t`: column `c` is not in 2 of 4 files, such as `f0`, and NULL there",
            ]
        );
        let said = agreed(SchemaRule::Union, &[one, wide, &[("a", Utf8)]]).unwrap_err();
        assert!(said.contains("column `a` is `Int64` in file `f1` but `Utf8` in `f2`"), "{said}");
    }

    #[test]
    fn a_column_may_be_null_where_it_may_be_in_any_file_or_one_lacks_it() {
        let kinds = |columns: &[(&str, bool)]| {
            let field = |(name, is_nullable): &(&str, bool)| {
                Field::new(*name, DataType::Int32, *is_nullable)
            };
            Schema::new(columns.iter().map(field).collect::<Vec<_>>())
        };
        for rule in [SchemaRule::Same, SchemaRule::Union] {
            let mut agreed = Agreed::new("t", rule);
            for file in [[("a", false), ("b", true)], [("a", true), ("b", false)]] {
                agreed.add("f", &kinds(&file)).unwrap();
            }
            assert!(agreed.schema().fields().iter().all(|field| field.is_nullable()), "{rule:?}");
        }
        for (files, nullable) in [
            ([&[("a", false), ("b", false)][..], &[("a", false)]], [false, true]),
            ([&[("a", false)], &[("a", false), ("b", false)]], [false, true]),
            ([&[("a", false), ("b", false)], &[("a", false), ("b", false)]], [false, false]),
        ] {
            let mut agreed = Agreed::new("t", SchemaRule::Union);
            files.iter().for_each(|file| agreed.add("f", &kinds(file)).unwrap());
            let schema = agreed.schema();
            let found: Vec<_> = schema.fields().iter().map(|field| field.is_nullable()).collect();
            assert_eq!(found, nullable, "{files:?}");
        }
    }

    #[test]
    fn types_become_wider_only_where_each_value_stays_what_it_is() {
        use DataType as T;
        let dictionary = |values: T| T::Dictionary(Box::new(T::Int8), Box::new(values));
        let time = |unit| T::Timestamp(unit, None);
        for (one, other, expected) in [
            (T::Int8, T::Int64, Some(T::Int64)),
            (T::UInt8, T::Int8, Some(T::Int16)),
            (T::UInt32, T::Int8, Some(T::Int64)),
            (T::UInt8, T::UInt64, Some(T::UInt64)),
            (T::UInt64, T::Int64, None),
            (T::Float32, T::Float64, None),
            (T::Int32, T::Float64, None),
            (T::Utf8, T::LargeUtf8, Some(T::LargeUtf8)),
            (T::Utf8, T::Binary, None),
            (T::Binary, T::BinaryView, Some(T::BinaryView)),
            (dictionary(T::Utf8), T::Utf8View, Some(T::Utf8View)),
            (dictionary(T::Utf8), T::Int8, None),
            (T::Null, T::Date32, Some(T::Date32)),
            (T::Date32, T::Date64, None),
            (time(TimeUnit::Millisecond), time(TimeUnit::Microsecond), None),
            (T::Timestamp(TimeUnit::Second, Some("UTC".into())), time(TimeUnit::Second), None),
            (T::Decimal128(10, 2), T::Decimal128(8, 4), Some(T::Decimal128(12, 4))),
            (T::Decimal32(9, 0), T::Decimal64(18, 18), Some(T::Decimal128(27, 18))),
            (T::Decimal128(38, 0), T::Decimal128(38, 30), Some(T::Decimal256(68, 30))),
            (T::Decimal256(76, 0), T::Decimal128(3, 1), None),
            (T::Decimal128(10, 0), T::Int32, None),
        ] {
            assert_eq!(wider(&one, &other), expected, "{one} and {other}");
            assert_eq!(wider(&other, &one), expected, "{other} and {one}");
        }
    }
}
