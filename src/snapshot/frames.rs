//! The frames of a file, front to back, with a bounded part of it in memory: as much as is read at once, or one frame.
//!
//! Not responsible for what the frames contain, nor for what it means that one is not whole (scan.rs).

use std::io;

use xxhash_rust::xxh3::Xxh3;

use super::disk::DiskView;
use super::frame::{self, FRAME_HEADER, MARKER};
use crate::domain::codec::Bytes;

/// Bytes that are read at once; few in tests, so that frames lie across the ends of what is read.
const CHUNK: usize = if cfg!(test) { 64 } else { 1 << 20 };

/// A walk over frames that lie one after the other.
#[derive(Debug)]
pub(super) struct Frames<'f> {
    file: &'f dyn DiskView,
    /// What is in memory, and where in the file it begins.
    chunk: Vec<u8>,
    base: u64,
    /// Where the next frame begins.
    at: u64,
    end: u64,
}

/// One whole frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'f> {
    pub payload: &'f [u8],
    /// Where in the file it begins.
    pub offset: u64,
}

impl<'f> Frames<'f> {
    /// Those from `at` to `end`, which the file reaches.
    pub fn new(file: &'f dyn DiskView, at: u64, end: u64) -> Frames<'f> {
        Frames { file, chunk: Vec::new(), base: at, at, end }
    }

    /// `None` at the end, and where the next one is not whole: then [`Frames::at`] says where that is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let (offset, left) = (self.at, self.end - self.at);
        if left < FRAME_HEADER as u64 {
            return Ok(None);
        }
        let Some((length, checksum)) = frame::header(self.bytes(FRAME_HEADER)?) else {
            return Ok(None);
        };
        let size = FRAME_HEADER + length;
        // What is no frame may say any length: nothing is held for it.
        let is_long = size > CHUNK;
        if size as u64 > left || is_long && self.checksum(length)? != checksum {
            return Ok(None);
        }
        self.bytes(size)?;
        let start = self.start();
        let Some(payload) = frame::payload(&self.chunk[start..], offset) else {
            return Ok(None);
        };
        self.at += size as u64;
        Ok(Some(Frame { payload, offset }))
    }

    /// Where the next frame begins, if there is one.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The first bytes of the next frame; the file has so many.
    fn bytes(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.chunk.len() < self.start() + count {
            let length = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            // The old ones go first.
            self.chunk = Vec::new();
            self.chunk = self.file.read_at(self.at, length.min(CHUNK.max(count)))?;
            self.base = self.at;
        }
        let start = self.start();
        Ok(&self.chunk[start..start + count])
    }

    /// Of the next frame in what is in memory.
    fn start(&self) -> usize {
        usize::try_from(self.at - self.base).expect("it lies in memory, or right behind")
    }

    /// That of the next frame's payload, which may not fit into memory.
    fn checksum(&self, length: usize) -> io::Result<u64> {
        let mut sum = Xxh3::with_seed(self.at);
        let mut done = 0;
        while done < length {
            let offset = self.at + (FRAME_HEADER + done) as u64;
            let bytes = self.file.read_at(offset, CHUNK.min(length - done))?;
            sum.update(&bytes);
            done += bytes.len();
        }
        Ok(sum.digest())
    }
}

/// The whole frame at `offset`; `None` where there is none.
pub(super) fn frame_at(file: &dyn DiskView, offset: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let head = file.read_at(offset, FRAME_HEADER)?;
    let length = frame::header(&head).map(|(length, _)| length);
    let Some(size) = length.map(|length| FRAME_HEADER + length) else { return Ok(None) };
    if offset + size as u64 > end {
        return Ok(None);
    }
    let bytes = file.read_at(offset, size)?;
    Ok(frame::payload(&bytes, offset).is_some().then_some(bytes))
}

/// Shows the payloads of `length` bytes of all whole frames that begin anywhere between `at` and `end`.
pub(super) fn visit_within(
    file: &dyn DiskView,
    at: u64,
    end: u64,
    length: usize,
    mut visit: impl FnMut(&[u8]),
) -> io::Result<()> {
    let size = FRAME_HEADER + length;
    let mut base = at;
    while end.saturating_sub(base) >= size as u64 {
        let left = usize::try_from(end - base).unwrap_or(usize::MAX);
        let bytes = file.read_at(base, left.min(CHUNK.max(2 * size)))?;
        for (start, window) in bytes.windows(size).enumerate() {
            let is_one = window.starts_with(&MARKER)
                && Bytes::new(&window[MARKER.len()..]).u32() == u32::try_from(length).ok();
            if let Some(payload) =
                is_one.then(|| frame::payload(window, base + start as u64)).flatten()
            {
                visit(payload);
            }
        }
        base += (bytes.len() - size + 1) as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::super::memory_disk::MemoryDisk;
    use super::*;

    /// Frames with payloads of these lengths, behind one byte of something else.
    fn file(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = vec![7];
        for (number, length) in (1..).zip(lengths) {
            let (start, offset) = (bytes.len(), bytes.len() as u64);
            frame::begin(&mut bytes);
            bytes.resize(bytes.len() + length, number);
            frame::end(&mut bytes, start, offset);
        }
        bytes
    }

    fn view(bytes: Vec<u8>) -> Box<dyn DiskView> {
        let disk = MemoryDisk::new();
        disk.put("a", bytes);
        disk.open("a").unwrap()
    }

    /// Is never asked for so many bytes at once.
    #[derive(Debug)]
    struct Narrow(Box<dyn DiskView>, usize);

    impl DiskView for Narrow {
        fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
            assert!(length < self.1, "{length} bytes at once");
            self.0.read_at(offset, length)
        }

        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
    }

    /// The first byte and the length of each payload, and where the whole frames end.
    fn read(bytes: &[u8]) -> (Vec<(Option<u8>, usize)>, usize) {
        let view = Narrow(view(bytes.to_vec()), 6 * CHUNK);
        let mut frames = Frames::new(&view, 1, bytes.len() as u64);
        let mut read = Vec::new();
        while let Some(Frame { payload, offset }) = frames.next().unwrap() {
            let there = frame_at(&view, offset, bytes.len() as u64).unwrap().unwrap();
            assert_eq!(&there[FRAME_HEADER..], payload);
            read.push((payload.first().copied(), payload.len()));
        }
        (read, usize::try_from(frames.at()).unwrap())
    }

    #[test]
    fn frames_shorter_and_longer_than_what_is_read_at_once_come_back_up_to_the_first_that_is_not_whole()
     {
        let lengths = [0, 10, CHUNK - FRAME_HEADER, CHUNK, 5 * CHUNK + 3, 1, 300, 0, 31, 2];
        let bytes = file(&lengths);
        let whole: Vec<_> = (1..).zip(lengths).map(|(n, l)| ((l > 0).then_some(n), l)).collect();
        assert_eq!(read(&bytes), (whole.clone(), bytes.len()));
        let ends: Vec<usize> = lengths
            .iter()
            .scan(1, |end, length| {
                *end += FRAME_HEADER + length;
                Some(*end)
            })
            .collect();
        for at in 1..bytes.len() {
            let kept = ends.iter().filter(|end| **end <= at).count();
            let end = if kept == 0 { 1 } else { ends[kept - 1] };
            assert_eq!(read(&bytes[..at]), (whole[..kept].to_vec(), end), "cut at {at}");
            for mask in [0x40, 2] {
                let mut flipped = bytes.clone();
                flipped[at] ^= mask;
                assert_eq!(read(&flipped), (whole[..kept].to_vec(), end), "flipped at {at}");
            }
        }
    }

    #[test]
    fn frames_of_a_length_are_found_wherever_they_begin() {
        for before in (0..3 * CHUNK).filter(|before| *before != 9) {
            let mut bytes = file(&[before, 9, 8, 9]);
            let lost = bytes.len() - 1;
            for (at, expected) in [(1, vec![2, 4]), (2 + before, vec![2, 4])] {
                let view = view(bytes.clone());
                let mut found = Vec::new();
                let visit = |payload: &[u8]| found.push(payload[0]);
                visit_within(view.as_ref(), at as u64, bytes.len() as u64, 9, visit).unwrap();
                assert_eq!(found, expected, "{before}");
            }
            bytes[lost] ^= 1;
            let (view, mut found) = (view(bytes.clone()), 0);
            visit_within(view.as_ref(), 0, bytes.len() as u64, 9, |_| found += 1).unwrap();
            assert_eq!(found, 1, "{before}");
        }
    }
}
