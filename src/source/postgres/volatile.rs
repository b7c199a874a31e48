//! What a query calls that can give another answer though no row changed: functions that the server has as volatile, and clocks.
//!
//! They are looked for in the server's own plan, where views are what stands behind them, and functions in SQL and constants are
//! what they come to. Not seen is what a function calls inside: by its declaration it is volatile itself.

use std::collections::BTreeSet;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::error;
use super::session::{Session, literal};
use crate::source::error::Error;
use crate::source::trimmed::tokens;

/// Letters of a plan that are looked at.
pub const MOST_LETTERS: usize = 1 << 20;
/// Names that the server is asked for at once.
const MOST_NAMES: usize = 1_000;

/// Stable within a transaction, and others in the next.
const OF_A_RUN: &str = "'now', 'statement_timestamp', 'transaction_timestamp', 'pg_backend_pid', 'txid_current', \
     'txid_current_snapshot', 'pg_current_xact_id', 'pg_current_snapshot'";

/// Clocks that are no functions. A plan has them in capitals, in which no name stands without quotes.
const CLOCKS: [&str; 5] =
    ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"];

/// Those of the query that has this plan. Sorted, each once.
///
/// # Errors
/// The server is gone.
pub async fn called(session: &mut Session, plan: &str, place: &str) -> Result<Vec<String>, Error> {
    let Named { functions, clocks } = named(plan);
    let mut found: BTreeSet<String> = clocks.into_iter().map(str::to_lowercase).collect();
    if functions.is_empty() {
        return Ok(found.into_iter().collect());
    }
    let names = functions.iter().take(MOST_NAMES).map(|(schema, name)| {
        let schema = schema.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        format!("({schema}::text, {}::text)", literal(name))
    });
    let asked = format!(
        "SELECT DISTINCT p.proname FROM (VALUES {}) AS called (schema, name) \
         JOIN pg_catalog.pg_proc p ON p.proname = called.name \
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE CASE WHEN called.schema IS NULL THEN pg_catalog.pg_function_is_visible(p.oid) ELSE n.nspname = called.schema END \
         AND (p.provolatile = 'v' OR n.nspname = 'pg_catalog' AND p.proname IN ({OF_A_RUN}))",
        names.collect::<Vec<_>>().join(", ")
    );
    let ask = async |client: &Client| client.simple_query(&asked).await;
    let answer = session.ask(place, ask, error::planning).await?;
    found.extend(answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }));
    Ok(found.into_iter().collect())
}

/// What a plan names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    /// Names that stand right before a parenthesis, with their schema where that is said. Not all are functions.
    functions: BTreeSet<(Option<String>, String)>,
    clocks: BTreeSet<&'static str>,
}

fn named(plan: &str) -> Named {
    let mut named = Named::default();
    // The last three tokens, the last of them first.
    let mut before = ["", "", ""];
    for token in tokens(plan) {
        named.clocks.extend(CLOCKS.into_iter().find(|clock| *clock == token));
        if token == "("
            && let Some(name) = name(before[0])
        {
            let schema = if before[1] == "." { self::name(before[2]) } else { None };
            named.functions.insert((schema, name));
        }
        before = [token, before[0], before[1]];
    }
    named
}

/// The name that a token is, if it is one.
fn name(token: &str) -> Option<String> {
    if let Some(quoted) = token.strip_prefix('"') {
        return quoted.strip_suffix('"').map(str::to_owned);
    }
    let is_name =
        token.starts_with(|c: char| c.is_alphabetic() || c == '_') && !token.ends_with('\'');
    is_name.then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_what_it_calls_and_no_text_does() {
        let plan = r#"Seq Scan on public.people p
  Output: id, random(), other."Roll"(p.id), CURRENT_TIMESTAMP, "CURRENT_DATE", 'now(
 uuid() LOCALTIME'::text, E'\'sleep(', "quoted("
  Filter: ((p.id > 3) AND (lower(p.name) = 'x'::character varying(3)))"#;
        let Named { functions, clocks } = named(plan);
        let said: Vec<String> = functions
            .iter()
            .map(|(schema, name)| format!("{}.{name}", schema.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(said, [".lower", ".random", ".varying", "other.Roll"]);
        assert_eq!(clocks.into_iter().collect::<Vec<_>>(), ["CURRENT_TIMESTAMP"]);
        for plan in ["", "(", ".(", "\"(", "a.", "''(", "E''("] {
            assert_eq!(named(plan), Named::default(), "{plan}");
        }
    }
}
