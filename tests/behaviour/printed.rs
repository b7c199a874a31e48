//! What is printed for others to read: the schema of the config file for editors, completions for shells.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

/// A folder without a config.
fn workspace() -> Workspace {
    let workspace = Workspace::new(&Oracle::start(&["id"]), Setup::default());
    std::fs::remove_file(workspace.path().join("counterflow.yaml")).expect("it is there");
    workspace
}

/// A config with something of everything, in the part of YAML that is JSON.
fn config() -> Value {
    let request = |path: &str| {
        json!({
            "post": path,
            "batch": { "records": 10, "bytes": "1MiB" },
            "headers": { "X-Team": "sales" },
            "body": { "json": { "records": { "each": "{{record}}" } } },
            "idempotency": { "header": null, "repeat": "natural" },
            "outcome": [
                { "status": [200, "2xx"], "decode": "json", "then": { "per_record": {
                    "by": "index", "items": "/results", "status": "/status", "delivered": ["ok"],
                } } },
                { "status": 409, "when": { "/error": "busy" }, "then": "retry" },
            ],
        })
    };
    json!({
        "state": "./state",
        "memory_limit": "512MB",
        "server": { "listen": "127.0.0.1:0", "hosts": ["sync.example.com"], "max_running": 2 },
        "delivery_log": { "path": "log" },
        "history": { "runs": "90d", "audit": "never" },
        "sources": { "lake": { "files": {
            "people": { "csv": "people.csv", "columns": { "id": "BIGINT" }, "rewritten": { "marker": "_SUCCESS" } },
        } } },
        "models": { "people": { "source": "lake", "sql": "SELECT * FROM people", "primary_key": ["id"] } },
        "connections": { "crm": {
            "http": { "base_url": "http://127.0.0.1:9", "headers": { "X-Team": "sales" }, "auth": { "bearer": "${TOKEN}" },
                "identify": { "get": "/me", "account": "/id" },
            },
            "concurrency": 2,
            "rate_limit": "50/s",
            "retry": { "attempts": 3 },
        } },
        "groups": { "sales": { "max_running": 1 } },
        "syncs": { "people": {
            "model": "people",
            "connection": "crm",
            "mode": "mirror",
            "group": "sales",
            "schedule": { "every": "15m" },
            "mapping": { "id": "id", "email": "lower(email)" },
            "guard": { "max_deletes": "10%" },
            "upsert": request("/people"),
            "delete": request("/people/gone"),
        } },
    })
}

/// The pointers to all maps of the value.
fn maps(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.push(pointer.to_owned());
            for (key, value) in map {
                maps(
                    value,
                    &format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.for_each(|(index, item)| maps(item, &format!("{pointer}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn the_schema_and_validate_refuse_an_unknown_key_at_the_same_places_and_accept_the_same_file() {
    let workspace = workspace();
    let schema = workspace.run(&["schema"]).expect_code(0);
    assert!(schema.stdout.lines().count() > 100, "for people it stands on many lines");
    let schema = schema.json();
    assert_eq!(workspace.json(&["schema"]), schema);
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let judge = |config: &Value| {
        workspace.write("counterflow.yaml", &config.to_string());
        let said = workspace.run(&["validate"]);
        let is_unknown = said.printed().contains("unknown key `colour`");
        (validator.is_valid(config), said.code == Some(0), is_unknown)
    };
    let good = config();
    assert_eq!(judge(&good), (true, true, false), "{:#?}", workspace.run(&["validate"]));
    let mut places = Vec::new();
    maps(&good, "", &mut places);
    let mut refused = Vec::new();
    for place in &places {
        let mut config = good.clone();
        config.pointer_mut(place).expect("it is there")["colour"] = json!(["red"]);
        let (is_valid, is_accepted, is_unknown) = judge(&config);
        assert!(!is_valid || !is_unknown, "only validate refuses it at `{place}`");
        assert!(is_valid || !is_accepted, "only the schema refuses it at `{place}`");
        if is_unknown {
            refused.push(place.as_str());
        }
    }
    for place in ["", "/server", "/history", "/sources/lake", "/connections/crm/retry"] {
        assert!(refused.contains(&place), "`{place}` in {refused:?}");
    }
    for place in ["", "/guard", "/upsert", "/upsert/outcome/1", "/delete/outcome/0/then/per_record"]
    {
        let place = format!("/syncs/people{place}");
        assert!(refused.contains(&place.as_str()), "`{place}` in {refused:?}");
    }
}

/// What bash offers for the word at the end of the line, with these completions.
fn offered(script: &str, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let ask = format!(
        "{script}\nCOMP_WORDS=({line}); COMP_CWORD={}; _counterflow counterflow '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let mut bash = Command::new("bash")
        .args(["--norc", "--noprofile", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a bash");
    bash.stdin.take().expect("it is piped").write_all(ask.as_bytes()).expect("bash reads");
    let answered = bash.wait_with_output().expect("bash ends");
    assert!(answered.status.success(), "{answered:?}");
    String::from_utf8_lossy(&answered.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_commands_and_their_options_by_what_is_printed_for_it() {
    let workspace = workspace();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = workspace.run(&["completions", shell]).expect_code(0);
        for word in ["counterflow", "rebaseline", "discard-backlog"] {
            assert!(printed.stdout.contains(word), "`{word}` for {shell}");
        }
        let document = workspace.json(&["completions", shell]);
        assert_eq!(document["shell"], shell);
        assert_eq!(document["script"].as_str().map(str::trim_end), Some(printed.stdout.trim_end()));
    }
    let script = workspace.run(&["completions", "bash"]).expect_code(0).stdout;
    let commands = ["reload", "release", "rebaseline", "resume", "rejected"];
    let mut offer = offered(&script, "counterflow re");
    offer.sort();
    let mut wanted = commands.map(str::to_owned).to_vec();
    wanted.sort();
    assert_eq!(offer, wanted);
    assert_eq!(offered(&script, "counterflow pause --disc"), ["--discard-backlog"]);
    assert_eq!(offered(&script, "counterflow group st"), ["start", "stop", "status"]);
    workspace.run(&["completions", "csh"]).expect_code(2).expect_printed(&["bash", "zsh", "fish"]);
}
