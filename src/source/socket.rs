//! How a server is reached, over the network or a socket of this machine.
//!
//! Not responsible for what is said over it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::remote::Remote;

/// What a conversation goes over.
#[derive(Debug)]
pub(super) enum Stream {
    Network(TcpStream),
    Machine(UnixStream),
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A name that is looked up, or an address.
    Named(String, u16),
    /// What was found for a name.
    Found(SocketAddr),
    Socket(PathBuf),
}

impl Address {
    /// Of a database. Where its host is a folder with sockets, `file` is the name of the one.
    pub fn of(remote: &Remote, file: Option<&str>) -> Address {
        match (remote.is_socket(), file) {
            (true, Some(file)) => Address::Socket(Path::new(&remote.host).join(file)),
            (true, None) => Address::Socket(remote.host.clone().into()),
            (false, _) => {
                Address::Named(remote.host.trim_matches(['[', ']']).to_owned(), remote.port)
            }
        }
    }
}

/// Connects. With it comes the address by which the same server is reached once more.
pub(super) async fn reach(address: &Address) -> io::Result<(Stream, Address)> {
    let stream = match address {
        Address::Socket(path) => {
            let stream = UnixStream::connect(path).await?;
            return Ok((Stream::Machine(stream), address.clone()));
        }
        Address::Named(host, port) => TcpStream::connect((host.as_str(), *port)).await?,
        Address::Found(found) => TcpStream::connect(found).await?,
    };
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    let found = Address::Found(stream.peer_addr()?);
    Ok((Stream::Network(stream), found))
}

/// Has the system ask after a server that says nothing, and give up one that has vanished.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    const SILENT: Duration = Duration::from_secs(30);
    let socket = SockRef::from(stream);
    let asking = TcpKeepalive::new().with_time(SILENT).with_interval(SILENT / 3).with_retries(3);
    socket.set_tcp_keepalive(&asking)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(2 * SILENT))?;
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Network(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Machine(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Network(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Machine(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Network(stream) => Pin::new(stream).poll_flush(context),
            Stream::Machine(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Network(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Machine(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
