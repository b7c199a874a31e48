//! A listener that bears a bounded number of connections, each of which ends when nothing comes from it for a while.
//!
//! Not responsible for how long a request may take (`access`). Invariant: whoever sends less than the head of a request
//! has its place for [`HEAD`] only, so that nobody is kept from asking by connections that ask nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at once; others wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long the first head of a connection may take.
const HEAD: Duration = Duration::from_secs(3);
/// Longer than any request may take.
const SILENCE: Duration = Duration::from_secs(30);

/// The listener.
pub struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection in its place.
pub struct Connection {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    head: Head,
    _place: OwnedSemaphorePermit,
}

/// How much has come of the first head of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    WithinLine,
    LineEnded,
    /// An empty line has come; also in the preface of HTTP/2.
    Whole,
}

impl Head {
    fn after(self, bytes: &[u8]) -> Head {
        bytes.iter().fold(self, |head, byte| match (head, byte) {
            (Head::Whole, _) | (Head::LineEnded, b'\n') => Head::Whole,
            (Head::WithinLine, b'\n') | (Head::LineEnded, b'\r') => Head::LineEnded,
            _ => Head::WithinLine,
        })
    }
}

impl Bounded {
    pub fn new(listener: TcpListener) -> Bounded {
        Bounded::with(listener, CONNECTIONS)
    }

    fn with(listener: TcpListener, places: usize) -> Bounded {
        Bounded { listener, places: Arc::new(Semaphore::new(places)) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let silence = Box::pin(sleep(HEAD));
        (Connection { stream, silence, head: Head::WithinLine, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    /// Whoever is written to, as with events, is not silent.
    fn spoke(&mut self, written: &Poll<io::Result<usize>>) {
        if self.head == Head::Whole && matches!(written, Poll::Ready(Ok(_))) {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.head = self.head.after(&buffer.filled()[before..]);
            if self.head == Head::Whole {
                self.silence.as_mut().reset(Instant::now() + SILENCE);
            }
            return Poll::Ready(read);
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.spoke(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.spoke(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_too_many_waits_until_another_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut bounded = Bounded::with(listener, 1);
        let _callers = [
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        ];
        let (first, _) = bounded.accept().await;
        assert!(bounded.accept().now_or_never().is_none());
        drop(first);
        bounded.accept().await;
    }

    /// How long a connection is borne once this has come of it, and then nothing more.
    async fn borne(sent: &str) -> Duration {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut bounded = Bounded::with(listener, 1);
        let begun = Instant::now();
        let (mut connection, _) = bounded.accept().await;
        caller.write_all(sent.as_bytes()).await.unwrap();
        connection.read_exact(&mut vec![0; sent.len()]).await.unwrap();
        connection.silence.deadline() - begun
    }

    #[tokio::test]
    async fn half_a_request_keeps_its_place_for_a_moment_only() {
        for half in ["G", "GET /health HTTP/1.1\r\n", "GET /health HTTP/1.1\r\nHost: a\r\n\r"] {
            assert!(borne(half).await < SILENCE / 2, "{half:?}");
        }
    }

    #[tokio::test]
    async fn a_request_may_take_its_time_once_its_head_has_come() {
        for whole in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            assert!(borne(whole).await >= SILENCE, "{whole:?}");
        }
    }
}
