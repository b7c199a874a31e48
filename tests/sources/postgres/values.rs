//! Values: what the server holds is what is said of it in JSON.

use counterflow::source::Error;
use counterflow::source::definition::Access;
use counterflow::source::postgres::definition::Definition;

use crate::reading::{read_from, remote};
use crate::servers::postgres::{Database, Postgres};

pub fn read(database: &Database<'_>, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    read_with(database, sql, |_| ())
}

fn read_with(
    database: &Database<'_>,
    sql: &str,
    change: impl FnOnce(&mut Definition),
) -> Result<Vec<Vec<String>>, Error> {
    let mut definition = Definition {
        remote: remote(database.server.port, &database.name, "postgres"),
        applies_row_security: false,
        role: None,
        is_infinity_null: false,
    };
    change(&mut definition);
    read_from(Access::Postgres(Box::new(definition)), sql)
}

/// The version from which on a server knows what this SQL makes.
pub fn since(sql: &str) -> u32 {
    match sql {
        _ if sql.contains("numeric(3,") => 15,
        _ if sql.contains("xid8") => 13,
        _ => 12,
    }
}

/// What the values of [`TYPES`] are made with.
pub const DECLARED: &str =
    "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN cents AS numeric(12,3);
     CREATE DOMAIN feeling AS mood; CREATE TYPE pair AS (a int, b text)";

/// Values of every type as SQL, and what is said of them.
pub const TYPES: &[(&str, &str)] = &[
    ("true", "true"),
    ("(-32768)::int2", "-32768"),
    ("2147483647::int4", "2147483647"),
    ("(-9223372036854775808)::int8", "-9223372036854775808"),
    ("4294967295::oid", "4294967295"),
    ("'18446744073709551615'::xid8", "18446744073709551615"),
    ("0.1::float4", "0.1"),
    ("1e300::float8", "1e+300"),
    ("1.50::numeric(12,2)", "1.50"),
    ("-0.005::cents", "-0.005"),
    (
        "12345678901234567890123456789012345678.5::numeric(40,1)",
        "12345678901234567890123456789012345678.5",
    ),
    ("1234::numeric(3,-2)", "1200"),
    ("0.00012::numeric(3,5)", "0.00012"),
    ("'2.5'::money", "2.5"),
    ("'ä ''\"\\'", r#""ä '\"\\""#),
    ("'a'::varchar(5)", r#""a""#),
    ("'a'::char(3)", r#""a  ""#),
    ("'n'::name", r#""n""#),
    ("'x'::\"char\"", r#""x""#),
    ("''::\"char\"", r#""""#),
    ("'<a/>'::xml", r#""<a/>""#),
    ("'ok'::mood", r#""ok""#),
    ("'sad'::feeling", r#""sad""#),
    ("'\\x00ff'::bytea", r#""AP8=""#),
    ("'{\"a\": 1}'::json", r#""{\"a\": 1}""#),
    ("'{\"b\":1,\"a\":[]}'::jsonb", r#""{\"a\": [], \"b\": 1}""#),
    ("'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("'2024-02-29'::date", r#""2024-02-29""#),
    ("'0001-01-01'::date", r#""0001-01-01""#),
    ("'23:59:59.999999'::time", r#""23:59:59.999999""#),
    ("'12:30:00.5+05:30'::timetz", r#""12:30:00.5+05:30""#),
    ("'12:30:00-03'::timetz", r#""12:30:00-03:00""#),
    ("'1969-12-31 23:59:59.5'::timestamp", r#""1969-12-31T23:59:59.500""#),
    ("'2024-06-01 12:00:00+02'::timestamptz", r#""2024-06-01T10:00:00Z""#),
    ("'1 year 2 mons 3 days 04:05:06.5'::interval", r#""P14M3DT14706.5S""#),
    ("'10.1.2.3'::inet", r#""10.1.2.3""#),
    ("'10.1.2.3/8'::inet", r#""10.1.2.3/8""#),
    ("'::1'::inet", r#""::1""#),
    ("'10.0.0.0/8'::cidr", r#""10.0.0.0/8""#),
    ("'08:00:2b:01:02:03'::macaddr", r#""08:00:2b:01:02:03""#),
    ("B'10110'", r#""10110""#),
    ("B'101'::bit varying", r#""101""#),
    ("'(1,2)'::point", r#""(1,2)""#),
    ("'[1,5)'::int4range", r#""[1,5)""#),
    ("array[1, NULL, 2]", "[1,null,2]"),
    ("'{}'::text[]", "[]"),
    ("'[0:1]={a,b}'::text[]", r#"["a","b"]"#),
    ("array[1.5, 2]::numeric(5,2)[]", "[1.50,2.00]"),
    ("array['2024-02-29'::date]", r#"["2024-02-29"]"#),
    ("array['(1,2)'::point]", r#""{\"(1,2)\"}""#),
    ("row(1, 'x')::pair", r#""(1,x)""#),
    ("to_tsvector('simple', 'a b')", r#""'a':1 'b':2""#),
    ("'pg_class'::regclass", r#""pg_class""#),
    ("NULL", "null"),
];

pub fn numbers(server: &Postgres) {
    let database = server.new_database("SELECT 1");
    let sql = "WITH n AS (SELECT setseed(0.25)), t AS (
            SELECT g, ((random() - 0.5) * power(10, (g % 40) - 20))::numeric AS x FROM n, generate_series(1, 3000) g)
        SELECT g AS id, x, x::text AS said, round(x, 6)::numeric(38,6) AS y, round(x, 6)::numeric(38,6)::text AS too,
            x::float8 AS f, to_json(x::float8)::text AS floated FROM t";
    let bare = |said: &str| {
        let said = said.trim_matches('"');
        match said.contains('.') {
            true => said.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => said.to_owned(),
        }
    };
    let rows = read(&database, sql).expect("they fit");
    assert_eq!(rows.len(), 3_000);
    for row in rows {
        assert_eq!(bare(&row[1]), bare(&row[2]));
        assert_eq!(row[3], row[4].trim_matches('"'));
        let number = |said: &str| said.trim_matches('"').parse::<f64>().expect("a number");
        assert!(number(&row[5]).to_bits() == number(&row[6]).to_bits(), "{row:?}");
    }
}

pub fn misfits(server: &Postgres) {
    let database = server.new_database("SELECT 1");
    for (sql, words) in [
        ("'infinity'::date", ["`infinity`", "`infinity: as_null`"]),
        ("'-infinity'::timestamptz", ["`infinity`", "nullif"]),
        ("'NaN'::numeric", ["`NaN`", "nullif(x, 'NaN')"]),
        ("'Infinity'::numeric", ["`Infinity`", "nullif(x, 'Infinity')"]),
        ("1e60::numeric", ["more than 38 digits", "x::text"]),
        ("1e-60::numeric", ["more than 38 digits", "x::text"]),
        ("array[[1], [2]]", ["several dimensions", "to_jsonb(x)"]),
        ("'294276-01-01'::timestamp", ["too far away", "x::text"]),
    ] {
        if sql == "'Infinity'::numeric" && server.version < 14 {
            continue;
        }
        let error = read(&database, &format!("SELECT 1 AS id, {sql} AS x")).expect_err(sql);
        assert!(matches!(error, Error::Misfit(_)), "{sql}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("column `x` of model `m`"), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{sql}: {said}"));
    }
    let sql =
        "SELECT 1 AS id, 'infinity'::date AS x, array['-infinity', '2024-02-29']::date[] AS y";
    let rows = read_with(&database, sql, |it| it.is_infinity_null = true).expect("they are NULL");
    assert_eq!(rows, [["1", "null", r#"[null,"2024-02-29"]"#]]);
    // Far away, and kept.
    let rows = read(&database, "SELECT 1 AS id, '24:00'::time AS x").expect("it is read");
    assert!(rows[0][1].contains("-9999 to 9999"), "{rows:?}");
}
