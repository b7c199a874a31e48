//! A server in a folder of its own. It ends with the value: told to by its process id, and killed where it does not heed that.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nobody: servers refuse to be root's.
const NOBODY: u32 = 65_534;
/// How long a server that was told to end is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// A running server and its folder.
pub struct Server {
    child: Mutex<Child>,
    /// What it was started by.
    command: Mutex<Command>,
    folder: TempDir,
    /// What ends it at once, by the name that `kill` knows.
    signal: &'static str,
}

/// A folder that servers may have.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the server");
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder.path(), mode).expect("it is ours");
    give(folder.path());
    folder
}

/// Lets servers have a file.
pub fn give(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
}

/// Lets servers have a folder and all that is in it.
pub fn give_all(folder: &Path) {
    give(folder);
    for entry in std::fs::read_dir(folder).expect("it is ours") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => give_all(&path),
            false => give(&path),
        }
    }
}

/// The command, as somebody who is not root.
pub fn command(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
    command.arg("--clear-groups").arg(program);
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

impl Server {
    /// Starts the command in the folder; what it says goes to `log` there.
    pub fn start(folder: TempDir, mut command: Command, signal: &'static str) -> Server {
        let log = std::fs::File::create(folder.path().join("log")).expect("a file can be made");
        let also = log.try_clone().expect("a second handle");
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log).stderr(also);
        let child = command.spawn().expect("it was found before");
        Server { child: Mutex::new(child), command: Mutex::new(command), folder, signal }
    }

    /// Has it down while this goes on, and starts it again, whatever comes of that.
    pub fn outage(&self, meanwhile: &dyn Fn(), is_up: &dyn Fn()) {
        self.end();
        let went = catch_unwind(AssertUnwindSafe(meanwhile));
        let again = self.command.lock().unwrap_or_else(PoisonError::into_inner).spawn();
        *self.child() = again.expect("it was found before");
        is_up();
        if let Err(panic) = went {
            resume_unwind(panic);
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it end, and waits until it has.
    fn end(&self) {
        let id = self.child().id().to_string();
        let _ = Command::new("kill").args(["-s", self.signal, &id]).status();
        let told = Instant::now();
        while self.is_running() {
            if told.elapsed() > GRACE {
                let _ = self.child().kill();
                let _ = self.child().wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A file that servers may have, and nobody else.
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file can be written");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("it is ours");
    give(path);
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Where a program of this name is; what is said where it is nowhere.
pub fn program(name: &str, lacks: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.find(|program| program.is_file()).ok_or_else(|| lacks.to_owned())
}

/// Where the programs of the newest PostgreSQL are.
pub fn postgres_programs() -> Result<PathBuf, String> {
    let version = |path: &PathBuf| -> Option<u32> {
        path.parent()?.file_name()?.to_string_lossy().parse().ok()
    };
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = found.map(|entry| entry.path().join("bin")).collect();
    found.sort_by_key(version);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path);
    let has_all = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file())
    };
    found.into_iter().rev().chain(others).find(has_all).ok_or_else(|| {
        "`initdb` of PostgreSQL is not on this machine (apt-get install postgresql-15)".to_owned()
    })
}
