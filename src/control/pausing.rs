//! Whether a sync is paused and by whom, and the commands that change it.
//!
//! Works in the process that runs and beside it. Not responsible for ending a run that goes: the pause asks it to drain as
//! a stop does, and the run sees that by itself.

use std::fmt;

use crate::domain::id::{Instant, RunId};
use crate::domain::message::one_line;
use crate::store::{Error, Pause, Recorded, Store};

/// Who gives the commands that nobody gave.
pub const SELF: &str = "counterflow";

/// A sync that is paused, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    pub sync: String,
    /// `None`: by the config file.
    pub by: Option<Pause>,
}

/// A command to pause a sync, or to resume it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub sync: &'a str,
    /// Pause; else resume.
    pub is_paused: bool,
    /// What the config says.
    pub configured: bool,
    pub who: &'a str,
    pub message: &'a str,
    /// When a pause ends by itself.
    pub until: Option<Instant>,
    /// A resume is written down though the sync is not paused: it is started all the same.
    pub is_start: bool,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It stands. For a pause: the oldest of the runs that it ends.
    Changed(Option<RunId>),
    /// It was so already, and nothing was written. For a pause: since when and why.
    Already(Option<Paused>),
}

/// Whether the sync is paused `now`: by the record, as long as the config says what it said then. One that was to end by
/// now has ended, whether anybody has written that down or not.
pub fn paused(
    sync: &str,
    recorded: Option<Pause>,
    configured: bool,
    now: Instant,
) -> Option<Paused> {
    let standing = standing(recorded, configured);
    let is_paused = match &standing {
        Some(pause) => pause.is_paused && !is_over(pause, now),
        None => configured,
    };
    is_paused.then(|| Paused { sync: sync.to_owned(), by: standing })
}

/// The record, unless the config has overruled it.
pub fn standing(recorded: Option<Pause>, configured: bool) -> Option<Pause> {
    recorded.filter(|pause| pause.configured == configured)
}

fn is_over(pause: &Pause, now: Instant) -> bool {
    pause.is_paused && pause.until.is_some_and(|until| until <= now)
}

/// Resumes a sync whose pause was to end by `now`, and writes that down; false if there is no such pause.
///
/// # Errors
/// The store cannot be read or written; then nothing has changed.
pub async fn end_what_is_over(store: &Store, sync: &str, now: Instant) -> Result<bool, Error> {
    let Some(pause) = store.pause(sync).await?.filter(|pause| is_over(pause, now)) else {
        return Ok(false);
    };
    let why = pause.message.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let next = Pause {
        is_paused: false,
        message: Some(format!("the pause by {} is over{why}", pause.who)),
        who: SELF.to_owned(),
        // What should have fired since is caught up on.
        at: pause.until.unwrap_or(now),
        until: None,
        configured: pause.configured,
    };
    Ok(store.record_pause(sync, Some(&pause), &next).await? != Recorded::Overtaken)
}

/// Pauses or resumes, and writes down who did and why, or does nothing. Idempotent.
///
/// # Errors
/// The store cannot be read or written; then nothing has changed.
pub async fn change(store: &Store, asked: Asked<'_>, now: Instant) -> Result<Came, Error> {
    loop {
        let known = store.pause(asked.sync).await?;
        let next = match next(asked, known.clone(), now) {
            Ok(next) => next,
            Err(standing) => return Ok(Came::Already(standing)),
        };
        if let Recorded::Done(run) = store.record_pause(asked.sync, known.as_ref(), &next).await? {
            return Ok(Came::Changed(run));
        }
    }
}

/// What is to be recorded in the place of `known`.
///
/// # Errors
/// Nothing: it is so already, with the pause that stands.
pub fn next(asked: Asked<'_>, known: Option<Pause>, now: Instant) -> Result<Pause, Option<Paused>> {
    let Asked { sync, is_paused, configured, who, message, is_start, .. } = asked;
    let until = asked.until.filter(|_| is_paused);
    let standing = paused(sync, known, configured, now);
    // One that is to end at another time than the one that stands is another pause.
    let is_other = standing.as_ref().and_then(|paused| paused.by.as_ref());
    let is_other = is_paused && is_other.is_some_and(|pause| pause.until != until);
    let is_start = is_start && !is_paused;
    if standing.is_some() == is_paused && !is_other && !is_start {
        return Err(standing);
    }
    let message = one_line(message);
    Ok(Pause { is_paused, configured, message, who: who.to_owned(), at: now, until })
}

impl Paused {
    /// Since when, by whom and why, to stand behind `paused`.
    pub fn why(&self) -> String {
        match &self.by {
            None => "by `paused: true` in the config file".to_owned(),
            Some(Pause { message, who, at, until, .. }) => {
                let why = message.as_ref().map_or(String::new(), |why| format!(": {why}"));
                let until = until.map_or(String::new(), |until| format!(" until {until}"));
                format!("since {at}{until} by {who}{why}")
            }
        }
    }
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sync, why) = (&self.sync, self.why());
        write!(f, "`{sync}` is paused {why}; `counterflow resume {sync} -m WHY` ends that")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(is_paused: bool, configured: bool) -> Pause {
        let message = Some("the CRM moves".to_owned());
        Pause { is_paused, configured, message, who: "ada".to_owned(), at: Instant(0), until: None }
    }

    #[test]
    fn a_record_wins_until_the_file_says_something_else() {
        let is_paused =
            |recorded, configured| paused("crm", recorded, configured, Instant(9)).is_some();
        for configured in [false, true] {
            assert_eq!(is_paused(None, configured), configured);
            for word in [false, true] {
                assert_eq!(is_paused(Some(recorded(word, configured)), configured), word);
                assert_eq!(is_paused(Some(recorded(word, !configured)), configured), configured);
            }
        }
    }

    #[test]
    fn whoever_paused_is_named_with_the_way_out() {
        let by_ada = paused("crm", Some(recorded(true, false)), false, Instant(9)).unwrap();
        assert_eq!(
            by_ada.to_string(),
            "`crm` is paused since 1970-01-01T00:00:00Z by ada: the CRM moves; \
             `counterflow resume crm -m WHY` ends that"
        );
        // A record that the file has overruled is not what pauses.
        let by_file = paused("crm", Some(recorded(false, false)), true, Instant(9)).unwrap();
        assert_eq!(
            by_file.to_string(),
            "`crm` is paused by `paused: true` in the config file; `counterflow resume crm -m WHY` ends that"
        );
    }

    #[test]
    fn a_message_that_says_nothing_is_none() {
        let asked = |message| Asked {
            sync: "crm",
            is_paused: true,
            configured: false,
            who: "ada",
            message,
            until: None,
            is_start: false,
        };
        let said = |message| next(asked(message), None, Instant(1)).unwrap().message;
        assert_eq!((said(" \n"), said("a\nmove ").as_deref()), (None, Some("a move")));
    }

    #[tokio::test]
    async fn what_is_so_already_is_left_as_it_is_and_not_audited() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let ask = |is_paused, configured, who, message, at| {
            let (until, is_start) = (None, false);
            let asked = Asked { sync: "crm", is_paused, configured, who, message, until, is_start };
            change(&store, asked, Instant(at))
        };
        assert_eq!(ask(false, false, "ada", "go", 1).await.unwrap(), Came::Already(None));
        let by_file = Paused { sync: "crm".into(), by: None };
        assert_eq!(ask(true, true, "ada", "halt", 2).await.unwrap(), Came::Already(Some(by_file)));
        assert_eq!(store.audit_log(10).await.unwrap(), []);
        assert_eq!(
            ask(true, false, "ada", "halt\n\u{1b}now", 3).await.unwrap(),
            Came::Changed(None)
        );
        let Came::Already(Some(standing)) = ask(true, false, "bob", "me too", 4).await.unwrap()
        else {
            panic!("it is paused already");
        };
        assert_eq!(standing.why(), "since 1970-01-01T00:00:00Z by ada: halt  now");
        assert_eq!(ask(false, false, "bob", "go", 5).await.unwrap(), Came::Changed(None));
        assert_eq!(store.audit_log(10).await.unwrap().len(), 2);
    }
    #[test]
    fn a_pause_that_is_over_is_none_whether_written_down_or_not() {
        let until = |until| Pause { until: Some(Instant(until)), ..recorded(true, false) };
        let is_paused = |pause| paused("crm", Some(pause), false, Instant(9)).is_some();
        assert!(is_paused(until(10)) && !is_paused(until(9)));
        let shown = paused("crm", Some(until(1_000)), false, Instant(9)).unwrap().why();
        assert!(shown.contains("until 1970-01-01T00:00:01Z by ada"), "{shown}");
    }

    #[tokio::test]
    async fn a_pause_with_another_end_is_another_pause_and_one_that_is_over_is_ended_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let pause = |until: Option<i64>| {
            let until = until.map(Instant);
            let asked = Asked {
                sync: "crm",
                is_paused: true,
                configured: false,
                who: "ada",
                message: "lunch",
                until,
                is_start: false,
            };
            change(&store, asked, Instant(1))
        };
        for (until, is_changed) in
            [(Some(50), true), (Some(50), false), (None, true), (None, false), (Some(60), true)]
        {
            let came = pause(until).await.unwrap();
            assert_eq!(matches!(came, Came::Changed(_)), is_changed, "{until:?}");
        }
        assert!(!end_what_is_over(&store, "crm", Instant(59)).await.unwrap());
        assert!(end_what_is_over(&store, "crm", Instant(90)).await.unwrap());
        assert!(!end_what_is_over(&store, "crm", Instant(90)).await.unwrap());
        let resumed = store.pause("crm").await.unwrap().unwrap();
        assert_eq!((resumed.is_paused, resumed.at, resumed.until), (false, Instant(60), None));
        assert_eq!(resumed.message.as_deref(), Some("the pause by ada is over: lunch"));
    }
}
