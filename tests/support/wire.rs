//! As much HTTP/1.1 as an oracle needs: one request read from a connection, one answer written to it.
//!
//! Written by hand because the faults need the bytes: a body that is never read, an answer cut after k bytes, a
//! reset. Not responsible for what a request means.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LARGEST_HEAD: usize = 64 << 10;
const LARGEST_BODY: usize = 256 << 20;

/// One side of a keep-alive connection; keeps the bytes that were read too far.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The first line and the headers of a request.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// An answer that is yet to be written.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 0 where the body is all that goes over the wire.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Answer { status, headers, body: body.into() }
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Answer {
        Answer::new(status, "application/json", body.to_string())
    }

    /// The bytes as they go over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        if self.status == 0 {
            return self.body.clone();
        }
        let mut head = format!("HTTP/1.1 {} Played\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        Wire { stream, read: Vec::new() }
    }

    /// The head of the next request; `None` when the other side closed the connection between two requests.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at;
            }
            if self.read.len() > LARGEST_HEAD {
                return Err(io::Error::other("the request's head is too large"));
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return if self.read.is_empty() { Ok(None) } else { Err(cut()) };
            }
        };
        let text = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let mut word = || first.next().unwrap_or_default().to_owned();
        let (method, path) = (word(), word());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Some(Head { method, path, headers }))
    }

    /// The whole body that `head` announces, by its length or in chunks.
    pub async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        if head.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            return self.chunks().await;
        }
        let length = head.header("content-length").and_then(|text| text.parse().ok());
        self.take(length.unwrap_or(0)).await
    }

    /// Waits until at least `bytes` of the body are there, and leaves them unread: closing now resets the connection.
    pub async fn wait_for_part(&mut self, bytes: usize) -> io::Result<()> {
        while self.read.len() < bytes {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(cut());
            }
        }
        Ok(())
    }

    /// Hands `bytes` to the kernel.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Writes in `pieces` pieces with `pause` between them.
    pub async fn drip(&mut self, bytes: &[u8], pieces: usize, pause: Duration) -> io::Result<()> {
        for piece in bytes.chunks(bytes.len().div_ceil(pieces.max(1)).max(1)) {
            self.write(piece).await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Resolves when the other side has closed the connection or died. Bytes that come meanwhile are kept. Cancel-safe.
    pub async fn closed(&mut self) {
        while matches!(self.stream.read_buf(&mut self.read).await, Ok(count) if count > 0) {}
    }

    /// Says that nothing more will be written; what the other side still writes can be read.
    pub async fn half_close(&mut self) {
        // A side that is gone already has nothing to hear.
        let _ = self.stream.shutdown().await;
    }

    /// Closes the connection by a reset instead of an orderly end.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a connected socket takes a linger of zero");
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            body.extend(self.take(size).await?);
            self.line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..at]).into_owned();
                self.read.drain(..at + 2);
                return Ok(line);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(cut());
            }
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > LARGEST_BODY {
            return Err(io::Error::other("the request's body is too large"));
        }
        self.wait_for_part(length).await?;
        Ok(self.read.drain(..length).collect())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a request")
}
