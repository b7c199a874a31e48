use std::io::{BufRead, Error, Read};

use super::super::text::BYTE_ORDER_MARK;

/// No line may be longer: a file without line ends would otherwise be read into memory whole.
const LONGEST: u64 = 64 << 20;

/// Why there is no next line.
#[derive(Debug)]
pub(super) enum Problem {
    Io(Error),
    TooLong { line: u64 },
}

/// The lines of a file, one at a time; the last need not have an end.
pub(super) struct Lines<R> {
    input: R,
    text: Vec<u8>,
    /// Of the last line, counted from 1.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R) -> Self {
        Lines { input, text: Vec::with_capacity(4096), number: 0 }
    }

    /// The next line that is not blank, without its end, and its number; `None` at the end of the file.
    pub fn next(&mut self) -> Result<Option<(&[u8], u64)>, Problem> {
        loop {
            self.text.clear();
            let mut bounded = self.input.by_ref().take(LONGEST + 1);
            bounded.read_until(b'\n', &mut self.text).map_err(Problem::Io)?;
            if self.text.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if self.text.last() == Some(&b'\n') {
                self.text.pop();
            }
            if self.text.len() as u64 > LONGEST {
                return Err(Problem::TooLong { line: self.number });
            }
            let has_mark = self.number == 1 && self.text.starts_with(BYTE_ORDER_MARK);
            let begin = if has_mark { BYTE_ORDER_MARK.len() } else { 0 };
            if !self.text[begin..].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                return Ok(Some((&self.text[begin..], self.number)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_blank_ones_passed_over() {
        let text = "\u{feff}a\r\n\n \t\r\nb\n\u{feff}c".as_bytes();
        for buffer in [1, 3, 64] {
            let mut lines = Lines::new(std::io::BufReader::with_capacity(buffer, text));
            let mut found = Vec::new();
            while let Some((line, number)) = lines.next().unwrap() {
                found.push((String::from_utf8(line.to_vec()).unwrap(), number));
            }
            let expected = [("a\r", 1), ("b", 4), ("\u{feff}c", 5)];
            assert_eq!(found, expected.map(|(line, number)| (line.to_owned(), number)));
        }
    }

    #[test]
    fn a_line_without_an_end_takes_bounded_memory() {
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        assert!(matches!(Lines::new(endless).next(), Err(Problem::TooLong { line: 1 })));
    }
}
