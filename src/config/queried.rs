//! The tables of a database, which models read that join it with other sources.

use super::document::child;
use super::raw_database::RawQueried;
use super::raw_forms::{Named, StructureOrText};
use super::validate::Check;
use crate::source::{Dialect, Queried, refusal};

/// Those that can be asked for; what is wrong with the others was reported.
pub fn queried(
    check: &mut Check,
    pointer: &str,
    dialect: Dialect,
    raw: Option<&Named<StructureOrText<RawQueried>>>,
) -> Vec<Queried> {
    let Some(raw) = raw else { return Vec::new() };
    if raw.0.is_empty() {
        let remedy = "name at least one: `NAME: SCHEMA.TABLE`, or remove the key";
        check.report(pointer, "`tables` without a table", remedy);
    }
    let mut tables = Vec::new();
    for (name, form) in &raw.0 {
        let pointer = child(pointer, name);
        check.table_name(&pointer, name);
        tables.extend(match form {
            StructureOrText::Text(written) => {
                let table = Queried::of_table(name, written, dialect);
                if table.is_none() {
                    let what = format!("`{written}` is not the name of a table");
                    let remedy =
                        "write `SCHEMA.TABLE`, without quotes, or a query: `{sql: SELECT ..}`";
                    check.report(&pointer, what, remedy);
                }
                table
            }
            StructureOrText::Structure(raw) => query(check, &pointer, name, dialect, raw),
        });
    }
    tables
}

fn query(
    check: &mut Check,
    pointer: &str,
    name: &str,
    dialect: Dialect,
    raw: &RawQueried,
) -> Option<Queried> {
    let at = child(pointer, "sql");
    let Some(sql) = &raw.sql else {
        if !check.document.has_problem_within(pointer) {
            check.report_key(pointer, "a table without a query", "add `sql: SELECT ..`");
        }
        return None;
    };
    if let Some(refused) = refusal(sql, dialect) {
        let (what, remedy) = refused.split_once("; ").unwrap_or((refused, ""));
        check.report(&at, format!("table `{name}` {what}"), remedy);
        return None;
    }
    Some(Queried { name: name.to_owned(), sql: sql.clone() })
}
