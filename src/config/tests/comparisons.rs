//! What one file changes of another: each edit by itself, and any of them together.

use proptest::prelude::*;

use super::*;
use crate::config::compare::{Account, Changes, Part, compare};

/// An edit of the good file, and what it is noticed as.
struct Edit {
    from: &'static str,
    to: &'static str,
    notice: fn(&mut Changes),
}

fn sync(changes: &mut Changes, part: Part) {
    changes.syncs.entry("people".to_owned()).or_default().insert(part);
}

fn account(changes: &mut Changes, part: Account) {
    changes.connections.entry("crm".to_owned()).or_default().insert(part);
}

const EDITS: [Edit; 13] = [
    Edit {
        from: "SELECT id, email FROM customers",
        to: "SELECT * FROM customers",
        notice: |changes| sync(changes, Part::Definition),
    },
    Edit {
        from: "/people/batch",
        to: "/persons/batch",
        notice: |changes| sync(changes, Part::Definition),
    },
    Edit {
        from: "drain_timeout: 20s",
        to: "drain_timeout: 21s",
        notice: |changes| sync(changes, Part::Definition),
    },
    Edit { from: "*/15 *", to: "*/16 *", notice: |changes| sync(changes, Part::Schedule) },
    Edit {
        from: "    mode: mirror\n",
        to: "    mode: mirror\n    paused: true\n",
        notice: |changes| sync(changes, Part::Paused),
    },
    Edit {
        from: "    key: [id]\n",
        to: "    key: [id]\n    priority: high\n",
        notice: |changes| sync(changes, Part::Place),
    },
    Edit {
        from: "    guard: ",
        to: "    fail_above_rejected: 7\n    guard: ",
        notice: |changes| sync(changes, Part::Judgement),
    },
    Edit { from: "50/s", to: "60/s", notice: |changes| account(changes, Account::Budget) },
    Edit {
        from: "/v1/",
        to: "/v2/",
        notice: |changes| {
            account(changes, Account::Definition);
            sync(changes, Part::Definition);
        },
    },
    Edit {
        from: "bearer: ${TOKEN}",
        to: "bearer: ${OTHER}",
        notice: |changes| {
            account(changes, Account::Definition);
            account(changes, Account::Credentials);
            sync(changes, Part::Definition);
        },
    },
    Edit {
        from: "customers.csv",
        to: "clients.csv",
        notice: |changes| {
            changes.sources.insert("lake".to_owned());
            sync(changes, Part::Definition);
        },
    },
    Edit {
        from: "\nsources:\n",
        to: "\nmemory_limit: 64MiB\ngroups: {night: {max_running: 1}}\nsources:\n",
        notice: |changes| {
            changes.settings.insert("memory_limit");
            changes.groups.insert("night".to_owned());
        },
    },
    Edit {
        from: "\nmodels:\n",
        to: "\nserver: {listen: \"127.0.0.1:9\"}\nmodels:\n",
        notice: |changes| {
            changes.at_next_start.insert("server.listen");
        },
    },
];

fn both(name: &str) -> Option<String> {
    environment(name).or_else(|| (name == "OTHER").then(|| "another-token".to_owned()))
}

/// The good file with those edits whose bit is set, in a folder that stays the same.
fn edited(folder: &Path, bits: u32) -> Config {
    let mut text = GOOD.to_owned();
    for (index, Edit { from, to, .. }) in EDITS.iter().enumerate() {
        if bits >> index & 1 == 1 {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
    }
    let path = folder.join("counterflow.yaml");
    std::fs::write(&path, text).unwrap();
    load_with(&path, &both).unwrap()
}

/// Makes sure that what differs is noticed, and nothing else.
fn check(folder: &Path, old: u32, new: u32) {
    let mut expected = Changes::default();
    for (index, edit) in EDITS.iter().enumerate() {
        if (old ^ new) >> index & 1 == 1 {
            (edit.notice)(&mut expected);
        }
    }
    let (old, new) = (edited(folder, old), edited(folder, new));
    assert_eq!(compare(&old, &new), expected);
    assert_eq!(old.content.revision == new.content.revision, expected.is_empty());
    assert!(compare(&new, &new.clone()).is_empty());
}

#[test]
fn each_edit_is_noticed_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..EDITS.len() {
        check(folder.path(), 0, 1 << index);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn any_edits_together_are_noticed_and_nothing_else(
        old in 0..1_u32 << EDITS.len(),
        new in 0..1_u32 << EDITS.len(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), old, new);
    }
}

#[test]
fn syncs_come_and_go_by_name() {
    let other = GOOD.replace("  people:\n", "  persons:\n");
    let (one, two) = (load_text(GOOD).unwrap(), load_text(&other).unwrap());
    let changes = compare(&one, &two);
    assert!(changes.added.contains("persons") && changes.removed.contains("people"));
    assert_eq!(
        changes.words(),
        "syncs added: `persons`; syncs removed: `people`; sources changed: `lake`"
    );
}

#[test]
fn comments_and_secrets_make_no_revision_and_another_secret_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counterflow.yaml");
    std::fs::write(&path, GOOD).unwrap();
    let one = load_with(&path, &environment).unwrap();
    let other = |_: &str| Some("another-token".to_owned());
    std::fs::write(&path, format!("# why\n{GOOD}")).unwrap();
    let two = load_with(&path, &other).unwrap();
    assert_eq!(one.content.revision, two.content.revision);
    assert_eq!(one.content.revision.len(), 12);
    let mut expected = Changes::default();
    account(&mut expected, Account::Credentials);
    sync(&mut expected, Part::Definition);
    assert_eq!(compare(&one, &two), expected);
}
