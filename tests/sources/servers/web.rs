//! What stands before a store, or is a server on the web by itself: each request is shown to the scenario, which says what
//! becomes of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// As it stands in the request.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Becomes {
    /// It is the store's to answer.
    Passed,
    /// So it is, and the connection breaks after so many bytes of the content.
    Cut(usize),
    /// So it is, but the content ends after so many bytes as if it were whole.
    Shortened(usize),
    /// So it is, and the content is made another.
    Rewritten(fn(&str) -> String),
    /// Nobody ever answers.
    Held,
    /// So it is for so many bytes of the content, behind which nothing comes.
    Stalled(usize),
    /// This is the answer, head and all; to a HEAD, without its content.
    Answered(Vec<u8>),
}

type Judge = Box<dyn FnMut(&Asked) -> Becomes + Send>;

/// A running server. Its threads end with the process.
pub struct Web {
    pub port: u16,
    seen: Arc<Mutex<Vec<Asked>>>,
    held: Arc<AtomicUsize>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Whether an object's content is asked for.
    pub fn is_read(&self) -> bool {
        let is_list = |word: &str| self.target.contains(word);
        self.method == "GET" && !is_list("list-type=") && !is_list("comp=list")
    }
}

impl Web {
    /// Before the server at `store`; what the scenario does in `judge` happens before the request goes on.
    pub fn start(store: u16, judge: impl FnMut(&Asked) -> Becomes + Send + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let seen = Arc::<Mutex<Vec<Asked>>>::default();
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(Box::new(judge)));
        let held = Arc::<AtomicUsize>::default();
        let (told, waits) = (Arc::clone(&seen), Arc::clone(&held));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (told, judge, waits) =
                    (Arc::clone(&told), Arc::clone(&judge), Arc::clone(&waits));
                std::thread::spawn(move || serve(client, store, &told, &judge, &waits));
            }
        });
        Web { port, seen, held }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests wait for what never comes, of clients that are there.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// How often the content of an object was asked for.
    pub fn reads(&self) -> usize {
        self.seen().iter().filter(|asked| asked.is_read()).count()
    }
}

fn serve(
    client: TcpStream,
    store: u16,
    seen: &Mutex<Vec<Asked>>,
    judge: &Mutex<Judge>,
    held: &AtomicUsize,
) {
    let Ok(mut writer) = client.try_clone() else { return };
    let mut reader = BufReader::new(client);
    while let Some((head, asked)) = request(&mut reader) {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        let becomes = (judge.lock().unwrap_or_else(PoisonError::into_inner))(&asked);
        let goes_on = match becomes {
            Becomes::Held | Becomes::Stalled(_) => {
                held.fetch_add(1, Ordering::SeqCst);
                if let Becomes::Stalled(_) = becomes {
                    pass(&mut writer, store, &head, &asked, &becomes);
                }
                // Until the client goes.
                let _ = reader.read(&mut [0]);
                held.fetch_sub(1, Ordering::SeqCst);
                None
            }
            Becomes::Answered(answer) => {
                let end =
                    answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
                let length = if asked.method == "HEAD" { end } else { answer.len() };
                let is_last = asked.header("connection") == Some("close");
                writer.write_all(&answer[..length]).ok().filter(|()| !is_last)
            }
            passed => pass(&mut writer, store, &head, &asked, &passed),
        };
        if goes_on.is_none() {
            let _ = writer.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// The head of the next request, which has no content.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Asked)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let asked = Asked { method, target, headers: headers.collect() };
    Some((head, asked))
}

/// As the store answers, save what becomes of that.
fn pass(
    client: &mut TcpStream,
    store: u16,
    head: &str,
    asked: &Asked,
    becomes: &Becomes,
) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", store)).ok()?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let (head, content) = answer.split_at(end);
    // The connection to the client goes on, or ends without a word.
    let lines = std::str::from_utf8(head).ok()?.trim_end().split("\r\n");
    let is_kept = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let mut head = lines.filter(is_kept).collect::<Vec<_>>().join("\r\n");
    let is_read = asked.method == "GET";
    let rewritten = match becomes {
        Becomes::Rewritten(rewrite) if is_read => rewrite(&dechunked(&head, content)?),
        _ => String::new(),
    };
    let (content, is_said_whole) = match becomes {
        Becomes::Cut(most) | Becomes::Stalled(most) if is_read => {
            (&content[..content.len().min(*most)], false)
        }
        Becomes::Shortened(most) if is_read => (&content[..content.len().min(*most)], true),
        Becomes::Rewritten(_) if is_read => (rewritten.as_bytes(), true),
        _ => {
            client.write_all(format!("{head}\r\n\r\n").as_bytes()).ok()?;
            return client.write_all(content).ok();
        }
    };
    if is_said_whole {
        let is_length = |line: &&str| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("content-length:") && !line.starts_with("transfer-encoding:")
        };
        head = head.split("\r\n").filter(is_length).collect::<Vec<_>>().join("\r\n");
        head.push_str(&format!("\r\nContent-Length: {}", content.len()));
    }
    client.write_all(format!("{head}\r\n\r\n").as_bytes()).ok()?;
    client.write_all(content).ok()?;
    is_said_whole.then_some(())
}

/// The content in one piece, whether it came in chunks or not.
fn dechunked(head: &str, content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Some(text.to_owned());
    }
    let (mut rest, mut whole) = (text, String::new());
    loop {
        let (length, after) = rest.split_once("\r\n")?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(after.get(..length)?);
        rest = after.get(length + 2..)?;
    }
}
