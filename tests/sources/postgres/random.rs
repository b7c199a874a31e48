//! Random values of every type that PostgreSQL has of itself, held against what the server prints of each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::values::read;
use crate::servers::Database as _;
use crate::servers::postgres::Postgres;

/// How what is said of a value is held against the server's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// The text itself.
    Text,
    /// Text in JSON is the server's text without quotes.
    Bare,
    /// Of a number the digits, without zeros behind the last.
    Number,
    /// A number of floating point.
    Float,
    /// One of single precision, whose shortest digits are not the same everywhere.
    Single,
    /// A time, with what stands between its parts, and without zeros behind the last digit.
    Time,
    /// Months, days and seconds.
    Interval,
    /// A list, with blanks between its items.
    List,
}
use Same::{Bare, Float, Interval, List, Number, Single, Text, Time};

/// Types, each with an expression of `g` that gives values of it, the server's own text of `x` where that is not `x::text`, and
/// how they are the same.
const TYPES: &[(&str, &str, &str, Same)] = &[
    ("bool", "g % 3 = 0", "", Bare),
    ("int2", "(random() * 65535 - 32768)::int", "", Bare),
    ("int4", "(random() * 4294967295 - 2147483648)::int8", "", Bare),
    ("int8", "((random() - 0.5) * 18446744073709549568)::numeric", "", Bare),
    ("oid", "(random() * 4294967295)::int8", "", Bare),
    ("xid", "((random() * 4294967295)::int8)::text", "", Bare),
    ("cid", "((random() * 4294967295)::int8)::text", "", Bare),
    ("xid8", "trunc(random() * 18446744073709549568)::numeric::text", "", Bare),
    ("float4", "(random() - 0.5) * power(10, g % 60 - 30)", "to_json(x)::text", Single),
    ("float8", "(random() - 0.5) * power(10, g % 600 - 300)", "to_json(x)::text", Float),
    ("numeric", "((random() - 0.5) * power(10, g % 40 - 20))::numeric", "", Number),
    ("numeric(9,4)", "((random() - 0.5) * 100000)::numeric", "", Bare),
    ("numeric(60,20)", "((random() - 0.5) * power(10, g % 40))::numeric", "", Bare),
    ("numeric(5,-3)", "((random() - 0.5) * 100000000)::numeric", "", Bare),
    ("money", "((random() - 0.5) * 1000000)::numeric", "x::numeric::text", Number),
    ("text", "chr(1 + (random() * 55000)::int) || g || E'\\t\"\\\\\\u00e4'", "", Text),
    ("varchar(7)", "md5(g::text)::varchar(7)", "", Text),
    ("bpchar(9)", "left(md5(g::text), g % 9)", "rpad(left(md5(g::text), g % 9), 9)", Text),
    ("name", "md5(g::text) || md5(g::text)", "", Text),
    ("\"char\"", "chr(g % 127 + 1)", "", Text),
    (
        "bytea",
        "substr(decode(md5(g::text), 'hex'), g % 17)",
        "replace(encode(x, 'base64'), E'\\n', '')",
        Text,
    ),
    ("json", "json_build_object(md5(g::text), random(), 'a', ARRAY[g, NULL])::text", "", Text),
    (
        "jsonb",
        "json_build_object(md5(g::text), random()::text, 'a', ARRAY[g, NULL])::text",
        "",
        Text,
    ),
    ("jsonpath", "'$.\"' || md5(g::text) || '\"[*] ? (@ > ' || g || ')'", "", Text),
    ("xml", "'<a b=\"' || g || '\">' || md5(g::text) || '</a>'", "", Text),
    ("uuid", "md5(g::text)", "", Text),
    ("date", "('0001-01-01'::date + (random() * 3652058)::int)::text", "", Text),
    ("time", "(random() * 86399999999) * interval '1 microsecond'", "", Time),
    ("time(2)", "(random() * 86399999999) * interval '1 microsecond'", "", Time),
    (
        "timetz",
        "('00:00'::time + (random() * 86399999999) * interval '1 microsecond')::text || (ARRAY['+00', '-03:30', '+14:00', '-15:59:59', '+05:45:30'])[g % 5 + 1]",
        "CASE WHEN x::text ~ '[+-][0-9][0-9]$' THEN x::text || ':00' ELSE x::text END",
        Time,
    ),
    (
        "timestamp",
        "'0001-01-01'::timestamp + (random() * 3652058) * interval '1 day' + g * interval '1 microsecond'",
        "",
        Time,
    ),
    (
        "timestamptz",
        "'0001-01-01'::timestamptz + (random() * 3652058) * interval '1 day' + g * interval '1 millisecond'",
        "",
        Time,
    ),
    (
        "interval",
        "make_interval(months => (random() * 9999 - 5000)::int, days => (random() * 99 - 50)::int, secs => (random() - 0.5) * 1e9)",
        "concat_ws(' ', extract(year FROM x) * 12 + extract(month FROM x), extract(day FROM x), \
         extract(hour FROM x) * 3600 + extract(minute FROM x) * 60 + extract(second FROM x))",
        Interval,
    ),
    (
        "inet",
        "CASE g % 2 WHEN 0 THEN set_masklen('0.0.0.0'::inet + (random() * 4294967295)::int8, g % 33) \
         ELSE set_masklen('2001:db8::'::inet + (random() * 1e18)::int8 * (g % 3), g % 129) END",
        // As it is printed: the cast to text adds what a whole address has none of.
        "concat(x, '')",
        Text,
    ),
    (
        "cidr",
        "CASE g % 2 WHEN 0 THEN network(set_masklen('0.0.0.0'::inet + (random() * 4294967295)::int8, g % 33)) \
         ELSE network(set_masklen('2001:db8::'::inet + (random() * 1e18)::int8, g % 129)) END",
        "",
        Text,
    ),
    ("macaddr", "left(md5(g::text), 12)", "", Text),
    ("macaddr8", "left(md5(g::text), 16)", "", Text),
    ("bit(11)", "(g * 7)::bit(11)", "", Text),
    ("varbit", "substr((g * 7919)::bit(31)::text, 1, g % 32)", "", Text),
    ("point", "point(random(), random() * 1e10)", "", Text),
    ("line", "'{' || g + 1 || ',' || random() || ',2}'", "", Text),
    ("lseg", "lseg(point(g, random()), point(1, 2))", "", Text),
    ("box", "box(point(g, random()), point(1, 2))", "", Text),
    ("path", "'((0,1),(' || g || ',' || random() || '))'", "", Text),
    ("polygon", "'((0,1),(2,3),(' || g || ',' || random() || '))'", "", Text),
    ("circle", "circle(point(g, random()), random())", "", Text),
    ("int4range", "int4range(-g, g, '[]')", "", Text),
    ("int8range", "int8range(-g, NULL)", "", Text),
    ("numrange", "numrange(-random()::numeric, g, '(]')", "", Text),
    ("tsrange", "tsrange('2020-01-01', '2020-01-01'::timestamp + g * interval '1.5 s')", "", Text),
    (
        "tstzrange",
        "tstzrange('-infinity', '2020-01-01'::timestamptz + g * interval '1.5 s')",
        "",
        Text,
    ),
    ("daterange", "daterange('2020-01-01', '2020-01-01'::date + g)", "", Text),
    ("int4multirange", "int4multirange(int4range(-g, 0), int4range(5, 5 + g))", "", Text),
    ("int8multirange", "int8multirange(int8range(-g, 0))", "", Text),
    ("nummultirange", "nummultirange(numrange(-g, 0.5))", "", Text),
    (
        "tsmultirange",
        "tsmultirange(tsrange('2020-01-01', '2020-01-01'::timestamp + g * interval '1 s'))",
        "",
        Text,
    ),
    (
        "tstzmultirange",
        "tstzmultirange(tstzrange('2020-01-01', '2020-01-01'::timestamptz + g * interval '1 s'))",
        "",
        Text,
    ),
    ("datemultirange", "datemultirange(daterange('2020-01-01', '2020-01-01'::date + g))", "", Text),
    ("tsvector", "to_tsvector('simple', md5(g::text) || ' it''s')", "", Text),
    ("tsquery", "to_tsquery('simple', 'a' || g || ' & !b')", "", Text),
    ("pg_lsn", "to_hex(g) || '/' || to_hex((random() * 2147483647)::int)", "", Text),
    ("pg_snapshot", "g || ':' || g + 3 || ':' || g + 1", "", Text),
    ("txid_snapshot", "g || ':' || g + 3 || ':' || g + 1", "", Text),
    ("tid", "'(' || g || ',' || g % 300 || ')'", "", Text),
    ("regclass", "(ARRAY['pg_class', 'pg_type'])[g % 2 + 1]", "", Text),
    ("regtype", "(ARRAY['int4', 'text', 'timestamptz'])[g % 3 + 1]", "", Text),
    ("regproc", "'now'", "", Text),
    ("regprocedure", "'length(text)'", "", Text),
    ("regoper", "'96'", "", Text),
    ("regoperator", "'+(integer,integer)'", "", Text),
    ("regrole", "'postgres'", "", Text),
    ("regnamespace", "'pg_catalog'", "", Text),
    ("regconfig", "'english'", "", Text),
    ("regdictionary", "'simple'", "", Text),
    ("regcollation", "'\"C\"'", "", Text),
    ("refcursor", "'c' || g", "", Text),
    ("int2vector", "g || ' 2'", "", List),
    ("oidvector", "g || ' 2'", "", List),
    ("aclitem", "makeaclitem(10, 10, 'SELECT', g % 2 = 0)", "", Text),
    ("gtsvector", "NULL", "", Text),
];

/// The version from which on there is a type.
fn since(kind: &str) -> u32 {
    match kind {
        "numeric(5,-3)" => 15,
        _ if kind.contains("multirange") => 14,
        // Lists of them had two dimensions before.
        "int2vector" | "oidvector" => 14,
        "xid8" | "regcollation" | "pg_snapshot" => 13,
        _ => 12,
    }
}

/// Types of the server that hold nothing that a model could have.
const LEFT_OUT: [&str; 6] = [
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
];

pub fn every_type(server: &Postgres) {
    let database = server.new_database("SELECT 1");
    let known = |name: &str| {
        let bare =
            |kind: &str| kind.split('(').next().unwrap_or_default().trim_matches('"').to_owned();
        LEFT_OUT.contains(&name) || TYPES.iter().any(|(kind, ..)| bare(kind) == name)
    };
    let all = database.ask(
        "SELECT typname FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typnamespace = 'pg_catalog'::regnamespace
         AND (typcategory <> 'A' OR typname IN ('int2vector', 'oidvector'))",
    );
    let missing: Vec<&str> = all.lines().filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "types of the server that are not held against it: {missing:?}");
    let types = || TYPES.iter().filter(|(kind, ..)| since(kind) <= server.version);
    let (mut inner, mut outer) = (Vec::new(), Vec::new());
    for (at, (kind, expression, text, _)) in types().enumerate() {
        inner.push(format!("({expression})::{kind} AS x{at}"));
        let text = if text.is_empty() { "x::text" } else { *text };
        let text = text.replace("(x", &format!("(x{at}")).replace("x::", &format!("x{at}::"));
        let text = text.replace("FROM x)", &format!("FROM x{at})"));
        let list = format!("ARRAY[x{at}, NULL, x{at}]");
        outer.push(format!("x{at}, {text} AS s{at}, {list} AS l{at}, ({list})::text AS t{at}"));
    }
    let sql = format!(
        "WITH seeded AS MATERIALIZED (SELECT setseed(0.25))
         SELECT g AS id, {} FROM (SELECT g, {} FROM seeded, generate_series(1, 300) AS g OFFSET 0) AS drawn",
        outer.join(", "),
        inner.join(", ")
    );
    let rows = read(&database, &sql).expect("all of them can be read");
    assert_eq!(rows.len(), 300);
    let (mut lists, mut others) = (0, BTreeMap::new());
    for row in &rows {
        for ((kind, _, _, same), said) in types().zip(row[1..].chunks(4)) {
            let [value, text, list, list_text] = said else { panic!("four for each") };
            let is_list = list.starts_with('[');
            lists += usize::from(is_list);
            // Items have the digits that they need: a list does not say how many are its column's.
            let item = if kind.starts_with("numeric(") { digits(value) } else { value.clone() };
            let is_list_right = match is_list {
                true => *list == format!("[{item},null,{item}]"),
                false => list == list_text,
            };
            if !is_same(*same, value, text) || !is_list_right {
                others.entry(*kind).or_insert(said);
            }
        }
    }
    assert!(others.is_empty(), "not as the server prints them, nor in lists: {others:#?}");
    assert!(lists > 300 * 30, "{lists}");
}

fn is_same(same: Same, value: &str, text: &str) -> bool {
    if value == "null" || text == "null" {
        return value == text;
    }
    let parsed = |said: &str| match serde_json::from_str(said) {
        Ok(Value::String(text)) => text,
        _ => said.to_owned(),
    };
    let (bare, text) = (parsed(value), parsed(text));
    match same {
        Text => value.starts_with('"') && bare == text,
        Bare => !value.starts_with('"') && bare == text,
        Number => !value.starts_with('"') && digits(&bare) == digits(&text),
        Float => {
            let number = |said: &str| said.parse::<f64>().expect("a number").to_bits();
            !value.starts_with('"') && number(&bare) == number(&text)
        }
        Single => {
            let number = |said: &str| said.parse::<f32>().expect("a number").to_bits();
            !value.starts_with('"') && number(&bare) == number(&text)
        }
        Time => time(&bare) == time(&text),
        List => bare == format!("[{}]", text.replace(' ', ",")),
        Interval => parts(&bare) == text.split(' ').map(digits).collect::<Vec<_>>(),
    }
}

fn digits(said: &str) -> String {
    match said.contains('.') {
        true => said.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => said.to_owned(),
    }
}

/// Without the zeros behind the last digit of a second, and the zone that every time has.
fn time(said: &str) -> String {
    let said = said.replace('T', " ").replace('Z', "+00");
    let zone =
        said.rfind(['+', '-']).filter(|at| said[*at..].contains(':') || said.len() - at == 3);
    let (at, zone) = said.split_at(zone.filter(|at| *at >= 8).unwrap_or(said.len()));
    format!("{}{zone}", digits(at))
}

/// Months, days and seconds of `P1M2DT3S`, in which what is none may be missing.
fn parts(said: &str) -> Vec<String> {
    let (mut number, mut parts) = (String::new(), vec!["0".to_owned(); 3]);
    for letter in said.chars() {
        match letter {
            'M' => parts[0] = digits(&std::mem::take(&mut number)),
            'D' => parts[1] = digits(&std::mem::take(&mut number)),
            'S' => parts[2] = digits(&std::mem::take(&mut number)),
            'P' | 'T' => {}
            letter => number.push(letter),
        }
    }
    parts
}
