//! What is wrong with a store or with what is said of it, each by name; and who is told what.

use super::{ndjson, of_age, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::shared::reads;
use crate::support::oracle::Oracle;
use crate::support::{TOKEN, canaries};

pub fn refused(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    server.files.put(&bucket, "in/people.ndjson", &ndjson(&of_age(1..=20, 0)));
    let mut workspace = workspace(&oracle, &source(server.port, &bucket, "in/*.ndjson", ""));
    // Another secret, which has the canary in it.
    workspace.setup.environment = vec![
        ("OTHER", format!("{TOKEN}x")),
        ("AWS_ACCESS_KEY_ID", "reader".into()),
        ("AWS_SECRET_ACCESS_KEY", TOKEN.into()),
        ("RUST_LOG", "debug".into()),
    ];
    let of = |port: u16, bucket: &str, location: &str| source(port, bucket, location, "");
    let other = of(server.port, &bucket, "in/*.ndjson").replace("${TOKEN}", "${OTHER}");
    let stranger = of(server.port, &bucket, "in/*.ndjson").replace("reader", "stranger");
    let anonymous = format!(
        "lake: {{ store: {{ s3: {{ endpoint: \"http://127.0.0.1:{}\", anonymous: true }} }}, files: {{ people: \"s3://{bucket}/in/*.ndjson\" }} }}",
        server.port
    );
    let unset = of(server.port, &bucket, "in/*.ndjson").replace("${TOKEN}", "${UNSET}");
    for (source, code, words) in [
        (
            of(server.port, "no-such-lake", "in/*.ndjson"),
            1,
            vec!["no bucket `no-such-lake`", "correct the location"],
        ),
        (of(server.port, &bucket, "in/*.csv"), 1, vec!["no object matches", "/in/*.csv"]),
        (
            of(server.port, &bucket, "in/none.ndjson"),
            1,
            vec!["no object `s3://", "in/none.ndjson`", "put the object there"],
        ),
        (other, 1, vec!["refused with 403", "SignatureDoesNotMatch", "credentials"]),
        (stranger, 1, vec!["refused with 403", "InvalidAccessKeyId", "credentials"]),
        (anonymous, 1, vec!["refused with 403", "credentials"]),
        (
            of(1, &bucket, "in/*.ndjson"),
            1,
            vec!["at `http://127.0.0.1:1` cannot be reached", "refused", "`endpoint`"],
        ),
        (unset, 2, vec!["`UNSET` is not set"]),
    ] {
        reads(&workspace, &source);
        for command in [&["sync", "people"], &["validate", "--sources"]] {
            let refused = workspace.run(command);
            let said = refused.printed();
            assert_eq!(refused.code, Some(code), "{command:?}: {source}: {said}");
            for word in words.iter().copied().chain((code == 1).then_some("table `people`")) {
                assert!(said.contains(word), "{command:?}: {source}: no `{word}`\n{said}");
            }
            canaries::assert_none(&said, "what is said of a store");
        }
    }
    // What the file does not say is taken from the environment.
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    workspace.setup.environment.push(("AWS_ENDPOINT_URL", endpoint));
    let short = format!("lake: {{ files: {{ people: \"s3://{bucket}/in/*.ndjson\" }} }}");
    reads(&workspace, &short);
    let synced = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    canaries::assert_none(&synced.finished.printed(), "a run over objects");
    workspace.assert_state_holds_no_canary();
    workspace.run(&["validate"]).expect_code(0);
}
