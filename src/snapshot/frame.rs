//! The frame that all files of a snapshot share. Not responsible for what the frames contain.
//!
//! Format, version 1; integers are little endian:
//!
//! ```text
//! file    = header frame*             (a segment ends with a trailer, see segment.rs)
//! header  = magic[8] version:u32 lineage:u128 checksum:u64       36 bytes, the same in all versions
//!           magic: CFLOWMAN manifest, CFLOWSEG segment, CFLOWJNL journal
//!           checksum: XXH3-64 of the 28 bytes before it, seed 0
//! frame   = marker:u32 length:u32 checksum:u64 payload[length]
//!           marker: A7 C5 0F 1E; checksum: XXH3-64 of the payload, its seed the frame's offset in the file
//! ```
//!
//! Guards: a file of another snapshot, a cut, a flipped bit, and a frame at a place where it was not written
//! are all found out; a newer version is told apart from damage.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::error::{Error, Place};
use crate::domain::codec::short;
use crate::domain::id::Lineage;

/// The version this build writes, and the highest that it reads.
pub(super) const VERSION: u32 = 1;
/// Bytes of a file's header.
pub(super) const FILE_HEADER: usize = 36;
/// Bytes before a frame's payload.
pub(super) const FRAME_HEADER: usize = 16;

pub(super) const MARKER: [u8; 4] = [0xa7, 0xc5, 0x0f, 0x1e];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Manifest,
    Segment,
    Journal,
}

impl FileKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            FileKind::Manifest => b"CFLOWMAN",
            FileKind::Segment => b"CFLOWSEG",
            FileKind::Journal => b"CFLOWJNL",
        }
    }
}

pub(super) fn put_file_header(out: &mut Vec<u8>, kind: FileKind, lineage: Lineage) {
    let start = out.len();
    out.extend_from_slice(kind.magic());
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&lineage.0.to_le_bytes());
    let checksum = xxh3_64(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The lineage of a file, which must be `expected` where that is known.
pub(super) fn check_file_header(
    place: &Place,
    kind: FileKind,
    bytes: &[u8],
    expected: Option<Lineage>,
) -> Result<Lineage, Error> {
    let Some(header) = bytes.first_chunk::<FILE_HEADER>() else {
        return Err(place.damaged("it is cut short"));
    };
    let mut fields = crate::domain::codec::Bytes::new(header);
    let (magic, version) = (fields.take(8), fields.u32());
    let (lineage, checksum) = (fields.u128(), fields.u64());
    if magic != Some(&kind.magic()[..]) {
        return Err(place.damaged("it does not begin as such a file must"));
    }
    if checksum != Some(xxh3_64(&header[..28])) {
        return Err(place.damaged("the checksum of its header is wrong"));
    }
    if version != Some(VERSION) {
        let version = version.unwrap_or_default();
        return Err(place.newer(format_args!("format {version}, this build reads {VERSION}")));
    }
    let lineage = Lineage(lineage.unwrap_or_default());
    if expected.is_some_and(|expected| expected != lineage) {
        return Err(place.foreign(format_args!("its lineage is {lineage}")));
    }
    Ok(lineage)
}

/// Begins a frame; the payload is written after it. Returns what [`end`] wants.
pub(super) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0; FRAME_HEADER - 4]);
    start
}

/// Ends the frame begun at `start` of `out`, which lies at `offset` of the file. Returns its checksum.
pub(super) fn end(out: &mut [u8], start: usize, offset: u64) -> u64 {
    let (head, payload) = out[start..].split_at_mut(FRAME_HEADER);
    let checksum = xxh3_64_with_seed(payload, offset);
    head[4..8].copy_from_slice(&short(payload.len()).to_le_bytes());
    head[8..].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// The length of the payload and its checksum, as the header with which `bytes` begin says; `None` if there is none.
pub(super) fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut fields = crate::domain::codec::Bytes::new(bytes);
    if fields.take(4)? != MARKER {
        return None;
    }
    Some((fields.u32()? as usize, fields.u64()?))
}

/// The payload of the frame with which `bytes` begin, if it is whole. `offset` is its place in the file.
pub(super) fn payload(bytes: &[u8], offset: u64) -> Option<&[u8]> {
    let (length, checksum) = header(bytes)?;
    let payload = bytes[FRAME_HEADER..].get(..length)?;
    (xxh3_64_with_seed(payload, offset) == checksum).then_some(payload)
}
