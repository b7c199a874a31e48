//! Values: what the server holds is what is said of it in JSON.

use counterflow::source::Error;
use counterflow::source::definition::Access;
use counterflow::source::mysql::definition::Definition;

use crate::reading::{read_from, remote};
use crate::servers::mysql::{Database, MySql};
use crate::servers::{Database as _, Server as _};

pub fn read(database: &Database<'_>, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    read_with(database, sql, |_| ())
}

pub fn read_with(
    database: &Database<'_>,
    sql: &str,
    change: impl FnOnce(&mut Definition),
) -> Result<Vec<Vec<String>>, Error> {
    let mut definition = Definition {
        remote: remote(database.server.port, &database.name, "app"),
        server_key: None,
        is_zero_date_null: false,
        is_tinyint1_boolean: false,
    };
    change(&mut definition);
    read_from(Access::MySql(Box::new(definition)), sql)
}

/// Types, each with values as SQL and what is said of them; all of them may be NULL.
pub const TYPES: &[(&str, &str, &str)] = &[
    ("TINYINT", "-128", "-128"),
    ("TINYINT UNSIGNED", "255", "255"),
    ("TINYINT(1)", "1", "1"),
    ("SMALLINT", "-32768", "-32768"),
    ("SMALLINT UNSIGNED", "65535", "65535"),
    ("MEDIUMINT", "-8388608", "-8388608"),
    ("MEDIUMINT UNSIGNED", "16777215", "16777215"),
    ("INT", "-2147483648", "-2147483648"),
    ("INT UNSIGNED ZEROFILL", "4294967295", "4294967295"),
    ("BIGINT", "-9223372036854775808", "-9223372036854775808"),
    ("BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"),
    ("FLOAT", "0.1", "0.1"),
    ("DOUBLE", "1e300", "1e+300"),
    ("DOUBLE", "-0.1", "-0.1"),
    ("DECIMAL(12,2)", "-1.5", "-1.50"),
    ("DECIMAL(12,2) UNSIGNED", "9999999999.99", "9999999999.99"),
    ("DECIMAL(5,5)", "0.00012", "0.00012"),
    ("DECIMAL(10,0)", "0", "0"),
    (
        "DECIMAL(38,0)",
        "-99999999999999999999999999999999999999",
        "-99999999999999999999999999999999999999",
    ),
    (
        "DECIMAL(65,30)",
        "12345678901234567890123456789012345.123456789012345678901234567890",
        "12345678901234567890123456789012345.123456789012345678901234567890",
    ),
    ("BIT(1)", "b'1'", "true"),
    ("BIT(10)", "b'1000000001'", "513"),
    ("BIT(64)", "18446744073709551615", "18446744073709551615"),
    ("YEAR", "2024", "2024"),
    ("YEAR", "0", "0"),
    ("DATE", "'2024-02-29'", r#""2024-02-29""#),
    ("DATE", "'9999-12-31'", r#""9999-12-31""#),
    ("DATETIME", "'1969-12-31 23:59:59'", r#""1969-12-31T23:59:59""#),
    ("DATETIME(6)", "'2024-06-01 12:00:00.000001'", r#""2024-06-01T12:00:00.000001""#),
    ("DATETIME(1)", "'1000-01-01 00:00:00.5'", r#""1000-01-01T00:00:00.500""#),
    ("TIMESTAMP NULL", "'2024-06-01 12:00:00'", r#""2024-06-01T12:00:00Z""#),
    ("TIMESTAMP(3) NULL", "'2024-06-01 12:00:00.125'", r#""2024-06-01T12:00:00.125Z""#),
    ("TIME", "'-838:59:59'", r#""-838:59:59""#),
    ("TIME(2)", "'01:02:03.5'", r#""01:02:03.50""#),
    ("TIME", "'00:00:00'", r#""00:00:00""#),
    ("CHAR(3)", "'a'", r#""a""#),
    ("VARCHAR(20)", r#"'ä ''"\\'"#, r#""ä '\"\\""#),
    ("VARCHAR(9)", "''", r#""""#),
    ("VARCHAR(9) CHARACTER SET latin1", "'é'", r#""é""#),
    ("LONGTEXT", "'😀'", r#""😀""#),
    ("TEXT CHARACTER SET utf8mb3", "'ü'", r#""ü""#),
    ("ENUM('sad', 'ok')", "'ok'", r#""ok""#),
    ("SET('a', 'b', 'c')", "'c,a'", r#""a,c""#),
    ("BINARY(3)", "'a'", r#""YQAA""#),
    ("VARBINARY(3)", "X'00ff'", r#""AP8=""#),
    ("LONGBLOB", "X'00ff'", r#""AP8=""#),
    ("VARCHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'B'", r#""B""#),
    ("JSON", r#"'{"a": 1}'"#, r#""{\"a\": 1}""#),
    ("UUID", "'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("INET6", "'::1'", r#""::1""#),
];

/// Expressions, which have columns of their own.
pub fn expressions(server: &MySql) {
    let database = server.new_database(
        "CREATE TABLE t (id INT PRIMARY KEY, c1 TINYINT UNSIGNED, c2 TINYINT(1), c3 SMALLINT, c10 BIGINT UNSIGNED, c14 DECIMAL(12,2),
            c24 DATE);
         INSERT INTO t VALUES (1, 255, 1, -32768, 18446744073709551615, -1.5, '2024-02-29')",
    );
    let sql = "SELECT 1 AS id, NULL AS n, 1 = 1 AS t, sum(c14) AS s, avg(c14) AS a, count(*) AS c, c10 + 1.5 AS d, \
               concat(c3, '') AS x, 18446744073709551615 AS u, c14 / 3 AS q, max(c24) AS m FROM t WHERE id = 1";
    let rows = read(&database, sql).expect("expressions can be read");
    let expected = [
        "1",
        "null",
        "1",
        "-1.50",
        "-1.500000",
        "1",
        "18446744073709551616.5",
        "\"-32768\"",
        "18446744073709551615",
        "-0.500000",
        "0",
    ];
    assert_eq!(rows[0][..7], expected[..7]);
    assert_eq!(rows[0][8..9], expected[8..9]);
    // Some of the columns, in an order of their own.
    let rows = read_with(&database, "SELECT c1, id, c2 FROM t WHERE id = 1", |it| {
        it.is_tinyint1_boolean = true
    });
    assert_eq!(rows.expect("they can be read"), [["255", "1", "true"]]);
}

pub fn random(server: &MySql) {
    let database = server.new_database(
        "CREATE TABLE r (id INT PRIMARY KEY, i INT, u BIGINT UNSIGNED, n DECIMAL(30,10), w DECIMAL(60,20), d DOUBLE,
            f FLOAT, day DATE, at DATETIME(6), zoned TIMESTAMP(3) NULL, t TIME(4), s VARCHAR(40), b VARBINARY(20), m BIT(20))",
    );
    let series = (server.words().series)(1, 1_500);
    database.ask(&format!(
        "SET time_zone = '+00:00'; INSERT INTO r SELECT seq, (rand(seq) - 0.5) * 4e9, rand(seq + 1) * 1e19,
            (rand(seq) - 0.5) * pow(10, seq % 20), (rand(seq + 2) - 0.5) * pow(10, seq % 40), (rand(seq) - 0.5) * pow(10, seq % 200 * 1.0 - 100),
            (rand(seq) - 0.5) * pow(10, seq % 30 * 1.0 - 15),
            '1000-01-01' + INTERVAL floor(rand(seq) * 3287000) DAY,
            '1000-01-01' + INTERVAL floor(rand(seq + 3) * 283000000000000000) MICROSECOND,
            '1971-01-01' + INTERVAL floor(rand(seq + 4) * 2000000000) SECOND,
            sec_to_time((rand(seq) - 0.5) * 6000000), concat(convert(char(seq + 19968 USING ucs2) USING utf8mb4), hex(seq)), unhex(sha1(seq)),
            seq * 7 FROM (SELECT g AS seq FROM {series}) AS s"
    ));
    let sql = "SELECT id, i, CAST(i AS CHAR) AS si, u, CAST(u AS CHAR) AS su, n, CAST(n AS CHAR) AS sn, w, CAST(w AS CHAR) AS sw,
            day, CAST(day AS CHAR) AS sday, at, CAST(at AS CHAR) AS sat, zoned, CAST(zoned AS CHAR) AS sz, t, CAST(t AS CHAR) AS st,
            s, CAST(s AS CHAR) AS ss, b, TO_BASE64(b) AS sb, m, CAST(m + 0 AS CHAR) AS sm, d, CAST(d AS CHAR) AS sd,
            f, CAST(f + 0e0 AS CHAR) AS sf
        FROM r";
    let rows = read(&database, sql).expect("they fit");
    assert_eq!(rows.len(), 1_500);
    // Of times the zeros behind the last digit, and the signs between.
    let bare = |said: &str| {
        let said = said.trim_matches('"').trim_end_matches('Z').replace('T', " ");
        match said.contains('.') && said.contains(':') {
            true => said.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => said,
        }
    };
    for row in rows {
        for (at, pair) in row[1..].chunks(2).enumerate() {
            if at < 11 {
                assert_eq!(bare(&pair[0]), bare(&pair[1]), "column {at} of {row:?}");
                continue;
            }
            let number = |said: &str| said.trim_matches('"').parse::<f64>().expect("a number");
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a FLOAT is what it is compared as"
            )]
            let is_same = match at {
                11 => number(&pair[0]).to_bits() == number(&pair[1]).to_bits(),
                _ => (number(&pair[0]) as f32).to_bits() == (number(&pair[1]) as f32).to_bits(),
            };
            assert!(is_same, "column {at} of {row:?}");
        }
    }
}

pub fn misfits(server: &MySql) {
    let database = server.new_database(
        "SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE z (id INT PRIMARY KEY, day DATE NOT NULL, at DATETIME NOT NULL,
            truth TINYINT(1), note TEXT);
         INSERT INTO z VALUES (1, '2024-01-01', '2024-01-01', 1, 'canary'), (2, '0000-00-00', '2024-01-01', 1, 'canary'),
            (3, '2024-01-01', '2024-00-10', 0, 'canary'), (4, '2024-02-31', '2024-01-01', 2, 'canary')",
    );
    for (sql, words) in [
        (
            "SELECT id, day FROM z WHERE id <> 4",
            ["`day`", "`id` is 2", "a zero date", "`zero_dates: as_null`"],
        ),
        (
            "SELECT note, at, id FROM z",
            ["`at`", "`id` is 3", "NULLIF(at, 0)", "`zero_dates: as_null`"],
        ),
        (
            "SELECT id, day FROM z WHERE id = 4",
            ["`day`", "`id` is 4", "no calendar", "CAST(day AS CHAR)"],
        ),
    ] {
        let error = read(&database, sql).expect_err(sql);
        assert!(matches!(error, Error::Misfit(_)), "{sql}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("of model `m`") && !said.contains("canary"), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{sql}: no {word} in {said}"));
    }
    let truth = |it: &mut Definition| it.is_tinyint1_boolean = true;
    let said =
        read_with(&database, "SELECT id, truth FROM z", truth).expect_err("2 is none").to_string();
    assert!(said.contains("neither 0 nor 1") && said.contains("tinyint1: integer"), "{said}");
    let nulls = |it: &mut Definition| it.is_zero_date_null = true;
    let rows = read_with(&database, "SELECT id, day, at FROM z WHERE id < 4", nulls)
        .expect("they are NULL");
    assert_eq!(rows[1], ["2", "null", r#""2024-01-01T00:00:00""#]);
    assert_eq!(rows[2], ["3", r#""2024-01-01""#, "null"]);
}
