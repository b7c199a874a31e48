//! A table of a database: one query there, under the name by which models that join it read it.

use super::trimmed::{Dialect, trimmed};
use super::{mysql, postgres};

/// One query, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queried {
    pub name: String,
    /// The database's own SQL.
    pub sql: String,
}

impl Queried {
    /// Of a table or view that is there, whose name is written as `TABLE` or `SCHEMA.TABLE` and taken letter by letter; `None`
    /// where that is no such name.
    pub fn of_table(name: &str, written: &str, dialect: Dialect) -> Option<Queried> {
        let identifier = match dialect {
            Dialect::Postgres => postgres::identifier,
            Dialect::MySql => mysql::identifier,
        };
        let is_plain = |letter: char| {
            !letter.is_whitespace() && !letter.is_control() && !"\"'`[](){};,".contains(letter)
        };
        let parts: Vec<&str> = written.split('.').collect();
        let is_name = |part: &&str| !part.is_empty() && part.chars().all(is_plain);
        if parts.len() > 2 || !parts.iter().all(is_name) {
            return None;
        }
        let quoted: Vec<String> = parts.into_iter().map(identifier).collect();
        Some(Queried { name: name.to_owned(), sql: format!("SELECT * FROM {}", quoted.join(".")) })
    }
}

/// What of SQL that a database is to take as it stands is wrong, as far as that is seen from here, and what to do.
pub fn refusal(sql: &str, dialect: Dialect) -> Option<&'static str> {
    if trimmed(sql, dialect).is_empty() {
        return Some("has no SQL; give it one SELECT");
    }
    sql.contains('\0').then_some("has a NUL in its SQL; remove it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_as_its_database_has_it_and_what_is_no_name_is_none() {
        let sql =
            |written: &str, dialect| Queried::of_table("t", written, dialect).map(|it| it.sql);
        let of = |written: &str| sql(written, Dialect::Postgres);
        assert_eq!(of("public.Customers").unwrap(), "SELECT * FROM \"public\".\"Customers\"");
        assert_eq!(of("kunden_ä").unwrap(), "SELECT * FROM \"kunden_ä\"");
        assert_eq!(sql("shop.people", Dialect::MySql).unwrap(), "SELECT * FROM `shop`.`people`");
        for written in ["", ".", "a.", "a.b.c", "a b", "\"a\"", "`a`", "t;", "f(1)", "${T}", "a\0"]
        {
            assert_eq!(of(written), None, "{written:?}");
        }
    }

    #[test]
    fn sql_that_says_nothing_is_refused() {
        for dialect in [Dialect::Postgres, Dialect::MySql] {
            assert!(refusal(" ; -- nothing", dialect).unwrap().contains("has no SQL"));
            assert!(refusal("SELECT '\0'", dialect).unwrap().contains("a NUL"));
            assert_eq!(refusal("SELECT 1;", dialect), None);
        }
    }
}
