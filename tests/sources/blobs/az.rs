//! What is played against Azure Blob Storage alone.

use super::{Blobs as _, expect_refused, workspace};
use crate::Scenario;
use crate::servers::azurite::{Azurite, key, signature};
use crate::shared::reads;
use crate::stores::{assert_holds, ndjson, of_age};
use crate::support::oracle::Oracle;

pub const SCENARIOS: [Scenario<Azurite>; 1] =
    [("what is wrong with a container or a key is named and no secret is told", refused)];

fn refused(server: &Azurite) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    server.files().put(&bucket, "in/people.ndjson", &ndjson(&of_age(1..=20, 0)));
    let right = server.source(server.port(), &bucket, "in/*.ndjson");
    let mut workspace = workspace(server, &oracle, &right);
    // Keys of another account, and what is no key at all.
    let (other, broken) = (format!("AAAA{}", key()), format!("{}-", key()));
    let said = signature();
    let flawed = said.replace("sp=rwdlc", "sp=rwdlca");
    workspace.setup.environment.extend([
        ("OTHER", other.clone()),
        ("BROKEN", broken),
        ("SIGNED", said.clone()),
        ("FLAWED", flawed.clone()),
        ("RUST_LOG", "debug".into()),
    ]);
    let by_key = "access_key: \"${AZ_KEY}\"";
    for (source, words) in [
        (
            right.replace(&bucket, "no-such-lake"),
            vec!["no container `no-such-lake`", "ContainerNotFound", "correct the location"],
        ),
        (right.replace("*.ndjson", "*.csv"), vec!["no object matches", "/in/*.csv"]),
        (
            right.replace("*.ndjson", "none.ndjson"),
            vec!["no object `az://", "in/none.ndjson`", "put the object there"],
        ),
        (right.replace("AZ_KEY", "OTHER"), vec!["refused with 403", "credentials"]),
        (right.replace("AZ_KEY", "BROKEN"), vec!["credentials", "correct `store`"]),
        (
            right.replace(by_key, "sas_token: \"${FLAWED}\""),
            vec!["refused with 403", "credentials"],
        ),
        (right.replace(by_key, "anonymous: true"), vec!["refused with 403", "credentials"]),
    ] {
        let printed = expect_refused(&workspace, &source, &words);
        let told = [key(), other.clone(), said.clone(), flawed.clone()];
        let signed = said.rsplit("sig=").next().expect("it has one");
        for secret in told.iter().map(String::as_str).chain([signed]) {
            assert!(!printed.contains(secret), "a secret is told: {printed}");
        }
    }
    assert!(oracle.table().is_empty(), "{}", oracle.print());
    // A signature is as good as a key.
    reads(&workspace, &right.replace(by_key, "sas_token: \"${SIGNED}\""));
    let synced = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    assert!(!synced.finished.printed().contains(&said), "a secret is told");
    assert_holds(&oracle, &of_age(1..=20, 0));
    workspace.assert_state_holds_no_canary();
}
