//! Sources that are databases: what is read of them, and what is refused, each by name.

use std::time::Duration;

use super::*;
use crate::source::Secret;
use crate::source::postgres::definition::{Definition, Tls, Verify};

const FILES: &str = "    files:\n      customers: data/customers.csv";

fn environment(name: &str) -> Option<String> {
    match name {
        "URL" => Some("postgres://reader:canary%40x@db.internal:6543/shop?sslmode=require".into()),
        "PASSWORD" => Some("canary".into()),
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
        Access::Files(_) => panic!("it is a database"),
    }
}

#[test]
fn an_address_and_parts_say_the_same() {
    let of_url = definition("{url: \"${URL}\"}");
    let of_parts = definition(
        "{host: db.internal, port: 6543, database: shop, user: reader, password: \"${PASSWORD}\", tls: {verify: none}}",
    );
    assert_eq!(of_url.password, Some(Secret::new("canary@x".into())));
    assert_eq!(of_url.written.as_deref(), Some("${URL}"));
    let same = Definition { password: of_parts.password.clone(), written: None, ..of_url };
    assert_eq!(same, of_parts);
}

#[test]
fn what_is_not_said_is_safe() {
    let far = definition("{host: db.internal, user: reader}");
    assert!(matches!(&far.tls, Tls::On(trust) if trust.verify == Verify::Full));
    assert_eq!((far.port, far.database.as_str(), far.password), (5432, "reader", None));
    assert!(!far.applies_row_security && !far.is_infinity_null);
    assert_eq!(far.idle_timeout, Duration::from_secs(300));
    for near in ["localhost", "127.0.0.1", "/run/postgresql"] {
        assert_eq!(definition(&format!("{{host: {near}, user: reader}}")).tls, Tls::Off, "{near}");
    }
    let url = definition("{url: \"postgresql://r@h/d?sslmode=verify-ca&sslrootcert=ca.pem\"}");
    assert!(matches!(&url.tls, Tls::On(trust) if trust.verify == Verify::Authority
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
            "{url: \"postgres://u@h/d?password=canary\"}",
            "sources.lake.postgres.url",
            "a password stands",
            "`${NAME}`",
        ),
        ("{url: \"mysql://u@h/d\"}", "sources.lake.postgres.url", "not the address", "postgres://"),
        ("{url: \"postgres://u@h,i/d\"}", "sources.lake.postgres.url", "several hosts", "name one"),
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
            "not built yet",
            "remove it",
        ),
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
fn a_database_is_read_alone_and_its_sql_is_its_own() {
    let postgres = "    postgres: {host: h, user: u}";
    let own = GOOD.replace(FILES, postgres);
    let own = own.replace(
        "SELECT id, email FROM customers",
        "SELECT id::text AS id, email FROM a.b.c WHERE x ~ 'y'",
    );
    assert!(load_text(&own).is_ok());
    let joined = own.replace("source: lake", "sources: [lake]");
    let said = load_text(&joined).unwrap_err().to_string();
    assert!(said.contains("source `lake` is a database"), "{said}");
}
