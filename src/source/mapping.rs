//! From the columns of a model to the fields of the destination, and where the keys are among them.
//!
//! Invariant: what comes out has only types that can be synced, under names that are unique.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::DFParser;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::error::{Error, planning, unknown};
use super::moment::Moment;
use super::restriction::Restriction;
use super::unpack::unpack;
use crate::domain::cursor::Cursor;
use crate::domain::options::Options;
use crate::domain::sync::{Mapped, Model};
use crate::domain::syncable;

/// What of a model is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Empty means every column under its own name.
    pub fields: Vec<Mapped>,
    /// Columns that are not compared, where every column is a field.
    pub ignored: Vec<String>,
    /// The fields of the delivered key, in order; empty means those that carry the primary key's columns.
    pub key: Vec<String>,
    /// Only the columns of the delivered key and of the primary key come out, computed as they are for whole rows.
    pub is_keys_only: bool,
    /// Only rows for which this SQL over one row of the model holds.
    pub condition: Option<String>,
    /// Only so many rows, after the condition; which, is open.
    pub limit: Option<u64>,
    /// Only new rows, and those of some keys, where the model's columns are as they were.
    pub restriction: Option<Restriction>,
    /// The states of databases that it is read from; the present one of those that are not among them.
    pub moment: Moment,
}

impl Selection {
    /// Whether rows are left out that nothing is concluded from.
    pub(super) fn is_chosen(&self) -> bool {
        self.condition.is_some() || self.limit.is_some()
    }
}

/// A mapped field and the type of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    pub name: String,
    pub data_type: DataType,
    /// They fit the type, and the key where it is part of it.
    pub options: Options,
}

/// A plan that yields the mapped fields, then the primary key's columns that are not among them, then the cursor, where that is
/// asked for.
#[derive(Debug)]
pub(super) struct Projected {
    pub plan: LogicalPlan,
    pub fields: Vec<FieldInfo>,
    pub key: Vec<usize>,
    pub primary_key: Vec<usize>,
}

/// The name of a type for the snapshot's header: the widths of text and binary types are made one.
pub fn key_type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "Utf8".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "Binary".to_owned(),
        other => other.to_string(),
    }
}

/// Puts the mapping on top of the model's plan; `cursor` is to be met, its column is there.
pub(super) fn project(
    state: &SessionState,
    model: &Model,
    plan: LogicalPlan,
    selection: &Selection,
    cursor: Option<&Cursor>,
) -> Result<Projected, Error> {
    let place = format!("model `{}`", model.name);
    let columns = columns(&plan, &place)?;
    if let Some(name) = model.primary_key.iter().find(|name| !columns.contains(name)) {
        let place = format!("the primary key of {place}");
        return Err(Error::Definition(unknown("column", name, &place, &columns)));
    }
    let rows = rows(model, plan, &place)?;
    let schema = rows.schema().clone();
    let rows = chosen(state, rows, &schema, selection)?;
    let mut outputs = outputs(state, &schema, &columns, selection)?;
    let names = outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
    if let Some(name) = repeated(&names) {
        return Err(Error::Mapping(format!("field `{name}` is mapped twice; leave one out")));
    }
    let mut key = delivered_key(model, selection, &outputs)?;
    let mut mapped = outputs.len();
    let mut primary_key = primary_key(model, &key, &mut outputs);
    if selection.is_keys_only {
        mapped = keep_keys(&mut outputs, mapped, &mut key, &mut primary_key);
    }
    if let Some(cursor) = cursor {
        let name = unused("cursor", &outputs);
        outputs.push(Output::column(&schema, &cursor.column, name));
    }
    let mut fields = Vec::with_capacity(outputs.len());
    let mut expressions = Vec::with_capacity(outputs.len());
    for output in outputs {
        let (expression, field) = checked(output, &schema, &place)?;
        expressions.push(expression.alias(&field.name));
        fields.push(field);
    }
    check_keys(model, &fields, &key, &primary_key)?;
    fields.truncate(mapped);
    let plan = rows
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| Error::Mapping(planning(&error, &format!("the mapping of {place}"))))?;
    Ok(Projected { plan, fields, key, primary_key })
}

/// A field by its name, as it would be read, or what is wrong with it.
pub(super) type Sought = (String, Result<FieldInfo, Error>);

/// The fields that are asked for, each as it would be read, or what is wrong with it alone.
///
/// # Errors
/// The columns make no table.
pub(super) fn each(
    state: &SessionState,
    model: &Model,
    plan: &LogicalPlan,
    selection: &Selection,
) -> Result<Vec<Sought>, Error> {
    let place = format!("model `{}`", model.name);
    let columns = columns(plan, &place)?;
    let rows = rows(model, plan.clone(), &place)?;
    let schema = rows.schema();
    let checked = |output| checked(output, schema, &place).map(|(_, field)| field);
    if selection.fields.is_empty() {
        let own = |name: &String| (name.clone(), checked(own(schema, name, selection)));
        return Ok(columns.iter().map(own).collect());
    }
    let mapped =
        |mapped: &Mapped| (mapped.field.clone(), output(state, schema, mapped).and_then(checked));
    Ok(selection.fields.iter().map(mapped).collect())
}

/// The names of the plan's columns, which are unique.
fn columns(plan: &LogicalPlan, place: &str) -> Result<Vec<String>, Error> {
    let columns =
        plan.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    match repeated(&columns) {
        Some(name) => Err(Error::Definition(format!(
            "{place} has two columns named `{name}`; give each its own name with `AS`"
        ))),
        None => Ok(columns),
    }
}

/// The plan's rows under the name of the model.
fn rows(model: &Model, plan: LogicalPlan, place: &str) -> Result<LogicalPlanBuilder, Error> {
    LogicalPlanBuilder::from(plan)
        .alias(TableReference::bare(model.name.as_str()))
        .map_err(|error| Error::Definition(planning(&error, place)))
}

/// Whether the condition of a selection is SQL over one row, as far as that can be told without the model.
///
/// # Errors
/// What is wrong with it.
pub fn check_condition(sql: &str) -> Result<(), Error> {
    parsed(sql, CONDITION).map(drop)
}

/// The rows that the selection chooses.
fn chosen(
    state: &SessionState,
    mut rows: LogicalPlanBuilder,
    schema: &DFSchema,
    selection: &Selection,
) -> Result<LogicalPlanBuilder, Error> {
    let invalid = |error| Error::Mapping(planning(&error, CONDITION.0));
    if let Some(condition) = &selection.condition {
        let condition = expression(state, schema, condition, CONDITION)?;
        rows = rows.filter(condition).map_err(invalid)?;
    }
    if let Some(limit) = selection.limit {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        rows = rows.limit(0, Some(limit)).map_err(invalid)?;
    }
    Ok(rows)
}

/// One column of what comes out.
struct Output {
    name: String,
    expression: Expr,
    options: Options,
}

impl Output {
    fn column(schema: &DFSchema, source: &str, name: String) -> Output {
        let qualified = schema
            .iter()
            .find(|(_, field)| field.name() == source)
            .map(Column::from)
            .expect("the column was looked up in the schema");
        Output { name, expression: Expr::Column(qualified), options: Options::default() }
    }

    /// Whether it is nothing but this column of the model.
    fn is_column(&self, source: &str) -> bool {
        matches!(&self.expression, Expr::Column(column) if column.name == source)
    }
}

fn outputs(
    state: &SessionState,
    schema: &DFSchema,
    columns: &[String],
    selection: &Selection,
) -> Result<Vec<Output>, Error> {
    if selection.fields.is_empty() {
        if let Some(name) = selection.ignored.iter().find(|name| !columns.contains(name)) {
            return Err(Error::Mapping(unknown("column", name, "`ignore`", columns)));
        }
        return Ok(columns.iter().map(|name| own(schema, name, selection)).collect());
    }
    selection.fields.iter().map(|mapped| output(state, schema, mapped)).collect()
}

/// A column under its own name.
fn own(schema: &DFSchema, name: &str, selection: &Selection) -> Output {
    let output = Output::column(schema, name, name.to_owned());
    match selection.ignored.iter().any(|ignored| ignored == name) {
        true => Output { options: Options::IGNORED, ..output },
        false => output,
    }
}

fn output(state: &SessionState, schema: &DFSchema, mapped: &Mapped) -> Result<Output, Error> {
    let place = format!("the mapping of field `{}`", mapped.field);
    let role = (place.as_str(), "a mapping");
    let expression = expression(state, schema, &mapped.expression, role)?;
    let options = mapped.options.clone();
    Ok(Output { name: mapped.field.clone(), expression, options })
}

/// Where an expression stands, and what it is, for errors.
type Role<'a> = (&'a str, &'a str);

const CONDITION: Role = ("the condition", "a condition");

/// One SQL expression over one row of the model.
fn expression(
    state: &SessionState,
    schema: &DFSchema,
    sql: &str,
    role: Role,
) -> Result<Expr, Error> {
    let invalid = |error| Error::Mapping(planning(&error, role.0));
    let parsed = parsed(sql, role)?;
    let expression = state.create_logical_expr_from_sql_expr(parsed, schema).map_err(invalid)?;
    let mut refused = None;
    let _ = expression.exists(|part| {
        refused = match part {
            Expr::AggregateFunction(function) => {
                Some(format!("the aggregate `{}`", function.func.name()))
            }
            Expr::WindowFunction(function) => {
                Some(format!("the window function `{}`", function.fun.name()))
            }
            Expr::ScalarSubquery(_)
            | Expr::InSubquery(_)
            | Expr::Exists(_)
            | Expr::SetComparison(_) => Some("a subquery".to_owned()),
            Expr::Placeholder(placeholder) => Some(format!("the placeholder `{}`", placeholder.id)),
            Expr::Unnest(_) => Some("`unnest`".to_owned()),
            Expr::GroupingSet(_) => Some("a grouping set".to_owned()),
            #[expect(deprecated, reason = "the parser may still give it")]
            Expr::Wildcard { .. } => Some("`*`".to_owned()),
            _ => return Ok(false),
        };
        Ok(true)
    });
    match refused {
        Some(what) => Err(refuse(&what, role)),
        None => Ok(expression),
    }
}

/// The expression as it is written.
fn parsed(sql: &str, role: Role) -> Result<ast::ExprWithAlias, Error> {
    let (place, _) = role;
    let parsed = DFParser::parse_sql_into_expr_with_dialect(sql, &GenericDialect {})
        .map_err(|error| Error::Mapping(planning(&error, place)))?;
    if parsed.alias.is_some() {
        return Err(Error::Mapping(format!("{place} has an alias; leave `AS` out")));
    }
    if has_subquery(&parsed.expr) {
        return Err(refuse("a subquery", role));
    }
    Ok(parsed)
}

fn refuse(what: &str, (place, what_it_is): Role) -> Error {
    Error::Mapping(format!(
        "{place} has {what}; {what_it_is} is computed from one row, so do that in the model's SQL"
    ))
}

fn has_subquery(expression: &ast::Expr) -> bool {
    struct Find;
    impl ast::Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _query: &ast::Query) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Break(())
        }
    }
    ast::Visit::visit(expression, &mut Find).is_break()
}

fn delivered_key(
    model: &Model,
    selection: &Selection,
    outputs: &[Output],
) -> Result<Vec<usize>, Error> {
    if selection.key.is_empty() {
        let carrier = |column: &String| {
            let found = outputs.iter().position(|output| output.is_column(column));
            found.ok_or_else(|| {
                Error::Mapping(format!(
                    "the primary key column `{column}` of model `{}` is not mapped as it is; map a field to it, or say \
                     with `key` which fields identify a record",
                    model.name
                ))
            })
        };
        return model.primary_key.iter().map(carrier).collect();
    }
    if let Some(name) = repeated(&selection.key) {
        return Err(Error::Mapping(format!("`key` names field `{name}` twice; leave one out")));
    }
    let names = outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
    let position = |field: &String| {
        let found = names.iter().position(|name| name == field);
        found.ok_or_else(|| Error::Mapping(unknown("field", field, "`key`", &names)))
    };
    selection.key.iter().map(position).collect()
}

/// Where the primary key's columns are; those that no key field carries as they are, are appended.
fn primary_key(model: &Model, key: &[usize], outputs: &mut Vec<Output>) -> Vec<usize> {
    let mapped = outputs.len();
    let mut indexes = Vec::with_capacity(model.primary_key.len());
    for column in &model.primary_key {
        let in_key = key.iter().copied().find(|index| outputs[*index].is_column(column));
        let found =
            in_key.or_else(|| outputs[..mapped].iter().position(|output| output.is_column(column)));
        indexes.push(found.unwrap_or_else(|| {
            let name = unused(&format!("primary key {column}"), outputs);
            let relation = TableReference::bare(model.name.as_str());
            let expression = Expr::Column(Column::new(Some(relation), column));
            outputs.push(Output { name, expression, options: Options::default() });
            outputs.len() - 1
        }));
    }
    indexes
}

/// A name that no output has.
fn unused(name: &str, outputs: &[Output]) -> String {
    let mut name = name.to_owned();
    while outputs.iter().any(|output| output.name == name) {
        name.push('\'');
    }
    name
}

/// Leaves out what is part of no key; how many of the `mapped` first are left.
fn keep_keys(
    outputs: &mut Vec<Output>,
    mapped: usize,
    key: &mut [usize],
    primary_key: &mut [usize],
) -> usize {
    let kept: BTreeSet<usize> = key.iter().chain(&*primary_key).copied().collect();
    let mut old = 0..;
    outputs.retain(|_| old.next().is_some_and(|index| kept.contains(&index)));
    for index in key.iter_mut().chain(primary_key) {
        *index = kept.range(..*index).count();
    }
    kept.range(..mapped).count()
}

/// As [`synced`], with its name and its options, which must fit the type.
fn checked(output: Output, schema: &DFSchema, place: &str) -> Result<(Expr, FieldInfo), Error> {
    let (expression, data_type) = synced(&output, schema, place)?;
    let Output { name, options, .. } = output;
    match options.misfit(&data_type) {
        Some(why) => Err(Error::Mapping(format!("field `{name}` of {place}: {why}"))),
        None => Ok((expression, FieldInfo { name, data_type, options })),
    }
}

/// The expression unpacked, and its type, which must be one that can be synced.
fn synced(output: &Output, schema: &DFSchema, place: &str) -> Result<(Expr, DataType), Error> {
    let name = &output.name;
    let data_type = output.expression.get_type(schema).map_err(|error| {
        Error::Mapping(planning(&error, &format!("the mapping of field `{name}`")))
    })?;
    syncable::check(&data_type)
        .map_err(|why| Error::Mapping(format!("field `{name}` of {place} {why}")))?;
    Ok(unpack(output.expression.clone(), &data_type))
}

/// A delete names its record by the key, and a path and a person have words for scalars alone. It is said and compared so that
/// any two keys stay apart.
fn check_keys(
    model: &Model,
    fields: &[FieldInfo],
    key: &[usize],
    primary_key: &[usize],
) -> Result<(), Error> {
    let nested = |index: usize| syncable::nested_kind(&fields[index].data_type);
    let found = primary_key.iter().zip(&model.primary_key);
    let found = found.filter_map(|(index, column)| nested(*index).zip(Some(column))).next();
    if let Some((kind, column)) = found {
        return Err(Error::Definition(format!(
            "column `{column}` of the primary key of model `{}` is a {kind}; a key is made of scalars, so select the parts \
             of it that identify a row as columns of their own",
            model.name
        )));
    }
    for field in key.iter().map(|index| &fields[*index]) {
        if let Some(why) = field.options.misfit_of_key() {
            return Err(Error::Mapping(format!("field `{}` of the key {why}", field.name)));
        }
    }
    let found = key.iter().filter_map(|index| nested(*index).zip(Some(&fields[*index].name)));
    match found.into_iter().next() {
        None => Ok(()),
        Some((kind, name)) => Err(Error::Mapping(format!(
            "field `{name}` of the key is a {kind}; a key is made of scalars, so say with `key` which fields of scalars \
             identify a record"
        ))),
    }
}

fn repeated(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_of_text_and_binary_do_not_change_a_key_type() {
        assert_eq!(key_type_name(&DataType::Utf8View), key_type_name(&DataType::LargeUtf8));
        assert_eq!(key_type_name(&DataType::BinaryView), "Binary");
        assert_eq!(key_type_name(&DataType::Int64), "Int64");
    }
}
