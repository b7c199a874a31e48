//! YAML text → a config or its problems. Guards: whatever the text is, it is one or the other; no secret is in either (I12).

use std::path::Path;

use counterflow::config;

const SECRET: &str = "canary-secret-b1946ac9";

/// The input is the text of a config file; each variable of the environment that it asks for holds the same secret.
pub fn fuzz_config(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    // Devices that a `file:` may name have no end.
    if text.contains("/dev") || text.contains("/proc") || text.contains("canary") {
        return false;
    }
    let path = Path::new("/nowhere/counterflow.yaml");
    match config::load_text(path, text, &|_| Some(SECRET.to_owned())) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains(SECRET), "I12: a config prints a secret");
            for sync in &config.syncs {
                config.sources_of(sync).for_each(drop);
                config.connection_of(sync);
            }
            true
        }
        Err(problems) => {
            let (json, fancy) = (problems.to_json(), problems.fancy(false));
            let printed = format!("{problems} {problems:?} {json} {fancy}");
            assert!(!printed.contains(SECRET), "I12: a problem prints a secret: {printed}");
            assert!(!problems.list().is_empty(), "a refusal names a problem");
            for problem in problems.list() {
                assert!(!problem.what.is_empty(), "{problem:?}");
            }
            false
        }
    }
}
