//! `counterflow serve` as a process, and requests to it over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{Finished, Process};
use super::workspace::Workspace;
use super::{SOON, canaries};

/// Between two questions about what no event tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A server that is ready, and its process.
pub struct Server<'w> {
    workspace: &'w Workspace,
    pub process: Process,
    api: Api,
}

/// Where a server listens.
pub struct Api {
    pub address: String,
}

impl Deref for Server<'_> {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// An answer, read in full.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: u16,
    pub head: String,
    pub json: Value,
}

impl<'w> Server<'w> {
    /// Starts a server on the workspace's config and waits until it is ready.
    pub fn start(workspace: &'w Workspace) -> Server<'w> {
        let process = workspace.spawn(&["--format", "json", "serve"]);
        let api = Api::of(workspace, &process);
        Server { workspace, process, api }
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.workspace.end(self.process, SOON)
    }

    /// Asks the server to end, and waits until it has.
    #[track_caller]
    pub fn end(self) -> Finished {
        self.process.sigterm();
        self.wait()
    }
}

impl Api {
    /// Waits until this process, a server on the workspace's config, is ready.
    pub fn of(workspace: &Workspace, process: &Process) -> Api {
        let api = Api::announced(workspace, process);
        until("the server is ready", || (api.get("/ready").status == 200).then_some(()));
        api
    }

    /// Waits until this process, a server on the workspace's config, says where it listens; it may not be ready yet.
    pub fn announced(workspace: &Workspace, process: &Process) -> Api {
        let address = until("the server announces itself", || {
            let text = std::fs::read(workspace.state().join("server.json")).ok()?;
            let said: Value = serde_json::from_slice(&text).ok()?;
            let is_this = said["pid"].as_u64() == Some(u64::from(process.id()));
            is_this.then(|| said["address"].as_str().expect("it is text").to_owned())
        });
        Api { address }
    }

    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[], "")
    }

    /// A command with a JSON body.
    pub fn post(&self, path: &str, body: &str) -> Answered {
        self.ask("POST", path, &[("Content-Type", "application/json")], body)
    }

    /// As [`Api::ask_once`], again where the server says that it is asked too often.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        until("the server is asked not too often", || {
            let answered = self.ask_once(method, path, headers, body);
            (answered.status != 429).then_some(answered)
        })
    }

    /// An answer that is no JSON, whole.
    pub fn text(&self, path: &str) -> String {
        self.exchange("GET", path, &[], "")
    }

    /// One request over a connection of its own; a `Host` among the headers takes the place of the right one.
    pub fn ask_once(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let text = self.exchange(method, path, headers, body);
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answered {
            status: status.expect("an answer has a status"),
            head: head.to_lowercase(),
            json: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// A command with a key, in whose middle the server is to end.
    #[track_caller]
    pub fn lose(&self, path: &str, key: &str, body: &str) {
        let headers = [("Idempotency-Key", key), ("Content-Type", "application/json")];
        let text = self.exchange("POST", path, &headers, body);
        assert_eq!(text, "", "no answer comes");
    }

    /// A command with a key, whose answer nobody waits for once this is dropped.
    pub fn begin(&self, path: &str, key: &str, body: &str) -> TcpStream {
        let headers = [("Idempotency-Key", key), ("Content-Type", "application/json")];
        self.send("POST", path, &headers, body)
    }

    fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut stream = self.send(method, path, headers, body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        canaries::assert_none(&text, "an answer");
        text
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        // A server that refuses early may close before it has taken the whole body.
        let _ = stream.write_all(head.as_bytes());
        stream
    }

    /// Asks for a run of `people`; its number.
    #[track_caller]
    pub fn run(&self, body: &str) -> u64 {
        let answered = self.post("/api/v1/syncs/people/run", body).expect(202);
        assert_eq!(answered.json["state"], "queued");
        answered.json["run"].as_u64().expect("a run has a number")
    }

    /// Waits for the end of a run; its document.
    #[track_caller]
    pub fn ended(&self, run: u64) -> Value {
        until("the run ends", || {
            let document = self.get(&format!("/api/v1/runs/{run}")).expect(200).json;
            (document["is_ended"] == true).then_some(document)
        })
    }

    /// Waits until a run is in this phase.
    #[track_caller]
    pub fn wait_for_phase(&self, run: u64, phase: &str) {
        until(phase, || {
            let document = self.get(&format!("/api/v1/runs/{run}")).expect(200).json;
            (document["phase"] == phase).then_some(())
        });
    }
}

impl Answered {
    #[track_caller]
    pub fn expect(self, status: u16) -> Answered {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Makes sure of a problem body that names all these words.
    #[track_caller]
    pub fn expect_problem(self, status: u16, words: &[&str]) {
        assert_eq!(self.status, status, "{self:#?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:#?}");
        assert_eq!(self.json["status"], status, "{self:#?}");
        assert!(self.json["title"].is_string() && self.json["type"].is_string(), "{self:#?}");
        let detail = self.json["detail"].as_str().expect("a problem has a detail");
        words.iter().for_each(|word| assert!(detail.contains(word), "`{word}` in {self:#?}"));
    }
}

/// Asks again until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    until_within(SOON, what, &mut ask)
}

#[track_caller]
pub fn until_within<T>(limit: Duration, what: &str, ask: &mut dyn FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "waited for {limit:?} in vain: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}
