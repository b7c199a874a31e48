//! `tests/EVIDENCE.md`: what was played at one commit and what came of it, written by the program that played it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::runner::{Came, Ended};

/// Everything that was played.
#[derive(Debug, Default)]
pub struct Evidence {
    pub scenarios: Vec<Ended>,
    /// What scenarios, kills and histories counted, in words.
    pub figures: Vec<String>,
    /// Each planted defect, the scenario that must find it, and what it said; `None` where it found nothing.
    pub planted: Vec<(String, String, Option<String>)>,
    /// The command that plays all of it again.
    pub command: String,
}

impl Evidence {
    /// Writes the page.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, self.page())
    }

    fn page(&self) -> String {
        let mut page = String::from(BEGINNING);
        let at = commit().unwrap_or_else(|| "a commit that is not known".to_owned());
        let _ = writeln!(page, "Played at {at} by `{}`.\n", self.command);
        page.push_str("## The catalogue\n\n| entry | what must be | came of it |\n|---|---|---|\n");
        for result in &self.scenarios {
            let came = match &result.came {
                Came::Passed => format!("passed in {:.1} s", result.took.as_secs_f64()),
                Came::Failed(_) => "**failed**".to_owned(),
                Came::NotMeasured(why) => format!("not measured: {why}"),
            };
            let (id, name) = (result.scenario.id, result.scenario.name);
            let _ = writeln!(page, "| {id} | {name} | {came} |");
        }
        page.push_str("\n## Figures\n\n");
        self.figures.iter().for_each(|figure| {
            let _ = writeln!(page, "- {figure}");
        });
        page.push_str("\n## Planted defects\n\n| defect | who must find it | what was said |\n|---|---|---|\n");
        for (defect, by, said) in &self.planted {
            let said = said.as_deref().unwrap_or("**missed**").replace('|', "\\|");
            let _ = writeln!(page, "| `{defect}` | {by} | {said} |");
        }
        page
    }
}

const BEGINNING: &str = "# Evidence

What became of the product under each fault of its catalogue. The page is written by the program that played it; nothing in it was
written by hand. An entry that could not be played says why, and does not count as passed. No failure in *n* independent
trials bounds the rate of failures at 3/*n* (with 95 % confidence).

";

/// The commit that is checked out, and whether something differs from it.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--", "src", "tests", "Cargo.lock"])?;
    let is_clean = if changes.is_empty() { "" } else { " with changes" };
    Some(format!("commit `{hash}`{is_clean}"))
}
