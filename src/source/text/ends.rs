//! How texts end, found out by whoever reads them to their ends: nothing more is asked of a store for it, whether it gives
//! parts of objects or not, and whether they are packed or not.

use std::io::{BufRead, Read};
use std::sync::{Arc, OnceLock};

use crate::points::is_planted;

/// Of the texts of a table, by place, whether they end within a line; nothing of those that nobody has read to their ends.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Ends(Arc<[OnceLock<bool>]>);

impl Ends {
    pub fn of(files: usize) -> Ends {
        Ends((0..files).map(|_| OnceLock::new()).collect())
    }

    /// Whether the text at this place ends within a line, once that is known.
    pub fn within_line(&self, place: usize) -> Option<bool> {
        self.0.get(place)?.get().copied()
    }
}

/// Whether a text with this last byte, or with none, ends within a line.
pub(in super::super) fn is_within_line(last: Option<u8>) -> bool {
    last.is_some_and(|last| !matches!(last, b'\n' | b'\r'))
}

/// A text whose end is noted when it is read. It is the same at each read: one with a tag by that, and by one without a tag
/// nothing is deleted.
pub(super) struct Noted<R> {
    text: R,
    /// The last byte of what came last.
    last: Option<u8>,
    ends: Ends,
    place: usize,
}

impl<R> Noted<R> {
    pub fn new(text: R, ends: &Ends, place: usize) -> Noted<R> {
        Noted { text, last: None, ends: ends.clone(), place }
    }
}

impl<R: BufRead> BufRead for Noted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        let text = self.text.fill_buf()?;
        match text.last() {
            Some(last) => self.last = Some(*last),
            None if is_planted("end_of_text_unread") => {}
            None => {
                self.ends.0[self.place].get_or_init(|| is_within_line(self.last));
            }
        }
        Ok(text)
    }

    fn consume(&mut self, amount: usize) {
        self.text.consume(amount);
    }
}

impl<R: BufRead> Read for Noted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let text = self.fill_buf()?;
        let length = text.len().min(buffer.len());
        buffer[..length].copy_from_slice(&text[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fetch::is_waiting;
    use super::super::fetch::tests::Slow;
    use super::*;

    #[test]
    fn how_a_text_ends_is_known_once_its_end_was_read_and_not_before() {
        for (text, is_within) in [
            (&b"id\n1\n"[..], false),
            (b"id\n12", true),
            (b"id\r", false),
            (b"id\n1\n2", true),
            (b"", false),
        ] {
            for piece in [1, 2, 3, 64] {
                let ends = Ends::of(2);
                let mut noted = Noted::new(Slow::new(text, piece), &ends, 1);
                loop {
                    assert_eq!(ends.within_line(1), None, "{text:?} by {piece}");
                    match noted.fill_buf() {
                        Ok([]) => break,
                        Ok(part) => {
                            let length = part.len();
                            noted.consume(length);
                        }
                        Err(error) => assert!(is_waiting(&error)),
                    }
                }
                assert_eq!(ends.within_line(1), Some(is_within), "{text:?} by {piece}");
                assert_eq!(ends.within_line(0), None);
            }
        }
    }
}
