//! What stands before a server and breaks its answer, at a place of the scenario's choice.
//!
//! Of PostgreSQL only the answer to a COPY is broken: it knows where messages begin, and nothing of what they say. Of MySQL it is
//! all that the server says on a connection. What the client says can be changed or kept back too.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Postgres,
    MySql,
}

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
    /// Of MySQL: the end of each answer says that its transaction may write.
    Elsewhere,
    /// Where the client says the first, the server hears the second, which is as long.
    Renames(&'static str, &'static str),
    /// Of PostgreSQL: where a row that is no COPY's says this word, it is no text any more, and as long.
    Blurs(&'static str),
    /// What the client says with these words never arrives, nor what it says behind.
    Swallows(&'static str),
    /// Connections behind the first are taken, and nothing is said on them.
    Later,
}

/// A running front. Its thread ends with the process.
pub struct Cutting {
    pub port: u16,
    breaks: Arc<Mutex<Breaks>>,
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
    pub fn start(protocol: Protocol, server: u16, breaks: Breaks) -> Cutting {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let now = Arc::new(Mutex::new(breaks));
        let breaks = Arc::clone(&now);
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for (place, client) in listener.incoming().flatten().enumerate() {
                let breaks = *now.lock().unwrap_or_else(PoisonError::into_inner);
                if breaks == Breaks::Later && place > 0 {
                    told.broken.fetch_add(1, Ordering::SeqCst);
                    kept.push(client);
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                // What comes in pieces is passed on in pieces, none of which waits for a receipt of the one before.
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (from_client, to_server) = (clone(&client), clone(&server));
                let heard = Arc::clone(&told);
                std::thread::spawn(move || pass(from_client, to_server, breaks, &heard));
                let told = Arc::clone(&told);
                std::thread::spawn(move || answer(protocol, server, client, breaks, &told));
            }
        });
        Cutting { port, breaks, seen }
    }

    /// What is done to the answers of later connections.
    pub fn set(&self, breaks: Breaks) {
        *self.breaks.lock().unwrap_or_else(PoisonError::into_inner) = breaks;
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

/// What the client says, which comes in pieces that hold all of a question.
fn pass(mut from: TcpStream, mut to: TcpStream, breaks: Breaks, seen: &Seen) {
    let mut piece = vec![0; 64 << 10];
    let mut is_swallowing = false;
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let said = &mut piece[..count];
        match breaks {
            Breaks::Renames(words, others) => {
                if let Some(at) = find(said, words) {
                    said[at..at + others.len()].copy_from_slice(others.as_bytes());
                    seen.broken.fetch_add(1, Ordering::SeqCst);
                }
            }
            Breaks::Swallows(words) if !is_swallowing && find(said, words).is_some() => {
                is_swallowing = true;
                seen.broken.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        if !is_swallowing && to.write_all(said).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn find(said: &[u8], words: &str) -> Option<usize> {
    said.windows(words.len()).position(|window| window == words.as_bytes())
}

/// Message by message, as the server sends them.
fn answer(
    protocol: Protocol,
    mut server: TcpStream,
    mut client: TcpStream,
    breaks: Breaks,
    seen: &Seen,
) {
    let mut passed = 0;
    let end = |client: &TcpStream, server: &TcpStream| {
        seen.broken.fetch_add(1, Ordering::SeqCst);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    };
    loop {
        let Some(mut message) = message(protocol, &mut server) else {
            let _ = client.shutdown(Shutdown::Both);
            return;
        };
        if let Breaks::Blurs(word) = breaks
            && message[0] == b'D'
            && let Some(at) = find(&message, word)
        {
            message[at] = 0xff;
            seen.broken.fetch_add(1, Ordering::SeqCst);
        }
        let is_data = protocol == Protocol::MySql || message[0] == b'd';
        if is_data && breaks == Breaks::Trailer && message[5..] == [0xff, 0xff] {
            seen.broken.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        if breaks == Breaks::Elsewhere
            && let [.., 5, 0, 0, _, 0xfe, _, _, _, status] = &mut message[..]
            && *status & 0x20 != 0
        {
            *status &= !0x20;
            seen.broken.fetch_add(1, Ordering::SeqCst);
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
        if message[0] == b'c' && breaks == Breaks::BehindCopyDone {
            return end(&client, &server);
        }
    }
}

/// What is passed on at once.
fn message(protocol: Protocol, server: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 4096];
    match protocol {
        Protocol::MySql => {
            let count = server.read(&mut message).ok().filter(|count| *count > 0)?;
            message.truncate(count);
        }
        Protocol::Postgres => {
            server.read_exact(&mut message[..5]).ok()?;
            let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
            message.resize(length as usize + 1, 0);
            server.read_exact(&mut message[5..]).ok()?;
        }
    }
    Some(message)
}
