//! What stands before an oracle: passes connections on, refuses them, lets them wait, or speaks TLS with a certificate of
//! the scenario's choice.
//!
//! It runs on a thread and runtime of its own. Not responsible for requests: it knows bytes alone, save that it can turn
//! requests of HTTP/2 away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// What a front does with a connection.
#[derive(Clone)]
pub enum Does {
    /// Passes its bytes on to the oracle and back.
    Pass,
    /// Passes one request on and hangs up at its answer; from then on it passes all.
    LoseAnswer,
    /// Nobody listens.
    Refuse,
    /// Takes the connection and says nothing.
    Stall,
    /// Says this to whoever comes, and hangs up.
    Say(&'static str),
    /// Greets by TLS with this certificate and passes on what was said within.
    Tls(Arc<ServerConfig>),
    /// Greets by TLS, and stalls after so many bytes of its greeting.
    StallWithinTls(Arc<ServerConfig>, usize),
    /// Greets by TLS, agrees on HTTP/2, and turns each request away.
    TurnAway(Arc<ServerConfig>, Away),
}

/// How a request of HTTP/2 is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// The connection ends with the first request, of which nothing was looked at.
    GoAwayBefore,
    /// The connection ends with the first request, of which something may have been made.
    GoAwayAfter,
    /// Each request is refused before anything was made of it.
    RefusedStream,
}

/// What it is to do from now on, or `None` to end all connections; and whom to tell when it is so.
type Told = (Option<Does>, Sender<()>);

/// A running front; it ends when dropped.
pub struct Front {
    address: SocketAddr,
    tell: UnboundedSender<Told>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    turned_away: AtomicUsize,
}

impl Front {
    /// Passes on to `oracle`, a host and port.
    pub fn start(oracle: &str) -> Front {
        let oracle = oracle.to_owned();
        let (tell, told) = unbounded_channel();
        let (say, address) = std::sync::mpsc::channel();
        let seen = Arc::new(Seen::default());
        let counted = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("a bound listener has an address");
                say.send(address).expect("the test waits for the address");
                stand(listener, address, oracle, told, counted).await;
            });
        });
        let address = address.recv().expect("the front's thread has begun to listen");
        Front { address, tell, seen }
    }

    /// Its address, as this host name: a certificate names it.
    pub fn url(&self, scheme: &str) -> String {
        self.url_of(scheme, "localhost")
    }

    pub fn url_of(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.address.port())
    }

    /// What it does with connections from now on; it is so when this returns.
    pub fn does(&self, does: Does) {
        self.tell(Some(does));
    }

    /// Ends all connections.
    pub fn hang_up(&self) {
        self.tell(None);
    }

    fn tell(&self, does: Option<Does>) {
        let (say, done) = std::sync::mpsc::channel();
        self.tell.send((does, say)).expect("the front's thread lives as long as the front");
        done.recv().expect("the front's thread answers");
    }

    /// Connections that were taken.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Requests of HTTP/2 that were turned away.
    pub fn turned_away(&self) -> usize {
        self.seen.turned_away.load(Ordering::Relaxed)
    }
}

async fn stand(
    listener: TcpListener,
    address: SocketAddr,
    oracle: String,
    mut told: UnboundedReceiver<Told>,
    seen: Arc<Seen>,
) {
    let (mut listener, mut does) = (Some(listener), Does::Pass);
    let mut open = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            next = told.recv() => {
                let Some((next, done)) = next else { return };
                match next {
                    Some(next) => does = next,
                    None => open.shutdown().await,
                }
                if matches!(does, Does::Refuse) {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(TcpListener::bind(address).await.expect("the port is still free"));
                }
                // A test that panicked meanwhile does not listen.
                let _ = done.send(());
            }
            Ok((stream, _)) = accepted => {
                seen.connections.fetch_add(1, Ordering::Relaxed);
                open.spawn(serve(stream, does.clone(), oracle.clone(), Arc::clone(&seen)));
                if matches!(does, Does::LoseAnswer) {
                    does = Does::Pass;
                }
            }
        }
        while open.try_join_next().is_some() {}
    }
}

/// Serves one connection; whatever fails only ends it.
async fn serve(mut stream: TcpStream, does: Does, oracle: String, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    match does {
        Does::Refuse => {}
        Does::Pass => pass(stream, &oracle).await,
        Does::LoseAnswer => lose_answer(stream, &oracle).await,
        Does::Stall => until_closed(&mut stream).await,
        Does::Say(words) => {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(words.as_bytes()).await;
            let _ = stream.shutdown().await;
            until_closed(&mut stream).await;
        }
        Does::Tls(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                pass(stream, &oracle).await;
            }
        }
        Does::StallWithinTls(config, bytes) => {
            let (mut near, far) = tokio::io::duplex(1 << 16);
            let greet = async {
                let _ = TlsAcceptor::from(config).accept(far).await;
                std::future::pending::<()>().await;
            };
            let stall = async {
                let mut hello = [0; 4096];
                let count = stream.read(&mut hello).await.unwrap_or(0);
                let _ = near.write_all(&hello[..count]).await;
                let mut greeting = vec![0; bytes];
                if near.read_exact(&mut greeting).await.is_ok() {
                    let _ = stream.write_all(&greeting).await;
                }
                until_closed(&mut stream).await;
            };
            tokio::select! {
                () = greet => {}
                () = stall => {}
            }
        }
        Does::TurnAway(config, away) => {
            let mut config = ServerConfig::clone(&config);
            config.alpn_protocols = vec![b"h2".to_vec()];
            if let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                // An error of the wire only ends it.
                let _ = turn_away(stream, away, &seen.turned_away).await;
            }
        }
    }
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, oracle: &str) {
    if let Ok(mut onward) = TcpStream::connect(oracle).await {
        let _ = onward.set_nodelay(true);
        let _ = copy_bidirectional(&mut stream, &mut onward).await;
    }
}

async fn lose_answer(mut stream: TcpStream, oracle: &str) {
    if let Ok(mut onward) = TcpStream::connect(oracle).await {
        let ((mut asks, _), (mut answers, mut hears)) = (stream.split(), onward.split());
        let mut first = [0; 1];
        tokio::select! {
            _ = copy(&mut asks, &mut hears) => {}
            _ = answers.read(&mut first) => {}
        }
    }
}

async fn until_closed(stream: &mut TcpStream) {
    let mut read = [0; 4096];
    while matches!(stream.read(&mut read).await, Ok(count) if count > 0) {}
}

/// Reads frames of HTTP/2 until the connection ends, and turns each request away, and counts it.
async fn turn_away(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    away: Away,
    count: &AtomicUsize,
) -> io::Result<()> {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 9] = [0, 0, 8, 7, 0, 0, 0, 0, 0];
    const RST_STREAM: [u8; 5] = [0, 0, 4, 3, 0];
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    stream.read_exact(&mut [0; PREFACE]).await?;
    stream.write_all(&SETTINGS).await?;
    stream.flush().await?;
    let mut has_ended = false;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        stream.read_exact(&mut payload).await?;
        if head[3] != HEADERS {
            continue;
        }
        count.fetch_add(1, Ordering::Relaxed);
        let id = &head[5..];
        let none = [0; 4];
        let answer = match away {
            Away::GoAwayBefore => [&GOAWAY, &none[..], &none].concat(),
            Away::GoAwayAfter => [&GOAWAY, id, &none].concat(),
            Away::RefusedStream => [&RST_STREAM, id, &REFUSED_STREAM].concat(),
        };
        if !has_ended {
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
        if away != Away::RefusedStream && !has_ended {
            stream.shutdown().await?;
            has_ended = true;
        }
    }
}
