//! One request of the tests themselves to a server that they started.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// The status of the answer, if there is one. `headers` are lines with their ends.
pub fn status(port: u16, method: &str, target: &str, headers: &str, bytes: &[u8]) -> Option<u16> {
    status_of(&answer(port, method, target, headers, bytes)?)
}

pub fn status_of(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// What an answer has behind its head.
pub fn content(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, said)| said.to_owned())
}

/// The whole answer, if there is one. `headers` are lines with their ends.
pub fn answer(
    port: u16,
    method: &str,
    target: &str,
    headers: &str,
    bytes: &[u8],
) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = bytes.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(bytes).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}
