//! Sources that are databases: what is read of them, and what is refused, each by name.

use std::time::Duration;

use super::*;
use crate::source::Secret;
use crate::source::mysql::definition::Definition as MySql;
use crate::source::postgres::definition::Definition;
use crate::source::remote::{Remote, Tls, Verify};

const FILES: &str = "    files:\n      customers: data/customers.csv";

fn environment(name: &str) -> Option<String> {
    match name {
        "URL" => Some("postgres://reader:canary%40x@db.internal:6543/shop?sslmode=require".into()),
        "PASSWORD" => Some("canary".into()),
        "TWICE" => Some("postgres://u:canary@h/d?password=canary2".into()),
        "ODD" => Some("a@b:c/d?e#f%41+g".into()),
        "ODD_USER" => Some("a@b/d?e#f%41+g".into()),
        "LOGIN" => Some("reader:canary".into()),
        "PLACE" => Some("db.internal:6543".into()),
        _ => super::environment(name),
    }
}

fn config(postgres: &str) -> Result<Config, Problems> {
    let (_folder, path) = write(&GOOD.replace(FILES, &format!("    postgres: {postgres}")));
    load_with(&path, &environment)
}

fn definition(postgres: &str) -> Definition {
    let config = config(postgres).unwrap_or_else(|problems| panic!("{postgres}: {problems}"));
    match &config.sources["lake"].access {
        Access::Postgres(definition) => (**definition).clone(),
        other => panic!("it is another kind: {other:?}"),
    }
}

#[test]
fn an_address_and_parts_say_the_same() {
    let of_url = definition("{url: \"${URL}\"}");
    let of_parts = definition(
        "{host: db.internal, port: 6543, database: shop, user: reader, password: \"${PASSWORD}\", tls: {verify: none}}",
    );
    assert_eq!(of_url.remote.password, Some(Secret::new("canary@x".into())));
    assert_eq!(of_url.remote.written.as_deref(), Some("${URL}"));
    let remote =
        Remote { password: of_parts.remote.password.clone(), written: None, ..of_url.remote };
    assert_eq!(Definition { remote, ..of_url }, of_parts);
}

#[test]
fn a_password_is_what_its_reference_stands_for_whatever_letters_it_has() {
    let odd = Some(Secret::new("a@b:c/d?e#f%41+g".into()));
    let url = definition("{url: \"postgres://reader:${ODD}@${PLACE}/shop?connect_timeout=7\"}");
    assert_eq!(url.remote.password, odd);
    assert_eq!((url.remote.host.as_str(), url.remote.port), ("db.internal", 6543));
    assert_eq!(url.remote.connect_timeout, Duration::from_secs(7));
    let url = definition("{url: \"postgres://${ODD_USER}@h/d\", password: \"${ODD}\"}");
    assert_eq!((url.remote.user.as_str(), url.remote.password), ("a@b/d?e#f%41+g", odd));
    // What is of no user is the address's own text, and a `+` in it is a `+`.
    let url = definition("{url: \"postgres://u@h/d?sslmode=verify-ca&sslrootcert=/a+b%20c.pem\"}");
    let Tls::On(trust) = &url.remote.tls else { panic!("it is encrypted") };
    assert_eq!(trust.authorities.as_deref(), Some(std::path::Path::new("/a+b c.pem")));
}

#[test]
fn what_is_not_said_is_safe() {
    let far = definition("{host: db.internal, user: reader}");
    assert!(matches!(&far.remote.tls, Tls::On(trust) if trust.verify == Verify::Full));
    assert!(!far.applies_row_security && !far.is_infinity_null);
    let far = far.remote;
    assert_eq!((far.port, far.database.as_str(), far.password), (5432, "reader", None));
    assert_eq!(far.idle_timeout, Duration::from_secs(300));
    for near in ["localhost", "127.0.0.1", "/run/postgresql"] {
        let near = definition(&format!("{{host: {near}, user: reader}}")).remote;
        assert_eq!(near.tls, Tls::Off, "{}", near.host);
    }
    let url = definition("{url: \"postgresql://r@h/d?sslmode=verify-ca&sslrootcert=ca.pem\"}");
    assert!(matches!(&url.remote.tls, Tls::On(trust) if trust.verify == Verify::Authority
        && trust.authorities.as_ref().is_some_and(|path| path.is_absolute())));
}

#[test]
fn what_is_wrong_is_named_with_what_to_do_and_without_the_password() {
    for (postgres, place, what, remedy) in [
        ("{user: u}", "sources.lake.postgres", "no `host`", "name it in `url`"),
        ("{host: h}", "sources.lake.postgres", "no `user`", "name it in `url`"),
        (
            "{host: h, user: u, password: canary}",
            "sources.lake.postgres.password",
            "a secret stands",
            "`${NAME}`",
        ),
        (
            "{url: \"postgres://u:canary@h/d\"}",
            "sources.lake.postgres.url",
            "a password stands",
            "`${NAME}`",
        ),
        (
            "{url: \"postgres://${LOGIN}@h/d\"}",
            "sources.lake.postgres.url",
            "the reference before the `@` stands for more than a user",
            "`${USER}:${PASSWORD}@`",
        ),
        (
            "{url: \"postgres://u@h/d?password=canary\"}",
            "sources.lake.postgres.url",
            "a password stands",
            "`${NAME}`",
        ),
        ("{url: \"mysql://u@h/d\"}", "sources.lake.postgres.url", "not the address", "postgres://"),
        ("{url: \"postgres://u@h,i/d\"}", "sources.lake.postgres.url", "several hosts", "name one"),
        ("{url: \"${TWICE}\"}", "sources.lake.postgres.url", "one thing twice", "keep one"),
        (
            "{url: \"postgres://u@h/d?sslmode=disable&sslmode=require\"}",
            "sources.lake.postgres.url",
            "one thing twice",
            "keep one",
        ),
        (
            "{url: \"postgres://u@h/d?sslmode=prefer\"}",
            "sources.lake.postgres.url",
            "decides nothing",
            "verify-full",
        ),
        (
            "{url: \"postgres://u@h/d?options=-c\"}",
            "sources.lake.postgres.url",
            "option `options`",
            "`settings:`",
        ),
        (
            "{url: \"postgres://u@h/d\", host: i}",
            "sources.lake.postgres.host",
            "both `url` and `host`",
            "remove `host`",
        ),
        (
            "{url: \"postgres://u:4?canary/x@h/d\"}",
            "sources.lake.postgres.url",
            "has an option that is not known",
            "`settings:`",
        ),
        (
            "{url: \"postgres://u@h/d?sslmode=verify-ca\"}",
            "sources.lake.postgres.url",
            "names no authority",
            "`sslrootcert`",
        ),
        (
            "{host: h, user: u, tls: {verify: ca}}",
            "sources.lake.postgres.tls",
            "names no authority",
            "`verify: full`",
        ),
        (
            "{host: h, user: u, tls: maybe}",
            "sources.lake.postgres.tls",
            "unknown word `maybe`",
            "`off`",
        ),
        (
            "{host: h, user: u, tls: {key: k}}",
            "sources.lake.postgres.tls",
            "go together",
            "name both",
        ),
        (
            "{host: /run, user: u, tls: {verify: full}}",
            "sources.lake.postgres.tls",
            "no TLS",
            "`tls: off`",
        ),
        (
            "{host: h, user: u, settings: {TimeZone: x}}",
            "sources.lake.postgres.settings.TimeZone",
            "set by us",
            "remove it",
        ),
        (
            "{host: h, user: u, settings: {\"a;b\": x}}",
            "sources.lake.postgres.settings[\"a;b\"]",
            "not the name",
            "letters",
        ),
        ("{host: h, user: u, idle_timeout: 5}", "sources.lake.postgres.idle_timeout", "", ""),
        (
            "{host: h, user: u, tables: {}}",
            "sources.lake.postgres.tables",
            "`tables` without a table",
            "`NAME: SCHEMA.TABLE`",
        ),
        (
            "{host: h, user: u, tables: {People: people}}",
            "sources.lake.postgres.tables.People",
            "`People` is not a name for a table",
            "lower-case letters",
        ),
        (
            "{host: h, user: u, tables: {people: SELECT 1}}",
            "sources.lake.postgres.tables.people",
            "`SELECT 1` is not the name of a table",
            "`{sql: SELECT ..}`",
        ),
        (
            "{host: h, user: u, tables: {people: a.b.c}}",
            "sources.lake.postgres.tables.people",
            "not the name of a table",
            "`SCHEMA.TABLE`",
        ),
        (
            "{host: h, user: u, tables: {people: {}}}",
            "sources.lake.postgres.tables.people",
            "a table without a query",
            "`sql: SELECT ..`",
        ),
        (
            "{host: h, user: u, tables: {people: {sql: \"; --\"}}}",
            "sources.lake.postgres.tables.people.sql",
            "has no SQL",
            "one SELECT",
        ),
        (
            "{host: h, user: u, tables: {people: {sqll: SELECT 1}}}",
            "sources.lake.postgres.tables.people.sqll",
            "unknown key",
            "sql",
        ),
        ("{host: h, user: u, read: portal}", "sources.lake.postgres.read", "not built yet", ""),
        (
            "{host: h, user: u, password: \"${UNSET}\"}",
            "sources.lake.postgres.password",
            "`UNSET` is not set",
            "set",
        ),
        ("{url: \"${UNSET}\"}", "sources.lake.postgres.url", "`UNSET` is not set", "set"),
    ] {
        let problems = config(postgres).err().unwrap_or_else(|| panic!("no problem: {postgres}"));
        let said = problems.to_string();
        for words in [&format!(" {place}: "), what, remedy] {
            assert!(said.contains(words), "{postgres}: no `{words}` in {said}");
        }
        assert!(!said.contains("canary"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let none = broken(FILES, "    {}").to_string();
    assert!(none.contains("a source without a kind"), "{none}");
    let both = broken(FILES, &format!("{FILES}\n    postgres: {{host: h, user: u}}")).to_string();
    assert!(both.contains("both `files` and `postgres`"), "{both}");
}

#[test]
fn who_reads_no_source_needs_no_secret_of_one() {
    let postgres = "    postgres: {host: h, user: u, password: \"${UNSET}\"}";
    let (_folder, path) = write(&GOOD.replace(FILES, postgres).replace("${TOKEN}", "${PATH}"));
    assert!(load_for(&path, Some("people")).is_err());
    let config = load_for(&path, None).unwrap();
    assert!(config.absent_sources["lake"][0].contains("`UNSET`"));
}

#[test]
fn a_database_that_is_read_alone_has_its_own_sql_and_one_that_is_joined_has_tables() {
    let postgres = "    postgres: {host: h, user: u}";
    let own = GOOD.replace(FILES, postgres);
    let own = own.replace(
        "SELECT id, email FROM customers",
        "SELECT id::text AS id, email FROM a.b.c WHERE x ~ 'y'",
    );
    assert!(load_text(&own).is_ok());
    let joined = own.replace("source: lake", "sources: [lake]");
    let said = load_text(&joined).unwrap_err().to_string();
    let words = [
        "models.active.sources[0]: `lake` is a database that says no `tables`",
        "`tables: {NAME: SCHEMA.TABLE}`",
        "`source: lake`",
    ];
    for words in words {
        assert!(said.contains(words), "no {words} in {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
    let tables = "{a: public.A, b: {sql: \"SELECT 1 AS id, '${X}' AS email -- \"}}";
    let joined = GOOD
        .replace(FILES, &format!("    postgres: {{host: h, user: u, tables: {tables}}}"))
        .replace("source: lake", "sources: [lake]")
        .replace("FROM customers", "FROM lake.b JOIN lake.a USING (id)");
    let config = load_text(&joined).unwrap_or_else(|problems| panic!("{problems}"));
    let Access::Postgres(definition) = &config.sources["lake"].access else { panic!("of it") };
    let sql: Vec<_> = definition.remote.tables.iter().map(|it| it.sql.as_str()).collect();
    // Nothing in it is taken for a reference.
    let own = "SELECT 1 AS id, '${X}' AS email -- ";
    assert_eq!(sql, ["SELECT * FROM \"public\".\"A\"", own]);
    let unknown = load_text(&joined.replace("lake.b", "lake.c")).unwrap_err().to_string();
    assert!(unknown.contains("unknown table `lake.c`"), "{unknown}");
}

#[test]
fn a_model_reads_once_of_mysql_and_more_often_of_postgresql() {
    let of = |kind: &str, from: &str| {
        let source = format!("    {kind}: {{host: h, user: u, tables: {{a: a, b: b}}}}");
        let text = GOOD.replace(FILES, &source).replace("source: lake", "sources: [lake]");
        load_text(&text.replace("FROM customers", from))
    };
    let once = "FROM lake.a";
    assert!(of("mysql", once).is_ok());
    for from in [
        "FROM lake.a JOIN lake.b USING (id)",
        "FROM lake.a x JOIN Lake.\"a\" y USING (id)",
        "FROM lake.a WHERE id IN (SELECT id FROM lake.b)",
        "FROM lake.a UNION ALL SELECT id, email FROM lake.a",
    ] {
        assert!(of("postgres", from).is_ok(), "{from}");
        let said = of("mysql", from).unwrap_err().to_string();
        for words in
            ["models.active.sql: ", "reads more than once from `lake`", "in the `sql` of one"]
        {
            assert!(said.contains(words), "{from}: no {words} in {said}");
        }
    }
}

fn of_mysql(mysql: &str) -> Result<Config, Problems> {
    let (_folder, path) = write(&GOOD.replace(FILES, &format!("    mysql: {mysql}")));
    let environment = |name: &str| match name {
        "URL" => Some("mysql://reader:canary%40x@db.internal:6543/shop?ssl-mode=required".into()),
        name => environment(name),
    };
    load_with(&path, &environment)
}

fn mysql(mysql: &str) -> MySql {
    let config = of_mysql(mysql).unwrap_or_else(|problems| panic!("{mysql}: {problems}"));
    match &config.sources["lake"].access {
        Access::MySql(definition) => (**definition).clone(),
        other => panic!("it is another kind: {other:?}"),
    }
}

#[test]
fn a_mysql_source_is_said_by_its_address_or_its_parts_and_is_safe_where_nothing_is_said() {
    let of_url = mysql("{url: \"${URL}\"}");
    let of_parts = mysql(
        "{host: db.internal, port: 6543, database: shop, user: reader, password: \"${PASSWORD}\", tls: {verify: none}}",
    );
    assert_eq!(of_url.remote.password, Some(Secret::new("canary@x".into())));
    let remote =
        Remote { password: of_parts.remote.password.clone(), written: None, ..of_url.remote };
    assert_eq!(MySql { remote, ..of_url }, of_parts);
    let far = mysql("{host: db.internal, user: reader}");
    assert!(!far.is_zero_date_null && !far.is_tinyint1_boolean);
    let far = far.remote;
    assert!(matches!(&far.tls, Tls::On(trust) if trust.verify == Verify::Full));
    assert_eq!((far.port, far.database.as_str(), far.password), (3306, "", None));
    let said = mysql("{host: /run/s, user: r, zero_dates: as_null, tinyint1: boolean}");
    assert!(said.is_zero_date_null && said.is_tinyint1_boolean && said.remote.tls == Tls::Off);
    assert!(said.server_key.is_none());
    let said = mysql("{host: /run/s, user: r, server_public_key: key.pem}");
    assert!(said.server_key.is_some_and(|key| key.is_absolute() && key.ends_with("key.pem")));
    for (mode, verify) in [("VERIFY_IDENTITY", Verify::Full), ("verify_ca", Verify::Authority)] {
        let said = mysql(&format!("{{url: \"mariadb://r@h/d?ssl-mode={mode}&ssl-ca=ca.pem\"}}"));
        assert!(matches!(&said.remote.tls, Tls::On(trust) if trust.verify == verify), "{mode}");
    }
}

#[test]
fn what_is_wrong_with_a_mysql_source_is_named_with_what_to_do() {
    for (mysql, place, what, remedy) in [
        ("{user: u}", "", "no `host`", "name it in `url`"),
        ("{url: \"postgres://u@h/d\"}", ".url", "not the address of a MySQL", "mysql://"),
        ("{url: \"mysql://u:canary@h/d\"}", ".url", "a password stands", "`${NAME}`"),
        ("{host: h, user: u, password: canary}", ".password", "a secret stands", "`${NAME}`"),
        (
            "{url: \"mysql://u@h/d?ssl-mode=PREFERRED\"}",
            ".url",
            "decides nothing",
            "VERIFY_IDENTITY",
        ),
        ("{url: \"mysql://u@h/d?ssl-mode=VERIFY_CA\"}", ".url", "names no authority", "`ssl-ca`"),
        (
            "{url: \"mysql://u@h/d?ssl-mode=REQUIRED&ssl-ca=ca.pem\"}",
            ".url",
            "verifies nothing, and `ssl-ca` is named",
            "`ssl-mode=VERIFY_CA`",
        ),
        (
            "{host: h, user: u, tls: {verify: none, ca: ca.pem}}",
            ".tls",
            "verifies nothing, and `ca` is named",
            "`verify: ca`",
        ),
        ("{url: \"mysql://u@h/d?ssl-mode=canary\"}", ".url", "is not known", "`VERIFY_CA`"),
        ("{url: \"mysql://u@h/d?sslmode=disable\"}", ".url", "option `sslmode`", "remove it"),
        (
            "{host: h, user: u, tls: {channel_binding: require}}",
            ".tls.channel_binding",
            "is for PostgreSQL",
            "remove it",
        ),
        (
            "{host: h, user: u, settings: {SQL_SELECT_LIMIT: \"1\"}}",
            ".settings.SQL_SELECT_LIMIT",
            "set by us",
            "remove it",
        ),
        (
            "{host: h, user: u, settings: {max_statement_time: \"1\"}}",
            ".settings.max_statement_time",
            "set by us",
            "`statement_timeout`",
        ),
        ("{host: h, user: u, role: r}", ".role", "", ""),
        ("{host: h, user: u, zero_dates: keep}", ".zero_dates", "", "as_null"),
        ("{host: h, user: u, tables: {}}", ".tables", "without a table", "name at least one"),
    ] {
        let problems = of_mysql(mysql).err().unwrap_or_else(|| panic!("no problem: {mysql}"));
        let said = problems.to_string();
        for words in [&format!(" sources.lake.mysql{place}: "), what, remedy] {
            assert!(said.contains(words), "{mysql}: no `{words}` in {said}");
        }
        assert!(!said.contains("canary"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
