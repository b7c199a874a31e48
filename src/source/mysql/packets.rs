//! Packets on a connection: whatever pieces they come in, whole, in order and of a bounded size.
//!
//! Not responsible for what they say. Invariant: the time that a server may be silent is counted only while it is waited for.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::error::Failure;
use crate::source::silence::heard;

/// What packets travel on.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The longest part of a packet; one of this length is followed by another.
const PART: usize = 0xff_ffff;
/// The longest packet that is taken: a row.
pub const LONGEST: usize = 64 << 20;
/// The longest of those that come before anyone is let in.
const LONGEST_GREETING: usize = 64 << 10;
/// What is asked of the system at once.
const PIECE: usize = 64 << 10;

/// A connection, and what came of the next packet.
pub struct Packets {
    wire: Box<dyn Wire>,
    arrived: BytesMut,
    sequence: u8,
    idle_timeout: Duration,
    longest: usize,
}

impl Packets {
    /// Before anyone is let in.
    pub fn new(wire: Box<dyn Wire>, idle_timeout: Duration) -> Packets {
        let (arrived, longest) = (BytesMut::new(), LONGEST_GREETING);
        Packets { wire, arrived, sequence: 0, idle_timeout, longest }
    }

    /// From here on packets may be as long as rows.
    pub fn let_in(self) -> Packets {
        Packets { longest: LONGEST, ..self }
    }

    /// The same conversation over another wire, which is made of this one.
    ///
    /// # Errors
    /// The server spoke before its turn: whoever stands between could have.
    pub fn into_wire(self) -> Result<(Box<dyn Wire>, u8), Failure> {
        match self.arrived.is_empty() {
            true => Ok((self.wire, self.sequence)),
            false => Err(Failure::Malformed),
        }
    }

    /// As [`Packets::new`], in the middle of an exchange.
    pub fn at(wire: Box<dyn Wire>, idle_timeout: Duration, sequence: u8) -> Packets {
        Packets { sequence, ..Packets::new(wire, idle_timeout) }
    }

    /// How long the server may be silent.
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Begins another exchange.
    pub fn begin(&mut self) {
        self.sequence = 0;
    }

    pub async fn read(&mut self) -> Result<Bytes, Failure> {
        let mut before: Option<BytesMut> = None;
        loop {
            let part = self.part(before.as_ref().map_or(0, BytesMut::len)).await?;
            let is_last = part.len() < PART;
            match &mut before {
                None if is_last => return Ok(part.freeze()),
                None => before = Some(part),
                Some(before) => before.extend_from_slice(&part),
            }
            if is_last {
                return Ok(before.unwrap_or_default().freeze());
            }
        }
    }

    async fn part(&mut self, before: usize) -> Result<BytesMut, Failure> {
        self.fill(4).await?;
        let [a, b, c, sequence] =
            [self.arrived[0], self.arrived[1], self.arrived[2], self.arrived[3]];
        let length = a as usize | (b as usize) << 8 | (c as usize) << 16;
        if sequence != self.sequence {
            return Err(Failure::Malformed);
        }
        self.sequence = sequence.wrapping_add(1);
        if before + length > self.longest {
            return Err(Failure::TooLong);
        }
        self.fill(4 + length).await?;
        self.arrived.advance(4);
        Ok(self.arrived.split_to(length))
    }

    async fn fill(&mut self, count: usize) -> Result<(), Failure> {
        while self.arrived.len() < count {
            self.arrived.reserve(PIECE.max(count - self.arrived.len()));
            let read = self.wire.read_buf(&mut self.arrived);
            match heard(self.idle_timeout, read).await {
                Err(_) => return Err(Failure::Silent(self.idle_timeout)),
                Ok(Ok(0)) => return Err(Failure::Ended),
                Ok(read) => read.map_err(Failure::Lost)?,
            };
        }
        Ok(())
    }

    pub async fn write(&mut self, packet: &[u8]) -> Result<(), Failure> {
        let mut rest = packet;
        let mut framed = Vec::with_capacity(packet.len() + 4);
        loop {
            let (part, after) = rest.split_at(rest.len().min(PART));
            let [a, b, c, ..] = part.len().to_le_bytes();
            framed.extend([a, b, c, self.sequence]);
            framed.extend(part);
            self.sequence = self.sequence.wrapping_add(1);
            rest = after;
            if part.len() < PART {
                break;
            }
        }
        let written = async {
            self.wire.write_all(&framed).await?;
            self.wire.flush().await
        };
        match heard(self.idle_timeout, written).await {
            Ok(written) => written.map_err(Failure::Lost),
            Err(_) => Err(Failure::Silent(self.idle_timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(parts: &[(&[u8], u8)]) -> Vec<u8> {
        let part = |(bytes, sequence): &(&[u8], u8)| {
            let [a, b, c, ..] = bytes.len().to_le_bytes();
            [&[a, b, c, *sequence][..], bytes].concat()
        };
        parts.iter().flat_map(part).collect()
    }

    fn read(sent: &[u8], piece: usize) -> Vec<Result<Bytes, String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let sent = sent.to_vec();
        runtime.block_on(async move {
            let (near, mut far) = tokio::io::duplex(piece);
            let mut packets = Packets::new(Box::new(near), Duration::from_secs(5)).let_in();
            let send = async move {
                let _ = far.write_all(&sent).await;
            };
            // Nobody reads behind an error.
            let take = async move {
                let mut all = Vec::new();
                loop {
                    let next = packets.read().await.map_err(|failure| format!("{failure:?}"));
                    let is_last = next.is_err();
                    all.push(next);
                    if is_last {
                        return all;
                    }
                }
            };
            futures::join!(send, take).1
        })
    }

    #[test]
    fn packets_are_whole_whatever_pieces_they_come_in() {
        let long = vec![7; PART];
        let sent = framed(&[(b"a", 0), (b"", 1), (&long, 2), (b"end", 3)]);
        for piece in [1 << 20, 70_001] {
            let all = read(&sent, piece);
            assert_eq!(all.len(), 4);
            assert_eq!(all[0].as_deref(), Ok(&b"a"[..]));
            assert_eq!(all[1].as_deref(), Ok(&b""[..]));
            assert_eq!(all[2].as_ref().unwrap().len(), PART + 3);
            assert!(all[3].as_ref().unwrap_err().contains("Ended"));
        }
    }

    #[test]
    fn a_packet_out_of_order_and_one_without_end_are_none() {
        assert!(read(&framed(&[(b"a", 1)]), 100)[0].as_ref().unwrap_err().contains("Malformed"));
        let cut = framed(&[(b"abc", 0)]);
        assert!(read(&cut[..6], 100)[0].as_ref().unwrap_err().contains("Ended"));
        let long = vec![7; PART];
        let sent = framed(&[(&long, 0), (&long, 1), (&long, 2), (&long, 3), (&long, 4)]);
        assert!(read(&sent, 1 << 20)[0].as_ref().unwrap_err().contains("TooLong"));
    }

    #[test]
    fn whoever_has_let_nobody_in_says_little() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let said = |length: usize| {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let sent = framed(&[(&vec![7; length], 0)]);
            runtime.block_on(async move {
                far.write_all(&sent).await.unwrap();
                Packets::new(Box::new(near), Duration::from_secs(5)).read().await
            })
        };
        assert!(said(LONGEST_GREETING).is_ok());
        assert!(matches!(said(LONGEST_GREETING + 1), Err(Failure::TooLong)));
    }
}
