//! What the fuzz targets do with their input: hand it to one reader of the product and hold what comes out against what must
//! be true of any input. A body panics if that is broken, and says whether the input was accepted.
//!
//! Shared by the targets (`fuzz_targets/`) and by `cargo test` (`tests/behaviour/fuzzing.rs`).

mod config;
mod cron;
mod csv;
mod files;
mod ipc;
mod journal;
mod judge;
mod mysql;
mod ndjson;
mod nested;
mod postgres;
mod snapshot;
mod template;

pub use config::fuzz_config;
pub use cron::fuzz_cron;
pub use csv::fuzz_csv;
pub use ipc::fuzz_ipc;
pub use journal::fuzz_journal;
pub use judge::fuzz_judge;
pub use mysql::fuzz_mysql;
pub use ndjson::fuzz_ndjson;
pub use nested::fuzz_nested;
pub use postgres::fuzz_postgres;
pub use snapshot::fuzz_snapshot;
pub use template::fuzz_template;

/// A target's name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]) -> bool);

pub const TARGETS: [Target; 12] = [
    ("config", fuzz_config),
    ("cron", fuzz_cron),
    ("csv", fuzz_csv),
    ("ipc", fuzz_ipc),
    ("journal", fuzz_journal),
    ("judge", fuzz_judge),
    ("mysql", fuzz_mysql),
    ("ndjson", fuzz_ndjson),
    ("nested", fuzz_nested),
    ("postgres", fuzz_postgres),
    ("snapshot", fuzz_snapshot),
    ("template", fuzz_template),
];

/// Takes what a target chooses by off the front of its input; zeros at its end.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    fn line(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        line
    }

    /// As many bytes as the two before them say, or what is left.
    fn part(&mut self) -> &'a [u8] {
        let length = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        let (part, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        part
    }
}
