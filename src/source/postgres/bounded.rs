//! A connection whose messages are of a bounded length: a longer one ends it by its head alone, before the client takes it in.
//!
//! Not responsible for what messages say. Invariant: no more of a message that is too long is taken than came with its head.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::TryFutureExt as _;
use futures::future::MapOk;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::frames;

/// The longest message: that of the longest row, with what stands around one.
const LONGEST: usize = frames::LONGEST + LONGEST_GREETING;
/// The longest of those that come before anyone is let in.
const LONGEST_GREETING: usize = 64 << 10;
/// Of the message that ends the greeting, and every answer.
const READY: u8 = b'Z';
/// Type and length, which counts itself.
const HEAD: usize = 5;

/// That a message is longer than any that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than any that is taken")]
pub struct TooLong;

/// What messages come over.
pub struct Bounded<S> {
    inner: S,
    messages: Messages,
}

/// Where in the server's messages the stream is.
struct Messages {
    head: [u8; HEAD],
    /// Bytes of the head that came.
    known: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    longest: usize,
}

/// Encrypts a connection, over which messages of a bounded length come then.
pub struct Bounding<T>(pub T);

impl<S> Bounded<S> {
    pub fn new(inner: S) -> Bounded<S> {
        let messages = Messages { head: [0; HEAD], known: 0, left: 0, longest: LONGEST_GREETING };
        Bounded { inner, messages }
    }
}

impl Messages {
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            let gone = match self.left {
                0 => bytes.len().min(HEAD - self.known),
                left => bytes.len().min(left),
            };
            let (now, rest) = bytes.split_at(gone);
            bytes = rest;
            if self.left > 0 {
                self.left -= gone;
                continue;
            }
            self.head[self.known..self.known + gone].copy_from_slice(now);
            self.known += gone;
            if self.known == HEAD {
                self.known = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), TooLong> {
        let [kind, length @ ..] = self.head;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| TooLong)?;
        if length > self.longest {
            return Err(TooLong);
        }
        self.left = length.saturating_sub(HEAD - 1);
        if kind == READY {
            self.longest = LONGEST;
        }
        Ok(())
    }
}

/// Whether a message was too long.
pub fn is_too_long(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    let inner = cause.and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<TooLong>())
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(context, into);
        if let Poll::Ready(Ok(())) = read {
            let passed = this.messages.pass(&into.filled()[before..]);
            return Poll::Ready(passed.map_err(io::Error::other));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Bounded<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for Bounding<T> {
    type Stream = Bounded<T::Stream>;
    type Error = T::Error;
    type Future = MapOk<T::Future, fn(T::Stream) -> Bounded<T::Stream>>;

    fn connect(self, stream: S) -> Self::Future {
        self.0.connect(stream).map_ok(Bounded::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: usize) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend(u32::try_from(body + 4).unwrap().to_be_bytes());
        out.extend(vec![0xff; body]);
        out
    }

    /// How many bytes pass, in pieces of this size.
    fn passed(sent: &[u8], piece: usize) -> Result<(), usize> {
        let mut messages = Bounded::new(()).messages;
        let mut pieces = sent.chunks(piece).enumerate();
        pieces.try_for_each(|(place, bytes)| messages.pass(bytes).map_err(|_| place * piece))
    }

    proptest! {
        #[test]
        fn a_message_is_refused_by_its_head_alone_whatever_pieces_it_comes_in(
            bodies in prop::collection::vec(0_usize..300, 0..8),
            piece in 1_usize..40,
        ) {
            let mut sent = message(READY, 1);
            sent.extend(bodies.iter().flat_map(|body| message(b'd', *body)));
            prop_assert_eq!(passed(&sent, piece), Ok(()));
            let before = sent.len();
            sent.push(b'd');
            sent.extend(u32::try_from(LONGEST + 1).unwrap().to_be_bytes());
            let refused = passed(&sent, piece).unwrap_err();
            prop_assert!(refused + piece >= before + HEAD && refused < before + HEAD);
        }
    }

    #[test]
    fn the_longest_row_passes_and_who_has_let_nobody_in_says_little() {
        let ready = message(READY, 1);
        let long = message(b'd', LONGEST - 4);
        assert_eq!(passed(&[&ready[..], &long, &ready].concat(), 1 << 20), Ok(()));
        assert_eq!(passed(&message(b'R', LONGEST_GREETING - 4), 100), Ok(()));
        assert_eq!(passed(&message(b'R', LONGEST_GREETING - 3), 5), Err(0));
        assert_eq!(passed(b"HTTP/1.1 400 Bad Request\r\n", 100), Err(0));
    }
}
