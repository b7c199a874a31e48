//! The real binary as a child process: its output captured, its time bounded, and never left behind.
//!
//! Invariant: however the demo ends, a child that still runs is killed by its own id and waited for.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::shutdown::Tasks;

/// How often a child is looked after.
const POLL: Duration = Duration::from_millis(5);
/// The longest a command may take.
const LONGEST: Duration = Duration::from_secs(60);
/// The most that is kept of what a command prints.
const MOST_OUTPUT: u64 = 4 << 20;
/// Of the environment, what a child is given: no credentials, no proxy, no log level of another's.
const ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "TMPDIR", "USER", "LOGNAME"];

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{command}` could not be started: {cause}")]
    Start { command: String, cause: std::io::Error },
    #[error("`{command}` was lost sight of: {cause}")]
    Lost { command: String, cause: std::io::Error },
    #[error("`{command}` did not end within {} s and was killed", LONGEST.as_secs())]
    TooLong { command: String },
}

/// This program, to be run in a folder.
#[derive(Debug)]
pub struct Binary {
    program: PathBuf,
    folder: PathBuf,
}

/// A child that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    output: Tasks<(Stream, Vec<u8>)>,
}

/// How a command ended and what it printed.
#[derive(Debug, Clone)]
pub struct Ended {
    /// As one would type it.
    pub command: String,
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printing {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Out,
    Error,
}

impl Binary {
    /// # Errors
    /// The system does not say where this program is.
    pub fn own(folder: &Path) -> std::io::Result<Binary> {
        Ok(Binary { program: std::env::current_exe()?, folder: folder.to_owned() })
    }

    /// Starts a command. Must be called within a runtime.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, printing: Printing, arguments: &[&str]) -> Result<Running, Error> {
        let kept = ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).env_clear().envs(kept);
        if printing == Printing::Json {
            command.args(["--format", "json"]);
        }
        command.args(arguments);
        Running::start(command, format!("counterflow {}", arguments.join(" ")))
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be started, or takes too long.
    pub async fn run(&self, printing: Printing, arguments: &[&str]) -> Result<Ended, Error> {
        self.start(printing, arguments)?.ended().await
    }
}

impl Running {
    fn start(mut command: Command, said: String) -> Result<Running, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(cause) => return Err(Error::Start { command: said, cause }),
        };
        let mut output = Tasks::default();
        if let Some(pipe) = child.stdout.take() {
            output.spawn_blocking(move || (Stream::Out, all_of(pipe)));
        }
        if let Some(pipe) = child.stderr.take() {
            output.spawn_blocking(move || (Stream::Error, all_of(pipe)));
        }
        Ok(Running { child, command: said, output })
    }

    /// Resolves when the child has ended, or has taken too long. Cancel-safe.
    ///
    /// # Errors
    /// It takes too long; it is killed when the value is dropped.
    pub async fn stopped(&mut self) -> Result<Option<i32>, Error> {
        let end = tokio::time::Instant::now() + LONGEST;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status.code()),
                Ok(None) if tokio::time::Instant::now() >= end => {
                    return Err(Error::TooLong { command: self.command.clone() });
                }
                Ok(None) => tokio::time::sleep(POLL).await,
                Err(cause) => return Err(Error::Lost { command: self.command.clone(), cause }),
            }
        }
    }

    /// Waits for the end, and for all that was printed.
    ///
    /// # Errors
    /// It takes too long.
    pub async fn ended(mut self) -> Result<Ended, Error> {
        let code = self.stopped().await?;
        let (mut stdout, mut stderr) = (String::new(), String::new());
        while let Some((stream, bytes)) = self.output.next().await {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match stream {
                Stream::Out => stdout = text,
                Stream::Error => stderr = text,
            }
        }
        Ok(Ended { command: self.command.clone(), code, stdout, stderr })
    }

    /// Ends it without a word to it, as `kill -9` does.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(mut self) -> Result<Ended, Error> {
        match self.child.kill() {
            Ok(()) => self.ended().await,
            Err(cause) => Err(Error::Lost { command: self.command.clone(), cause }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe that breaks ends the capture; what came before is kept.
fn all_of(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = (&mut pipe).take(MOST_OUTPUT).read_to_end(&mut bytes);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Running::start(command, "counterflow sync crm".to_owned()).unwrap()
    }

    #[tokio::test]
    async fn what_a_child_prints_and_its_exit_code_are_kept() {
        let ended = shell("echo out; echo error >&2; exit 6").ended().await.unwrap();
        assert_eq!(ended.command, "counterflow sync crm");
        assert_eq!(
            (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
            (Some(6), "out\n", "error\n")
        );
    }

    #[tokio::test]
    async fn a_child_is_killed_on_demand_and_when_nobody_waits_for_it() {
        let killed = shell("exec sleep 600").kill().await.unwrap();
        assert_eq!(killed.code, None);
        let running = shell("exec sleep 600");
        let id = running.child.id();
        drop(running);
        assert!(!std::path::Path::new(&format!("/proc/{id}/cmdline")).exists());
    }
}
