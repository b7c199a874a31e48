//! What a MySQL or MariaDB server says of itself, of who asks, and of what that user may do.

use super::connection::Connection;
use super::definition::Definition;
use super::error::{Failure, planning};
use super::outside;
use super::session::Session;
use super::volatile;
use crate::domain::sync::Model;
use crate::source::cancel::Cancels;
use crate::source::error::Error;
use crate::source::examine::{Examined, seconds};
use crate::source::remote::Remote;

const ASKED: &str = "SELECT VERSION(), CURRENT_USER(), @@GLOBAL.read_only, @@GLOBAL.time_zone, \
     @@GLOBAL.system_time_zone, UNIX_TIMESTAMP(NOW(6)), DATABASE()";

/// What changes nothing.
const HARMLESS: [&str; 11] = [
    "USAGE",
    "SELECT",
    "SHOW VIEW",
    "SHOW DATABASES",
    "PROCESS",
    "REPLICATION CLIENT",
    "BINLOG MONITOR",
    "SLAVE MONITOR",
    "REPLICA MONITOR",
    "SHOW_ROUTINE",
    "SHOW CREATE ROUTINE",
];
/// Verbs that are named.
const NAMED: usize = 6;

/// Looks at the server; `models` are those that read it. What was found is in `examined` by then, whatever comes of the rest.
///
/// # Errors
/// It is not reached, or does not let us in.
pub async fn examine(
    definition: &Definition,
    models: &[&Model],
    examined: &mut Examined,
) -> Result<(), Error> {
    let place = definition.remote.place();
    let refused = |failure: Failure| planning(&failure, &place);
    let mut session = Session::open(definition, "counterflow doctor", &Cancels::default()).await?;
    let connection = &mut session.connection;
    let before = seconds();
    let (rows, _) = connection.ask(ASKED).await.map_err(refused)?;
    let after = seconds();
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let said = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    examined.fact("version", version(said(0)));
    examined.fact("role", format!("user `{}`", said(1)));
    let (grants, _) = connection.ask("SHOW GRANTS").await.map_err(refused)?;
    let grants = grants.iter().filter_map(|row| row.first()?.as_deref());
    let (verbs, has_roles) = verbs(grants);
    let roles = if has_roles { ", and what its roles may" } else { "" };
    examined.fact("grants", format!("may {}{roles}", few(&verbs)));
    let is_on = !matches!(said(2), "0" | "OFF");
    examined.fact("read_only", if is_on { "`read_only` is on" } else { "`read_only` is off" });
    let zone = if said(3) == "SYSTEM" { said(4) } else { said(3) };
    examined.fact("time_zone", format!("time zone {zone}"));
    let status = connection.ask("SHOW SESSION STATUS LIKE 'Ssl_version'").await.map_err(refused)?;
    let version = status.0.first().and_then(|row| row.get(1)?.clone());
    examined.tls(&definition.remote, version.as_deref());
    if let Ok(server) = said(5).parse() {
        examined.clock(server, before, after);
    }
    let harmful: Vec<String> =
        verbs.into_iter().filter(|verb| !HARMLESS.contains(&verb.as_str())).collect();
    if !harmful.is_empty() {
        examined.advice.push(format!(
            "user `{}` may {}: one with `SELECT` alone is better",
            said(1),
            few(&harmful)
        ));
    }
    examined.advice.extend(outside::here(connection).await.map_err(refused)?);
    for model in models {
        match connection.prepare(&model.sql).await {
            Ok(prepared) => {
                connection.forget(prepared.statement).await.map_err(refused)?;
                let of = format!("model `{}`", model.name);
                examined.flaps(&of, &volatile::called(&model.sql));
            }
            Err(Failure::Said(said)) if !said.is_busy() => examined.refuse(model),
            Err(failure) => return Err(refused(failure)),
        }
    }
    tables(connection, &definition.remote, examined).await?;
    session.close().await;
    Ok(())
}

/// Why the server cannot plan the queries of those tables that it cannot, and what of the others flaps.
async fn tables(
    connection: &mut Connection,
    remote: &Remote,
    examined: &mut Examined,
) -> Result<(), Error> {
    let failed = |failure: Failure| planning(&failure, &remote.place());
    for table in &remote.tables {
        let of_table = format!("table `{}`", table.name);
        match connection.prepare(&table.sql).await {
            Ok(prepared) => {
                connection.forget(prepared.statement).await.map_err(failed)?;
                examined.flaps(&of_table, &volatile::called(&table.sql));
            }
            Err(failure @ Failure::Said(_)) => {
                let error = planning(&failure, &of_table);
                examined.problems.push(remote.unsaid(error).to_string());
            }
            Err(failure) => return Err(failed(failure)),
        }
    }
    Ok(())
}

fn version(said: &str) -> String {
    let number = said.split('-').next().unwrap_or_default();
    match said.to_ascii_lowercase().contains("mariadb") {
        true => format!("MariaDB {number}"),
        false => format!("MySQL {number}"),
    }
}

/// What grants let do, each once and sorted; and whether there are roles, of which they do not say it.
fn verbs<'g>(grants: impl Iterator<Item = &'g str>) -> (Vec<String>, bool) {
    let (mut verbs, mut has_roles) = (Vec::new(), false);
    for grant in grants {
        let Some(granted) = grant.strip_prefix("GRANT ") else { continue };
        let plain = without_columns(granted);
        match plain.split_once(" ON ") {
            None => has_roles = true,
            Some((said, of)) => {
                verbs.extend(said.split(',').map(|verb| verb.trim().to_owned()));
                verbs.extend(of.contains(" GRANT OPTION").then(|| "GRANT OPTION".to_owned()));
            }
        }
    }
    verbs.retain(|verb| !verb.is_empty());
    verbs.sort();
    verbs.dedup();
    (verbs, has_roles)
}

/// Without what stands in parentheses or in quotes: names of others.
fn without_columns(grant: &str) -> String {
    let (mut depth, mut quote, mut out) = (0_u32, None, String::new());
    for letter in grant.chars() {
        match (quote, letter) {
            (Some(open), _) => quote = (letter != open).then_some(open),
            (None, '`' | '\'') => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, letter) if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    out
}

fn few(verbs: &[String]) -> String {
    let named = verbs.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match verbs.len().checked_sub(NAMED) {
        None | Some(0) if verbs.is_empty() => "do nothing by itself".to_owned(),
        None | Some(0) => named,
        Some(more) => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_told_by_their_verbs_and_by_no_name_of_others() {
        let said = |grants: &[&str]| {
            let (verbs, has_roles) = verbs(grants.iter().copied());
            (verbs.join("|"), has_roles)
        };
        let grants = [
            "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD 'canary'",
            "GRANT SELECT (`a ON b`, `c`), INSERT ON `canary`.`t` TO `app`@`%`",
            "GRANT SELECT ON `it's`.* TO `app`@`%`",
        ];
        assert_eq!(said(&grants), ("INSERT|SELECT|USAGE".to_owned(), false));
        assert_eq!(said(&["GRANT `canary` TO `app`@`%`"]), (String::new(), true));
        assert_eq!(said(&["SET DEFAULT ROLE `canary` FOR `app`@`%`"]), (String::new(), false));
        let all = ["GRANT ALL PRIVILEGES ON *.* TO `app`@`%` WITH GRANT OPTION"];
        assert_eq!(said(&all).0, "ALL PRIVILEGES|GRANT OPTION");
        let named = ["GRANT SELECT ON `with GRANT OPTION`.* TO `app`@`%`"];
        assert_eq!(said(&named).0, "SELECT");
        let many: Vec<String> = (0..9).map(|n| format!("V{n}")).collect();
        assert_eq!(few(&many), "V0, V1, V2, V3, V4, V5 and 3 more");
        assert_eq!(version("10.11.19-MariaDB-0+deb12u1"), "MariaDB 10.11.19");
        assert_eq!(version("8.0.36"), "MySQL 8.0.36");
    }
}
