//! What a query calls that can give another answer though no row changed, by the names that the SQL has for it.
//!
//! Not seen is what views and functions of the server call inside: no answer of it tells what stands behind them.

use std::collections::BTreeSet;

use crate::source::trimmed::words_of_mysql;

/// Clocks that need no parentheses, and are names of nothing else without quotes.
const CLOCKS: [&str; 8] = [
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
];

const FUNCTIONS: [&str; 16] = [
    "CONNECTION_ID",
    "CURDATE",
    "CURTIME",
    "FOUND_ROWS",
    "LAST_INSERT_ID",
    "NOW",
    "RAND",
    "RANDOM_BYTES",
    "ROW_COUNT",
    "SLEEP",
    "SYSDATE",
    "SYS_GUID",
    "UUID",
    "UUID_SHORT",
    "UUID_V4",
    "UUID_V7",
];

/// Those of the query, in small letters. Sorted, each once.
pub fn called(sql: &str) -> Vec<String> {
    let mut words = Vec::new();
    words_of_mysql(sql, &mut words);
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let is_called = |at: usize| {
        let name = word(at);
        // What stands behind a point is a column, or a function of the server's people.
        let is_of_another = at > 0 && word(at - 1) == ".";
        let begins = word(at + 1) == "(";
        // Of a time it is given this one is no clock.
        let is_clock = name == "UNIX_TIMESTAMP" && begins && word(at + 2) == ")";
        !is_of_another
            && (CLOCKS.contains(&name) || begins && FUNCTIONS.contains(&name) || is_clock)
    };
    let found = (0..words.len()).filter(|at| is_called(*at));
    found.map(|at| word(at).to_lowercase()).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_wherever_the_server_reads_them_and_nowhere_else() {
        for (sql, expected) in [
            (
                "SELECT id, now(6) AS n, Rand ( ) FROM t WHERE x < UUID()",
                &["now", "rand", "uuid"][..],
            ),
            ("SELECT current_timestamp, UTC_DATE() FROM t", &["current_timestamp", "utc_date"]),
            ("SELECT unix_timestamp()", &["unix_timestamp"]),
            ("SELECT unix_timestamp(changed) FROM t", &[]),
            ("SELECT 1 /*! , sleep(1) */ /* , rand() */ -- now()\n # uuid()", &["sleep"]),
            ("SELECT 'now()', \"rand()\", `uuid`, t.utc_date, now, shop.rand(1) FROM t", &[]),
            ("SELECT upper(name), snow(1), row_number() OVER () FROM t", &[]),
        ] {
            assert_eq!(called(sql), expected, "{sql}");
        }
    }
}
