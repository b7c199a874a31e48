//! `tests/EVIDENCE.md`: what was played and what came of it, written by the program that played it, and by nobody else.
//!
//! The page has a section for each part, and each says at which commit, by which command and on what machine it was played.
//! A part is played and written anew alone or with others; the sections of those that are not asked for stay as they are.
//! The page is written as the play goes on: what is broken off is there, and is called unfinished.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use clap::ValueEnum;

use crate::catalogue::{COMMAND, quoted};

/// What can be played and written for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    Catalogue,
    Planted,
    Kills,
    Histories,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Catalogue, Part::Planted, Part::Kills, Part::Histories];

    fn heading(self) -> &'static str {
        match self {
            Part::Catalogue => "The catalogue",
            Part::Planted => "Planted defects",
            Part::Kills => "Kills of the real binary",
            Part::Histories => "Histories of the pure core",
        }
    }
}

/// What of the environment plants a defect, in the product or in the judge.
const PLANTED_BY: [&str; 2] = ["KIT_DEFECT", "COUNTERFLOW_DEFECT"];

/// Since when, at which commit and by which command a part is played.
#[derive(Debug)]
pub struct Origin {
    commit: String,
    command: String,
    begun: SystemTime,
    since: Instant,
}

impl Origin {
    /// Now, by the command and with the planted defect that this process was started with.
    pub fn now() -> Origin {
        let words: Vec<String> = std::env::args().skip(1).map(|word| word_of(&word)).collect();
        let set = |name: &str| std::env::var(name).ok().map(|value| format!("{name}={value} "));
        let planted: String = PLANTED_BY.into_iter().filter_map(set).collect();
        let command = if is_optimised() { "tests/faults/optimised" } else { COMMAND };
        let command = format!("{planted}{command} {}", words.join(" "));
        Origin { commit: commit(), command, begun: SystemTime::now(), since: Instant::now() }
    }

    pub fn took(&self) -> Duration {
        self.since.elapsed()
    }

    /// The rows of a table of two columns.
    pub fn rows(&self) -> String {
        let Origin { commit: at, command, .. } = self;
        let now = commit();
        let moved = if now == *at { "" } else { "; **it was another one at the end**" };
        let (begun, took) = (httpdate::fmt_http_date(self.begun), self.took().as_secs());
        format!(
            "| commit | {at}{moved} |\n| again | `{command}` |\n| begun, took | {begun}, {took} s |\n| build | {} |\n| machine | {} |\n",
            build(),
            machine()
        )
    }
}

fn word_of(word: &str) -> String {
    let is_plain = word.chars().all(|c| c.is_alphanumeric() || "-_=,./".contains(c));
    if is_plain { word.to_owned() } else { quoted(word) }
}

/// The page on the disk.
#[derive(Debug)]
pub struct Page {
    path: PathBuf,
    sections: BTreeMap<Part, String>,
}

const BEGINNING: &str = "# Evidence

What became of the product under each fault of its catalogue, in numbers that the program wrote that played it.
*Not measured* is not passed. Where none of *n* independent trials failed, the rule of three bounds the rate of failures: it
is below 3/*n* with 95 % confidence.
";
const UNFINISHED: &str = "**unfinished**";

impl Page {
    /// Reads the page; its sections of `anew` are dropped.
    pub fn open(path: PathBuf, anew: &[Part]) -> Page {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut sections = BTreeMap::new();
        for section in text.split("\n## ").skip(1) {
            let Some((heading, body)) = section.split_once('\n') else { continue };
            let part = Part::ALL.into_iter().find(|part| part.heading() == heading);
            if let Some(part) = part.filter(|part| !anew.contains(part)) {
                sections.insert(part, body.trim().to_owned());
            }
        }
        Page { path, sections }
    }

    /// Writes a part as far as it has come; `came` is what came of it in a line, `body` all of it.
    pub fn write(&mut self, part: Part, origin: &Origin, is_over: bool, came: &str, body: &str) {
        let state = if is_over { "" } else { &format!("{UNFINISHED}: ") };
        let rows = origin.rows();
        let section = format!("| | |\n|---|---|\n{rows}| came of it | {state}{came} |\n\n{body}");
        self.sections.insert(part, section.trim().to_owned());
        let next = self.path.with_extension("md.next");
        std::fs::write(&next, self.text()).expect("the page can be written");
        std::fs::rename(next, &self.path).expect("the page can be put in its place");
    }

    fn text(&self) -> String {
        let mut page = String::from(BEGINNING);
        let is_finished = |part: &Part| {
            self.sections.get(part).is_some_and(|section| !section.contains(UNFINISHED))
        };
        let lacking: Vec<&str> = Part::ALL
            .into_iter()
            .filter(|part| !is_finished(part))
            .map(|part| part.heading())
            .collect();
        if !lacking.is_empty() {
            let _ = writeln!(page, "\nNot played, or not to the end: {}.", lacking.join(", "));
        }
        for (part, section) in &self.sections {
            let _ = write!(page, "\n## {}\n\n{section}\n", part.heading());
        }
        page
    }
}

/// Text as a cell of a table: one line, not too long.
pub fn cell(text: &str) -> String {
    const LONGEST: usize = 600;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_cut = line.chars().count() > LONGEST;
    let line: String = line.chars().take(LONGEST).collect();
    format!("{}{}", line.replace('|', "\\|"), if is_cut { " ..." } else { "" })
}

/// A failure as a cell: what is wrong, without the story and the requests, and the command that plays it again.
pub fn failure(said: &str) -> String {
    let what = said.split("the story:").next().unwrap_or_default();
    let again = said.lines().rev().find_map(|line| {
        let line = line.trim();
        line.strip_prefix("again: ").or_else(|| line.strip_prefix("replay: "))
    });
    let again = again.map_or(String::new(), |command| format!("; again: `{command}`"));
    format!("{}{again}", cell(what))
}

/// What failures among so many independent trials say of the rate.
pub fn bound(failures: u64, trials: u64, what: &str) -> String {
    if failures > 0 || trials == 0 {
        return format!("{failures} of {trials} {what} failed");
    }
    // Shown only.
    let bound = 3.0 / f64::from(u32::try_from(trials).unwrap_or(u32::MAX));
    format!(
        "0 of {trials} {what} failed; by the rule of three the rate is below 3/{trials} = {bound:.1e} with 95 % confidence"
    )
}

/// The commit that is checked out, and what differs from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    };
    let Some(hash) = git(&["rev-parse", "HEAD"]) else { return "not known".to_owned() };
    let Some(changes) =
        git(&["status", "--porcelain", "--", ".", ":!tests/EVIDENCE.md*", ":!tests/LOAD.md*"])
    else {
        return format!("`{hash}`, **and nobody knows what differs from it**");
    };
    let changed: Vec<&str> = changes.lines().filter_map(|line| line.get(3..)).collect();
    match changed.len() {
        0 => format!("`{hash}`, unchanged"),
        count => {
            format!("`{hash}` **with changes** in {count} files: {}", cell(&changed.join(" ")))
        }
    }
}

fn build() -> String {
    if is_optimised() {
        return "dependencies at optimisation level 3, the package itself at 1 with debug assertions, the feature `faults`".to_owned();
    }
    let said = |profile: &str| std::env::var(format!("CARGO_PROFILE_{profile}_OPT_LEVEL")).ok();
    let manifest = include_str!("../../Cargo.toml");
    let written = |profile: &str| {
        let section = manifest.split(&format!("[profile.{profile}]")).nth(1)?;
        let section = section.split("\n[").next()?;
        let line = section.lines().find_map(|line| line.strip_prefix("opt-level"))?;
        Some(line.trim_start_matches([' ', '=']).to_owned())
    };
    let level = said("TEST").or_else(|| said("DEV")).or_else(|| written("test"));
    let level = level.or_else(|| written("dev")).unwrap_or_else(|| "0".to_owned());
    let kind = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!("{kind}, optimisation level {level}, the feature `faults`")
}

/// Whether this is the build of `tests/faults/optimised`.
fn is_optimised() -> bool {
    let program = std::env::current_exe().expect("this program has a path");
    program.components().any(|part| part.as_os_str() == "release")
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        total.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    let memory = memory.map_or(String::new(), |kib| format!(", {} GiB of memory", kib >> 20));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    // What a builder has added to the version says nothing to others.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{cores} cores{memory}, {system} {kernel} {processor}")
}
