//! Where the messages of an Arrow IPC file are, in both of its formats: one with a footer that tells, and one where each
//! message follows the last until a marker says that there is no more.
//!
//! Invariants: what has neither footer nor marker, or more behind it, is refused; a length is held against the file before
//! anything is made of it.

use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::ipc;

use super::bytes::Bytes;
use super::{METADATA, MOST, Wrong, check};
use crate::points::is_planted;

const MAGIC: &[u8; 6] = b"ARROW1";
const OLD_FEATHER: &[u8; 4] = b"FEA1";
/// Stands before the length of a message.
const CONTINUES: [u8; 4] = [0xff; 4];
/// A message without length: the end of a stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// The length of the footer, and the magic word.
const TAIL: u64 = 10;

/// The place of a file's schema at most: writers align it to no more bytes.
const ALIGNED: u64 = 64;

/// What of a file is left to be read.
pub(super) enum Frames {
    /// Dictionaries first, then the record batches.
    Blocks(std::vec::IntoIter<(ipc::MessageHeader, ipc::Block)>),
    /// The next message begins here.
    Stream(u64),
}

/// A dictionary or a record batch.
pub(super) struct Message {
    header: Buffer,
    pub body: Buffer,
}

impl Message {
    pub fn header(&self) -> Result<ipc::Message<'_>, Wrong> {
        message(&self.header)
    }
}

fn message(bytes: &[u8]) -> Result<ipc::Message<'_>, Wrong> {
    let message = ipc::root_as_message(bytes).map_err(|_| Wrong::Damaged)?;
    match message.version() {
        ipc::MetadataVersion::V4 | ipc::MetadataVersion::V5 => Ok(message),
        _ => Err(Wrong::Old),
    }
}

/// The columns of a file, what of it is to be read then, and how long the longest part of that is, as far as the file tells.
pub(super) async fn begin(bytes: &mut Bytes) -> Result<(Schema, Frames, u64), Wrong> {
    let size = bytes.size();
    if size == 0 {
        return Err(Wrong::Empty);
    }
    let head = bytes.take(0, size.min(8)).await?;
    match head.as_slice() {
        head if head.starts_with(MAGIC) => blocks(bytes).await,
        head if head.starts_with(OLD_FEATHER) => Err(Wrong::Feather),
        head if head.starts_with(&CONTINUES) => {
            let is_marked = size >= 16 && bytes.take(size - 8, 8).await?.as_slice() == END;
            if !is_marked && !is_planted("ipc_marker_ignored") {
                return Err(Wrong::NoMarker);
            }
            let (header, next) = header(bytes, 0).await?.ok_or(Wrong::Damaged)?;
            let schema = message(&header)?.header_as_schema().ok_or(Wrong::Damaged)?;
            Ok((check::schema(schema)?, Frames::Stream(next), 0))
        }
        head if MAGIC.starts_with(head) || CONTINUES.starts_with(head) => Err(Wrong::Cut),
        _ => Err(Wrong::NotArrow),
    }
}

async fn blocks(bytes: &mut Bytes) -> Result<(Schema, Frames, u64), Wrong> {
    let tail = bytes.size().checked_sub(TAIL).filter(|at| *at >= 8).ok_or(Wrong::NoFooter)?;
    let last = bytes.take(tail, TAIL).await?;
    let (length, magic) = last.as_slice().split_first_chunk::<4>().ok_or(Wrong::Damaged)?;
    if magic != MAGIC {
        return Err(Wrong::NoFooter);
    }
    let length = u64::try_from(i32::from_le_bytes(*length)).map_err(|_| Wrong::Damaged)?;
    let end = tail.checked_sub(length).filter(|at| *at >= 8 && length <= METADATA);
    let end = end.ok_or(Wrong::Damaged)?;
    let footer = bytes.take(end, length).await?;
    let footer = ipc::root_as_footer(&footer).map_err(|_| Wrong::Damaged)?;
    let schema = check::schema(footer.schema().ok_or(Wrong::Damaged)?)?;
    let of = |kind| move |block: &ipc::Block| (kind, *block);
    let dictionaries = footer.dictionaries().into_iter().flatten();
    let dictionaries = dictionaries.map(of(ipc::MessageHeader::DictionaryBatch));
    let batches = footer.recordBatches().into_iter().flatten();
    let batches = batches.map(of(ipc::MessageHeader::RecordBatch));
    let blocks: Vec<_> = dictionaries.chain(batches).collect();
    let (mut longest, mut places) = (0, Vec::with_capacity(blocks.len() + 1));
    for (_, block) in &blocks {
        let (at, header, body) = lengths(block)?;
        let ends = at.checked_add(header).and_then(|it| it.checked_add(body));
        longest = longest.max(header + body);
        places.push((at, ends.ok_or(Wrong::Damaged)?));
    }
    places.sort_unstable();
    places.push((end, end));
    // All of the file between its schema and its footer is of one block each: a message that the footer does not name would be
    // one that it lost, and one that it names twice is another's place.
    let mut next = behind_schema(bytes, end).await?;
    for (at, ends) in places {
        let is_lost = at >= next.saturating_add(8)
            && header(bytes, next).await.is_ok_and(|found| found.is_some());
        if at < next || is_lost {
            return Err(Wrong::Damaged);
        }
        next = ends;
    }
    Ok((schema, Frames::Blocks(blocks.into_iter()), longest))
}

/// Where the schema ends that a file begins with, behind the magic word and what aligns it.
async fn behind_schema(bytes: &mut Bytes, end: u64) -> Result<u64, Wrong> {
    for at in (8..=ALIGNED).step_by(8).take_while(|at| at + 8 <= end) {
        if bytes.take(at, 4).await?.as_slice() == CONTINUES {
            return header(bytes, at).await?.map(|(_, next)| next).ok_or(Wrong::Damaged);
        }
    }
    // Before version 0.15 nothing stood before the length of a message.
    let length = bytes.take(8, 4).await?;
    let length = length.first_chunk::<4>().map_or(0, |length| i32::from_le_bytes(*length));
    let schema = match u64::try_from(length).ok().filter(|length| (1..=METADATA).contains(length)) {
        Some(length) => bytes.take(12, length).await?,
        None => return Err(Wrong::Damaged),
    };
    Err(message(&schema).map_or(Wrong::Damaged, |_| Wrong::Old))
}

/// Where a block begins, and how long its header and its body are.
fn lengths(block: &ipc::Block) -> Result<(u64, u64, u64), Wrong> {
    let number = |number: i64| u64::try_from(number).map_err(|_| Wrong::Damaged);
    let at = number(block.offset())?;
    let (header, body) = (number(block.metaDataLength().into())?, number(block.bodyLength())?);
    match (header, body) {
        (..=METADATA, ..=MOST) => Ok((at, header, body)),
        (..=METADATA, _) => Err(Wrong::TooLarge),
        _ => Err(Wrong::Damaged),
    }
}

/// The header of the message that begins there, and where its body does; `None` at the marker of the end.
async fn header(bytes: &mut Bytes, at: u64) -> Result<Option<(Buffer, u64)>, Wrong> {
    let prefix = bytes.take(at, 8).await?;
    let (continues, length) = prefix.as_slice().split_first_chunk::<4>().ok_or(Wrong::Damaged)?;
    if *continues != CONTINUES {
        return Err(Wrong::Old);
    }
    let length = length.first_chunk::<4>().ok_or(Wrong::Damaged)?;
    let length = u64::try_from(i32::from_le_bytes(*length)).map_err(|_| Wrong::Damaged)?;
    match length {
        0 => Ok(None),
        1..=METADATA => {
            let header = bytes.take(at + 8, length).await?;
            Ok(Some((header, at + 8 + length)))
        }
        _ => Err(Wrong::Damaged),
    }
}

impl Frames {
    /// Whether a dictionary may be said anew.
    pub fn is_stream(&self) -> bool {
        matches!(self, Frames::Stream(_))
    }

    /// The next dictionary or record batch; `None` once there is none, and the file says so.
    pub async fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Message>, Wrong> {
        match self {
            Frames::Blocks(blocks) => {
                let Some((kind, block)) = blocks.next() else { return Ok(None) };
                let (at, length, body) = lengths(&block)?;
                let (found, begun) = header(bytes, at).await?.ok_or(Wrong::Damaged)?;
                let is_there = begun == at + length;
                let said = message(&found)?;
                let is_so = said.bodyLength() == block.bodyLength() && said.header_type() == kind;
                if !is_there || !is_so {
                    return Err(Wrong::Damaged);
                }
                let body = bytes.take(at + length, body).await?;
                Ok(Some(Message { header: found, body }))
            }
            Frames::Stream(at) => {
                if *at == bytes.size() {
                    let is_ignored = is_planted("ipc_marker_ignored");
                    return if is_ignored { Ok(None) } else { Err(Wrong::NoMarker) };
                }
                let Some((found, begun)) = header(bytes, *at).await? else {
                    let is_last = *at + 8 == bytes.size();
                    return is_last.then_some(None).ok_or(Wrong::Behind);
                };
                let body = u64::try_from(message(&found)?.bodyLength());
                let body = body.map_err(|_| Wrong::Damaged)?;
                if body > MOST {
                    return Err(Wrong::TooLarge);
                }
                let read = bytes.take(begun, body).await?;
                *at = begun + body;
                Ok(Some(Message { header: found, body: read }))
            }
        }
    }
}
