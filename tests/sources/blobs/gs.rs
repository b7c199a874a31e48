//! What is played against Google Cloud Storage alone. As the server asks nobody who he is, what stands before it does.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Blobs as _, expect_refused, workspace};
use crate::Scenario;
use crate::servers::gcs::Gcs;
use crate::servers::web::{Asked, Becomes, Web};
use crate::shared::reads;
use crate::stores::{assert_holds, ndjson, of_age};
use crate::support::oracle::Oracle;

pub const SCENARIOS: [Scenario<Gcs>; 1] =
    [("a service account is shown to its store, and a wrong one is named and not told", account)];

const READER: &str = "reader@lake.example.com";

/// The key of a service account, as a file or a variable has it.
fn key(account: &str) -> (String, String) {
    let mut command = Command::new("openssl");
    command.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-quiet"]);
    let made = command.output().expect("`openssl` was found before");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pem = String::from_utf8(made.stdout).expect("PEM is text");
    let secret = pem.lines().nth(2).expect("a key has several lines").to_owned();
    let key = json!({ "type": "service_account", "client_email": account, "private_key": pem, "private_key_id": "k1" });
    (key.to_string(), secret)
}

/// Who asks, by the word that he signed.
fn asking(asked: &Asked) -> Option<String> {
    let mut parts = asked.header("authorization")?.strip_prefix("Bearer ")?.split('.');
    let claims = BASE64_URL_SAFE_NO_PAD.decode(parts.nth(1)?).ok()?;
    parts.next().filter(|signed| signed.len() > 300)?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

fn account(server: &Gcs) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    server.files().put(&bucket, "in/people.ndjson", &ndjson(&of_age(1..=20, 0)));
    let front = Web::start(server.port(), |asked| match asking(asked) {
        Some(account) if account == READER => Becomes::Passed,
        _ => {
            let text = "<Error><Code>AccessDenied</Code><Details>canary</Details></Error>";
            let length = text.len();
            let head = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{text}");
            Becomes::Answered(head.into())
        }
    });
    let anonymous = server.source(front.port, &bucket, "in/*.ndjson");
    let of = |variable: &str| {
        anonymous.replace("anonymous: true", &format!("credentials: \"${{{variable}}}\""))
    };
    let mut workspace = workspace(server, &oracle, &anonymous);
    let ((right, secret), (stranger, other)) = (key(READER), key("stranger@lake.example.com"));
    workspace.write("account.json", &right);
    let broken = right.replace("BEGIN", "began");
    workspace.setup.environment = vec![
        ("GS_KEY", right),
        ("STRANGER", stranger),
        ("BROKEN", broken),
        ("RUST_LOG", "debug".into()),
    ];
    for (source, words) in [
        (anonymous.clone(), vec!["refused with 403 (AccessDenied)", "credentials"]),
        (of("STRANGER"), vec!["refused with 403 (AccessDenied)", "`store: { gs: .. }`"]),
        (of("BROKEN"), vec!["credentials", "correct `store`"]),
    ] {
        let printed = expect_refused(&workspace, &source, &words);
        let is_told = [&secret, &other].iter().any(|secret| printed.contains(secret.as_str()));
        assert!(!is_told && !printed.contains("canary"), "a secret is told: {printed}");
    }
    assert!(oracle.table().is_empty(), "{}", oracle.print());
    reads(&workspace, &of("GS_KEY"));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    workspace.sync(&[]).expect(0, "skipped", &[]);
    // The same account by a file is the same source.
    let by_file = anonymous.replace("anonymous: true", "credentials: \"file:account.json\"");
    reads(&workspace, &by_file);
    workspace.sync(&[]).expect(0, "skipped", &[]);
    assert_holds(&oracle, &of_age(1..=20, 0));
}
