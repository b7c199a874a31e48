//! Whether a sync is paused and by whom, and the commands that change it.
//!
//! Works in the process that runs and beside it. Not responsible for ending a run that goes: the pause asks it to drain as
//! a stop does, and the run sees that by itself.

use std::fmt;

use crate::domain::id::{Instant, RunId};
use crate::store::{Error, Pause, Recorded, Store};

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
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It stands. For a pause: the oldest of the runs that it ends.
    Changed(Option<RunId>),
    /// It was so already, and nothing was written. For a pause: since when and why.
    Already(Option<Paused>),
}

/// Whether the sync is paused: by the record, as long as the config says what it said then.
pub fn paused(sync: &str, recorded: Option<Pause>, configured: bool) -> Option<Paused> {
    let standing = standing(recorded, configured);
    let is_paused = standing.as_ref().map_or(configured, |pause| pause.is_paused);
    is_paused.then(|| Paused { sync: sync.to_owned(), by: standing })
}

/// The record, unless the config has overruled it.
pub fn standing(recorded: Option<Pause>, configured: bool) -> Option<Pause> {
    recorded.filter(|pause| pause.configured == configured)
}

/// Pauses or resumes, and writes down who did and why, or does nothing. Idempotent.
///
/// # Errors
/// The store cannot be read or written; then nothing has changed.
pub async fn change(store: &Store, asked: Asked<'_>, now: Instant) -> Result<Came, Error> {
    let Asked { sync, is_paused, configured, who, message } = asked;
    // One line, as it is shown on terminals and comes from whoever reaches the server.
    let message = Some(message.replace(char::is_control, " "));
    let next = Pause { is_paused, configured, message, who: who.to_owned(), at: now };
    loop {
        let known = store.pause(sync).await?;
        let standing = paused(sync, known.clone(), configured);
        if standing.is_some() == is_paused {
            return Ok(Came::Already(standing));
        }
        if let Recorded::Done(run) = store.record_pause(sync, known.as_ref(), &next).await? {
            return Ok(Came::Changed(run));
        }
    }
}

impl Paused {
    /// Since when, by whom and why, to stand behind `paused`.
    pub fn why(&self) -> String {
        match &self.by {
            None => "by `paused: true` in the config file".to_owned(),
            Some(Pause { message, who, at, .. }) => {
                let why = message.as_ref().map_or(String::new(), |why| format!(": {why}"));
                format!("since {at} by {who}{why}")
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
        Pause { is_paused, configured, message, who: "ada".to_owned(), at: Instant(0) }
    }

    #[test]
    fn a_record_wins_until_the_file_says_something_else() {
        let is_paused = |recorded, configured| paused("crm", recorded, configured).is_some();
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
        let by_ada = paused("crm", Some(recorded(true, false)), false).unwrap();
        assert_eq!(
            by_ada.to_string(),
            "`crm` is paused since 1970-01-01T00:00:00Z by ada: the CRM moves; \
             `counterflow resume crm -m WHY` ends that"
        );
        // A record that the file has overruled is not what pauses.
        let by_file = paused("crm", Some(recorded(false, false)), true).unwrap();
        assert_eq!(
            by_file.to_string(),
            "`crm` is paused by `paused: true` in the config file; `counterflow resume crm -m WHY` ends that"
        );
    }

    #[tokio::test]
    async fn what_is_so_already_is_left_as_it_is_and_not_audited() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let ask = |is_paused, configured, who, message, at| {
            let asked = Asked { sync: "crm", is_paused, configured, who, message };
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
}
