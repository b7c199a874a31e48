//! The bytes of a text file, decompressed where it is compressed.
//!
//! Invariants: compressed data that is cut or damaged is an error, wherever that is; nothing but a buffer and the window of
//! the compression is in memory, and the window is bounded.

use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

use super::super::definition::Compression;
use super::super::error::Error;
use super::BUFFER;
use super::ends::{Noted, is_within_line};
use super::fetch::{self, Fetch, is_waiting};
use super::place::Place;
use crate::points::is_planted;

/// The greatest window of zstd, as a power of two: each file that is read at once holds one.
const WINDOW: u32 = 25;

/// Bytes that a stream holds at most of what it has unpacked, to refer back to.
pub(in super::super) fn window(compression: Compression) -> usize {
    match compression {
        Compression::Gzip => 32 << 10,
        Compression::Zstd => 1 << WINDOW,
    }
}

/// What a file is read from.
pub(in super::super) type Bytes = Box<dyn BufRead + Send>;

/// Opens a text at its first byte. Where what is read has to be waited for ([`is_waiting`]), the other gets it.
pub(in super::super) fn open(
    table: &str,
    place: &Place,
    compression: Option<Compression>,
) -> Result<(Bytes, Fetch), Error> {
    let path = place.path.as_str();
    if let Some(object) = &place.object {
        let (fed, fetch) = fetch::of(object);
        let text: Bytes = match compression {
            None => Box::new(Noted::new(fed, &object.ends, object.place)),
            Some(compression) => {
                let text = decompressed(Box::new(fed), compression);
                let text = text.map_err(|error| unreadable(table, path, &error))?;
                Box::new(Noted::new(text, &object.ends, object.place))
            }
        };
        return Ok((text, fetch));
    }
    let fetch = Fetch::Nothing { path: path.to_owned() };
    let unopened = |error: IoError| {
        Error::Missing(format!(
            "table `{table}`: file `{path}` cannot be read: {error}; put it back or make it readable"
        ))
    };
    let file = File::open(path).map_err(unopened)?;
    let size = file.metadata().map_err(unopened)?.len();
    let file = BufReader::with_capacity(BUFFER, file);
    let Some(compression) = compression else { return Ok((Box::new(file), fetch)) };
    if size == 0 {
        return Err(Error::Damaged(format!(
            "table `{table}`: file `{path}` is empty, which no {} file is; put the whole file there",
            compression.name()
        )));
    }
    Ok((decompressed(Box::new(file), compression).map_err(unopened)?, fetch))
}

fn decompressed(packed: Bytes, compression: Compression) -> std::io::Result<Bytes> {
    let text: Box<dyn Read + Send> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(WINDOW)?;
            Box::new(decoder)
        }
    };
    Ok(Box::new(BufReader::with_capacity(
        BUFFER,
        Decompressed { text, compression, has_begun: false },
    )))
}

/// What keeps a file from being read on.
pub(in super::super) fn unreadable(table: &str, path: &str, error: &IoError) -> Error {
    let remedy = match error.kind() {
        ErrorKind::InvalidData => "put the whole file there",
        ErrorKind::InvalidInput => "say `compression: none`, or put the compressed file there",
        ErrorKind::Unsupported => "compress it again, with `--long=25` at most",
        _ => "make it readable",
    };
    Error::Damaged(format!("table `{table}`: file `{path}` cannot be read: {error}; {remedy}"))
}

/// Whether the last byte of a compressed file is no line end. Reads all of it, and can be cancelled.
pub(in super::super) async fn ends_within_line(
    table: &str,
    path: &str,
    compression: Compression,
) -> Result<bool, Error> {
    let (mut bytes, _) = open(table, &Place::of_file(path), Some(compression))?;
    let mut last = None;
    loop {
        let text = match bytes.fill_buf() {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(table, path, &error)),
        };
        if text.is_empty() {
            return Ok(is_within_line(last));
        }
        last = text.last().copied();
        let length = text.len();
        bytes.consume(length);
        tokio::task::yield_now().await;
    }
}

/// Says what is wrong with compressed data in words of our own; errors of the file itself stay as they are.
struct Decompressed {
    text: Box<dyn Read + Send>,
    compression: Compression,
    /// Something of it was read.
    has_begun: bool,
}

impl Decompressed {
    /// What the libraries say of damaged data.
    fn damaged(&self, error: &IoError) -> IoError {
        let (name, said) = (self.compression.name(), error.to_string());
        let is_other = ["invalid gzip header", "Unknown frame descriptor"];
        if !self.has_begun && is_other.iter().any(|words| said.contains(words)) {
            return IoError::new(ErrorKind::InvalidInput, format!("it is no {name} data"));
        }
        if self.compression == Compression::Zstd && said.contains("too much memory") {
            let what =
                format!("its zstd data needs a window of more than {} MiB", 1 << (WINDOW - 20));
            return IoError::new(ErrorKind::Unsupported, what);
        }
        IoError::new(ErrorKind::InvalidData, format!("its {name} data is damaged ({said})"))
    }
}

impl Read for Decompressed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let name = self.compression.name();
        match self.text.read(buffer) {
            Ok(read) => {
                self.has_begun |= read > 0;
                Ok(read)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                if is_planted("gzip_cut_accepted") && self.compression == Compression::Gzip {
                    return Ok(0);
                }
                Err(IoError::new(ErrorKind::InvalidData, format!("its {name} data is cut")))
            }
            Err(error)
                if error.raw_os_error().is_none()
                    && error.kind() != ErrorKind::Interrupted
                    && !is_waiting(&error) =>
            {
                Err(self.damaged(&error))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    type Pack = fn(&[u8]) -> Vec<u8>;

    const TEXT: &[u8] = b"{\"id\":1,\"name\":\"one\"}\n{\"id\":2,\"name\":\"two\"}\n";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn both() -> [(Compression, Pack); 2] {
        [(Compression::Gzip, gzip), (Compression::Zstd, zstd)]
    }

    /// The text of a file with these bytes, or what is said of it.
    fn read(compression: Compression, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let path = file.path().to_str().unwrap();
        let mut text = Vec::new();
        let place = Place::of_file(path);
        let (mut bytes, _) =
            open("t", &place, Some(compression)).map_err(|error| error.to_string())?;
        let read = bytes.read_to_end(&mut text);
        read.map_err(|error| unreadable("t", path, &error).to_string()).map(|_| text)
    }

    #[test]
    fn compressed_text_is_read_whole_and_so_are_several_parts_in_one_file() {
        for (compression, pack) in both() {
            assert_eq!(read(compression, &pack(TEXT)).unwrap(), TEXT);
            let parts = [pack(&TEXT[..30]), pack(b""), pack(&TEXT[30..])].concat();
            assert_eq!(read(compression, &parts).unwrap(), TEXT);
        }
    }

    #[test]
    fn a_cut_at_every_length_is_an_error() {
        for (compression, pack) in both() {
            let parts = [pack(&TEXT[..22]), pack(&TEXT[22..])];
            let (first, whole) = (parts[0].len(), parts.concat());
            // Between two parts there is no telling: the rest is a whole file.
            for length in (0..whole.len()).filter(|length| *length != first) {
                let said = read(compression, &whole[..length]).expect_err("it is cut");
                let is_named =
                    said.contains("data is cut") || length == 0 && said.contains("empty");
                assert!(is_named && said.contains("put the whole file there"), "{length}: {said}");
            }
            assert_eq!(read(compression, &whole[..first]).unwrap(), &TEXT[..22]);
        }
    }

    #[test]
    fn damage_anywhere_in_what_was_packed_is_never_another_text() {
        for (compression, pack) in both() {
            let whole = pack(TEXT);
            for place in 0..whole.len() {
                for bit in 0..8 {
                    let mut bytes = whole.clone();
                    bytes[place] ^= 1 << bit;
                    if let Ok(text) = read(compression, &bytes) {
                        assert_eq!(text, TEXT, "bit {bit} of byte {place}");
                    }
                }
            }
        }
        let mut bytes = gzip(TEXT);
        let crc = bytes.len() - 8;
        bytes[crc] ^= 1;
        let said = read(Compression::Gzip, &bytes).unwrap_err();
        assert!(said.contains("gzip data is damaged") && said.contains("checksum"), "{said}");
        let mut bytes = zstd(TEXT);
        let crc = bytes.len() - 1;
        bytes[crc] ^= 1;
        let said = read(Compression::Zstd, &bytes).unwrap_err();
        assert!(said.contains("zstd data is damaged") && said.contains("checksum"), "{said}");
        for (compression, pack) in both() {
            let name = compression.name();
            let said = read(compression, TEXT).unwrap_err();
            assert!(said.contains(&format!("it is no {name} data")), "{said}");
            assert!(said.contains("`compression: none`"), "{said}");
            // Behind a whole part it is damage.
            let said = read(compression, &[&pack(TEXT)[..], TEXT].concat()).unwrap_err();
            assert!(said.contains(&format!("{name} data is damaged")), "{said}");
        }
    }

    #[test]
    fn a_window_beyond_the_bound_is_refused() {
        let packed = |window: u32| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window).unwrap();
            encoder.write_all(TEXT).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(read(Compression::Zstd, &packed(WINDOW)).unwrap(), TEXT);
        let said = read(Compression::Zstd, &packed(WINDOW + 1)).unwrap_err();
        assert!(said.contains("a window of more than 32 MiB; compress it again"), "{said}");
        assert!(said.contains("`--long=25`"), "{said}");
    }

    #[test]
    fn what_has_to_be_waited_for_is_the_same_text_or_the_same_error() {
        use super::super::fetch::tests::Slow;
        let read = |compression, bytes: &[u8], piece: usize| {
            let packed: &'static [u8] = bytes.to_vec().leak();
            let mut text = Vec::new();
            let mut bytes = decompressed(Box::new(Slow::new(packed, piece)), compression).unwrap();
            loop {
                let part = match bytes.fill_buf() {
                    Ok([]) => return Ok(text),
                    Ok(part) => part.to_vec(),
                    Err(error) if is_waiting(&error) => continue,
                    Err(error) => return Err(error.to_string()),
                };
                text.extend_from_slice(&part);
                bytes.consume(part.len());
            }
        };
        for (compression, pack) in both() {
            let parts = [pack(&TEXT[..22]), pack(&TEXT[22..])];
            let (first, whole) = (parts[0].len(), parts.concat());
            for piece in [1, 2, 7, 64, 4096] {
                assert_eq!(read(compression, &whole, piece).unwrap(), TEXT, "{piece}");
            }
            for length in (1..whole.len()).filter(|length| *length != first) {
                let said = read(compression, &whole[..length], 3).expect_err("it is cut");
                assert!(said.contains("data is cut"), "{length}: {said}");
            }
        }
    }

    #[tokio::test]
    async fn the_end_of_the_text_is_known_not_that_of_the_file() {
        for (compression, pack) in both() {
            for (text, is_within) in [(TEXT, false), (&TEXT[..30], true), (b"", false)] {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), pack(text)).unwrap();
                let path = file.path().to_str().unwrap();
                assert_eq!(ends_within_line("t", path, compression).await, Ok(is_within));
            }
        }
    }
}
