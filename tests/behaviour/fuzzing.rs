//! The fuzz targets' bodies over their committed seeds, and over mutations of them that are the same at each run. What finds
//! new inputs is cargo-fuzz (CONTRIBUTING.md); this keeps what it found, and the bodies, working.
//!
//! A seed's name says what comes of it: `ok-` is accepted, `bad-` is not.

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;

use std::panic::catch_unwind;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use bodies::TARGETS;

/// Mutations of each target's seeds; `FUZZ_MUTATIONS` asks for more.
const MUTATIONS: usize = 2_000;

/// Pieces that readers treat in a way of their own.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"{{",
    b"}}",
    b"${",
    b"[",
    b"{",
    b"\n",
    b"\r\n",
    b",",
    b"/",
    b"~",
    b"*",
    b"-",
    b": ",
    b"&a ",
    b"*a",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\xef\xbb\xbf",
    b"\xe9",
    b"9223372036854775808",
    b"1e999",
];

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("each target has seeds");
    let mut seeds: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("the seeds can be listed").path();
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (name, std::fs::read(path).expect("a seed can be read"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// Runs a body; a panic names the input, so that it can become a seed.
fn run(target: &str, body: fn(&[u8]) -> bool, input: &[u8]) -> bool {
    catch_unwind(|| body(input)).unwrap_or_else(|_| {
        let shown = String::from_utf8_lossy(input);
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("`{target}` panicked on this input, which should become a seed:\n{shown}\nin hexadecimal: {hex}")
    })
}

/// One to four small changes.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        let end = random.random_range(at..=input.len().min(at + 16));
        match random.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random(),
            2 => drop(input.drain(at..end)),
            3 => {
                let copied = input[at..end].to_vec();
                input.splice(at..at, copied);
            }
            4 => input.truncate(at.max(1)),
            5 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let to = other.len().min(from + 40);
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                input.splice(at..end, piece.iter().copied());
            }
        }
    }
}

#[test]
fn each_seed_is_accepted_or_refused_as_its_name_says() {
    for (target, body) in TARGETS {
        let seeds = seeds(target);
        for (name, seed) in &seeds {
            let is_accepted = run(target, body, seed);
            let is_right = match name.split('-').next() {
                Some("ok") => is_accepted,
                Some("bad") => !is_accepted,
                _ => true,
            };
            assert!(is_right, "seed `{name}` of `{target}`: accepted is {is_accepted}");
        }
        let count = |word| seeds.iter().filter(|(name, _)| name.starts_with(word)).count();
        assert!(count("ok-") > 0 && count("bad-") > 0, "`{target}` has seeds of both kinds");
    }
}

#[track_caller]
fn mutations_of(target: &str) {
    let asked = std::env::var("FUZZ_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let (seeds, mut random) = (seeds(target), StdRng::seed_from_u64(20_260_101));
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a known target");
    let (mut accepted, total) = (0, asked.unwrap_or(MUTATIONS));
    for number in 0..total {
        let mut input = seeds[number % seeds.len()].1.clone();
        let other = &seeds[random.random_range(0..seeds.len())].1;
        mutate(&mut input, other, &mut random);
        accepted += usize::from(run(target, body, &input));
    }
    println!("{target}: {accepted} of {total} mutations were accepted");
    assert!(accepted > 0 && accepted < total, "{accepted} of {total} accepted: it reaches nothing");
}

#[test]
fn no_mutated_config_is_more_than_refused_i12() {
    mutations_of("config");
}

#[test]
fn no_mutated_cron_line_fires_backwards() {
    mutations_of("cron");
}

#[test]
fn no_mutated_csv_depends_on_how_it_is_read() {
    mutations_of("csv");
}

#[test]
fn no_mutated_arrow_file_depends_on_how_it_is_read() {
    mutations_of("ipc");
}

#[test]
fn no_mutated_journal_is_more_than_damaged() {
    mutations_of("journal");
}

#[test]
fn no_mutated_answer_delivers_what_it_does_not_say() {
    mutations_of("judge");
}

#[test]
fn no_mutated_nested_value_depends_on_what_carries_it() {
    mutations_of("nested");
}

#[test]
fn no_mutated_ndjson_loses_a_member_or_a_digit() {
    mutations_of("ndjson");
}

#[test]
fn no_mutated_snapshot_is_more_than_damaged() {
    mutations_of("snapshot");
}

#[test]
fn no_mutated_template_makes_another_request() {
    mutations_of("template");
}
