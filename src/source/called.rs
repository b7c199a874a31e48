//! By which names a SELECT calls its tables.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Select, TableFactor};

/// Of two tables that both go by `orders`, DataFusion takes whichever comes first for `orders.id`, and even for `eu.orders.id`.
pub(super) fn told_apart(select: &Select) -> ControlFlow<String> {
    let mut called: Vec<(String, String)> = Vec::new();
    for from in &select.from {
        call(&from.relation, &mut called);
        from.joins.iter().for_each(|join| call(&join.relation, &mut called));
    }
    called.sort();
    called.dedup();
    match called.windows(2).find(|two| two[0].0 == two[1].0) {
        Some([(name, one), (_, other)]) => ControlFlow::Break(format!(
            "reads `{one}` and `{other}`, which both go by `{name}` in one SELECT; give each an alias with AS"
        )),
        _ => ControlFlow::Continue(()),
    }
}

/// A name as it is meant.
fn plain(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The table of a source, if the name is that of one.
pub(super) fn of_source(name: &ObjectName) -> Option<TableReference> {
    let parts: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).map(plain).collect();
    let [source, table] = parts.try_into().ok()?;
    Some(TableReference::partial(source, table))
}

/// Appends by which name the columns of a table can be meant, and which table it is.
fn call(factor: &TableFactor, called: &mut Vec<(String, String)>) {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } => {
            let name = plain(&alias.name);
            called.push((name.clone(), name));
        }
        TableFactor::Table { name, .. } => {
            let parts: Vec<String> =
                name.0.iter().filter_map(|part| part.as_ident()).map(plain).collect();
            called.extend(parts.last().map(|last| (last.clone(), parts.join("."))));
        }
        TableFactor::NestedJoin { table_with_joins, .. } => {
            call(&table_with_joins.relation, called);
            table_with_joins.joins.iter().for_each(|join| call(&join.relation, called));
        }
        _ => {}
    }
}
