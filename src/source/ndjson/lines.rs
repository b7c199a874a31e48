use std::io::{BufRead, Error, Read};

use super::super::text::BYTE_ORDER_MARK;
use super::super::text::fetch::is_waiting;

/// No line may be longer: a file without line ends would otherwise be read into memory whole.
const LONGEST: u64 = 64 << 20;

/// Why there is no next line.
#[derive(Debug)]
pub(super) enum Problem {
    Io(Error),
    TooLong { line: u64 },
}

impl Problem {
    /// Whether the same line comes once more was fetched.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Problem::Io(error) if is_waiting(error))
    }
}

/// The lines of a file, one at a time; the last need not have an end.
pub(super) struct Lines<R> {
    input: R,
    text: Vec<u8>,
    /// Of the last line, counted from 1.
    number: u64,
    /// A part of the line is read, and the rest has to be waited for.
    is_within: bool,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R) -> Self {
        Lines { input, text: Vec::with_capacity(4096), number: 0, is_within: false }
    }

    /// The next line that is not blank, without its end, and its number; `None` at the end of the file. Where the input has to
    /// be waited for, the next call goes on where this one was.
    pub fn next(&mut self) -> Result<Option<(&[u8], u64)>, Problem> {
        loop {
            if !self.is_within {
                self.text.clear();
                self.is_within = true;
            }
            let mut bounded = self.input.by_ref().take(LONGEST + 1 - self.text.len() as u64);
            bounded.read_until(b'\n', &mut self.text).map_err(Problem::Io)?;
            self.is_within = false;
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
    use super::super::super::text::fetch::tests::Slow;
    use super::*;

    #[test]
    fn lines_are_counted_and_blank_ones_passed_over() {
        let text = "\u{feff}a\r\n\n \t\r\nb\n\u{feff}c".as_bytes();
        for buffer in [1, 3, 64] {
            let mut lines = Lines::new(Slow::new(text, buffer));
            let mut found = Vec::new();
            loop {
                match lines.next() {
                    Ok(Some((line, number))) => {
                        found.push((String::from_utf8(line.to_vec()).unwrap(), number));
                    }
                    Ok(None) => break,
                    Err(problem) => assert!(problem.is_waiting(), "{problem:?}"),
                }
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
