//! The real binary as a process: started, watched, signalled by its own id, and never left behind.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Between two looks at what no event tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long a process may be looked at until it ends.
const LONGEST_LOOK: Duration = Duration::from_secs(120);

/// The groups of processes that are there.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A running process with all that it has started, which are a group; killed when dropped.
pub struct Process {
    child: Child,
    ended: Receiver<(Stream, Vec<u8>)>,
    said: String,
    started: Instant,
    /// The file that it writes to instead of its standard error.
    log: Option<PathBuf>,
    is_waited_for: bool,
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
        // What stands in front, such as a tracer, is no end of what it has started.
        command.process_group(0);
        let mut child =
            command.spawn().expect("it was built with the tests, or is on this machine");
        groups().insert(child.id());
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
        let (said, started) = (line.join(" "), Instant::now());
        Process { child, ended, said, started, log: None, is_waited_for: false }
    }

    /// The process writes to this file instead of its standard error: what is there in the end is taken for it.
    pub fn logging_to(mut self, log: PathBuf) -> Process {
        self.log = Some(log);
        self
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

    /// Processor time that it has had so far, in hundredths of a second.
    pub fn processor_time(&self) -> u64 {
        let line = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let line = line.unwrap_or_default();
        // Fields 14 and 15, after the name in brackets, where field 3 begins: in user mode and in the kernel.
        let fields = line.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        fields.filter_map(|field| field.parse::<u64>().ok()).sum()
    }

    /// Waits for the end of the process; the memory that it had at most, in bytes, as far as could be seen.
    ///
    /// # Panics
    /// If it goes on for two minutes.
    #[track_caller]
    pub fn peak_memory(&self) -> u64 {
        let (begun, mut peak) = (Instant::now(), 0);
        while self.is_running() {
            assert!(begun.elapsed() < LONGEST_LOOK, "`{}` has not ended", self.said);
            peak = peak.max(self.most_memory());
            std::thread::sleep(LOOK_AGAIN);
        }
        peak
    }

    /// Ends the process, and all that it has started, without a word to them.
    pub fn sigkill(&self) {
        let id = self.child.id();
        assert!(kill_group(id), "signal KILL reaches {id}");
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
        if let Some(log) = &self.log {
            let logged = std::fs::read(log).expect("it has begun to log");
            stderr.push_str(&String::from_utf8_lossy(&logged));
        }
        // It has closed all that it prints to, and ends.
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(begun.elapsed() < super::SOON, "`{}` prints no more, and goes on", self.said);
            std::thread::sleep(LOOK_AGAIN);
        };
        self.is_waited_for = true;
        Finished {
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
            took: self.started.elapsed(),
            ended: Instant::now(),
        }
    }

    /// Sends the signal of this name, such as `TERM`, to the process alone.
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
        // Once it was waited for, its number may be another's.
        if !self.is_waited_for {
            kill_group(self.child.id());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        groups().remove(&self.child.id());
    }
}

/// Kills all processes that are there: the kit itself is about to end.
pub fn kill_all() {
    for id in groups().iter() {
        kill_group(*id);
    }
}

fn groups() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    GROUPS.lock().expect("nothing panics with the lock")
}

/// Kills the processes of a group; whether there were any.
fn kill_group(id: u32) -> bool {
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &format!("-{id}")]).stderr(Stdio::null());
    kill.status().expect("`kill` is there").success()
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
