//! What a run that is In Queue waits for, in words: the first of the limits that is in its way.
//!
//! Pure, over the runs that go, as the store has them, and what only the server knows, queries that were left behind: a process
//! beside it asks for its words.
//! Not responsible for the limits themselves (`queue`).

use std::collections::BTreeMap;
use std::fmt;

use super::queue::{Limits, Place};
use crate::domain::id::RunId;

/// How the words of [`Wait::Turn`] begin.
pub const TURN: &str = "its turn";

/// What a server knows beside the state.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// It starts, or puts another config in place.
    pub is_reinitializing: bool,
    /// Syncs whose runs wait for the end of a query, each with the run that left it behind.
    pub left_behind: LeftBehind,
}

/// The run that left it behind, by sync.
pub type LeftBehind = BTreeMap<String, RunId>;

/// A run that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun<'a> {
    pub sync: &'a str,
    pub run: RunId,
    /// That of its sync.
    pub group: Option<&'a str>,
    /// It starts up.
    pub is_starting: bool,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The run of its own sync that goes.
    Own(RunId),
    /// The limit of all runs.
    Limit { going: usize, limit: usize },
    /// The limit of its group.
    Group { group: String, limit: usize },
    /// Another's start-up.
    StartUp { sync: String, run: RunId },
    /// The query that a run of its sync has left behind.
    Query(RunId),
    /// Nothing but its turn.
    Turn { connection: String },
}

/// The first of the limits that is in the way of this sync's run. `left_behind`: the run whose query still goes on.
pub fn wait(
    limits: &Limits,
    sync: &str,
    place: &Place,
    begun: &[Begun],
    left_behind: Option<RunId>,
) -> Wait {
    if let Some(own) = begun.iter().find(|run| run.sync == sync) {
        return Wait::Own(own.run);
    }
    if begun.len() >= limits.running {
        return Wait::Limit { going: begun.len(), limit: limits.running };
    }
    if let Some(group) = &place.group
        && let Some(limit) = limits.groups.get(group)
        && begun.iter().filter(|run| run.group == Some(group)).count() >= *limit
    {
        return Wait::Group { group: group.clone(), limit: *limit };
    }
    if let Some(Begun { sync, run, .. }) = begun.iter().find(|run| run.is_starting) {
        return Wait::StartUp { sync: (*sync).to_owned(), run: *run };
    }
    left_behind.map_or_else(|| Wait::Turn { connection: place.connection.clone() }, Wait::Query)
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Own(run) => write!(f, "the end of run {run}"),
            Wait::Limit { going, limit } => write!(
                f,
                "one of the {going} runs that go; at most {limit} go at once (`max_running` of `server`)"
            ),
            Wait::Group { group, limit } => write!(
                f,
                "a place in group `{group}`; at most {limit} of it go at once (its `max_running`)"
            ),
            Wait::StartUp { sync, run } => {
                write!(f, "the start-up of `{sync}`, run {run}; one starts up at a time")
            }
            Wait::Query(run) => write!(f, "the end of a query that run {run} left behind"),
            Wait::Turn { connection } => write!(f, "{TURN} in the queue of `{connection}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun<'a>(sync: &'a str, group: Option<&'a str>, is_starting: bool) -> Begun<'a> {
        Begun { sync, run: RunId(7), group, is_starting }
    }

    #[test]
    fn the_first_limit_that_is_in_the_way_is_named_b9() {
        let limits = Limits { running: 3, groups: BTreeMap::from([("night".to_owned(), 1)]) };
        let place = Place {
            connection: "crm".to_owned(),
            group: Some("night".to_owned()),
            ..Place::default()
        };
        let told = |begun: &[Begun]| wait(&limits, "a", &place, begun, None).to_string();
        assert_eq!(told(&[]), "its turn in the queue of `crm`");
        let left_behind = wait(&limits, "a", &place, &[], Some(RunId(6))).to_string();
        assert_eq!(left_behind, "the end of a query that run 6 left behind");
        let other = begun("b", None, false);
        assert_eq!(told(&[other]), "its turn in the queue of `crm`");
        let starts = begun("c", Some("day"), true);
        assert!(told(&[other, starts]).starts_with("the start-up of `c`, run 7;"));
        let same = begun("d", Some("night"), true);
        assert!(told(&[other, same]).starts_with("a place in group `night`; at most 1"));
        assert!(told(&[other, same, starts]).contains("the 3 runs that go; at most 3"));
        assert_eq!(told(&[begun("a", None, false), other, same]), "the end of run 7");
    }
}
