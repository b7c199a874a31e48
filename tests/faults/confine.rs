//! Commands that confine the binary: a namespace of its own with other mounts, another user, limits of resources, a group
//! whose memory the system counts.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs `script` in a mount namespace of its own; `"$@"` in it is the binary with its arguments.
pub fn mounting(script: &str) -> Vec<String> {
    // A user that is not root becomes root of a user namespace.
    words(&["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"])
}

/// As a user who owns nothing here.
pub fn as_nobody() -> Vec<String> {
    words(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
}

/// With limits as prlimit says them, such as `--nofile=20`.
pub fn limited(limit: &str) -> Vec<String> {
    words(&["prlimit", limit])
}

/// From now on a process gets `headroom` bytes of memory to write in, and no more; whether it was still there.
pub fn limit_data(process: u32, headroom: u64) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let has = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let Some(has) = has.and_then(|has| has.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
    else {
        return false;
    };
    let mut limiting = Command::new("prlimit");
    limiting.args(["--pid", &process.to_string(), &format!("--data={}", (has << 10) + headroom)]);
    limiting.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    limiting.status().is_ok_and(|status| status.success())
}

/// A control group, whose processes the system kills when its memory ends. Gone with the value.
pub struct MemoryGroup {
    folder: PathBuf,
    limit: &'static str,
    usage: &'static str,
}

impl MemoryGroup {
    /// A new one without a limit, whichever version of control groups counts memory here.
    pub fn new() -> Option<MemoryGroup> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        mounts.lines().find_map(|mount| {
            let mut words = mount.split(' ').skip(1);
            let (place, kind, options) = (words.next()?, words.next()?, words.next()?);
            let (limit, usage) = match kind {
                "cgroup" if options.split(',').any(|option| option == "memory") => {
                    ("memory.limit_in_bytes", "memory.usage_in_bytes")
                }
                "cgroup2" => ("memory.max", "memory.current"),
                _ => return None,
            };
            let name = format!("counterflow-faults-{}", std::process::id());
            let group = MemoryGroup { folder: PathBuf::from(place).join(name), limit, usage };
            std::fs::create_dir(&group.folder).ok()?;
            group.folder.join(limit).exists().then_some(group)
        })
    }

    /// A command whose process is in the group.
    pub fn within(&self) -> Vec<String> {
        let processes = self.folder.join("cgroup.procs").display().to_string();
        words(&["sh", "-c", "echo $$ > \"$0\" && exec \"$@\"", &processes])
    }

    /// From now on its processes get `headroom` bytes more than they have; whether that could be said.
    pub fn limit(&self, headroom: u64) -> bool {
        let usage = std::fs::read_to_string(self.folder.join(self.usage)).unwrap_or_default();
        let Ok(has) = usage.trim().parse::<u64>() else { return false };
        std::fs::write(self.folder.join(self.limit), (has + headroom).to_string()).is_ok()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Whether the memory of a group of processes can be limited here.
pub fn can_group() -> Result<(), String> {
    let group = MemoryGroup::new().ok_or("no control group that counts memory can be made here")?;
    works(&group.within(), &["true"], "no process can be put into a control group here")
}

/// The words as commands take them.
pub fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Whether namespaces with mounts can be made here.
pub fn can_mount() -> Result<(), String> {
    let script = "mount -t tmpfs -o size=64k tmpfs /mnt && \"$@\"";
    works(&mounting(script), &["true"], "a mount namespace cannot be made here")
}

/// Whether the binary can be run as another user.
pub fn can_be_nobody() -> Result<(), String> {
    let version = [env!("CARGO_BIN_EXE_counterflow"), "version"];
    works(&as_nobody(), &version, "the binary cannot be run as a user who owns nothing")
}

/// Whether limits can be set here.
pub fn can_limit() -> Result<(), String> {
    works(&limited("--nofile=100"), &["true"], "there is no `prlimit`")
}

/// The least address space, in MiB, within which the binary says its version: how large it is depends on how it was built.
pub fn least_address_space() -> u64 {
    // Without memory for a thread more it may wait for ever.
    let version = ["timeout", "5", env!("CARGO_BIN_EXE_counterflow"), "version"];
    let will_do = |mebibytes: &u64| {
        works(&limited(&format!("--as={}", mebibytes << 20)), &version, "").is_ok()
    };
    (16..4096).step_by(4).find(will_do).expect("the binary says its version in 4 GiB")
}

fn works(confining: &[String], confined: &[&str], otherwise: &str) -> Result<(), String> {
    let mut tried = Command::new(&confining[0]);
    tried.args(&confining[1..]).args(confined);
    tried.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match tried.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(otherwise.to_owned()),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
