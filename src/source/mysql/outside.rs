//! Tables whose engine knows no transactions: what is read of them is of no one moment.

use super::connection::{Connection, Described, Text};
use super::error::Failure;
use super::session::text;

/// How many there are and the first of them, among the tables of which the condition holds.
const OUTSIDE: &str = "SELECT COUNT(*), MIN(CONCAT(t.table_schema, '.', t.table_name, ' (', t.engine, ')')) \
     FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine \
     WHERE t.table_type = 'BASE TABLE' AND e.transactions <> 'YES' AND ";

/// Of the database, or of all where none is chosen.
const HERE: &str = "(t.table_schema = DATABASE() OR DATABASE() IS NULL AND \
     t.table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys'))";

/// Tables of one answer that are asked after.
const MOST: usize = 16;

/// What is to be told of such tables.
pub fn told(of: &str) -> String {
    format!("{of} outside of transactions: what is read of them is of no one moment; use InnoDB")
}

/// Those of the whole database, in words; none where there are none.
pub async fn here(connection: &mut Connection) -> Result<Option<String>, Failure> {
    let (tables, _) = connection.ask(&format!("{OUTSIDE}{HERE}")).await?;
    let (count, first) = counted(&tables);
    Ok(match count {
        "" | "0" => None,
        "1" => Some(told(&format!("table `{first}` is"))),
        many => Some(told(&format!("{many} tables, such as `{first}`, are"))),
    })
}

/// Those that columns of an answer are of. Tables of which it has no column are not among them: no answer of a server names all.
pub async fn of_columns(
    connection: &mut Connection,
    columns: &[Described],
) -> Result<Vec<String>, Failure> {
    let named = columns.iter().map(|column| &column.origin);
    let mut origins: Vec<_> =
        named.filter(|(database, table)| !database.is_empty() && !table.is_empty()).collect();
    origins.sort();
    origins.dedup();
    let mut outside = Vec::new();
    for (database, table) in origins.into_iter().take(MOST) {
        let (database, table) = (text(database), text(table));
        let is_it = format!("t.table_schema = {database} AND t.table_name = {table}");
        let (tables, _) = connection.ask(&format!("{OUTSIDE}{is_it}")).await?;
        if let ("1", first) = counted(&tables) {
            outside.push(first.to_owned());
        }
    }
    Ok(outside)
}

fn counted(rows: &[Text]) -> (&str, &str) {
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let said = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    (said(0), said(1))
}
