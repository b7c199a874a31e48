//! What a query calls that can give another answer though no row changed: functions that the server has as volatile, and clocks.
//!
//! They are looked for in the server's own plan, where views are what stands behind them, and functions in SQL and constants are
//! what they come to. Not seen is what a function calls inside that is declared stable, as one that rightly calls `now()` is;
//! what the server has worked out when it plans, such as `'today'::date`; and which of several functions of one name is called,
//! so that nothing is said where not all of them are volatile.

use std::collections::BTreeSet;
use std::pin::pin;

use futures::TryStreamExt as _;
use tokio_postgres::{Client, Error as Failure, SimpleQueryMessage, SimpleQueryRow};

use super::session::{Session, literal};
use crate::source::error::Error;
use crate::source::trimmed::tokens;

/// Letters of a plan that are looked at.
const MOST_LETTERS: usize = 1 << 20;
/// Names that the server is asked for at once.
const MOST_NAMES: usize = 1_000;

/// Stable within a transaction, and others in the next.
const OF_A_RUN: &str = "'now', 'statement_timestamp', 'transaction_timestamp', 'pg_backend_pid', 'txid_current', \
     'txid_current_snapshot', 'pg_current_xact_id', 'pg_current_snapshot'";

/// Clocks that are no functions. A plan has them in capitals, in which no name stands without quotes.
const CLOCKS: [&str; 5] =
    ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"];

/// Those of the query, whose tables the session holds. Sorted, each once; none where the server refuses to tell, as to a role
/// that may not read its catalog: a read does without them.
///
/// # Errors
/// The server is gone.
pub async fn called(session: &mut Session, query: &str, place: &str) -> Result<Vec<String>, Error> {
    let answer = session.attempt(place, async |client| ask(client, query).await).await?;
    Ok(answer.unwrap_or_else(|refused| {
        let code = refused.code().map_or("", |code| code.code());
        tracing::debug!("the server does not tell what {place} calls ({code})");
        Vec::new()
    }))
}

async fn ask(client: &Client, query: &str) -> Result<Vec<String>, Failure> {
    let Named { functions, mut others } = named(&plan(client, query).await?);
    if !functions.is_empty() {
        let answer = client.simple_query(&question(&functions)).await?;
        others.extend(answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => word(row).map(str::to_owned),
            _ => None,
        }));
    }
    Ok(others.into_iter().collect())
}

/// The server's plan, as far as it is looked at. Behind a line that is left out nobody would know where text ends.
async fn plan(client: &Client, query: &str) -> Result<String, Failure> {
    let explain = format!("EXPLAIN (VERBOSE, COSTS OFF)\n{query}");
    let mut lines = pin!(client.simple_query_raw(&explain).await?);
    let (mut plan, mut is_cut) = (String::new(), false);
    while let Some(message) = lines.try_next().await? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        match word(&row) {
            Some(line) if !is_cut && plan.len() + line.len() < MOST_LETTERS => {
                plan.extend([line, "\n"]);
            }
            _ => is_cut = true,
        }
    }
    Ok(plan)
}

/// Those of the names that are of functions which flap, whichever of that name is called.
fn question(functions: &BTreeSet<(Option<String>, String)>) -> String {
    let names = functions.iter().take(MOST_NAMES).map(|(schema, name)| {
        let schema = schema.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        format!("({schema}::text, {}::text)", literal(name))
    });
    format!(
        "SELECT called.name FROM (VALUES {}) AS called (schema, name) \
         JOIN pg_catalog.pg_proc p ON p.proname = called.name \
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE CASE WHEN called.schema IS NULL THEN pg_catalog.pg_function_is_visible(p.oid) ELSE n.nspname = called.schema END \
         GROUP BY called.schema, called.name \
         HAVING pg_catalog.bool_and(p.provolatile = 'v' OR n.nspname = 'pg_catalog' AND p.proname IN ({OF_A_RUN}))",
        names.collect::<Vec<_>>().join(", ")
    )
}

/// The first value of a row, if it is text.
fn word(row: &SimpleQueryRow) -> Option<&str> {
    row.try_get(0).ok().flatten()
}

/// What a plan names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    /// Names that stand right before a parenthesis, with their schema where that is said. Not all are functions.
    functions: BTreeSet<(Option<String>, String)>,
    /// Clocks, and samples that are others each time.
    others: BTreeSet<String>,
}

/// Of the plan's properties alone: what stands in the other lines are names, some of them without quotes.
fn named(plan: &str) -> Named {
    let (mut named, mut rest) = (Named::default(), plan);
    while !rest.is_empty() {
        let length = match label(rest) {
            Some(label) => named.take(label, rest),
            None => rest.find('\n').map_or(rest.len(), |at| at + 1),
        };
        rest = &rest[length..];
    }
    named
}

/// That of the property which the plan goes on with.
fn label(plan: &str) -> Option<&str> {
    let (label, _) = plan.lines().next()?.trim_start().split_once(": ")?;
    let is_label = label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-'));
    (is_label && !label.starts_with("CTE ")).then_some(label)
}

impl Named {
    /// Takes what the property names that the plan goes on with; how long that is, as text in it may have several lines.
    fn take(&mut self, label: &str, plan: &str) -> usize {
        // The last three tokens, the last of them first.
        let (mut before, mut length, mut repeats) = (["", "", ""], 0, false);
        for token in tokens(plan) {
            length += token.len();
            if token == "\n" {
                break;
            }
            if CLOCKS.contains(&token) {
                self.others.insert(token.to_lowercase());
            }
            if token == "("
                && let Some(name) = name(before[0])
            {
                let schema = if before[1] == "." { self::name(before[2]) } else { None };
                self.functions.insert((schema, name));
            }
            repeats |= token == "REPEATABLE";
            before = [token, before[0], before[1]];
        }
        if label == "Sampling" && !repeats {
            self.others.insert("TABLESAMPLE without REPEATABLE".to_owned());
        }
        length
    }
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
        let said = |plan: &str| -> (Vec<String>, Vec<String>) {
            let Named { functions, others } = named(plan);
            let functions = functions.iter();
            let functions = functions
                .map(|(schema, name)| format!("{}.{name}", schema.as_deref().unwrap_or_default()));
            (functions.collect(), others.into_iter().collect())
        };
        let (functions, others) = said(plan);
        assert_eq!(functions, [".lower", ".random", ".varying", "other.Roll"]);
        assert_eq!(others, ["current_timestamp"]);
        for plan in ["", "(", ".(", "\"(", "a.", "''(", "E''("] {
            assert_eq!(named(plan), Named::default(), "{plan}");
            assert_eq!(named(&format!("Output: {plan}")), Named::default(), "{plan}");
        }
        // Names without quotes, in lines that are no properties.
        let plan = "CTE Scan on \"it's: now()\"\n  Output: \"it's: now()\".id\n  CTE it's: now()\n    ->  Seq Scan on public.t\n          \
                    Output: t.id, random()\n";
        assert_eq!(said(plan), (vec![".random".to_owned()], vec![]));
        let sampled = "Sample Scan on public.t\n  Output: id\n  Sampling: bernoulli ('10'::real)";
        assert_eq!(said(sampled).1, ["TABLESAMPLE without REPEATABLE"]);
        assert_eq!(
            named(&format!("{sampled} REPEATABLE ('1'::double precision)")),
            Named::default()
        );
    }
}
