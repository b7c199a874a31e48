//! The real binary as a process: started, watched, signalled by its own id, and never left behind.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Between two looks at what no event tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    ended: Receiver<(Stream, Vec<u8>)>,
    said: String,
    started: Instant,
}

/// How a process ended and what it printed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    pub ended: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Error,
}

impl Process {
    /// Starts `counterflow` with exactly these arguments and, of the environment, what is named here, `PATH`, and a
    /// planted defect.
    pub fn spawn(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Process {
        Process::spawn_under(&[], folder, args, environment)
    }

    /// As `spawn`, with another program and its arguments in front.
    pub fn spawn_under(
        front: &[&str],
        folder: &Path,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let binary = [env!("CARGO_BIN_EXE_counterflow")];
        let line = [front, &binary, args].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(folder).env_clear();
        let kept = ["PATH", "TMPDIR"];
        command.envs(std::env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept)));
        command.envs(std::env::var_os("KIT_DEFECT").map(|defect| ("COUNTERFLOW_DEFECT", defect)));
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().expect("it was built with the tests, or is on this machine");
        let (tell, ended) = channel();
        let read = |stream, mut pipe: Box<dyn Read + Send>| {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // A pipe that breaks ends the capture; what came before is kept.
                let _ = pipe.read_to_end(&mut bytes);
                let _ = tell.send((stream, bytes));
            });
        };
        read(Stream::Out, Box::new(child.stdout.take().expect("the output is piped")));
        read(Stream::Error, Box::new(child.stderr.take().expect("the errors are piped")));
        Process { child, ended, said: line.join(" "), started: Instant::now() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&self) -> bool {
        // Field 3 of the line, after the name in brackets: a process that ended and was not waited for is a zombie.
        let line = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let state = line.ok().and_then(|line| line.rsplit(") ").next()?.chars().next());
        state.is_some_and(|state| state != 'Z')
    }

    /// The memory that it has had at most so far, in bytes; 0 where it has ended.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let kibibytes = status.ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        });
        kibibytes.unwrap_or(0) << 10
    }

    /// Waits for the end of the process; the memory that it had at most, in bytes, as far as could be seen.
    pub fn peak_memory(&self) -> u64 {
        let mut peak = 0;
        while self.is_running() {
            peak = peak.max(self.most_memory());
            std::thread::sleep(LOOK_AGAIN);
        }
        peak
    }

    /// Ends the process without a word to it.
    pub fn sigkill(&self) {
        self.signal("KILL");
    }

    pub fn sigterm(&self) {
        self.signal("TERM");
    }

    pub fn sigint(&self) {
        self.signal("INT");
    }

    /// Kills the process and takes what it left.
    pub fn kill(self) -> Finished {
        self.sigkill();
        let finished = self.wait(super::SOON);
        assert_eq!(finished.signal, Some(9), "killed, not ended by itself: {finished:#?}");
        finished
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// After `timeout`, having killed the process.
    #[track_caller]
    pub fn wait(mut self, timeout: Duration) -> Finished {
        let deadline = Instant::now() + timeout;
        let (mut stdout, mut stderr) = (String::new(), String::new());
        for _ in [Stream::Out, Stream::Error] {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((stream, bytes)) = self.ended.recv_timeout(left) else {
                panic!("`{}` has not ended within {timeout:?}", self.said);
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match stream {
                Stream::Out => stdout = text,
                Stream::Error => stderr = text,
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        Finished {
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
            took: self.started.elapsed(),
            ended: Instant::now(),
        }
    }

    /// Sends the signal of this name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("`kill` is there").success(), "signal {name} reaches {id}");
    }

    /// Sends the signal of this name; when it had been sent, without the time that it takes to start `kill`.
    pub fn signal_at(&self, name: &str) -> Instant {
        self.signal(name);
        Instant::now()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where the process has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// # Panics
    /// If the exit code is another one; shows what was printed.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Finished {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim())
            .unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Everything printed.
    pub fn printed(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn expect_printed(self, words: &[&str]) -> Finished {
        let printed = self.printed();
        for word in words {
            assert!(printed.contains(word), "`{word}` is not named: {self:#?}");
        }
        self
    }
}
