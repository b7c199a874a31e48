//! A name server for one scenario, and what a process must be started under to ask it and no other.
//!
//! The process gets an `/etc/resolv.conf` of its own in a mount namespace, and nothing else of the machine changes.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::workspace::Workspace;

/// What the server says of every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// These addresses, all at once.
    Addresses(Vec<Ipv4Addr>),
    /// These addresses in turn, one an answer.
    InTurn(VecDeque<Ipv4Addr>),
    /// As the last, this much later.
    Slowly(Duration, Ipv4Addr),
    /// There is no such name.
    NoSuchName,
    /// It has failed.
    Failed,
    /// Nothing.
    Nothing,
}

/// A running name server; it ends with the test program.
pub struct NameServer {
    address: Ipv4Addr,
    says: Arc<Mutex<State>>,
}

struct State {
    says: Says,
    asked: usize,
}

const LOCKED: &str = "nobody panics while holding the name server's lock";

/// Whether this machine lets a process ask a name server of the kit.
pub fn can_be_asked() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(folder.path().join("resolv.conf"), "").map_err(|error| error.to_string())?;
    std::fs::write(folder.path().join("nsswitch.conf"), "").map_err(|error| error.to_string())?;
    let mut command = Command::new("unshare");
    command.args(&UNDER[1..]).arg("true").current_dir(folder.path());
    let is_let = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !is_let {
        return Err("no mount namespaces, or no `/etc/resolv.conf` to put another upon".to_owned());
    }
    let is_free = free().is_some();
    is_free.then_some(()).ok_or_else(|| format!("port {PORT} of loopback cannot be had"))
}

/// An address of loopback that nobody serves names on.
fn free() -> Option<(Ipv4Addr, UdpSocket)> {
    (2..=250).find_map(|last| {
        let address = Ipv4Addr::new(127, 53, 53, last);
        Some((address, UdpSocket::bind((address, PORT)).ok()?))
    })
}

const PORT: u16 = 53;

/// What a process is started under, in the workspace's folder.
const UNDER: [&str; 6] = [
    "unshare",
    "-Urm",
    "--",
    "sh",
    "-c",
    "mount --bind resolv.conf /etc/resolv.conf && mount --bind nsswitch.conf /etc/nsswitch.conf && exec \"$0\" \"$@\"",
];

/// As `UNDER`, for a setup.
pub fn under() -> Vec<String> {
    UNDER.map(str::to_owned).to_vec()
}

impl NameServer {
    /// Starts one on an address of its own.
    pub fn start(says: Says) -> NameServer {
        let (address, socket) = free().expect("an address of loopback is free");
        let says = Arc::new(Mutex::new(State { says, asked: 0 }));
        let shared = Arc::clone(&says);
        std::thread::spawn(move || listen(&Arc::new(socket), &shared));
        NameServer { address, says }
    }

    /// Makes it the name server of all processes of a workspace whose setup says `under`.
    pub fn serve(&self, workspace: &Workspace) {
        workspace.write("resolv.conf", &format!("nameserver {}\n", self.address));
        workspace.write("nsswitch.conf", "hosts: dns\n");
    }

    pub fn says(&self, says: Says) {
        self.says.lock().expect(LOCKED).says = says;
    }

    /// How often it was asked for an address.
    pub fn asked(&self) -> usize {
        self.says.lock().expect(LOCKED).asked
    }
}

fn listen(socket: &Arc<UdpSocket>, state: &Mutex<State>) {
    let mut query = [0; 512];
    while let Ok((length, asker)) = socket.recv_from(&mut query) {
        let Some((question, is_address)) = question(&query[..length]) else { continue };
        let mut state = state.lock().expect(LOCKED);
        state.asked += usize::from(is_address);
        let (code, addresses, pause) = match &mut state.says {
            Says::Addresses(addresses) => (0, addresses.clone(), Duration::ZERO),
            Says::InTurn(addresses) => {
                if is_address {
                    addresses.rotate_left(1);
                }
                (0, addresses.back().copied().into_iter().collect(), Duration::ZERO)
            }
            Says::Slowly(pause, address) => (0, vec![*address], *pause),
            Says::NoSuchName => (3, Vec::new(), Duration::ZERO),
            Says::Failed => (2, Vec::new(), Duration::ZERO),
            Says::Nothing => continue,
        };
        drop(state);
        let addresses = if is_address { addresses } else { Vec::new() };
        let answer = answer(&query[..2], question, code, &addresses);
        let socket = Arc::clone(socket);
        std::thread::spawn(move || {
            std::thread::sleep(pause);
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, asker);
        });
    }
}

/// The question's bytes, and whether it asks for an address of IPv4.
fn question(query: &[u8]) -> Option<(&[u8], bool)> {
    let rest = query.get(12..)?;
    let name = rest.iter().position(|byte| *byte == 0)?;
    let question = rest.get(..name + 5)?;
    Some((question, question[name + 1..name + 3] == [0, 1]))
}

fn answer(id: &[u8], question: &[u8], code: u8, addresses: &[Ipv4Addr]) -> Vec<u8> {
    let count = u8::try_from(addresses.len()).expect("there are few addresses");
    let mut answer = id.to_vec();
    answer.extend([0x84, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        // The name of the question, type A, class IN, kept for 0 s, 4 bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
