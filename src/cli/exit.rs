//! How a command can end, and which number says so (design.md §6).

use super::stopping::Cause;
use crate::domain::run::Outcome;
use crate::engine::report::Report;

/// The meaning of an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Succeeded or skipped.
    Done,
    Failed,
    /// The config or the command line is wrong.
    Usage,
    /// Some records were rejected or invalid.
    Refused,
    /// Deletes wait for a person; wins over `Refused`.
    Held,
    /// Another process has the state.
    Locked,
    /// Stopped by a command.
    Stopped,
    /// SIGINT, after a clean drain.
    Interrupted,
    /// SIGTERM, after a clean drain.
    Terminated,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Held => 4,
            Exit::Locked => 5,
            Exit::Stopped => 6,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

/// The end of a run. `cause`: what stopped it, if anything did; a stop that came too late changes nothing.
pub fn of(report: &Report, cause: Option<Cause>) -> Exit {
    let tally = &report.tally;
    match report.outcome {
        Outcome::Succeeded | Outcome::Skipped => Exit::Done,
        Outcome::Failed if report.is_config_fault => Exit::Usage,
        Outcome::Failed | Outcome::Interrupted => Exit::Failed,
        Outcome::Cancelled => match cause {
            Some(Cause::Interrupt) => Exit::Interrupted,
            Some(Cause::Terminate) => Exit::Terminated,
            Some(Cause::Command) | None => Exit::Stopped,
        },
        Outcome::Partial if tally.held > 0 || !report.holds.is_empty() => Exit::Held,
        // Deferred records were rejected before, and still are.
        Outcome::Partial if tally.rejected + tally.invalid + tally.deferred > 0 => Exit::Refused,
        Outcome::Partial => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RunId;
    use crate::domain::tally::Tally;

    fn ended(outcome: Outcome, tally: Tally, cause: Option<Cause>) -> u8 {
        let report = Report { outcome, tally, ..Report::new(RunId(1), "crm".into()) };
        of(&report, cause).code()
    }

    #[test]
    fn each_end_of_a_run_has_its_code() {
        let clean = Tally::default();
        assert_eq!(ended(Outcome::Succeeded, clean, None), 0);
        assert_eq!(ended(Outcome::Skipped, clean, None), 0);
        assert_eq!(ended(Outcome::Failed, clean, None), 1);
        assert_eq!(ended(Outcome::Cancelled, clean, Some(Cause::Command)), 6);
        assert_eq!(ended(Outcome::Cancelled, clean, Some(Cause::Interrupt)), 130);
        assert_eq!(ended(Outcome::Cancelled, clean, Some(Cause::Terminate)), 143);
    }

    #[test]
    fn held_wins_over_rejected_and_nothing_partial_is_green() {
        let rejected = Tally { rejected: 1, ..Tally::default() };
        let invalid = Tally { invalid: 1, ..Tally::default() };
        let deferred = Tally { deferred: 1, ..Tally::default() };
        for tally in [rejected, invalid, deferred] {
            assert_eq!(ended(Outcome::Partial, tally, None), 3);
            assert_eq!(ended(Outcome::Partial, Tally { held: 1, ..tally }, None), 4);
        }
        assert_eq!(ended(Outcome::Partial, Tally { unknown: 1, ..Tally::default() }, None), 1);
    }

    #[test]
    fn a_stop_that_came_too_late_or_before_a_failure_changes_nothing() {
        for cause in [Cause::Command, Cause::Interrupt, Cause::Terminate] {
            assert_eq!(ended(Outcome::Succeeded, Tally::default(), Some(cause)), 0);
            assert_eq!(ended(Outcome::Failed, Tally::default(), Some(cause)), 1);
        }
    }
}
