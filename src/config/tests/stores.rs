//! Locations in object stores: where they are, how the stores are reached, and what is refused, each by name.

use std::time::Duration;

use super::*;
use crate::source::Secret;
use crate::source::definition::{Delta, Format};
use crate::source::store::definition::{AzAccess, GsAccess, Location, S3Access, Scheme, Store};

const FILES: &str = "    files:\n      customers: data/customers.csv";

type Variables<'v> = &'v [(&'v str, &'v str)];

const KEYS: Variables = &[
    ("AWS_ACCESS_KEY_ID", "AKIA"),
    ("AWS_SECRET_ACCESS_KEY", "canary"),
    ("AWS_REGION", "eu-central-1"),
];

/// A source of one table, with this said of its store.
fn config(location: &str, store: &str, variables: Variables) -> Result<Config, Problems> {
    let store = if store.is_empty() { String::new() } else { format!("    store: {store}\n") };
    let source = format!("{store}    files:\n      customers: {location}");
    let (_folder, path) = write(&GOOD.replace(FILES, &source));
    load_with(&path, &|name| {
        let value = variables.iter().find(|(known, _)| *known == name);
        value.map(|(_, value)| (*value).to_owned()).or_else(|| super::environment(name))
    })
}

fn good(location: &str, store: &str, variables: Variables) -> (Location, Store) {
    let config = config(location, store, variables);
    let config = config.unwrap_or_else(|problems| panic!("{location} {store}: {problems}"));
    let Access::Files(files) = &config.sources["lake"].access else { panic!("it is of files") };
    (files.tables[0].objects.clone().expect("it is in a store"), (*files.store).clone())
}

#[test]
fn a_location_says_which_store_it_is_in_and_which_objects() {
    let location = |scheme, holder: &str, pattern: &str| Location {
        scheme,
        holder: holder.into(),
        pattern: pattern.into(),
    };
    let az: Variables =
        &[("AZURE_STORAGE_ACCOUNT_NAME", "me"), ("AZURE_STORAGE_ACCOUNT_KEY", "canary")];
    let gs: Variables = &[("GOOGLE_APPLICATION_CREDENTIALS", "/keys/me.json")];
    for (written, variables, expected) in [
        ("s3://lake/a b/dt=*/*.csv", KEYS, location(Scheme::S3, "lake", "a b/dt=*/*.csv")),
        ("gs://lake/p%20.csv.gz", gs, location(Scheme::Gs, "lake", "p%20.csv.gz")),
        ("az://lake/p.ndjson", az, location(Scheme::Az, "lake", "p.ndjson")),
        (
            "https://Example.com:8443/a%20b/p.parquet",
            &[],
            location(Scheme::Http, "https://example.com:8443", "a b/p.parquet"),
        ),
        ("http://127.0.0.1:9/p.csv", &[], location(Scheme::Http, "http://127.0.0.1:9", "p.csv")),
    ] {
        assert_eq!(good(&format!("\"{written}\""), "", variables).0, expected, "{written}");
    }
}

#[test]
fn what_the_file_does_not_say_is_taken_from_the_environment_by_the_names_that_tools_know() {
    let (_, store) = good("s3://lake/*.csv", "", KEYS);
    let secret = |text: &str| Secret::new(text.into());
    let keys = S3Access::Keys { id: secret("AKIA"), secret: secret("canary"), token: None };
    assert_eq!((store.s3.access, store.s3.region.as_deref()), (keys, Some("eu-central-1")));
    assert!(store.s3.endpoint.is_none() && !store.s3.is_path_style);
    let more: Variables =
        &[KEYS[0], KEYS[1], ("AWS_SESSION_TOKEN", "t"), ("AWS_ENDPOINT_URL", "https://minio/")];
    let (_, store) = good("s3://lake/*.csv", "", more);
    assert!(matches!(store.s3.access, S3Access::Keys { token: Some(_), .. }));
    assert_eq!(store.s3.endpoint.as_deref(), Some("https://minio"));
    assert!(store.s3.is_path_style);
    let region = ("AWS_DEFAULT_REGION", "eu-central-1");
    for (variables, expected) in [
        (
            &[region, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "r")][..],
            S3Access::WebIdentity { token_file: "/t".into(), role: "r".into() },
        ),
        (
            &[region, ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c")],
            S3Access::Container { path: "/c".into() },
        ),
    ] {
        assert_eq!(good("s3://lake/*.csv", "", variables).1.s3.access, expected);
    }
    let client: Variables = &[
        ("AZURE_STORAGE_ACCOUNT", "me"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_CLIENT_SECRET", "canary"),
    ];
    let (_, store) = good("az://lake/*.csv", "", client);
    assert!(matches!(store.az.access, AzAccess::Client { .. }), "{:?}", store.az);
    assert_eq!(store.az.account, "me");
}

#[test]
fn the_variable_that_says_a_right_is_known_by_its_name_and_the_file_goes_before_it() {
    fn by(location: &str, said: &str, variables: Variables) -> [Option<&'static str>; 3] {
        let (_, store) = good(location, said, variables);
        [store.s3.of_environment, store.gs.of_environment, store.az.of_environment]
    }
    let role = [KEYS[2], ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "r")];
    let me = ("AZURE_STORAGE_ACCOUNT_NAME", "me");
    let s3 = "s3://lake/*.csv";
    assert_eq!(by(s3, "", KEYS), [Some("AWS_ACCESS_KEY_ID"), None, None]);
    assert_eq!(by(s3, "", &role), [Some("AWS_ROLE_ARN"), None, None]);
    assert_eq!(by(s3, "{s3: {anonymous: true}}", KEYS), [None; 3]);
    let file = ("GOOGLE_APPLICATION_CREDENTIALS", "/k");
    assert_eq!(by("gs://lake/*.csv", "", &[file]), [None, Some(file.0), None]);
    for name in ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN"]
    {
        assert_eq!(by("az://lake/*.csv", "", &[me, (name, "k")]), [None, None, Some(name)]);
    }
}

#[test]
fn what_the_file_says_goes_before_the_environment() {
    let said = "{s3: {endpoint: \"http://127.0.0.1:8333\", access_key_id: id, secret_access_key: \"${TOKEN}\", \
                path_style: false}, connect_timeout: 1s, idle_timeout: 2s, max_listed: 7}";
    let (_, store) = good("s3://lake/*.csv", said, KEYS);
    let secret = |text: &str| Secret::new(text.into());
    let keys = S3Access::Keys { id: secret("id"), secret: secret("s3cret-token"), token: None };
    assert_eq!(store.s3.access, keys);
    assert_eq!(store.s3.endpoint.as_deref(), Some("http://127.0.0.1:8333"));
    assert!(!store.s3.is_path_style);
    assert_eq!(store.connect_timeout, Duration::from_secs(1));
    assert_eq!((store.idle_timeout, store.max_listed), (Duration::from_secs(2), 7));
    let (_, store) = good("s3://lake/*.csv", "{s3: {anonymous: true}}", KEYS);
    assert_eq!(store.s3.access, S3Access::Anonymous);
    let (_, store) = good("s3://lake/*.csv", "{s3: {role: instance}}", KEYS);
    assert_eq!(store.s3.access, S3Access::Instance);
    let (_, store) = good("gs://lake/*.csv", "{gs: {credentials: \"file:/k.json\"}}", &[]);
    assert_eq!(store.gs.access, GsAccess::File("/k.json".into()));
    let (_, store) = good("az://lake/*.csv", "{az: {account: me, sas_token: \"${TOKEN}\"}}", &[]);
    assert_eq!(store.az.access, AzAccess::Sas(secret("s3cret-token")));
    let headers = "{http: {headers: {Authorization: \"Bearer ${TOKEN}\", Accept: text/csv}}}";
    let (_, store) = good("https://example.com/p.csv", headers, &[]);
    assert_eq!(store.headers[0].1, secret("Bearer s3cret-token"));
    assert_eq!(store.headers[1].1, secret("text/csv"));
}

#[test]
fn what_is_wrong_with_a_location_is_named_with_what_to_do() {
    for (location, what, remedy) in [
        ("ftp://lake/p.csv", "not a store that is known", "`s3://`"),
        ("s3a://lake/p.csv", "`s3a://` is written `s3://`", "`s3://`"),
        ("abfss://lake/p.csv", "is written `az://`", "`az://`"),
        ("s3:///p.csv", "no bucket", "BUCKET"),
        ("\"s3://la*ke/p.csv\"", "not the name of a bucket", "wildcards"),
        ("{csv: \"s3://lake\"}", "no object is named", "`*.parquet`"),
        ("{csv: \"s3://lake/data/\"}", "no object is named", "`*.parquet`"),
        ("s3://lake/a//p.csv", "is empty", "as the store has it"),
        ("\"s3://lake/a[.csv\"", "not a glob", "brackets"),
        ("https://u:canary@example.com/p.csv", "credentials stand in the URL", "`store: "),
        ("{csv: \"https://example.com/p.csv?sig=canary\"}", "more than a path", "run out"),
        ("\"https://example.com/*.csv\"", "nobody lists", "name one file"),
        ("{csv: \"https://example.com/\"}", "no file is named", "`https://HOST"),
        ("http://example.com/p.csv", "without encryption", "`allow_http: true`"),
        ("https://example.com/a%2Fb.csv", "would be asked for as `/a/b.csv`", "write it so"),
        ("https://example.com/a%2Bb.csv", "would be asked for as `/a+b.csv`", "write it so"),
    ] {
        let said = config(location, "", KEYS).err().unwrap_or_else(|| panic!("{location} is good"));
        let said = said.to_string();
        for words in [" sources.lake.files.customers", what, remedy] {
            assert!(said.contains(words), "{location}: no `{words}` in {said}");
        }
        assert!(!said.contains("canary"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    good("http://example.com/p.csv", "{allow_http: true}", &[]);
}

#[test]
fn what_is_wrong_with_a_store_is_named_with_what_to_do_and_without_a_secret() {
    let s3 = "s3://lake/*.csv";
    for (location, store, variables, place, what, remedy) in [
        (s3, "", &KEYS[..2], "sources.lake", "no region", "`AWS_REGION`"),
        (s3, "", &KEYS[2..], "sources.lake", "no credentials for `s3://`", "`anonymous: true`"),
        (
            "https://example.com/p.csv",
            "{http: {headers: {Range: bytes=0-9}}}",
            &[],
            "sources.lake.store.http.headers.Range",
            "what a read says itself",
            "remove it",
        ),
        (
            "https://example.com/p.csv\n      others: https://example.org/p.csv",
            "{http: {headers: {X-Tenant: a}}}",
            &[],
            "sources.lake.store.http.headers",
            "would go to several hosts",
            "make a source of each",
        ),
        ("gs://lake/*.csv", "", &[], "sources.lake", "no credentials for `gs://`", "GOOGLE_"),
        (
            "az://lake/*.csv",
            "{az: {account: me}}",
            &[],
            "sources.lake.store",
            "no credentials for `az://`",
            "AZURE_",
        ),
        (
            "az://lake/*.csv",
            "{az: {sas_token: \"${TOKEN}\"}}",
            &[],
            "sources.lake.store",
            "no account",
            "AZURE_STORAGE_ACCOUNT_NAME",
        ),
        (
            s3,
            "{s3: {region: r, access_key_id: a, secret_access_key: canary}}",
            &[],
            "sources.lake.store.s3.secret_access_key",
            "a secret stands in the file",
            "`${NAME}`",
        ),
        (
            s3,
            "{s3: {region: r, access_key_id: a}}",
            &[],
            "sources.lake.store.s3.access_key_id",
            "without its secret",
            "secret_access_key",
        ),
        (
            s3,
            "{s3: {region: r, access_key_id: a, secret_access_key: \"${UNSET}\"}}",
            &[],
            "sources.lake.store.s3.secret_access_key",
            "`UNSET` is not set",
            "set",
        ),
        (
            s3,
            "{s3: {region: r, anonymous: true, role: instance}}",
            &[],
            "sources.lake.store.s3.role",
            "both `anonymous` and `role`",
            "keep one",
        ),
        (
            s3,
            "{s3: {endpoint: \"http://minio:9000\", anonymous: true}}",
            &[],
            "sources.lake.store.s3.endpoint",
            "without encryption",
            "`allow_http: true`",
        ),
        (
            s3,
            "{s3: {endpoint: \"https://u:canary@minio\", anonymous: true}}",
            &[],
            "sources.lake.store.s3.endpoint",
            "not an address on the web",
            "without user",
        ),
        (
            s3,
            "",
            &[KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL", "canary")],
            "sources.lake",
            "the endpoint in `AWS_ENDPOINT_URL_S3`",
            "`https://`",
        ),
        (
            s3,
            "{gs: {anonymous: true}}",
            KEYS,
            "sources.lake.store.gs",
            "no table of this source is read by `gs`",
            "remove it",
        ),
        (
            "data/*.csv",
            "{max_listed: 5}",
            &[],
            "sources.lake.store",
            "no table of this source is in a store",
            "remove it",
        ),
        (
            "https://example.com/p.csv",
            "{http: {headers: {Authorization: canary}}}",
            &[],
            "sources.lake.store.http.headers.Authorization",
            "a secret stands in the file",
            "`${NAME}`",
        ),
        (s3, "{s3: {role: other}}", KEYS, "sources.lake.store.s3.role", "", ""),
        (s3, "{max_listed: 0}", KEYS, "sources.lake.store.max_listed", "", ""),
    ] {
        let said = config(location, store, variables).err();
        let said = said.unwrap_or_else(|| panic!("{store} is good")).to_string();
        for words in [&format!(" {place}: "), what, remedy] {
            assert!(said.contains(words), "{store}: no `{words}` in {said}");
        }
        assert!(!said.contains("canary"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

fn delta(location: &str, more: &str) -> Result<Config, Problems> {
    config(&format!("{{ delta: \"{location}\"{more} }}"), "", KEYS)
}

#[test]
fn a_delta_table_is_one_folder_at_its_newest_version_or_the_one_that_is_said() {
    for (written, more, location, version) in [
        ("tables/people/", "", "tables/people", None),
        ("s3://lake/tables/people/", ", version: 0", "s3://lake/tables/people", Some(0)),
        ("tables/[x]", ", version: 5000000000", "tables/[x]", Some(5_000_000_000)),
    ] {
        let config = delta(written, more).unwrap_or_else(|problems| panic!("{problems}"));
        let Access::Files(files) = &config.sources["lake"].access else { panic!("it is of files") };
        let table = &files.tables[0];
        assert_eq!(table.location.to_str(), Some(location));
        assert_eq!(table.format, Format::Delta(Delta { version }));
        assert_eq!(table.objects.is_some(), location.contains("://"));
    }
    // The log of a local table is listed too.
    config("{ delta: tables/people }", "{ max_listed: 7 }", KEYS)
        .expect("it is a bound of its log");
}

#[test]
fn what_makes_no_sense_of_a_delta_table_is_refused() {
    for (location, more, words) in [
        ("tables/*", "", ["a glob for a Delta table", "the one folder"]),
        ("https://example.com/people", "", ["nobody lists the log", "`s3://BUCKET/TABLE`"]),
        ("", "", ["an empty path", "name a file"]),
        ("people", ", compression: gzip", ["`compression` is for CSV and NDJSON", "remove it"]),
        ("people", ", rewritten: {}", ["`rewritten` is for files without a log", "remove it"]),
        ("people", ", csv: a.csv", ["both `csv` and `delta`", "keep one"]),
        ("people", ", version: -1", ["version", "at least 0"]),
    ] {
        let said = delta(location, more).expect_err("it is refused").to_string();
        for word in words {
            assert!(said.contains(word), "{location} {more}: no `{word}` in {said}");
        }
    }
    let said = config("{ parquet: a.parquet, version: 1 }", "", KEYS).expect_err("it is refused");
    assert!(
        said.to_string().contains("`version` is for Delta, and this table is Parquet"),
        "{said}"
    );
}
