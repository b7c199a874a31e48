//! Compressed texts: what is in them arrives, and what is cut or damaged proves nothing.

use std::io::Write as _;

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv, expected, people};
use crate::support::workspace::{Setup, Workspace};

type Pack = fn(&[u8]) -> Vec<u8>;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("it can be written");
    encoder.finish().expect("it can be finished")
}

/// With a checksum, as the tool of that name writes it: without one a changed letter can go unnoticed.
fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.include_checksum(true).expect("it can have one");
    encoder.write_all(text).expect("it can be written");
    encoder.finish().expect("it can be finished")
}

fn ndjson(people: &[Person]) -> String {
    people.iter().map(|person| format!("{}\n", person.record())).collect()
}

fn workspace(oracle: &Oracle, location: &str) -> Workspace {
    let setup = Setup { max_deletes: Some("100%"), ..Setup::default() };
    Workspace::new(oracle, Setup { location: location.to_owned(), ..setup })
}

/// Under a new inode.
fn write(workspace: &Workspace, bytes: &[u8]) {
    let (next, path) = (workspace.path().join("next"), workspace.path().join(location(workspace)));
    std::fs::write(&next, bytes).expect("a file can be written");
    std::fs::rename(next, path).expect("a file can be renamed");
}

fn location(workspace: &Workspace) -> &str {
    &workspace.setup.location
}

#[test]
fn compressed_rows_arrive_once_and_an_unchanged_file_is_skipped() {
    for (name, pack, text) in [
        ("people.csv.gz", gzip as Pack, csv as fn(&[Person]) -> String),
        ("people.csv.zst", zstd, csv),
        ("people.ndjson.gz", gzip, ndjson),
        ("people.jsonl.zst", zstd, ndjson),
    ] {
        let oracle = Oracle::start(&["id"]);
        let mut workspace = workspace(&oracle, name);
        workspace.change(|setup| setup.rests = true);
        write(&workspace, &pack(text(&people(1..=30)).as_bytes()));
        workspace.wait_until_at_rest();
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 30)]);
        workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
        check_mirror(&oracle, &expected(&people(1..=30)));
        let mut next = people(5..=30);
        next[3].counter += 1;
        // Two parts in one file are one text.
        let (whole, half) = (text(&next), text(&next).len() / 2);
        let (first, second) = whole.as_bytes().split_at(half);
        write(&workspace, &[pack(first), pack(second)].concat());
        workspace.wait_until_at_rest();
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("deletes", 4)]);
        check_mirror(&oracle, &expected(&next));
    }
}

#[test]
fn a_compressed_file_that_is_cut_or_damaged_fails_the_run_and_deletes_nothing() {
    for (name, pack) in [("people.ndjson.gz", gzip as Pack), ("people.csv.zst", zstd)] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, name);
        let text = |people: &[Person]| match name.contains("csv") {
            true => csv(people),
            false => ndjson(people),
        };
        write(&workspace, &pack(text(&people(1..=30)).as_bytes()));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 30)]);
        let whole = pack(text(&people(11..=40)).as_bytes());
        for length in [0, 1, 5, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            write(&workspace, &whole[..length]);
            let report = workspace.sync(&[]).expect(1, "failed", &[("deletes", 0), ("held", 0)]);
            report.finished.expect_printed(&[name, "put the whole file there"]);
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 4;
        write(&workspace, &damaged);
        workspace.sync(&[]).expect(1, "failed", &[("requests", 0), ("deletes", 0), ("held", 0)]);
        assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
        write(&workspace, &whole);
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 10), ("deletes", 10)]);
        check_mirror(&oracle, &expected(&people(11..=40)));
    }
}

/// What was packed had been cut before: the file is whole, its text is not.
#[test]
fn a_text_that_was_cut_before_it_was_compressed_holds_the_deletes() {
    for (name, pack) in [("people.csv.gz", gzip as Pack), ("people.csv.zst", zstd)] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, name);
        let whole = csv(&people(1..=8));
        write(&workspace, &pack(whole.as_bytes()));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 8)]);
        let fifth = whole.match_indices('\n').nth(5).expect("there are nine lines").0;
        write(&workspace, &pack(&whole.as_bytes()[..fifth]));
        let report = workspace.sync(&[]).expect(4, "partial", &[("held", 3), ("deleted", 0)]);
        report.finished.expect_printed(&["ends within a line"]);
        write(&workspace, &pack(whole.as_bytes()));
        workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
        check_mirror(&oracle, &expected(&people(1..=8)));
    }
}
