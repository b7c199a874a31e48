//! A collector on this machine that keeps what it is sent, and takes it apart by the published form of OTLP.
//!
//! See https://github.com/open-telemetry/opentelemetry-proto, `trace/v1/trace.proto`: written by hand, so that what is
//! tested is not also what tests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// See the file's comment. It ends with the test's process.
pub struct Collector {
    address: String,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    requests: Vec<Request>,
    watched: PathBuf,
}

/// One request, taken apart.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The file that is watched was there when it came.
    pub is_file_there: bool,
    pub resource: BTreeMap<String, String>,
    pub spans: Vec<Span>,
}

#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for one that has none.
    pub parent: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    /// Numbers as text.
    pub attributes: BTreeMap<String, String>,
    pub is_error: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Collector {
        Collector::answering(Some("200 OK"))
    }

    /// One that reads, and says nothing.
    pub fn mute() -> Collector {
        Collector::answering(None)
    }

    pub fn refusing() -> Collector {
        Collector::answering(Some("401 Unauthorized"))
    }

    fn answering(status: Option<&'static str>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&shared);
                std::thread::spawn(move || converse(stream.expect("a connection"), status, &kept));
            }
        });
        Collector { address, kept }
    }

    /// From here on it looks whether this file is there when a request comes.
    pub fn watch(&self, file: PathBuf) {
        self.kept.lock().expect("nobody panics with it").watched = file;
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.kept.lock().expect("nobody panics with it").requests.clone()
    }

    pub fn spans(&self) -> Vec<Span> {
        self.requests().into_iter().flat_map(|request| request.spans).collect()
    }

    /// All bodies, as far as they are text.
    pub fn bodies(&self) -> String {
        let requests = self.requests();
        requests.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect()
    }

    /// All that was sent, as far as it is text.
    pub fn text(&self) -> String {
        let requests = self.requests().into_iter();
        let heads = requests.map(|request| format!("{} {:?}\n", request.path, request.headers));
        heads.collect::<String>() + &self.bodies()
    }
}

/// Answers each request of a connection, until it is closed.
fn converse(stream: TcpStream, status: Option<&str>, kept: &Mutex<Kept>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        {
            let mut kept = kept.lock().expect("nobody panics with it");
            let is_file_there = kept.watched.exists();
            kept.requests.push(Request { is_file_there, ..request });
        }
        let Some(status) = status else { continue };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        let is_read = reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0);
        is_read.then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.expect("a length").1.parse().expect("a number");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    assert!(first.starts_with("POST "), "{first}");
    let path = first.split(' ').nth(1).expect("a path").to_owned();
    let (mut resource, mut spans) = (BTreeMap::new(), Vec::new());
    for group in Message(&body).parts(1) {
        for part in group.parts(1) {
            resource.extend(part.parts(1).map(|pair| attribute(&pair)));
        }
        for scope in group.parts(2) {
            spans.extend(scope.parts(2).map(|part| span(&part)));
        }
    }
    Some(Request { path, headers, body, is_file_there: false, resource, spans })
}

fn span(span: &Message<'_>) -> Span {
    let hex = |number| span.bytes(number).iter().map(|byte| format!("{byte:02x}")).collect();
    Span {
        trace: hex(1),
        id: hex(2),
        parent: hex(4),
        name: span.text(5),
        start: span.number(7),
        end: span.number(8),
        attributes: span.parts(9).map(|pair| attribute(&pair)).collect(),
        is_error: span.parts(15).any(|status| status.number(3) == 2),
    }
}

fn attribute(pair: &Message<'_>) -> (String, String) {
    let value = pair.parts(2).next().expect("an attribute has a value");
    let text = value.text(1);
    (pair.text(1), if text.is_empty() { value.number(3).to_string() } else { text })
}

/// A message of Protocol Buffers, by the numbers of its fields.
struct Message<'m>(&'m [u8]);

enum Field<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

impl<'m> Message<'m> {
    fn fields(&self) -> Vec<(u64, Field<'m>)> {
        let mut rest = self.0;
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut rest)),
                1 => Field::Number(u64::from_le_bytes(take(&mut rest, 8).try_into().expect("8"))),
                2 => {
                    let length = usize::try_from(varint(&mut rest)).expect("a length");
                    Field::Bytes(take(&mut rest, length))
                }
                5 => {
                    let four = take(&mut rest, 4).try_into().expect("4");
                    Field::Number(u64::from(u32::from_le_bytes(four)))
                }
                other => panic!("no field has the form {other}"),
            };
            fields.push((tag >> 3, field));
        }
        fields
    }

    fn parts(&self, number: u64) -> impl Iterator<Item = Message<'m>> {
        self.fields().into_iter().filter_map(move |(found, field)| match field {
            Field::Bytes(bytes) if found == number => Some(Message(bytes)),
            _ => None,
        })
    }

    fn bytes(&self, number: u64) -> &'m [u8] {
        self.parts(number).next().map_or(&[], |part| part.0)
    }

    fn text(&self, number: u64) -> String {
        String::from_utf8(self.bytes(number).to_vec()).expect("text")
    }

    fn number(&self, number: u64) -> u64 {
        let found = self.fields().into_iter().find_map(|(found, field)| match field {
            Field::Number(value) if found == number => Some(value),
            _ => None,
        });
        found.unwrap_or_default()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn take<'m>(bytes: &mut &'m [u8], count: usize) -> &'m [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}
