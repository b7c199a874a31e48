//! How a store stands to us, and what models over its objects would give.

use serde_json::json;

use super::{ndjson, of_age, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::shared::reads;
use crate::support::oracle::Oracle;
use crate::support::{TOKEN, canaries};

pub fn doctor(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    for part in 0..3 {
        let key = format!("in/people{part}.ndjson");
        server.files.put(&bucket, &key, &ndjson(&of_age(part * 10 + 1..=part * 10 + 10, 0)));
    }
    let mut workspace = workspace(&oracle, &source(server.port, &bucket, "in/*.ndjson", ""));
    let seen = workspace.json(&["doctor", "lake"])[0].clone();
    let table = &seen["tables"][0];
    assert_eq!((&seen["is_well"], &table["files"]), (&json!(true), &json!(3)), "{seen:#}");
    assert!(table["requests"].as_u64() > Some(0) && table["bytes"].as_u64() > Some(1_000));
    assert!(table["newest"].as_str().is_some_and(|at| at.starts_with('2')), "{seen:#}");
    let said =
        format!("`http://127.0.0.1:{}` by access key `r…`, which the config says", server.port);
    assert_eq!(seen["facts"]["s3"], said, "{seen:#}");
    let writes = "whether it could write is not known, as no store tells without a write";
    assert_eq!(seen["facts"]["read_only"], writes, "{seen:#}");
    assert_eq!(table["could_write"], json!(null), "{seen:#}");
    let human = workspace.run(&["doctor", "lake"]).expect_code(0);
    human.expect_printed(&[
        "3 files",
        "the newest of 2",
        &format!("s3://{bucket}/in/*.ndjson"),
        "listed with",
    ]);
    let seen = workspace.json(&["validate", "--sources"]);
    assert_eq!(seen["models"][0]["fields"][0]["json"], "whole number", "{seen:#}");
    // What is wrong is named, and where a right is from.
    workspace.setup.environment = vec![
        ("AWS_ACCESS_KEY_ID", "stranger".into()),
        ("AWS_SECRET_ACCESS_KEY", TOKEN.into()),
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", server.port)),
    ];
    reads(&workspace, &format!("lake: {{ files: {{ people: \"s3://{bucket}/in/*.ndjson\" }} }}"));
    let refused = workspace.run(&["doctor", "lake"]).expect_code(1);
    canaries::assert_none(&refused.printed(), "what is said of a store");
    refused.expect_printed(&[
        "not well",
        "access key `s…`, which `AWS_ACCESS_KEY_ID` of the environment says",
        "refused with 403",
        "credentials",
    ]);
    workspace.run(&["validate", "--sources"]).expect_code(1).expect_printed(&["refused with 403"]);
}
