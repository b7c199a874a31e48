//! A file on the web, of a server that knows its state by a tag and gives parts of it.

use std::sync::{Arc, Mutex, PoisonError};

use super::objects::Held;
use crate::servers::web::{Becomes, Web};

pub struct Page {
    web: Web,
    /// How often it was written, which is its tag, and what is in it.
    content: Arc<Mutex<(u64, Vec<u8>)>>,
}

impl Page {
    pub fn start() -> Page {
        let content = Arc::<Mutex<(u64, Vec<u8>)>>::default();
        let said = Arc::clone(&content);
        let web = Web::start(0, move |asked| {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let tag = format!("\"{}\"", said.0);
            let is_other = asked.header("if-match").is_some_and(|wanted| wanted != tag);
            let (whole, last) = (said.1.as_slice(), said.1.len().saturating_sub(1));
            let range = asked.header("range").and_then(|range| range.strip_prefix("bytes="));
            let range = range.and_then(|range| range.split_once('-'));
            let range = range.and_then(|(from, to)| {
                let from: usize = from.parse().ok()?;
                Some((from, to.parse().map_or(last, |to: usize| to.min(last))))
            });
            let all = whole.len();
            let (status, bytes, more) = match (asked.method.as_str(), range) {
                ("GET" | "HEAD", _) if is_other => ("412 Changed", &[][..], String::new()),
                ("GET", Some((from, to))) if from <= to => {
                    let part = format!("Content-Range: bytes {from}-{to}/{all}\r\n");
                    ("206 Part", &whole[from..=to], part)
                }
                ("GET" | "HEAD", _) => ("200 OK", whole, String::new()),
                _ => ("405 Read", &[][..], String::new()),
            };
            let length = bytes.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {length}\r\n{more}\r\n"
            );
            Becomes::Answered([head.as_bytes(), bytes].concat())
        });
        Page { web, content }
    }
}

impl Held for Page {
    fn port(&self) -> u16 {
        self.web.port
    }

    fn put_later(&self, _name: &str, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        let content = Arc::clone(&self.content);
        Box::new(move || {
            let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
            *content = (content.0 + 1, bytes);
        })
    }

    fn location(&self, port: u16, name: &str) -> String {
        format!("http://127.0.0.1:{port}/{name}")
    }

    fn source(&self, _port: u16, table: &str) -> String {
        format!("lake: {{ files: {{ people: {table} }} }}")
    }

    fn listed(&self) -> String {
        let content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{} {}", content.0, content.1.len())
    }
}
