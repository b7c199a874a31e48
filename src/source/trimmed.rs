//! The SQL of a database without what may stand behind a statement: semicolons, comments and white space.
//!
//! Not responsible for what the SQL says: the server alone knows its own. Whoever takes something away here that belongs to a
//! statement, or leaves something that does not, gets an error of syntax from the server.

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    MySql,
}

pub(super) fn trimmed(sql: &str, dialect: Dialect) -> &str {
    let token = match dialect {
        Dialect::Postgres => token,
        Dialect::MySql => token_of_mysql,
    };
    let (mut at, mut end) = (0, 0);
    while at < sql.len() {
        let (length, is_of_it) = token(&sql[at..]);
        at += length;
        if is_of_it {
            end = at;
        }
    }
    &sql[..end]
}

/// The tokens of SQL of PostgreSQL, with what stands between them.
pub(super) fn tokens(mut sql: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (length, _) = (!sql.is_empty()).then(|| token(sql))?;
        let (token, rest) = sql.split_at(length);
        sql = rest;
        Some(token)
    })
}

/// How long the first token is of SQL that is not empty, and whether it belongs to a statement.
fn token(sql: &str) -> (usize, bool) {
    let first = sql.chars().next().expect("it is not empty");
    let until = |closing: &str, from: usize| {
        sql[from..].find(closing).map_or(sql.len(), |at| from + at + closing.len())
    };
    match first {
        ';' => (1, false),
        _ if first.is_whitespace() => (first.len_utf8(), false),
        '-' if sql.starts_with("--") => {
            // A carriage return ends it too, and what follows is SQL again.
            (sql.find(['\n', '\r']).map_or(sql.len(), |at| at + 1), false)
        }
        '/' if sql.starts_with("/*") => (comment(sql), false),
        '"' => (until("\"", 1), true),
        '\'' => (until("'", 1), true),
        '$' => {
            let is_of_tag = |c: char| c.is_alphanumeric() || c == '_';
            let tag = 1 + sql[1..].find(|c| !is_of_tag(c)).unwrap_or(sql.len() - 1);
            let is_tag =
                sql[tag..].starts_with('$') && !sql[1..].starts_with(|c: char| c.is_ascii_digit());
            match is_tag {
                true => (until(&sql[..=tag], tag + 1), true),
                false => (1, true),
            }
        }
        _ if first.is_alphanumeric() || first == '_' => {
            let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let length = sql.find(|c| !is_of_word(c)).unwrap_or(sql.len());
            match sql[..length].eq_ignore_ascii_case("e") && sql[length..].starts_with('\'') {
                true => (escaped(sql, length + 1, '\''), true),
                false => (length, true),
            }
        }
        _ => (first.len_utf8(), true),
    }
}

/// Where a comment ends, which may hold others.
fn comment(sql: &str) -> usize {
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < sql.len() {
        let rest = &sql.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
    }
    at
}

/// Where text ends in which a backslash escapes the next letter.
fn escaped(sql: &str, from: usize, quote: char) -> usize {
    let mut letters = sql[from..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            letter if letter == quote => return from + at + 1,
            _ => {}
        }
    }
    sql.len()
}

/// As [`token`]. Comments that begin with `!` or `M!` are SQL, and those with `+` are hints.
fn token_of_mysql(sql: &str) -> (usize, bool) {
    let first = sql.chars().next().expect("it is not empty");
    let until = |closing: &str, from: usize| {
        sql[from..].find(closing).map_or(sql.len(), |at| from + at + closing.len())
    };
    let is_comment = |sql: &str| {
        let rest = sql.strip_prefix("--");
        rest.is_some_and(|rest| !rest.starts_with(|c: char| !c.is_whitespace() && !c.is_control()))
    };
    match first {
        ';' => (1, false),
        _ if first.is_whitespace() => (first.len_utf8(), false),
        '#' => (until("\n", 1), false),
        '-' if is_comment(sql) => (until("\n", 2), false),
        '/' if sql.starts_with("/*") => {
            let is_of_it = ["!", "M!", "+"].iter().any(|sign| sql[2..].starts_with(sign));
            (until("*/", 2), is_of_it)
        }
        '`' => (until("`", 1), true),
        '"' | '\'' => (escaped(sql, 1, first), true),
        _ if first.is_alphanumeric() || first == '_' || first == '$' => {
            let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            (sql.find(|c| !is_of_word(c)).unwrap_or(sql.len()), true)
        }
        _ => (first.len_utf8(), true),
    }
}

/// What of a query of MySQL's asks for locks that a transaction which only reads may have.
pub(super) fn locking(sql: &str) -> Option<&'static str> {
    let mut words = Vec::new();
    words_of_mysql(sql, &mut words);
    ["LOCK IN SHARE MODE", "FOR SHARE", "SKIP LOCKED"].into_iter().find(|sought| {
        let sought: Vec<&str> = sought.split(' ').collect();
        words.windows(sought.len()).any(|found| found == sought)
    })
}

/// The words of a query, in capitals, those among them that only this server reads.
pub(super) fn words_of_mysql(mut sql: &str, words: &mut Vec<String>) {
    while !sql.is_empty() {
        let (length, is_of_it) = token_of_mysql(sql);
        let (token, rest) = sql.split_at(length);
        sql = rest;
        if let Some(inner) = token.strip_prefix("/*").filter(|_| is_of_it) {
            let inner = inner.trim_start_matches(['!', 'M', '+']);
            let inner = inner.trim_start_matches(|c: char| c.is_ascii_digit());
            words_of_mysql(inner.strip_suffix("*/").unwrap_or(inner), words);
        } else if is_of_it {
            words.push(token.to_uppercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_found_wherever_the_server_reads_them() {
        for (sql, found) in [
            ("SELECT 1 FROM t lock  in\nshare mode", Some("LOCK IN SHARE MODE")),
            ("SELECT 1 FROM (SELECT id FROM t FOR /* x */ SHARE) a", Some("FOR SHARE")),
            ("SELECT 1 FROM t /*!80001 FOR UPDATE SKIP LOCKED */", Some("SKIP LOCKED")),
            ("SELECT 1 FROM t /*M!100600 SKIP LOCKED*/", Some("SKIP LOCKED")),
            ("SELECT 'FOR SHARE', `SKIP` locked FROM t -- FOR SHARE", None),
            ("SELECT share, mode FROM t /* LOCK IN SHARE MODE */", None),
        ] {
            assert_eq!(locking(sql), found, "{sql}");
        }
    }

    #[test]
    fn what_stands_behind_a_statement_is_cut_off_and_nothing_else() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1; \n", "SELECT 1"),
            ("SELECT 1 -- one;\n;; /* a /* b */ ; */", "SELECT 1"),
            ("SELECT 1 -- one\rUNION SELECT 2;\r", "SELECT 1 -- one\rUNION SELECT 2"),
            ("SELECT ';--'", "SELECT ';--'"),
            ("SELECT 'it''s;';", "SELECT 'it''s;'"),
            (r"SELECT E'\';' ;", r"SELECT E'\';'"),
            (r"SELECT '\';", r"SELECT '\'"),
            ("SELECT $a$;$$;--$a$;", "SELECT $a$;$$;--$a$"),
            ("SELECT $$;--$$;", "SELECT $$;--$$"),
            ("SELECT a$b$ FROM c; --$b$", "SELECT a$b$ FROM c"),
            ("SELECT $1;", "SELECT $1"),
            ("SELECT \";\"\"--\" ;", "SELECT \";\"\"--\""),
            ("SELECT 1 - -1;", "SELECT 1 - -1"),
            ("/* only */ -- this", ""),
            ("SELECT 'ä;", "SELECT 'ä;"),
            ("SELECT /* open ;", "SELECT"),
        ] {
            assert_eq!(trimmed(sql, Dialect::Postgres), expected, "{sql}");
        }
    }

    #[test]
    fn mysql_has_comments_and_quotes_of_its_own() {
        for (sql, expected) in [
            ("SELECT 1; # one;", "SELECT 1"),
            ("SELECT 1 -- one\n; -- two", "SELECT 1"),
            ("SELECT 1 --2;", "SELECT 1 --2"),
            ("SELECT 1 --", "SELECT 1"),
            ("SELECT /* a /* b */ 1 /* open ;", "SELECT /* a /* b */ 1"),
            ("SELECT 1 /*! , 2 */;", "SELECT 1 /*! , 2 */"),
            ("SELECT 1 /*M! , 2 */;", "SELECT 1 /*M! , 2 */"),
            (r"SELECT '\';' ;", r"SELECT '\';'"),
            (r#"SELECT "\";--" ;"#, r#"SELECT "\";--""#),
            ("SELECT `;#` ;", "SELECT `;#`"),
            ("SELECT 'it''s;';", "SELECT 'it''s;'"),
            ("# only this", ""),
        ] {
            assert_eq!(trimmed(sql, Dialect::MySql), expected, "{sql}");
        }
    }
}
