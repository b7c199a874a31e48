//! The stream of a binary COPY, cut into rows: whatever pieces it comes in, the rows are the same.
//!
//! Not responsible for what the fields mean. Invariant: it has ended only where its trailer was met and nothing followed.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::points::is_planted;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of what follows them.
const HEADER: usize = SIGNATURE.len() + 8;
/// Flags that a reader has to know; none of them is known here.
const CRITICAL: u32 = 0xffff_0000;

/// The longest row that is taken.
pub const LONGEST: usize = 64 << 20;
/// That one is longer.
pub const TOO_LONG: Wrong = "a row is longer than any that is taken";

/// What is wrong with the stream, in words that hold nothing of it.
pub type Wrong = &'static str;

/// The pieces that came and were not taken yet.
#[derive(Debug, Default)]
pub struct Frames {
    carried: BytesMut,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Header,
    /// So many bytes of an extension of the header are to be left out.
    Extension(usize),
    Rows,
    Ended,
}

/// One row as it came: for each field its length and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a>(&'a [u8]);

impl Frames {
    /// Takes a piece, and hands each row that is whole by now, of so many fields, to `each`.
    ///
    /// # Errors
    /// The stream is not that of a binary COPY, or what `each` says.
    pub fn feed<E: From<Wrong>>(
        &mut self,
        piece: Bytes,
        fields: usize,
        mut each: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.carried.is_empty() && self.stage == Stage::Rows {
            // The server sends a row in a piece: nothing is copied then.
            let mut rest: &[u8] = &piece;
            while self.stage == Stage::Rows
                && let Some(length) = self.whole_row(rest, fields)?
            {
                let (row, after) = rest.split_at(length);
                self.take(row, &mut each)?;
                rest = after;
            }
            self.carried.extend_from_slice(rest);
            return Ok(self.check_end()?);
        }
        self.carried.extend_from_slice(&piece);
        self.head()?;
        while self.stage == Stage::Rows
            && let Some(length) = self.whole_row(&self.carried, fields)?
        {
            let row = self.carried.split_to(length);
            self.take(&row, &mut each)?;
        }
        Ok(self.check_end()?)
    }

    /// Whether the trailer was met.
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    fn take<E>(
        &mut self,
        row: &[u8],
        each: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if row == (-1_i16).to_be_bytes() {
            self.stage = Stage::Ended;
            return Ok(());
        }
        each(Row(&row[2..]))
    }

    fn check_end(&self) -> Result<(), Wrong> {
        match self.stage == Stage::Ended && !self.carried.is_empty() {
            true => Err("there is something behind its end"),
            false => Ok(()),
        }
    }

    fn head(&mut self) -> Result<(), Wrong> {
        if self.stage == Stage::Header {
            if self.carried.len() < HEADER {
                return Ok(());
            }
            let mut header = self.carried.split_to(HEADER);
            if header.split_to(SIGNATURE.len()) != SIGNATURE {
                return Err("it does not begin as a binary COPY does");
            }
            if header.get_u32() & CRITICAL != 0 {
                return Err("its header has flags that are not known");
            }
            let length = usize::try_from(header.get_i32());
            self.stage = Stage::Extension(length.map_err(|_| "its header has no length")?);
        }
        if let Stage::Extension(left) = self.stage {
            let gone = left.min(self.carried.len());
            self.carried.advance(gone);
            self.stage = match left - gone {
                0 => Stage::Rows,
                left => Stage::Extension(left),
            };
        }
        Ok(())
    }

    /// How long the first row is, or the trailer, if all of it is there.
    fn whole_row(&self, bytes: &[u8], fields: usize) -> Result<Option<usize>, Wrong> {
        let Some(count) = bytes.first_chunk::<2>() else { return Ok(None) };
        match i16::from_be_bytes(*count) {
            -1 => return Ok(Some(2)),
            count if usize::try_from(count) != Ok(fields) => {
                return Err("a row has another number of columns than the query");
            }
            _ => {}
        }
        let mut at = 2;
        for _ in 0..fields {
            let Some(length) = bytes[at..].first_chunk::<4>() else { return Ok(None) };
            at += 4;
            match i32::from_be_bytes(*length) {
                -1 => {}
                length => {
                    at += usize::try_from(length).map_err(|_| "a field has no length")?;
                    if at > LONGEST {
                        return Err(TOO_LONG);
                    }
                    if at > bytes.len() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(at))
    }
}

impl<'a> Row<'a> {
    /// The fields; none where one is NULL.
    pub fn fields(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (field, after) = after.split_at(length.unwrap_or(0));
            rest = after;
            Some(length.map(|_| field))
        })
    }
}

/// Whether a stream that came to `frames` may count as whole.
pub fn is_whole(frames: &Frames) -> bool {
    frames.has_ended() || is_planted("trailer_ignored")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Rows = Vec<Vec<Option<Vec<u8>>>>;

    fn stream(rows: &Rows, extension: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend(0_u32.to_be_bytes());
        out.extend(u32::try_from(extension.len()).unwrap().to_be_bytes());
        out.extend(extension);
        for row in rows {
            out.extend(u16::try_from(row.len()).unwrap().to_be_bytes());
            for field in row {
                match field {
                    None => out.extend((-1_i32).to_be_bytes()),
                    Some(bytes) => {
                        out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                        out.extend(bytes);
                    }
                }
            }
        }
        out.extend((-1_i16).to_be_bytes());
        out
    }

    fn read(pieces: &[&[u8]]) -> Result<(Rows, bool), Wrong> {
        let (mut frames, mut rows) = (Frames::default(), Rows::new());
        for piece in pieces {
            frames.feed(Bytes::copy_from_slice(piece), 2, |row| {
                rows.push(row.fields().map(|field| field.map(<[u8]>::to_vec)).collect());
                Ok::<_, Wrong>(())
            })?;
        }
        Ok((rows, frames.has_ended()))
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_rows_and_any_truncation_is_no_end(
            rows in prop::collection::vec(
                prop::collection::vec(
                    prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 2..3), 0..6),
            extension in prop::collection::vec(any::<u8>(), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            end in any::<prop::sample::Index>(),
        ) {
            let stream = stream(&rows, &extension);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), Ok((rows, true)));
            let (_, has_ended) = read(&[&stream[..end.index(stream.len())]]).unwrap();
            prop_assert!(!has_ended);
        }
    }

    #[test]
    fn what_is_no_stream_of_this_query_is_told() {
        let whole = stream(&vec![vec![Some(b"a".to_vec()), None]], b"");
        assert!(read(&[&whole, b"x"]).unwrap_err().contains("behind its end"));
        assert!(read(&[&[&whole[..], b"x"].concat()]).unwrap_err().contains("behind its end"));
        let other = stream(&vec![vec![None; 3]], b"");
        assert!(read(&[&other]).unwrap_err().contains("number of columns"));
        let mut flagged = whole.clone();
        flagged[12] = 1;
        assert!(read(&[&flagged]).unwrap_err().contains("flags"));
        assert!(read(&[b"<html><body>not found</body></html>"]).unwrap_err().contains("begin"));
        // It is refused by its length alone, before it has come.
        let mut long = whole.clone();
        long[21..25].copy_from_slice(&i32::try_from(LONGEST).unwrap().to_be_bytes());
        assert_eq!(read(&[&long[..25]]), Err(TOO_LONG));
        let mut negative = whole;
        negative[21..25].copy_from_slice(&(-2_i32).to_be_bytes());
        assert!(read(&[&negative]).unwrap_err().contains("no length"));
    }
}
