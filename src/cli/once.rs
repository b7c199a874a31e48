//! A command that came with a key, where no server carries it out: a repetition within a day has no second effect.
//!
//! The key is claimed in the transaction of the command's effect (`store::command`); what was answered is kept afterwards.
//! Not responsible for commands that a server carries out: it knows the keys that it was given.

use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

use super::arguments::Command;
use super::exit::{self, Exit};
use super::failure::Failure;
use super::output::{Answered, Output};
use super::state::Place;
use super::{backlog, beside, sample, sync, time};
use crate::engine;
use crate::store::{self, Audited, Claim, Mark};

/// What is said of a command that was carried out before, where its answer is lost.
pub const DONE: &str = "done before, under the same idempotency key; nothing was changed";

/// What is claimed for a command with this key.
pub fn claim(key: Option<String>, command: &Command) -> Result<Option<Claim>, Failure> {
    let Some(key) = key else { return Ok(None) };
    if !command.takes_key() {
        return Err(Failure::usage(
            "this command takes no `--idempotency-key`: no repetition of it does harm; leave it out",
        ));
    }
    // What is in a file is asked as well as what is on the line.
    let chosen = match command {
        Command::Sample { keys: Some(file), .. } => sample::read(file)?,
        _ => Vec::new(),
    };
    let request = format!("{:032x}", xxh3_128(format!("{command:?} {chosen:?}").as_bytes()));
    Ok(Some(Claim { who: time::who(), key, request, at: time::now() }))
}

/// Carries a command out once, and answers a repetition as the first was; the exit code.
pub async fn carried_out(
    place: &Place,
    output: &Output,
    begins_run: bool,
    work: impl Future<Output = u8>,
) -> u8 {
    // What is wrong with the place, the command says itself.
    let (Some(mark), Ok(None)) = (&place.mark, place.server()) else { return work.await };
    let Some(claim) = &mark.claim else { return work.await };
    match again(place, output, claim, begins_run).await {
        Ok(Some(code)) => return code,
        Ok(None) => {}
        Err(failure) => return output.failed(&failure),
    }
    let code = work.await;
    if let Err(failure) = keep(place, output, mark, claim, code).await {
        tracing::warn!(?failure, "the answer to a command could not be kept under its key");
    }
    code
}

/// The answer to a key that was used before.
async fn again(
    place: &Place,
    output: &Output,
    claim: &Claim,
    begins_run: bool,
) -> Result<Option<u8>, Failure> {
    let Ok(Some(store)) = place.beside().await else { return Ok(None) };
    let Some(used) = store.used_key(&claim.who, &claim.key, claim.at).await? else {
        return Ok(None);
    };
    if used.request != claim.request {
        return Err(Failure::usage(
            "this idempotency key was used for another command within the last day; use a new one",
        ));
    }
    if let Some((code, kept)) = used.answer {
        let answered: Answered =
            serde_json::from_str(&kept).map_err(|error| Failure::of(&error))?;
        output.say(answered);
        return Ok(Some(u8::try_from(code).unwrap_or(Exit::Done.code())));
    }
    // The process ended between the effect and its answer.
    match used.audited {
        Some(Audited { command, sync: Some(sync), .. })
            if command == engine::backlog::COMMAND && backlog::settle(place, &sync).await? =>
        {
            Box::pin(again(place, output, claim, begins_run)).await
        }
        Some(Audited { run: Some(run), .. }) if begins_run => {
            let row = store.run(run).await?.ok_or(store::Error::NoRun(run))?;
            let report = beside::of_row(row).ok_or_else(|| {
                Failure::failed(format!(
                    "run {run} was begun under this idempotency key and has no end yet: `counterflow runs` says when it has; \
                     where its process was killed, run again under a new key"
                ))
            })?;
            sync::print(output, &report);
            Ok(Some(exit::of(&report, None).code()))
        }
        audited => {
            let at = audited.map(|audited| audited.at.to_string());
            output.answer(&json!({ "state": "done", "at": at }), || DONE.to_owned());
            Ok(Some(Exit::Done.code()))
        }
    }
}

/// Keeps the answer of a command that had an effect, also where it failed after it, or needed none.
async fn keep(
    place: &Place,
    output: &Output,
    mark: &Mark,
    claim: &Claim,
    code: u8,
) -> Result<(), Failure> {
    let is_done = code == Exit::Done.code() || mark.is_audited();
    let (true, Some(answered), Some(store)) = (is_done, output.answered(), place.beside().await?)
    else {
        return Ok(());
    };
    let kept = serde_json::to_string(answered).expect("an answer is plain text");
    store.keep_answer(claim, u16::from(code), &kept).await?;
    store.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::output::Format;
    use super::*;
    use crate::domain::id::Instant;
    use crate::engine::decisions;
    use crate::store::Store;

    #[tokio::test]
    async fn a_failure_after_the_effect_is_answered_again_and_one_before_it_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("counterflow.yaml");
        std::fs::write(&file, include_str!("starter.yaml")).unwrap();
        let (who, key, request) = (time::who(), "k".to_owned(), "stop".to_owned());
        let claim = Claim { who: who.clone(), key, request, at: Instant(time::now().0) };
        let place = Place::new(file, Some(claim));
        let store = Store::open(&place.state().unwrap()).await.unwrap();
        for (has_effect, words) in [(false, "first"), (true, "second"), (false, "second")] {
            let output = Output::new(Format::Human);
            let work = async {
                if has_effect {
                    let audited = decisions::audited("stop", "crm", "why", &who);
                    place.given(&store).1.audit(&audited).await.unwrap();
                }
                output.failed(&Failure::failed(words.to_owned() + " is still draining"))
            };
            let code = carried_out(&place, &output, false, work).await;
            let answered = output.answered().unwrap();
            assert_eq!((code, answered.is_failure), (Exit::Failed.code(), true), "{answered:?}");
            assert_eq!(answered.words, format!("error: {words} is still draining"));
        }
        store.close().await;
    }
}
