//! A destination on a loopback address that is as fast as it can be and still honest: it reads every request in full
//! and answers for each record by index.
//!
//! One thread a connection. It does not parse JSON: a record is an object in the array of the body, and no value of
//! the data holds a brace, so that records are counted by their opening braces.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What has come in so far, over all connections.
#[derive(Debug, Default)]
pub struct Received {
    requests: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    /// When the first request was read in full.
    first: Mutex<Option<Instant>>,
    /// How long each answer is waited for, in milliseconds.
    delay: AtomicU64,
}

/// Received since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub requests: u64,
    pub records: u64,
    /// Of bodies.
    pub bytes: u64,
    /// When the first request was there.
    pub first: Option<Instant>,
}

/// The listening sink; it lasts as long as the process.
#[derive(Debug)]
pub struct Sink {
    pub address: SocketAddr,
    received: Arc<Received>,
}

impl Sink {
    pub fn start() -> io::Result<Sink> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let received = Arc::new(Received::default());
        let counts = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || Connection::new(stream).serve(&counts));
            }
        });
        Ok(Sink { address, received })
    }

    /// From here on every answer comes so much later.
    pub fn delay(&self, milliseconds: u64) {
        self.received.delay.store(milliseconds, Ordering::Relaxed);
    }

    /// What came in since the last call.
    pub fn take(&self) -> Taken {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Received { requests, records, bytes, first, .. } = self.received.as_ref();
        let first = first.lock().expect("nobody panics while it is held").take();
        Taken { requests: take(requests), records: take(records), bytes: take(bytes), first }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    filled: usize,
    answers: HashMap<u64, Vec<u8>>,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        // Only a matter of speed.
        let _ = stream.set_nodelay(true);
        Connection { stream, buffer: vec![0; 256 << 10], filled: 0, answers: HashMap::new() }
    }

    /// Until the other side closes the connection.
    fn serve(mut self, received: &Received) {
        while let Ok(Some((head, length))) = self.head() {
            let end = head + length;
            if self.read_to(end).is_err() {
                return;
            }
            let body = &self.buffer[head..end];
            let braces = body.iter().filter(|byte| **byte == b'{').count() as u64;
            // The body is an array, or one object around one.
            let records = braces - u64::from(body.first() == Some(&b'{'));
            if received.requests.fetch_add(1, Ordering::Relaxed) == 0 {
                let mut first = received.first.lock().expect("nobody panics while it is held");
                first.get_or_insert_with(Instant::now);
            }
            received.records.fetch_add(records, Ordering::Relaxed);
            received.bytes.fetch_add(length as u64, Ordering::Relaxed);
            self.buffer.copy_within(end..self.filled, 0);
            self.filled -= end;
            let delay = received.delay.load(Ordering::Relaxed);
            if delay > 0 {
                std::thread::sleep(Duration::from_millis(delay));
            }
            let answer = self.answers.entry(records).or_insert_with(|| answer(records));
            if self.stream.write_all(answer).is_err() {
                return;
            }
        }
    }

    /// Where the body of the next request begins, and its length; `None` at the orderly end.
    fn head(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut searched = 0;
        loop {
            let found =
                self.buffer[searched..self.filled].windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(at) = found {
                let end = searched + at + 4;
                return Ok(Some((end, length(&self.buffer[..end])?)));
            }
            searched = self.filled.saturating_sub(3);
            if self.read_more()? == 0 {
                return Ok(None);
            }
        }
    }

    fn read_to(&mut self, end: usize) -> io::Result<()> {
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        while self.filled < end {
            if self.read_more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn read_more(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += read;
        Ok(read)
    }
}

fn length(head: &[u8]) -> io::Result<usize> {
    let text = std::str::from_utf8(head).map_err(io::Error::other)?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    text.lines()
        .find_map(header)
        .ok_or_else(|| io::Error::other("a request without a content-length"))
}

fn answer(records: u64) -> Vec<u8> {
    let results: Vec<&str> = (0..records).map(|_| r#"{"status":"ok"}"#).collect();
    let body = format!(r#"{{"results":[{}]}}"#, results.join(","));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}
