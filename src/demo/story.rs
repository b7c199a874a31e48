//! What the steps of the story are made of: running a command, comparing, and writing the account.
//!
//! Not responsible for the plot (`steps`). Invariant: nothing is told as equal that was not compared record by record.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::account::{Account, Command, Compared, Step};
use super::child::{self, Binary, Ended, Printing, Running};
use super::compare::{Comparison, compare};
use super::destination::{Counts, Destination};
use super::faults::Temper;
use super::folder::Folder;
use super::narrate::{Teller, told, unplayed};
use super::object::Object;
use super::source;
use crate::engine::report::Report;

/// What the story is told with.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub seed: u64,
    pub is_kept: bool,
}

/// Why the story could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{}` cannot be used for the demo's files: {cause}; name a folder with room, that you may write to, in `TMPDIR`",
        .folder.display()
    )]
    Folder { folder: PathBuf, cause: io::Error },
    #[error("the demo's destination cannot listen: {0}")]
    Listen(io::Error),
    #[error(transparent)]
    Child(#[from] child::Error),
    #[error("`{command}` ended with exit code {code} where {expected} was expected: {why}")]
    Exit { command: String, code: String, expected: i32, why: String },
    #[error("`{command}` printed no report: {cause}")]
    Report { command: String, cause: serde_json::Error },
    #[error("{0}")]
    Plot(&'static str),
}

impl Error {
    pub(super) fn of_folder(folder: &Path) -> impl FnOnce(io::Error) -> Error {
        let folder = folder.to_owned();
        |cause| Error::Folder { folder, cause }
    }
}

/// How the destination must compare with the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Equal,
    /// Equal, but that it lacks this one record.
    Lacks(Object, String),
    /// It differs, as something was interrupted.
    Interrupted(Object),
}

/// The story while it is told. Children are killed when it is dropped, and the folder is removed.
pub(super) struct Story {
    pub teller: Teller,
    pub destination: Destination,
    binary: Binary,
    pub folder: Folder,
    account: Account,
    /// Orders that the source once had: their sync never deletes.
    once: BTreeSet<String>,
    begun: Instant,
}

impl Story {
    pub async fn begin(setting: Setting, mut teller: Teller) -> Result<Story, Error> {
        let begun = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let destination =
            Destination::start(address, setting.seed, Temper::Bad).await.map_err(Error::Listen)?;
        let folder = Folder::make(&destination.base_url(), setting.is_kept)
            .map_err(Error::of_folder(&std::env::temp_dir()))?;
        let binary = Binary::own(folder.path()).map_err(Error::of_folder(folder.path()))?;
        teller.title(&format!("Counterflow demo, seed {}", setting.seed));
        teller.say(&format!(
            "A small shop's customers and orders, and some airlines and flights, are kept in step with \
             an API that misbehaves: it is at {}, inside this process. Files and state are in {}{}. \
             Nothing leaves this machine.",
            destination.base_url(),
            folder.path().display(),
            if setting.is_kept { "" } else { " and are removed at the end" },
        ));
        let account = Account {
            seed: setting.seed,
            folder: setting.is_kept.then(|| folder.path().to_owned()),
            steps: Vec::new(),
            destination: destination.counts(),
            problems: Vec::new(),
            is_equal: false,
            seconds: 0.0,
        };
        Ok(Story { teller, destination, binary, folder, account, once: BTreeSet::new(), begun })
    }

    pub fn step(&mut self, name: &'static str, title: &str) {
        self.account.steps.push(Step { name, commands: Vec::new(), comparisons: Vec::new() });
        self.teller.chapter(self.account.steps.len(), title);
    }

    /// Runs a sync to its end, which must have this exit code; its report.
    pub async fn sync(
        &mut self,
        object: Object,
        more: &[&str],
        expected: i32,
    ) -> Result<Report, Error> {
        let running = self.start_sync(object, more)?;
        self.end_sync(running, expected).await
    }

    pub fn start_sync(&mut self, object: Object, more: &[&str]) -> Result<Running, Error> {
        let mut arguments = vec!["sync", object.sync()];
        arguments.extend_from_slice(more);
        self.teller.command(&format!("counterflow {}", arguments.join(" ")));
        Ok(self.binary.start(Printing::Json, &arguments)?)
    }

    pub async fn end_sync(&mut self, running: Running, expected: i32) -> Result<Report, Error> {
        let ended = running.ended().await?;
        let report = serde_json::from_str::<Report>(&ended.stdout);
        self.note(&ended, report.as_ref().ok());
        check(&ended, expected)?;
        let report =
            report.map_err(|cause| Error::Report { command: ended.command.clone(), cause })?;
        self.teller.printed(&told(&report));
        Ok(report)
    }

    /// Runs a command that must end well, and shows the first lines of what it prints.
    pub async fn show(&mut self, arguments: &[&str], lines: usize) -> Result<String, Error> {
        self.teller.command(&format!("counterflow {}", arguments.join(" ")));
        let ended = self.binary.run(Printing::Text, arguments).await?;
        self.note(&ended, None);
        check(&ended, 0)?;
        let shown: Vec<&str> = ended.stdout.lines().take(lines).collect();
        self.teller.printed(&shown.join("\n"));
        Ok(ended.stdout)
    }

    /// Starts a command and tells it.
    pub fn start(&mut self, arguments: &[&str]) -> Result<Running, Error> {
        self.teller.command(&format!("counterflow {}", arguments.join(" ")));
        Ok(self.binary.start(Printing::Text, arguments)?)
    }

    /// Waits for what `start` started.
    pub async fn end_started(&mut self, running: Running) -> Result<(), Error> {
        let ended = running.ended().await?;
        self.note(&ended, None);
        check(&ended, 0)?;
        self.teller.printed(&ended.stdout);
        Ok(())
    }

    /// Kills a child as `kill -9` does.
    pub async fn kill(&mut self, running: Running) -> Result<(), Error> {
        let ended = running.kill().await?;
        self.note(&ended, None);
        match ended.code {
            None => Ok(()),
            Some(_) => Err(Error::Plot("the run ended before it could be killed")),
        }
    }

    /// Runs a command that nobody needs to hear of; what it prints.
    pub async fn ask(&self, arguments: &[&str]) -> Result<String, Error> {
        let ended = self.binary.run(Printing::Json, arguments).await?;
        check(&ended, 0)?;
        Ok(ended.stdout)
    }

    /// Compares every object, record by record, and tells it. What is not as expected is a problem in the account.
    pub fn compare(&mut self, when: &'static str, expected: &Expected) -> Result<(), Error> {
        let mut objects = Vec::with_capacity(Object::ALL.len());
        for object in Object::ALL {
            let source = source::records(self.folder.path(), object)
                .map_err(Error::of_folder(self.folder.path()))?;
            if !object.is_mirrored() {
                self.once.extend(source.keys().cloned());
            }
            let kept = if object.is_mirrored() { &BTreeSet::new() } else { &self.once };
            objects.push(compare(object, &source, &self.destination.records(object), kept));
        }
        let problems = objects.iter().filter_map(|one| problem(one, expected));
        self.account.problems.extend(problems.map(|problem| format!("{when}: {problem}")));
        self.account.is_equal = objects.iter().all(Comparison::is_equal);
        self.teller.comparison(&objects);
        if let Some(step) = self.account.steps.last_mut() {
            step.comparisons.push(Compared { when, objects });
        }
        Ok(())
    }

    /// A claim of the plot about a run; what does not hold is a problem in the account.
    pub fn claim(&mut self, holds: bool, what: &str) {
        if !holds {
            self.account.problems.push(what.to_owned());
        }
    }

    /// Tells what it all came to, and takes down the scene.
    pub async fn end(self) -> Account {
        let Story { mut teller, destination, folder, mut account, begun, .. } = self;
        let counts = destination.counts();
        destination.end().await;
        account
            .problems
            .extend(unplayed(&counts).iter().map(|fault| format!("never played: {fault}")));
        account.destination = counts;
        account.seconds = begun.elapsed().as_secs_f64();
        tell_end(&mut teller, &account, &account.destination);
        drop(folder);
        account
    }

    fn note(&mut self, ended: &Ended, report: Option<&Report>) {
        if let Some(step) = self.account.steps.last_mut() {
            let (command, exit) = (ended.command.clone(), ended.code);
            step.commands.push(Command { command, exit, report: report.cloned() });
        }
    }
}

fn check(ended: &Ended, expected: i32) -> Result<(), Error> {
    if ended.code == Some(expected) {
        return Ok(());
    }
    let code = ended.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let said = [&ended.stdout, &ended.stderr].map(|text| text.trim().to_owned());
    let why = error_of_report(&ended.stdout).unwrap_or_else(|| {
        said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    });
    Err(Error::Exit { command: ended.command.clone(), code, expected, why })
}

/// What a command that prints JSON says went wrong, if it does.
fn error_of_report(stdout: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(stdout).ok()?;
    document["error"].as_str().map(str::to_owned)
}

/// What is wrong with a comparison, in words.
fn problem(comparison: &Comparison, expected: &Expected) -> Option<String> {
    let is_as_expected = match expected {
        Expected::Lacks(object, key) if *object == comparison.object => {
            let (missing, others) = (comparison.missing, comparison.extra + comparison.stale);
            (missing, others) == (1, 0) && comparison.examples == [key.as_str()]
        }
        Expected::Interrupted(object) if *object == comparison.object => !comparison.is_equal(),
        _ => comparison.is_equal(),
    };
    let Comparison { object, missing, extra, stale, examples, .. } = comparison;
    (!is_as_expected).then(|| {
        format!(
            "{}: {missing} missing, {extra} extra, {stale} stale, such as {}",
            object.name(),
            if examples.is_empty() { "none".to_owned() } else { examples.join(", ") }
        )
    })
}

fn tell_end(teller: &mut Teller, account: &Account, counts: &Counts) {
    teller.title("What it came to");
    teller.counts(counts);
    if account.is_well() {
        teller.say(&format!(
            "In the end the destination holds exactly what the source holds. It took {:.0} s.",
            account.seconds
        ));
    } else {
        teller.say("Not all is as it must be:");
        for problem in &account.problems {
            teller.printed(problem);
        }
    }
    if let Some(folder) = &account.folder {
        teller.say(&format!(
            "Config, state and files are kept in {}: try `counterflow runs` and `counterflow status` there.",
            folder.display()
        ));
    }
    teller.title("What to do next");
    teller.printed(
        "counterflow init              writes `counterflow.yaml`: put your table, query and API in\n\
         counterflow validate          names everything that is wrong with it\n\
         counterflow plan SYNC         shows what a run would send; sends nothing\n\
         counterflow sync SYNC         runs it\n\
         counterflow serve             runs all of them by their schedules, and takes commands over HTTP\n\
         counterflow demo --serve      keeps this destination up, for `config.example.yaml` and your own tries\n\
         config.example.yaml           has every key there is, with what it means",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(missing: usize, extra: usize, stale: usize) -> Comparison {
        Comparison {
            object: Object::Orders,
            source: 10,
            destination: 10,
            equal: 10,
            missing,
            extra,
            stale,
            kept: 0,
            examples: vec!["A/1".to_owned(); missing + extra + stale],
        }
    }

    #[test]
    fn a_record_that_is_missing_extra_or_stale_is_a_problem_with_its_key() {
        for differing in [comparison(1, 0, 0), comparison(0, 1, 0), comparison(0, 0, 1)] {
            assert!(problem(&differing, &Expected::Equal).unwrap().contains("A/1"));
        }
        assert_eq!(problem(&comparison(0, 0, 0), &Expected::Equal), None);
    }

    #[test]
    fn what_must_be_lacking_must_be_exactly_that() {
        let lacks = |key: &str| Expected::Lacks(Object::Orders, key.to_owned());
        assert_eq!(problem(&comparison(1, 0, 0), &lacks("A/1")), None);
        assert!(problem(&comparison(1, 0, 0), &lacks("A/2")).is_some());
        assert!(problem(&comparison(0, 0, 0), &lacks("A/1")).is_some());
        assert!(problem(&comparison(1, 0, 1), &lacks("A/1")).is_some());
        let elsewhere = Expected::Lacks(Object::Customers, "A/1".to_owned());
        assert!(problem(&comparison(1, 0, 0), &elsewhere).is_some());
    }

    #[test]
    fn an_interruption_must_be_seen() {
        let interrupted = Expected::Interrupted(Object::Orders);
        assert_eq!(problem(&comparison(0, 0, 3), &interrupted), None);
        assert!(problem(&comparison(0, 0, 0), &interrupted).is_some());
    }

    #[test]
    fn a_command_that_failed_is_told_by_the_error_of_its_report() {
        let ended = |stdout: &str| Ended {
            command: "counterflow sync crm".to_owned(),
            code: Some(1),
            stdout: stdout.to_owned(),
            stderr: String::new(),
        };
        let told = |stdout| check(&ended(stdout), 0).unwrap_err().to_string();
        assert_eq!(
            told(r#"{"run":1,"error":"the disk is full; make room"}"#),
            "`counterflow sync crm` ended with exit code 1 where 0 was expected: the disk is full; make room"
        );
        assert!(
            told(r#"{"run":1,"error":null}"#).contains(r#""run":1"#),
            "there is no more to tell"
        );
        assert!(told("no JSON").ends_with("no JSON"));
    }
}
