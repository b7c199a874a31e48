//! A file on the web, of a server that knows its state by a tag and whoever asks by a header. It gives parts of it or only
//! the whole, and speaks TLS or does not.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, PoisonError};

use super::files::File;
use super::formats::FORMATS;
use super::objects::{Held, Objects};
use super::place::Place;
use super::{Cells, Kind};
use crate::servers::seaweed::Seaweed;
use crate::servers::web::{Becomes, Web};
use crate::support::TOKEN;
use crate::support::certificates::{Authority, Good};
use crate::support::front::{Does, Front};

/// What the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Parts,
    WholeAlone,
    /// As `Parts`.
    Tls,
}

const KINDS: [(&str, &str, Way); 7] = [
    ("http: csv", "csv", Way::Parts),
    ("http: csv as a whole", "csv", Way::WholeAlone),
    ("http: csv.gz", "csv.gz", Way::Parts),
    ("http: parquet", "parquet", Way::Parts),
    ("http: arrow file", "arrow file", Way::Parts),
    ("https: csv", "csv", Way::Tls),
    ("https: parquet", "parquet", Way::Tls),
];

/// All kinds that are on the web.
pub fn kinds() -> impl Iterator<Item = Kind<Seaweed>> {
    KINDS.iter().map(|(name, format, way)| {
        let format = FORMATS.iter().find(|it| it.name == *format).expect("it is one of them");
        Kind {
            name: (*name).to_owned(),
            new: Box::new(move |_: &Seaweed| -> Box<dyn Place + '_> {
                Box::new(File::new(Box::new(Objects::new(Page::start(*way))), format))
            }),
            cells: cells(format.name, *way),
        }
    })
}

fn cells(format: &str, way: Way) -> Cells {
    match way {
        Way::Parts => Cells { huge: super::objects::huge(format), ..Cells::PLAYED },
        Way::WholeAlone | Way::Tls => Cells::OF_THE_PLACE,
    }
}

struct Page {
    web: Web,
    /// How often it was written, which is its tag, and what is in it.
    content: Arc<Mutex<(u64, Vec<u8>)>>,
    tls: Option<Tls>,
}

/// Who speaks TLS, before whatever is asked first.
struct Tls {
    authority: Authority,
    front: OnceCell<Front>,
}

impl Page {
    fn start(way: Way) -> Page {
        let content = Arc::<Mutex<(u64, Vec<u8>)>>::default();
        let said = Arc::clone(&content);
        let web = Web::start(0, move |asked| {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let tag = format!("\"{}\"", said.0);
            let is_let_in =
                asked.header("authorization") == Some(format!("Bearer {TOKEN}").as_str());
            let is_other = asked.header("if-match").is_some_and(|wanted| wanted != tag);
            let (whole, last) = (said.1.as_slice(), said.1.len().saturating_sub(1));
            let range = asked.header("range").filter(|_| way != Way::WholeAlone);
            let range = range.and_then(|range| range.strip_prefix("bytes="));
            let range = range.and_then(|range| range.split_once('-'));
            let range = range.and_then(|(from, to)| {
                let from: usize = from.parse().ok()?;
                Some((from, to.parse().map_or(last, |to: usize| to.min(last))))
            });
            let all = whole.len();
            let (status, bytes, more) = match (asked.method.as_str(), range) {
                _ if !is_let_in => ("401 Who", &[][..], String::new()),
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
        let tls = || Tls { authority: Authority::new(), front: OnceCell::new() };
        Page { web, content, tls: (way == Way::Tls).then(tls) }
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
        let Some(Tls { authority, front }) = &self.tls else {
            return format!("http://127.0.0.1:{port}/{name}");
        };
        let front = front.get_or_init(|| {
            let front = Front::start(&format!("127.0.0.1:{port}"));
            front.does(Does::Tls(authority.server("localhost", Good::Now)));
            front
        });
        format!("{}/{name}", front.url("https"))
    }

    fn source(&self, _port: u16, table: &str) -> String {
        format!(
            "lake: {{ store: {{ http: {{ headers: {{ Authorization: \"Bearer ${{TOKEN}}\" }} }} }}, \
             files: {{ people: {table} }} }}"
        )
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |tls: &Tls| ("SSL_CERT_FILE", tls.authority.file().display().to_string());
        self.tls.iter().map(file).collect()
    }

    fn listed(&self) -> String {
        let content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{} {}", content.0, content.1.len())
    }
}
