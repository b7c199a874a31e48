//! What stands before a PostgreSQL server and breaks the answer to a COPY, at a place of the scenario's choice.
//!
//! Connections that copy nothing pass as they are. It knows where messages begin, and nothing of what they say.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is done to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaks {
    Nothing,
    /// The connection ends after so many bytes of the answer.
    After(usize),
    /// The connection ends behind CopyDone, before the server says that the statement is done.
    BehindCopyDone,
    /// The trailer never comes, and all else does.
    Trailer,
}

/// A running front. Its thread ends with the process.
pub struct Cutting {
    pub port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Bytes of the answers.
    copied: AtomicUsize,
    broken: AtomicUsize,
}

impl Cutting {
    /// Before the server at `port`.
    pub fn start(server: u16, breaks: Breaks) -> Cutting {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (from_client, to_server) = (clone(&client), clone(&server));
                std::thread::spawn(move || pass(from_client, to_server));
                let told = Arc::clone(&told);
                std::thread::spawn(move || answer(server, client, breaks, &told));
            }
        });
        Cutting { port, seen }
    }

    /// Bytes of the answers that passed so far.
    pub fn copied(&self) -> usize {
        self.seen.copied.load(Ordering::SeqCst)
    }

    /// How many answers were broken.
    pub fn broken(&self) -> usize {
        self.seen.broken.load(Ordering::SeqCst)
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a second handle")
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Message by message, as the server sends them.
fn answer(mut server: TcpStream, mut client: TcpStream, breaks: Breaks, seen: &Seen) {
    let mut passed = 0;
    let end = |client: &TcpStream, server: &TcpStream| {
        seen.broken.fetch_add(1, Ordering::SeqCst);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    };
    loop {
        let mut head = [0; 5];
        if server.read_exact(&mut head).is_err() {
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut message = head.to_vec();
        message.resize(length + 1, 0);
        if server.read_exact(&mut message[5..]).is_err() {
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        let is_data = head[0] == b'd';
        if is_data && breaks == Breaks::Trailer && message[5..] == [0xff, 0xff] {
            seen.broken.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        if is_data {
            seen.copied.fetch_add(message.len(), Ordering::SeqCst);
            if let Breaks::After(most) = breaks
                && passed + message.len() > most
            {
                let _ = client.write_all(&message[..most - passed]);
                return end(&client, &server);
            }
            passed += message.len();
        }
        if client.write_all(&message).is_err() {
            return;
        }
        if head[0] == b'c' && breaks == Breaks::BehindCopyDone {
            return end(&client, &server);
        }
    }
}
