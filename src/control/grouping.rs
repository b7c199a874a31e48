//! Starting and stopping all syncs of a group at once.
//!
//! Works in the process that runs and beside it. Not responsible for carrying the runs of a start out: only a server can.
//! Invariant: each sync is changed as by its own command, and audited so, all of them with the runs of a start or none; one
//! that is so already is left as it is.

use super::pausing::{self, Asked};
use crate::domain::id::{Instant, RunId};
use crate::domain::message::one_line;
use crate::domain::run::Trigger;
use crate::store::{Audited, Error, NewRun, PauseChange, Store};

/// A command to a group.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    pub group: &'a str,
    /// Start; else stop.
    pub is_start: bool,
    pub who: &'a str,
    pub message: &'a str,
}

/// A sync of the group.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub sync: &'a str,
    /// What the config says of its being paused.
    pub configured: bool,
    /// A start runs it too, unless it goes or waits already.
    pub is_run: bool,
}

/// What the command came to for one sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub sync: String,
    pub is_changed: bool,
    /// Of a stop: the oldest of the runs that it ends. Of a start: the run that goes or waits.
    pub run: Option<RunId>,
    /// The run waits since this command.
    pub is_begun: bool,
}

/// Stops or starts every sync. A stop is a pause; a start ends it, and is written down for a sync that does nothing as well,
/// so that its next result is told apart from its last.
///
/// # Errors
/// The store cannot be read or written; then nothing has changed.
pub async fn change(
    store: &Store,
    command: Command<'_>,
    syncs: &[Part<'_>],
    now: Instant,
) -> Result<Vec<Member>, Error> {
    let Command { group, is_start, who, message } = command;
    let message = one_line(message);
    let of_sync = message.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let of_sync = format!("group `{group}`{of_sync}");
    let audited = Audited {
        at: now,
        who: who.to_owned(),
        command: format!("group {} {group}", if is_start { "start" } else { "stop" }),
        sync: None,
        run: None,
        message,
    };
    loop {
        let (unfinished, pauses) = (store.unfinished().await?, store.pauses().await?);
        let (mut members, mut changes, mut begun) = (Vec::new(), Vec::new(), Vec::new());
        for Part { sync, configured, is_run } in syncs {
            let going = unfinished.iter().find(|run| run.sync == *sync && run.stop.is_none());
            let asked = Asked {
                sync,
                is_paused: !is_start,
                configured: *configured,
                who,
                message: &of_sync,
                until: None,
                is_start: is_start && going.is_none(),
            };
            let known = pauses.get(*sync).cloned();
            let next = pausing::next(asked, known.clone(), now);
            let (sync, is_changed) = ((*sync).to_owned(), next.is_ok());
            let run = going.filter(|_| is_start).map(|run| run.id);
            if is_start && *is_run && run.is_none() {
                let new = NewRun { sync: sync.clone(), choice: None, trigger: Trigger::Api };
                let (command, message) = ("sync".to_owned(), Some(of_sync.clone()));
                let sync = Some(sync.clone());
                begun.push((new, Audited { command, sync, message, ..audited.clone() }));
            }
            members.push(Member { sync: sync.clone(), is_changed, run, is_begun: false });
            changes.extend(next.map(|next| PauseChange { sync, known, next }));
        }
        let recorded = store.record_pauses(&audited, &changes, &begun).await?;
        let Some((ended, new)) = recorded else { continue };
        if !is_start {
            let changed = members.iter_mut().filter(|member| member.is_changed);
            changed.zip(ended).for_each(|(member, run)| member.run = run);
        }
        for ((NewRun { sync, .. }, _), run) in begun.iter().zip(new) {
            let of_it = members.iter_mut().filter(|member| member.sync == *sync);
            of_it.for_each(|member| (member.run, member.is_begun) = (Some(run), true));
        }
        return Ok(members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Trigger;
    use crate::store::StopRequest;

    #[tokio::test]
    async fn all_of_a_group_stop_and_start_and_a_second_command_changes_nothing_b4() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let run = store.create_run("a", None, Trigger::Api, Instant(0)).await.unwrap();
        let part = |sync, configured| Part { sync, configured, is_run: false };
        let syncs = [part("a", false), part("b", false), part("c", true)];
        let say = |is_start| {
            let command = Command { group: "crm", is_start, who: "ada", message: "night" };
            change(&store, command, &syncs, Instant(1))
        };
        let member = |sync: &str, is_changed, run| Member {
            sync: sync.into(),
            is_changed,
            run,
            is_begun: false,
        };
        let stopped = say(false).await.unwrap();
        let expected =
            [member("a", true, Some(run)), member("b", true, None), member("c", false, None)];
        assert_eq!(stopped, expected);
        assert_eq!(store.stop_requested(run).await.unwrap(), Some(StopRequest::Drain));
        assert!(say(false).await.unwrap().iter().all(|member| !member.is_changed));
        let started = say(true).await.unwrap();
        assert!(started.iter().all(|member| member.is_changed && member.run.is_none()));
        let run = store.create_run("b", None, Trigger::Api, Instant(2)).await.unwrap();
        let again = say(true).await.unwrap();
        assert_eq!(again[1], member("b", false, Some(run)), "what goes already is left alone");
        let log = store.audit_log(20).await.unwrap();
        let commands = log.iter().filter(|one| one.command == "group stop crm").count();
        assert_eq!(commands, 2);
        let pause = log.iter().find(|one| one.command == "pause").unwrap();
        assert_eq!(pause.message.as_deref(), Some("group `crm`: night"));
    }
}
