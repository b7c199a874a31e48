//! What was measured, as a table: printed, and with `--record` written to `tests/LOAD.md`.

use std::path::Path;
use std::time::Duration;

use crate::evidence::Origin;
use crate::support::process::Process;

/// Rows of what and how much, printed as they come unless they are to be quiet.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<(String, String)>,
    is_quiet: bool,
}

/// How much of a processor a process has had, and the memory that it has.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    processor: Duration,
    /// In bytes.
    memory: u64,
}

impl Figures {
    pub fn new(is_quiet: bool) -> Figures {
        Figures { rows: Vec::new(), is_quiet }
    }

    pub fn add(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        let (what, figure) = (what.into(), figure.into());
        if !self.is_quiet {
            println!("{what}: {figure}");
        }
        self.rows.push((what, figure));
    }

    /// The median, the 99th of a hundred and the longest of these.
    pub fn times(&mut self, what: impl Into<String>, times: &[Duration]) {
        self.add(what, spread(times));
    }

    pub fn write(&self, path: &Path, origin: &Origin) {
        let rows: String =
            self.rows.iter().map(|(what, figure)| format!("| {what} | {figure} |\n")).collect();
        let page = format!("# Load\n\n| | |\n|---|---|\n{}{rows}", origin.rows());
        std::fs::write(path, page).expect("the page can be written");
    }
}

/// The median, the 99th of a hundred and the longest, in words.
pub fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let Some(longest) = sorted.last() else { return "none".to_owned() };
    let shown = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
    format!(
        "p50 {}, p99 {}, max {} ({} of them)",
        shown(at(&sorted, 50)),
        shown(at(&sorted, 99)),
        shown(*longest),
        sorted.len()
    )
}

/// The least of them that so many of a hundred do not exceed; there is at least one.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// What a process has had so far, as the kernel counts it.
pub fn usage(process: &Process) -> Usage {
    /// Of a second, see `proc(5)`; it is 100 on every Linux that people run.
    const TICKS: u64 = 100;
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", process.id()));
    let stat = read("stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    // Fields 14 and 15 of the line, of which the first two are gone.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = read("status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Usage { processor: Duration::from_millis(ticks * 1000 / TICKS), memory: kib.unwrap_or(0) << 10 }
}

impl Usage {
    /// In words, of the time since an earlier one.
    pub fn since(self, earlier: Usage, wall: Duration, peak: u64) -> String {
        let spent = self.processor.saturating_sub(earlier.processor);
        let share = 100.0 * spent.as_secs_f64() / wall.as_secs_f64().max(0.001);
        format!(
            "{} MiB resident, {} MiB at most, {share:.1} % of one core over {:.0} s",
            self.memory >> 20,
            peak >> 20,
            wall.as_secs_f64()
        )
    }
}
