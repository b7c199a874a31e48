//! Random values of types beside those of `values`, held against what the server casts them to.

use serde_json::Value;

use super::values::read;
use crate::servers::mysql::MySql;
use crate::servers::{Database as _, Server as _};

/// Types, each with an expression of `seq` that gives values of it, and the server's own text of a column `x`. Text in JSON, or
/// what is written there as it is.
const TYPES: &[(&str, &str, &str)] = &[
    ("TINYINT", "floor(rand(seq) * 256) - 128", "CAST(x AS CHAR)"),
    ("TINYINT UNSIGNED", "floor(rand(seq) * 256)", "CAST(x AS CHAR)"),
    ("SMALLINT", "floor(rand(seq) * 65536) - 32768", "CAST(x AS CHAR)"),
    ("SMALLINT UNSIGNED ZEROFILL", "floor(rand(seq) * 65536)", "CAST(x + 0 AS CHAR)"),
    ("MEDIUMINT", "floor(rand(seq) * 16777216) - 8388608", "CAST(x AS CHAR)"),
    ("MEDIUMINT UNSIGNED", "floor(rand(seq) * 16777216)", "CAST(x AS CHAR)"),
    ("INT UNSIGNED", "floor(rand(seq) * 4294967296)", "CAST(x AS CHAR)"),
    ("BIGINT", "floor((rand(seq) - 0.5) * 1.8e19)", "CAST(x AS CHAR)"),
    ("BIGINT UNSIGNED", "18446744073709551615 - seq", "CAST(x AS CHAR)"),
    ("BOOLEAN", "seq % 2", "CAST(x AS CHAR)"),
    ("DECIMAL(20,6) UNSIGNED", "rand(seq) * pow(10, seq % 14)", "CAST(x AS CHAR)"),
    ("DECIMAL(65,0)", "(rand(seq) - 0.5) * pow(10, seq % 60)", "CAST(x AS CHAR)"),
    ("DECIMAL(30,30)", "rand(seq) / pow(10, seq % 20)", "CAST(x AS CHAR)"),
    ("YEAR", "1901 + seq % 255", "CAST(x + 0 AS CHAR)"),
    ("CHAR(5)", "left(md5(seq), seq % 6)", "CAST(x AS CHAR)"),
    ("NCHAR(5)", "left(md5(seq), seq % 6)", "CAST(x AS CHAR)"),
    ("VARCHAR(99) CHARACTER SET latin1", "char(seq % 128 + 0x60)", "CAST(x AS CHAR)"),
    ("VARCHAR(99) CHARACTER SET utf16", "char(seq + 19968 USING ucs2)", "CAST(x AS CHAR)"),
    ("TINYTEXT", "concat(md5(seq), '\t\"\\\\')", "CAST(x AS CHAR)"),
    ("TEXT", "repeat(md5(seq), seq % 50)", "CAST(x AS CHAR)"),
    ("MEDIUMTEXT", "repeat(md5(seq), seq % 90)", "CAST(x AS CHAR)"),
    ("LONGTEXT", "repeat(md5(seq), 300)", "CAST(x AS CHAR)"),
    ("ENUM('a', 'b ''c', 'é')", "seq % 3 + 1", "CAST(x AS CHAR)"),
    ("SET('a', 'b', 'é')", "seq % 8", "CAST(x AS CHAR)"),
    ("BINARY(20)", "unhex(left(sha1(seq), 2 * (seq % 20)))", "REPLACE(TO_BASE64(x), '\n', '')"),
    ("TINYBLOB", "unhex(left(sha1(seq), 2 * (seq % 20)))", "REPLACE(TO_BASE64(x), '\n', '')"),
    ("BLOB", "unhex(repeat(sha1(seq), seq % 20))", "REPLACE(TO_BASE64(x), '\n', '')"),
    ("MEDIUMBLOB", "unhex(repeat(sha1(seq), seq % 30))", "REPLACE(TO_BASE64(x), '\n', '')"),
    ("LONGBLOB", "unhex(repeat(sha1(seq), seq % 40))", "REPLACE(TO_BASE64(x), '\n', '')"),
    ("BIT(64)", "18446744073709551615 - seq * 7919", "CAST(x + 0 AS CHAR)"),
    ("BIT(3)", "seq % 8", "CAST(x + 0 AS CHAR)"),
    ("JSON", "json_object(md5(seq), rand(seq), 'a', json_array(seq, NULL))", "CAST(x AS CHAR)"),
    ("UUID", "insert(insert(md5(seq), 13, 1, '4'), 17, 1, 'a')", "CAST(x AS CHAR)"),
    ("INET4", "inet_ntoa(floor(rand(seq) * 4294967296))", "CAST(x AS CHAR)"),
    ("INET6", "inet6_ntoa(unhex(md5(seq)))", "CAST(x AS CHAR)"),
    (
        "DATETIME(3)",
        "'1000-01-01' + INTERVAL floor(rand(seq) * 283000000000000) * 1000 MICROSECOND",
        "CAST(x AS CHAR)",
    ),
    (
        "DATETIME",
        "'1000-01-01' + INTERVAL floor(rand(seq) * 283000000000) SECOND",
        "CAST(x AS CHAR)",
    ),
    (
        "TIMESTAMP(6) NULL",
        "'1971-01-01' + INTERVAL floor(rand(seq) * 2000000000000000) MICROSECOND",
        "CAST(x AS CHAR)",
    ),
    ("TIME", "sec_to_time((rand(seq) - 0.5) * 6000000)", "CAST(x AS CHAR)"),
    ("TIME(6)", "sec_to_time((rand(seq) - 0.5) * 6000000)", "CAST(x AS CHAR)"),
];

pub fn others(server: &MySql) {
    let database = server.new_database("SELECT 1");
    let (mut columns, mut values, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    let types: Vec<_> = TYPES.iter().filter(|(kind, ..)| server.knows(kind)).collect();
    for (at, (kind, value, text)) in types.iter().enumerate() {
        columns.push(format!("c{at} {kind}"));
        values.push((*value).to_owned());
        asked.push(format!("c{at}, {} AS s{at}", text.replace("(x", &format!("(c{at}"))));
    }
    database.ask(&format!("CREATE TABLE r (id INT PRIMARY KEY, {})", columns.join(", ")));
    let series = (server.words().series)(1, 500);
    database.ask(&format!(
        "SET time_zone = '+00:00'; INSERT INTO r SELECT seq, {} FROM (SELECT g AS seq FROM {series}) AS s",
        values.join(", ")
    ));
    let sql = format!("SELECT id, {} FROM r", asked.join(", "));
    let rows = read(&database, &sql).expect("all of them can be read");
    assert_eq!(rows.len(), 500);
    for row in &rows {
        for ((kind, ..), said) in types.iter().zip(row[1..].chunks(2)) {
            assert_eq!(bare(&said[0], kind), bare(&said[1], kind), "{kind}");
        }
    }
}

/// Of times without the zeros behind the last digit, and the signs between.
fn bare(said: &str, kind: &str) -> String {
    let text = match serde_json::from_str(said) {
        Ok(Value::String(text)) => text,
        _ => said.to_owned(),
    };
    if !kind.starts_with("DATETIME") && !kind.starts_with("TIME") {
        return text;
    }
    let text = text.trim_end_matches('Z').replace('T', " ");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
