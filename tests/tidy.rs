//! Style as an ordinary test: the arrows between the rooms (design.md §7), file sizes, and what must not be there.
//!
//! It reads `src/**/*.rs` as text with comments and strings blanked out, so that a word in prose is no import. What
//! clippy denies already (`unwrap`, `dbg!` with its spans, lossy casts) is clippy's to find; `dbg!` and `todo!` are
//! banned here too, as they must not pass even where lints are allowed. The checker is checked: each rule has a planted
//! bad source below that it must find.

#[path = "tidy/code.rs"]
mod code;

use std::collections::BTreeSet;
use std::path::Path;

use self::code::{is_of_word, without_comments_and_strings};

/// Every room with its rank. A room imports only rooms of lower rank; the stations of rank 1 never import one another.
const RANKS: [(&str, u8); 23] = [
    ("domain", 0),
    ("shutdown", 0),
    ("telemetry", 0),
    ("points", 0),
    ("folders", 0),
    ("small_file", 0),
    ("identity", 0),
    ("spill", 0),
    ("source", 1),
    ("delta", 1),
    ("snapshot", 1),
    ("destination", 1),
    ("store", 1),
    ("delivery", 2),
    ("engine", 3),
    ("export", 3),
    ("history", 4),
    ("control", 4),
    ("config", 5),
    ("api", 5),
    ("cli", 5),
    ("demo", 5),
    ("main", 6),
];

/// Who may import whom of rank 5.
const BESIDE: [(&str, &str); 5] =
    [("api", "config"), ("cli", "api"), ("cli", "config"), ("cli", "demo"), ("demo", "config")];

const LONGEST_FILE: usize = 500;

/// Letters of the longest line of a comment; code is rustfmt's to break.
const LONGEST_COMMENT: usize = 130;

/// Files that may be longer, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

const BANNED_NAMES: [&str; 6] =
    ["utils.rs", "util.rs", "types.rs", "common.rs", "helpers.rs", "core.rs"];

/// What the domain must not know: no IO, no async, no clock.
const BANNED_IN_DOMAIN: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "tokio",
    "async ",
    "SystemTime",
    "std::time::Instant",
    "Timestamp::now",
];

/// Tasks are spawned in one place, so that no request outlives the process's word.
const SPAWNS: [&str; 5] =
    ["tokio::spawn", "task::spawn", "thread::spawn", "spawn_local", "JoinSet::"];

/// The wall clock is read in one place, so that the fault kit can step it.
const CLOCKS: [&str; 3] = ["SystemTime::now", "Timestamp::now", "Zoned::now"];

/// What keeps the fault kit's feature out of every build without debug assertions, in `lib.rs`, with blanks for strings.
const GUARD: &str = "#[cfg(all(feature = , not(debug_assertions)))] compile_error!(";

const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// One file of `src`: its path in there with forward slashes, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// The room the file belongs to: its first folder, or the name of a file at the root.
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Everything wrong with these sources, in words.
fn problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let code = without_comments_and_strings(&source.text);
        check_arrows(source, &code, &mut problems);
        check_words(source, &code, &mut problems);
        check_shape(source, &mut problems);
        check_guard(source, &code, &mut problems);
    }
    for (path, reason) in LONG_FILES {
        let is_long = sources
            .iter()
            .any(|source| source.path == path && source.text.lines().count() > LONGEST_FILE);
        if !is_long || reason.is_empty() {
            problems.push(format!("`{path}` needs no exception, or its exception has no reason"));
        }
    }
    problems
}

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(known, _)| *known == room).map(|(_, rank)| *rank)
}

/// A wrong arrow: to a room of a higher rank, from one station to another, or an unlisted one among those of rank 5.
fn check_arrows(source: &Source, code: &str, problems: &mut Vec<String>) {
    let room = source.room();
    if room == "lib" {
        return;
    }
    let Some(from) = rank(room) else {
        problems.push(format!("`{}` is in no known room; give `{room}` a rank", source.path));
        return;
    };
    for imported in imported_rooms(source, code) {
        if imported == room {
            continue;
        }
        match rank(&imported) {
            Some(to) if to < from || from == 0 && to == 0 => {}
            Some(_) if BESIDE.contains(&(room, &imported)) => {}
            Some(to) => problems.push(format!(
                "`{}` (rank {from}) imports `{imported}` (rank {to}): only rooms of lower rank",
                source.path
            )),
            None => problems.push(format!("`{}` imports the unknown `{imported}`", source.path)),
        }
    }
}

/// The rooms named after `crate::`, `counterflow::`, or just enough `super::` to leave the room; groups are opened.
fn imported_rooms(source: &Source, code: &str) -> BTreeSet<String> {
    let depth = source.path.matches('/').count();
    // How many `super::` lead from the file's own module to the crate.
    let to_crate = if source.file_name() == "mod.rs" { depth } else { depth + 1 };
    let mut rooms = BTreeSet::new();
    for prefix in ["crate::", "counterflow::"] {
        for at in beginnings(code, prefix) {
            rooms.extend(first_words(&code[at + prefix.len()..]));
        }
    }
    for at in beginnings(code, "super::").filter(|at| !code[..*at].ends_with("::")) {
        let climbed = code[at..].trim_start_matches("super::");
        let climbs = (code.len() - at - climbed.len()) / "super::".len();
        if climbs == to_crate + inline_modules(&code[..at]) {
            rooms.extend(first_words(climbed));
        }
    }
    rooms.retain(|room| room.chars().next().is_some_and(char::is_lowercase) && room != "self");
    rooms
}

/// Where `prefix` stands in the code, not as the tail of a longer word.
fn beginnings<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_whole = |at: &usize| !code[..*at].chars().next_back().is_some_and(is_of_word);
    code.match_indices(prefix).map(|(at, _)| at).filter(is_whole)
}

/// How many inline modules (`mod tests {`) are open at the end of this code.
fn inline_modules(code: &str) -> usize {
    let mut open = Vec::new();
    for (at, letter) in code.char_indices() {
        match letter {
            '{' => {
                let head = code[..at].trim_end().trim_end_matches(is_of_word).trim_end();
                open.push(
                    head.ends_with("mod") && !head.trim_end_matches("mod").ends_with(is_of_word),
                );
            }
            '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

/// The first word of a path, or of each path in a group.
fn first_words(after: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_of_word(*c)).collect();
    let Some(group) = after.strip_prefix('{') else { return vec![word(after)] };
    let mut words = vec![word(group)];
    let mut open = 0;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => open += 1,
            '}' if open == 0 => break,
            '}' => open -= 1,
            ',' if open == 0 => words.push(word(&group[at + 1..])),
            _ => {}
        }
    }
    words
}

fn check_words(source: &Source, code: &str, problems: &mut Vec<String>) {
    let mut ban = |words: &[&str], why: &str| {
        for (number, line) in code.lines().enumerate() {
            for word in words.iter().filter(|word| has(line, word)) {
                problems.push(format!("`{}` line {}: `{word}`: {why}", source.path, number + 1));
            }
        }
    };
    if source.room() == "domain" {
        ban(&BANNED_IN_DOMAIN, "the domain has no IO, no async, no clock");
    }
    if source.path != "shutdown.rs" {
        ban(&SPAWNS, "tasks are spawned in `shutdown.rs` only; use `shutdown::Tasks`");
    }
    if source.path != "points.rs" {
        ban(&CLOCKS, "the wall clock is read in `points.rs` only; use `points::wall_clock`");
    }
    ban(&UNFINISHED, "nothing unfinished is committed");
}

/// Whether the line has the word, not as the tail of a longer one.
fn has(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| line[..at].chars().next_back().is_none_or(|before| !is_of_word(before)))
}

/// The crate refuses to be built with planted defects and without debug assertions.
fn check_guard(source: &Source, code: &str, problems: &mut Vec<String>) {
    let is_one_line = code.split_whitespace().collect::<Vec<_>>().join(" ").contains(GUARD);
    let is_named = source.text.contains("all(feature = \"faults\", not(debug_assertions))");
    if source.path == "lib.rs" && !(is_one_line && is_named) {
        problems.push(
            "`lib.rs`: no `compile_error!` keeps the feature `faults` out of release builds"
                .to_owned(),
        );
    }
}

fn check_shape(source: &Source, problems: &mut Vec<String>) {
    let path = &source.path;
    let lines = source.text.lines().count();
    let is_excepted = LONG_FILES.iter().any(|(known, _)| known == path);
    if lines > LONGEST_FILE && !is_excepted {
        problems.push(format!("`{path}` has {lines} lines: split it, or say why in LONG_FILES"));
    }
    if lines > 100 && !source.text.starts_with("//!") {
        problems.push(format!("`{path}` has over 100 lines and does not say what it is"));
    }
    for (number, line) in source.text.lines().enumerate() {
        let length = line.chars().count();
        if length > LONGEST_COMMENT && line.trim_start().starts_with("//") {
            problems.push(format!("`{path}` line {}: a comment of {length} letters", number + 1));
        }
    }
    if BANNED_NAMES.contains(&source.file_name()) {
        problems.push(format!("`{path}` has a name that says nothing: name it by domain"));
    }
}

fn read(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("the entry can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("the file is under the root");
            let text = std::fs::read_to_string(&path).expect("the file is text");
            sources.push(Source::new(&name.to_string_lossy().replace('\\', "/"), &text));
        }
    }
}

fn sources_under(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut sources = Vec::new();
    read(&root, &root, &mut sources);
    assert!(!sources.is_empty(), "`{folder}` has sources");
    sources
}

#[test]
fn the_sources_are_tidy() {
    let problems = problems(&sources_under("src"));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_page_has_the_marks_of_a_merge() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = ["", "docs", "benches", "deploy", "tests"].map(|folder| root.join(folder));
    let entries = pages.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let pages: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    assert!(pages.len() > 5, "the pages are found");
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page is text");
        let marks = ["<".repeat(7), ">".repeat(7)];
        let marked = text.lines().find(|line| marks.iter().any(|mark| line.starts_with(mark)));
        assert_eq!(marked, None, "{}", page.display());
    }
}

#[test]
fn the_tests_are_short_and_well_named() {
    let mut problems = Vec::new();
    for source in sources_under("tests") {
        check_shape(&source, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Each rule can fail: a bad source that must be found, and its good twin.
#[cfg(test)]
mod tests {
    use super::*;

    const GUARDED: &str = "#[cfg(all(feature = \"faults\", not(debug_assertions)))]\ncompile_error!(\n    \"no\"\n);\n";

    fn found(path: &str, text: &str) -> usize {
        problems(&[Source::new(path, text)]).len()
    }

    #[test]
    fn an_arrow_upwards_is_found_however_it_is_written() {
        for text in [
            "use crate::engine::run;",
            "use crate::{domain::key, engine};",
            "use crate::{domain::{key, id}, engine::run};",
            "fn f() { crate::engine::run::start(); }",
            "use super::super::engine::run;",
            "pub(in crate::engine) fn f() {}",
            "fn f() { {} }\nmod tests { use super::super::super::engine; }",
        ] {
            assert_eq!(found("delivery/window.rs", text), 1, "{text}");
        }
        assert_eq!(found("delivery/mod.rs", "use super::engine;"), 1);
        assert_eq!(found("shutdown.rs", "use crate::store;"), 1);
        assert_eq!(found("shutdown.rs", "use super::store;"), 1);
        assert_eq!(found("main.rs", "use counterflow::cli; use counterflow::nowhere;"), 1);
    }

    #[test]
    fn an_arrow_downwards_or_within_the_room_is_none() {
        for text in [
            "use crate::domain::key; use crate::destination::answer;",
            "use crate::{domain::{engine, id}, snapshot};",
            "use super::engine; use super::limits::Limits;",
            "use crate::delivery::limits;",
            "use other_crate::engine;",
            "mod tests { use super::super::engine; }",
        ] {
            assert_eq!(found("delivery/window.rs", text), 0, "{text}");
        }
        assert_eq!(found("cli/sync.rs", "use crate::config::load;"), 0);
        assert_eq!(found("lib.rs", &format!("{GUARDED}pub mod engine;")), 0);
    }

    #[test]
    fn stations_never_import_one_another() {
        assert_eq!(found("source/files.rs", "use crate::snapshot::header;"), 1);
        assert_eq!(found("delta/probe.rs", "use super::super::source::read;"), 1);
    }

    #[test]
    fn of_two_rooms_side_by_side_one_imports_the_other() {
        for (path, text) in [
            ("config/load.rs", "use crate::cli::order;"),
            ("config/load.rs", "use crate::api::error;"),
            ("api/syncs.rs", "use crate::cli::failure;"),
            ("api/syncs.rs", "use crate::demo::story;"),
            ("demo/folder.rs", "use crate::api::error;"),
        ] {
            assert_eq!(found(path, text), 1, "{path}: {text}");
        }
        for (path, text) in [
            ("api/syncs.rs", "use crate::config::load;"),
            ("cli/serve.rs", "use crate::{api, config, demo};"),
            ("demo/folder.rs", "use crate::config::load;"),
        ] {
            assert_eq!(found(path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        for text in [
            "// use crate::engine;",
            "/* use crate::engine; /* todo!() */ crate::cli */",
            "/// See crate::engine and `tokio::spawn`.",
            "const A: &str = \"crate::engine \\\" tokio::spawn\";",
            "const A: &str = r#\"crate::engine \" todo!()\"#;",
            "const A: char = '\"'; // crate::engine\nconst B: char = '\\'';",
            "fn f<'a>(text: &'a str) -> &'a str { text } // todo!()",
        ] {
            assert_eq!(found("delta/probe.rs", text), 0, "{text}");
        }
        assert_eq!(found("delta/probe.rs", "const A: char = '\"'; use crate::engine;"), 1);
    }

    #[test]
    fn the_domain_has_no_io_no_async_and_no_clock() {
        for text in [
            "use std::fs;",
            "use tokio::sync::watch;",
            "pub async fn f() {}",
            "fn f() { std::process::exit(1); }",
        ] {
            assert_eq!(found("domain/run.rs", text), 1, "{text}");
        }
        assert_eq!(found("store/runs.rs", "pub async fn f() { std::fs::read(x); }"), 0);
    }

    #[test]
    fn tasks_are_spawned_in_one_place() {
        for text in ["fn f() { tokio::spawn(x); }", "fn f() { std::thread::spawn(x); }"] {
            assert_eq!(found("delivery/worker.rs", text), 1, "{text}");
            assert_eq!(found("shutdown.rs", text), 0, "{text}");
        }
        assert_eq!(found("delivery/worker.rs", "fn f() { tasks.spawn(x); }"), 0);
    }

    #[test]
    fn unfinished_code_unnamed_rooms_and_empty_names_are_found() {
        assert_eq!(found("delta/probe.rs", "fn f() { todo!() }"), 1);
        assert_eq!(found("delta/probe.rs", "fn f() { unimplemented!() }"), 1);
        assert_eq!(found("delta/probe.rs", "fn f() { dbg!(1); }"), 1);
        assert_eq!(found("delta/utils.rs", ""), 1);
        assert_eq!(found("stuff/probe.rs", ""), 1);
    }

    #[test]
    fn planted_defects_without_a_guard_against_release_builds_are_found() {
        assert_eq!(found("lib.rs", GUARDED), 0);
        for text in [
            String::new(),
            format!("/* {GUARDED} */"),
            GUARDED.replace("not(debug_assertions)", "debug_assertions"),
            GUARDED.replace("faults", "others"),
            GUARDED.replace("compile_error", "println"),
        ] {
            assert_eq!(found("lib.rs", &text), 1, "{text}");
        }
    }

    #[test]
    fn the_wall_clock_is_read_in_one_place() {
        let text = "fn f() { std::time::SystemTime::now(); }";
        assert_eq!((found("store/runs.rs", text), found("points.rs", text)), (1, 0));
    }

    #[test]
    fn a_comment_that_is_too_long_is_found() {
        let comment = |count: usize| format!("/// {}", "a".repeat(count));
        assert_eq!(
            (found("delta/a.rs", &comment(126)), found("delta/a.rs", &comment(127))),
            (0, 1)
        );
    }

    #[test]
    fn long_files_are_split_and_say_what_they_are() {
        let lines = |count: usize| format!("//! What it is.\n{}", "\n".repeat(count - 1));
        assert_eq!(found("delta/probe.rs", &lines(500)), 0);
        assert_eq!(found("delta/probe.rs", &lines(501)), 1);
        assert_eq!(found("delta/probe.rs", &"\n".repeat(101)), 1);
    }
}
