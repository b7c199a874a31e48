//! What SQL a model may be: one query that only reads, over the source's own tables.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::parser::{DFParser, Statement as Parsed};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::called::{of_source, told_apart};
use super::databases::asked_twice;
use super::error::{Error, planning, unknown};
use super::table::Known;

/// Functions that may stand where a table does: they read nothing.
const TABLE_FUNCTIONS: [&str; 3] = ["range", "generate_series", "unnest"];

/// A model's SQL, parsed and found harmless, and the tables it reads.
#[derive(Debug)]
pub(super) struct Checked {
    pub statement: Parsed,
    /// Sorted, each once.
    pub tables: Vec<TableReference>,
    /// Functions called in the arguments of functions that stand where a table does, in lower case: these arguments are
    /// computed while the query is planned, and the plan shows only what they came to.
    pub called_for_tables: Vec<String>,
}

/// Parses and checks the SQL of `model`, which may name the tables `known`.
pub(super) fn check(model: &str, sql: &str, known: &Known<'_>) -> Result<Checked, Error> {
    let place = format!("model `{model}`");
    let refuse = |reason: String| Error::Definition(format!("{place} {reason}"));
    let mut statements = DFParser::parse_sql_with_dialect(sql, &GenericDialect {})
        .map_err(|error| Error::Definition(unparsed(planning(&error, &place), sql, known)))?;
    let statement = match (statements.pop_front(), statements.len()) {
        (None, _) => return Err(refuse("has no SQL; give it one SELECT".to_owned())),
        (Some(statement), 0) => statement,
        (Some(_), more) => {
            return Err(refuse(format!("has {} statements; give it one SELECT", more + 1)));
        }
    };
    let query = query(&statement).map_err(|kind| {
        refuse(format!("is {kind}; a model may only read, so give it one SELECT"))
    })?;
    let mut check = Check::default();
    if let ControlFlow::Break(reason) = query.visit(&mut check) {
        return Err(refuse(reason));
    }
    let (references, _) = resolve_table_references(&statement, true)
        .map_err(|error| Error::Definition(planning(&error, &place)))?;
    let mut tables = Vec::new();
    for reference in references {
        let is_function = reference.schema().is_none()
            && check.table_functions.iter().any(|name| name == reference.table());
        if known.has(&reference) {
            tables.push(reference);
        } else if !is_function {
            return Err(Error::Definition(not_known(&reference, &place, known)));
        }
    }
    tables.sort();
    tables.dedup();
    for source in known.asked_once() {
        let is_of_it = |name: &&TableReference| name.schema() == Some(source);
        if check.named.iter().filter(is_of_it).count() > 1 {
            return Err(asked_twice(&place, source));
        }
    }
    Ok(Checked { statement, tables, called_for_tables: check.calls.0 })
}

/// What is not valid SQL for want of the quotes that the name of a source needs is said to want them.
fn unparsed(message: String, sql: &str, known: &Known<'_>) -> String {
    let quoted = |name: &str| TableReference::bare(name).to_quoted_string();
    let mut wanting = known.joined().filter(|name| quoted(name) != *name);
    match wanting.find(|name| sql.contains(&format!("{name}."))) {
        Some(name) => {
            let quoted = quoted(name);
            format!("{message}; the source `{name}` needs double quotes in SQL: `{quoted}.TABLE`")
        }
        None => message,
    }
}

/// Why the model may not read the table.
fn not_known(name: &TableReference, place: &str, known: &Known<'_>) -> String {
    if let (Some(source), false) = (name.schema(), name.catalog().is_some())
        && known.joined().next().is_some()
        && known.joined().all(|joined| joined != source)
    {
        let listed: Vec<String> = known.joined().map(|name| format!("`{name}`")).collect();
        return format!(
            "{place} reads `{name}`, and `{source}` is none of its sources; add it to `sources` of the model, or read a \
             table of {}",
            listed.join(", ")
        );
    }
    if name.schema().is_none()
        && let Some(meant) = known.meant(name.table())
    {
        return format!(
            "{place} reads `{name}` without its source; write `{}`, as a model with `sources` has to",
            meant.to_quoted_string()
        );
    }
    let shown = name.to_string();
    match is_location(&shown) {
        true => format!(
            "{place} reads `{shown}`; a path or URL is no table, so declare it as a table of the source and use its name"
        ),
        false => unknown("table", &shown, place, &known.names()),
    }
}

/// The query, or what the statement is instead.
fn query(statement: &Parsed) -> Result<&Query, String> {
    match statement {
        Parsed::Statement(statement) => match statement.as_ref() {
            Statement::Query(query) => Ok(query),
            other => {
                let words = other.to_string();
                let word = words.split_whitespace().next().unwrap_or_default().to_uppercase();
                Err(format!("a {word} statement"))
            }
        },
        Parsed::CreateExternalTable(_) => Err("a CREATE statement".to_owned()),
        Parsed::CopyTo(_) => Err("a COPY statement".to_owned()),
        Parsed::Explain(_) => Err("an EXPLAIN statement".to_owned()),
        Parsed::Reset(_) => Err("a RESET statement".to_owned()),
    }
}

/// Breaks with the reason at the first thing that is not a plain read.
#[derive(Default)]
struct Check {
    table_functions: Vec<String>,
    /// Tables of sources, each as often as it stands there.
    named: Vec<TableReference>,
    /// In their arguments.
    calls: Calls,
}

/// The functions that are called in what is visited.
#[derive(Default)]
struct Calls(Vec<String>);

impl Visitor for Calls {
    type Break = String;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        if let Expr::Function(function) = expression {
            self.0.push(function_name(&function.name));
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Check {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if !query.locks.is_empty() {
            return ControlFlow::Break("locks rows with FOR; leave it out".to_owned());
        }
        let ignored = [
            ("FOR", query.for_clause.is_some()),
            ("SETTINGS", query.settings.is_some()),
            ("FORMAT", query.format_clause.is_some()),
            ("the operator |>", !query.pipe_operators.is_empty()),
        ];
        refuse_ignored(&ignored)?;
        body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        if select.into.is_some() {
            return ControlFlow::Break("writes with SELECT INTO; leave INTO out".to_owned());
        }
        let modifiers = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
        };
        refuse_ignored(&[
            ("WITH after GROUP BY", !modifiers.is_empty()),
            ("ILIKE after `*`", select.projection.iter().any(is_filtered_wildcard)),
            ("PREWHERE", select.prewhere.is_some()),
            ("CONNECT BY", !select.connect_by.is_empty()),
            ("EXCLUDE after the columns", select.exclude.is_some()),
            ("AS STRUCT or AS VALUE", select.value_table_mode.is_some()),
            ("a modifier of SELECT", select.select_modifiers.is_some()),
        ])?;
        told_apart(select)
    }

    fn pre_visit_statement(&mut self, _statement: &Statement) -> ControlFlow<String> {
        ControlFlow::Break("has a statement inside its query; a model may only read".to_owned())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        refuse_ignored(&ignored_of(factor))?;
        let name = match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                function_name(name)
            }
            TableFactor::TableFunction { expr: Expr::Function(function), .. } => {
                function_name(&function.name)
            }
            TableFactor::Table { name, .. } => {
                self.named.extend(of_source(name));
                return ControlFlow::Continue(());
            }
            TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. } => return ControlFlow::Continue(()),
            _ => {
                return ControlFlow::Break(
                    "reads from something that is no table; use tables of the source".to_owned(),
                );
            }
        };
        if TABLE_FUNCTIONS.contains(&name.as_str()) {
            self.table_functions.push(name);
            return match factor {
                TableFactor::Table { args: Some(arguments), .. } => {
                    arguments.args.visit(&mut self.calls)
                }
                TableFactor::Function { args, .. } => args.visit(&mut self.calls),
                TableFactor::TableFunction { expr: Expr::Function(function), .. } => {
                    function.args.visit(&mut self.calls)
                }
                _ => ControlFlow::Continue(()),
            };
        }
        ControlFlow::Break(format!(
            "reads from function `{name}`; declare a table of the source instead (functions that may be read from: {})",
            TABLE_FUNCTIONS.map(|name| format!("`{name}`")).join(", ")
        ))
    }
}

/// Clauses that DataFusion parses and then passes over in silence, so that the rows would be others than those asked
/// for; each with whether it is there.
fn refuse_ignored(clauses: &[(&str, bool)]) -> ControlFlow<String> {
    match clauses.iter().find(|(_, is_there)| *is_there) {
        Some((clause, _)) => {
            ControlFlow::Break(format!("uses {clause}, which is not supported; leave it out"))
        }
        None => ControlFlow::Continue(()),
    }
}

/// Whether it is `*` or `t.*` with a pattern that the columns' names must match.
fn is_filtered_wildcard(item: &SelectItem) -> bool {
    match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
            options.opt_ilike.is_some()
        }
        _ => false,
    }
}

fn ignored_of(factor: &TableFactor) -> Vec<(&'static str, bool)> {
    match factor {
        TableFactor::Table {
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
            ..
        } => vec![
            ("hints of a table", !with_hints.is_empty() || !index_hints.is_empty()),
            ("a version of a table", version.is_some()),
            ("WITH ORDINALITY", *with_ordinality),
            ("PARTITION", !partitions.is_empty()),
            ("a path into a table", json_path.is_some()),
            ("TABLESAMPLE", sample.is_some()),
        ],
        TableFactor::Derived { sample, .. } => vec![("TABLESAMPLE", sample.is_some())],
        TableFactor::Function { with_ordinality, .. } => {
            vec![("WITH ORDINALITY", *with_ordinality)]
        }
        _ => Vec::new(),
    }
}

fn body(body: &SetExpr) -> ControlFlow<String> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => {
            self::body(left)?;
            self::body(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            ControlFlow::Break("writes inside its query; a model may only read".to_owned())
        }
        SetExpr::Table(_) => {
            ControlFlow::Break("uses TABLE; write SELECT * FROM instead".to_owned())
        }
    }
}

fn function_name(name: &ObjectName) -> String {
    name.to_string().to_lowercase()
}

fn is_location(name: &str) -> bool {
    const ENDINGS: [&str; 6] = [".csv", ".parquet", ".json", ".avro", ".arrow", ".gz"];
    name.contains(['/', '\\', ':', '*'])
        || ENDINGS.iter().any(|ending| name.trim_end_matches('"').ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Access, Definition, Files, Format, SchemaRule, Table};
    use super::*;

    fn source(name: &str, tables: &[&str]) -> Definition {
        let table = |name: &&str| Table {
            name: (*name).to_owned(),
            folder: "/".into(),
            location: format!("{name}.parquet").into(),
            objects: None,
            format: Format::Parquet,
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: None,
        };
        let access =
            Access::Files(Files { tables: tables.iter().map(table).collect(), ..Files::default() });
        Definition { name: name.to_owned(), access }
    }

    fn named(sql: &str, known: &Known<'_>) -> Result<Vec<String>, String> {
        let checked = check("m", sql, known).map_err(|error| error.to_string())?;
        Ok(checked.tables.iter().map(ToString::to_string).collect())
    }

    fn tables(sql: &str) -> Result<Vec<String>, String> {
        named(sql, &Known::One(&source("lake", &["orders", "customers"])))
    }

    fn joined(sql: &str) -> Result<Vec<String>, String> {
        let sources = [source("lake", &["orders"]), source("my-app", &["customers"])];
        named(sql, &Known::Joined(sources.iter().collect()))
    }

    #[test]
    fn tables_of_several_sources_are_named_with_their_source() {
        let sql = "select * from lake.orders o join \"my-app\".customers c on o.id = c.id";
        assert_eq!(joined(sql).unwrap(), ["lake.orders", "my-app.customers"]);
        assert_eq!(joined("with orders as (select 1) select * from orders").unwrap(), [""; 0]);
        for (sql, part) in [
            ("select * from orders", "without its source; write `lake.orders`"),
            ("select * from customers", "write `\"my-app\".customers`"),
            ("select * from shop.orders", "`shop` is none of its sources; add it to `sources`"),
            ("select * from lake.order", "did you mean `lake.orders`"),
            ("select * from lake.customers", "unknown table `lake.customers`"),
            ("select * from my-app.customers", "needs double quotes in SQL: `\"my-app\".TABLE`"),
            ("select * from datafusion.lake.orders", "unknown table `datafusion.lake.orders`"),
            ("select * from 'lake/orders.csv'", "a path or URL is no table"),
        ] {
            let error = joined(sql).unwrap_err();
            assert!(error.contains(part) && error.contains("model `m`"), "{sql}: {error}");
        }
        let error = tables("select * from lake.orders").unwrap_err();
        assert!(error.contains("unknown table `lake.orders`"), "{error}");
    }

    #[test]
    fn one_query_over_known_tables_is_a_model() {
        assert_eq!(tables("select * from orders o join customers c using (id);").unwrap().len(), 2);
        assert_eq!(tables("with a as (select 1) select * from a, Orders").unwrap(), ["orders"]);
        assert_eq!(tables("select 1 union all (select 2 from orders)").unwrap(), ["orders"]);
        assert_eq!(tables("select * from range(1, 5)").unwrap(), [""; 0]);
        assert_eq!(tables("values (1)").unwrap(), [""; 0]);
    }

    #[test]
    fn whatever_is_not_one_read_is_refused_by_name() {
        for (sql, word) in [
            ("create table a as select 1", "CREATE"),
            ("create external table a stored as csv location '/x'", "CREATE"),
            ("drop table orders", "DROP"),
            ("insert into orders values (1)", "INSERT"),
            ("update orders set a = 1", "UPDATE"),
            ("delete from orders", "DELETE"),
            ("copy orders to 'x.csv'", "COPY"),
            ("explain select 1", "EXPLAIN"),
            ("set a = 1", "SET"),
            ("show tables", "SHOW"),
            ("describe orders", "DESCRIBE"),
            ("select 1; select 2", "2 statements"),
            ("", "no SQL"),
            ("-- nothing", "no SQL"),
            ("select * into a from orders", "INTO"),
            ("with a as (delete from orders) select 1", "writes"),
            ("selekt 1", "not valid SQL"),
            ("select * from orders for update", "FOR"),
            ("select * from orders tablesample (1 percent)", "TABLESAMPLE"),
            ("select * from (select 1) as a tablesample (1 percent)", "TABLESAMPLE"),
            ("select * from orders prewhere a = 1", "PREWHERE"),
            ("select * from range(1, 3) with ordinality", "ORDINALITY"),
            ("select * ilike 'i%' from orders", "ILIKE"),
            ("select o.* ilike 'i%' from orders o", "ILIKE"),
            ("select id from (select * ilike 'i%' from orders)", "ILIKE"),
            ("select a from orders group by a with rollup", "GROUP BY"),
            ("select a from orders group by a with cube", "GROUP BY"),
            ("select a from orders group by a with totals", "GROUP BY"),
            ("select a from orders group by all with rollup", "GROUP BY"),
            ("from orders |> select * ilike 'i%'", "|>"),
        ] {
            let error = tables(sql).unwrap_err();
            assert!(error.contains(word), "{sql}: {error}");
            assert!(error.contains("model `m`"), "{sql}: {error}");
        }
    }

    #[test]
    fn paths_urls_and_reading_functions_are_no_tables() {
        for sql in [
            "select * from 'x.parquet'",
            "select * from \"/etc/passwd\"",
            "select * from 'https://example.com/x.csv'",
            "select * from orders where id in (select id from 'y.csv')",
        ] {
            let error = tables(sql).unwrap_err();
            assert!(error.contains("a path or URL is no table"), "{sql}: {error}");
        }
        assert!(tables("select * from read_csv('/x.csv')").unwrap_err().contains("`read_csv`"));
        assert!(
            tables("select * from x, lateral read_csv('a')").unwrap_err().contains("`read_csv`")
        );
    }

    #[test]
    fn an_unknown_table_is_answered_with_the_known_ones() {
        let error = tables("select * from order").unwrap_err();
        assert!(error.contains("not valid") || error.contains("orders"), "{error}");
        let error = tables("select * from custmers").unwrap_err();
        assert!(error.contains("did you mean `customers`"), "{error}");
        let error = tables("select * from information_schema.tables").unwrap_err();
        assert!(error.contains("unknown table `information_schema.tables`"), "{error}");
    }
}
