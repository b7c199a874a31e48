//! Every type that the server itself says that it has, and what a misfit is named with.

use std::collections::BTreeMap;

use counterflow::source::Error;

use super::values::read;
use crate::servers::Database as _;
use crate::servers::postgres::Postgres;

/// A value of each type that has one which can be written down.
const WRITTEN: [(&str, &str); 73] = [
    ("aclitem", "postgres=r/postgres"),
    ("bit", "1"),
    ("bool", "t"),
    ("box", "(1,2),(0,0)"),
    ("bpchar", "a "),
    ("bytea", "\\x00ff"),
    ("char", "x"),
    ("cid", "7"),
    ("cidr", "10.0.0.0/8"),
    ("circle", "<(1,2),3>"),
    ("date", "2024-02-29"),
    ("datemultirange", "{[2024-01-01,2024-02-01)}"),
    ("daterange", "[2024-01-01,2024-02-01)"),
    ("float4", "0.5"),
    ("float8", "0.5"),
    ("inet", "::1/64"),
    ("int2", "-7"),
    ("int2vector", "1 2"),
    ("int4", "-7"),
    ("int4multirange", "{[1,5),[7,9)}"),
    ("int4range", "[1,5)"),
    ("int8", "-7"),
    ("int8multirange", "{}"),
    ("int8range", "empty"),
    ("interval", "1 day"),
    ("json", "{\"a\": 1}"),
    ("jsonb", "{\"a\": 1}"),
    ("jsonpath", "$.\"a\""),
    ("line", "{1,2,3}"),
    ("lseg", "[(1,2),(3,4)]"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("money", "-2.50"),
    ("name", "n"),
    ("numeric", "1.50"),
    ("nummultirange", "{[1.5,2.5]}"),
    ("numrange", "(1.5,)"),
    ("oid", "4294967295"),
    ("oidvector", "1 2"),
    ("path", "[(1,2),(3,4)]"),
    ("pg_lsn", "16/B374D848"),
    ("pg_snapshot", "10:20:10,14"),
    ("point", "(1,2)"),
    ("polygon", "((1,2),(3,4))"),
    ("refcursor", "c"),
    ("regclass", "pg_class"),
    ("regcollation", "\"C\""),
    ("regconfig", "simple"),
    ("regdictionary", "simple"),
    ("regnamespace", "pg_catalog"),
    ("regoper", "||/"),
    ("regoperator", "+(integer,integer)"),
    ("regproc", "now"),
    ("regprocedure", "now()"),
    ("regrole", "postgres"),
    ("regtype", "integer"),
    ("text", "it's \"so\""),
    ("tid", "(0,1)"),
    ("time", "23:59:59"),
    ("timestamp", "2024-02-29 12:00:00"),
    ("timestamptz", "2024-02-29 12:00:00+00"),
    ("timetz", "12:00:00+00"),
    ("tsquery", "'a' & 'b'"),
    ("tsrange", "[\"2024-01-01 00:00:00\",\"2024-02-01 00:00:00\")"),
    ("tsvector", "'a':1 'b':2"),
    ("tstzrange", "(,)"),
    ("txid_snapshot", "10:20:10,14"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("varbit", "101"),
    ("varchar", "a"),
    ("xid", "7"),
    ("xid8", "18446744073709551615"),
    ("xml", "<a/>"),
];

/// Those that are said in a way of their own here: their values are held against the server by another scenario.
const OWN: [&str; 29] = [
    "bit",
    "bool",
    "bpchar",
    "bytea",
    "char",
    "cid",
    "cidr",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int2vector",
    "int4",
    "int8",
    "interval",
    "macaddr",
    "macaddr8",
    "money",
    "numeric",
    "oid",
    "oidvector",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "varbit",
    "xid",
    "xid8",
];

/// Those of which an array is a list of texts here.
const LISTS: [&str; 8] = ["json", "jsonb", "jsonpath", "name", "text", "uuid", "varchar", "xml"];

/// Each base type, range and multirange of the server, and arrays of them: a value, and NULL.
pub fn walk(server: &Postgres) {
    let database = server.new_database("SELECT 1");
    let types = database.ask(
        "SELECT string_agg(t.typname || ' ' || (t.typarray <> 0), ',' ORDER BY t.typname) FROM pg_type t \
         WHERE t.typtype IN ('b', 'r', 'm') AND t.typisdefined AND t.typnamespace = 'pg_catalog'::regnamespace \
         AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)",
    );
    let written: BTreeMap<&str, &str> = WRITTEN.into_iter().collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, has_array) in types.split(',').filter_map(|it| it.split_once(' ')) {
        seen += 1;
        let value = match written.get(name) {
            Some(value) => format!("'{}'", value.replace('\'', "''")),
            None => "NULL".to_owned(),
        };
        let one = format!("{value}::pg_catalog.\"{name}\"");
        let mut asked = vec![(one.clone(), OWN.contains(&name))];
        if has_array == "true" {
            // Of money an array is text, with the sign of the server's locale.
            let own = OWN.contains(&name) && name != "money";
            asked.push((format!("ARRAY[{one}]"), own || LISTS.contains(&name)));
        }
        for (value, is_own) in asked {
            let sql = format!("SELECT 1 AS id, {value} AS v, to_jsonb({value}::text)::text AS t");
            match read(&database, &sql) {
                Ok(rows) => {
                    // What the server prints, as JSON.
                    let printed: serde_json::Value =
                        serde_json::from_str(&rows[0][2]).expect("it is JSON");
                    let printed = printed.as_str().unwrap_or("null").to_owned();
                    if !is_own && rows[0][1] != printed {
                        wrong.push(format!("{value} is {}, not {printed}", rows[0][1]));
                    }
                }
                Err(Error::Definition(said)) => {
                    if !said.contains(&format!("`{name}`")) || !said.contains("to_jsonb") {
                        wrong.push(format!("{value} is refused without its name: {said}"));
                    }
                }
                Err(error) => wrong.push(format!("{value} cannot be read: {error}")),
            }
        }
    }
    assert!(seen > 80, "{types}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub fn keys(server: &Postgres) {
    let database = server.new_database("SELECT 1");
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    for (key, said) in [
        ("7::int4", "`id` is 7"),
        ("(-9223372036854775808)::int8", "`id` is -9223372036854775808"),
        ("'key'", "`id` is key"),
        (&format!("'{uuid}'::uuid"), &format!("`id` is {uuid}")),
    ] {
        for (value, words) in [("'infinity'::date", "`infinity`"), ("'NaN'::float8", "`NaN`")] {
            let value = value.replace("float8", "numeric");
            let error = read(&database, &format!("SELECT {key} AS id, {value} AS x"));
            let told = error.expect_err("it has no place").to_string();
            let place = format!("column `x` of model `m` has, in the row where {said}, {words}");
            assert!(told.contains(&place), "{told}");
        }
    }
    // A key that cannot be said is left out.
    let error = read(&database, "SELECT '2024-01-01'::date AS id, 'infinity'::date AS x");
    let told = error.expect_err("it has no place").to_string();
    assert!(told.contains("column `x` of model `m` has `infinity`"), "{told}");
}
