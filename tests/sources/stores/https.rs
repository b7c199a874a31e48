//! Stores and files on the web over TLS: whom a read believes, and what is said of whom it does not.
//!
//! The authority of a test is named as people name theirs, by `SSL_CERT_FILE`.

use std::time::{Duration, Instant};

use super::{assert_holds, ndjson, of_age, parquet_file, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::shared::reads;
use crate::shared::wait_until;
use crate::support::certificates::{Authority, Good};
use crate::support::front::{Does, Front};
use crate::support::oracle::Oracle;
use crate::support::workspace::Workspace;
use crate::support::{SOON, canaries};

const HOST: &str = "localhost";

/// Speaks TLS before what listens at this port, by a good certificate of `authority`.
fn front(port: u16, authority: &Authority) -> Front {
    let front = Front::start(&format!("127.0.0.1:{port}"));
    front.does(Does::Tls(authority.server(HOST, Good::Now)));
    front
}

/// A workspace that believes `authority`.
fn believing(oracle: &Oracle, authority: &Authority, source: &str) -> Workspace {
    let mut workspace = workspace(oracle, source);
    workspace.setup.environment = vec![("SSL_CERT_FILE", authority.file().display().to_string())];
    workspace
}

fn on_the_web(address: &str) -> String {
    format!(
        "lake: {{ store: {{ http: {{ headers: {{ Authorization: \"Bearer ${{TOKEN}}\" }} }} }}, \
         files: {{ people: \"{address}/people.csv\" }} }}"
    )
}

/// The source of a config that reads this location of a bucket by way of the store at this address.
fn in_a_store(address: &str, bucket: &str, location: &str) -> String {
    source(0, bucket, location, "").replace("http://127.0.0.1:0", address)
}

pub fn objects(server: &Seaweed) {
    let (oracle, authority) = (Oracle::start(&["id"]), Authority::new());
    let (front, bucket) = (front(server.port, &authority), server.bucket());
    server.files.put(&bucket, "in/a.parquet", &parquet_file(&of_age(1..=300, 0)));
    server.files.put(&bucket, "in/b.parquet", &parquet_file(&of_age(301..=400, 0)));
    let source = in_a_store(&front.url("https"), &bucket, "in/*.parquet");
    let workspace = believing(&oracle, &authority, &source);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 400)]);
    workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
    server.files.put(&bucket, "in/b.parquet", &parquet_file(&of_age(301..=390, 1)));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 90), ("deletes", 10)]);
    assert_holds(&oracle, &[of_age(1..=300, 0), of_age(301..=390, 1)].concat());
    assert!(front.connections() > 0, "it was read by the front");
}

/// Each is named by what it lacks, and not asked again: it would show the same.
pub fn distrusted(server: &Seaweed) {
    let (authority, other) = (Authority::new(), Authority::new());
    let (front, bucket) = (front(server.port, &authority), server.bucket());
    server.files.put(&bucket, "in/people.ndjson", &ndjson(&of_age(1..=20, 0)));
    let stored = |address: &str| in_a_store(address, &bucket, "in/*.ndjson");
    for source in [&stored as &dyn Fn(&str) -> String, &on_the_web] {
        let oracle = Oracle::start(&["id"]);
        let workspace = believing(&oracle, &authority, &source(&front.url("https")));
        for (config, host, lack, remedy) in [
            (
                other.server(HOST, Good::Now),
                HOST,
                "is of an authority that is not known here",
                "`SSL_CERT_FILE`",
            ),
            (
                authority.server("elsewhere.example", Good::Now),
                HOST,
                "is for another host",
                "name the host",
            ),
            (
                authority.server(HOST, Good::Now),
                "127.0.0.1",
                "is for another host",
                "name the host",
            ),
            (authority.server(HOST, Good::Once), HOST, "has expired", "have it renewed"),
            (authority.server(HOST, Good::Later), HOST, "is not good yet", "clock"),
        ] {
            reads(&workspace, &source(&front.url_of("https", host)));
            front.does(Does::Tls(config));
            let before = front.connections();
            let failed = workspace.run(&["sync", "people"]);
            let said = failed.printed();
            assert_eq!(front.connections(), before + 1, "{lack}: it was asked again\n{said}");
            canaries::assert_none(&said, "what is said of a store");
            assert!(!said.contains("check the network"), "{lack}: {said}");
            failed.expect_code(1).expect_printed(&[
                "table `people`",
                "is not believed",
                "its certificate",
                lack,
                remedy,
            ]);
            let looked = workspace.run(&["doctor", "lake"]).expect_code(1);
            looked.expect_printed(&["not well", lack]);
        }
        // What speaks no TLS at all shows no certificate.
        front.does(Does::Say("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"));
        reads(&workspace, &source(&front.url("https")));
        let failed = workspace.run(&["sync", "people"]).expect_code(1);
        failed.expect_printed(&["table `people`", "cannot be reached or broke off"]);
        assert!(oracle.table().is_empty(), "{}", oracle.print());
    }
}

/// A stop while a server greets.
pub fn stopped(server: &Seaweed) {
    let (authority, bucket) = (Authority::new(), server.bucket());
    server.files.put(&bucket, "in/people.ndjson", &ndjson(&of_age(1..=20, 0)));
    let oracle = Oracle::start(&["id"]);
    let front = front(server.port, &authority);
    front.does(Does::StallWithinTls(authority.server(HOST, Good::Now), 100));
    let source = in_a_store(&front.url("https"), &bucket, "in/*.ndjson");
    let workspace = believing(&oracle, &authority, &source);
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| front.connections() > 0, "it hangs");
    process.sigterm();
    let told = Instant::now();
    let ended = workspace.end(process, SOON);
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    assert_eq!(ended.code, Some(143), "{}", ended.printed());
}
