//! Records of a CSV file, one after the other: quotes and line ends are understood, values are not.
//!
//! Invariant: a file that ends inside a quoted field is an error, never a shorter last field.

use std::io::BufRead;

use csv_core::ReadRecordResult;

/// No record may be longer; a quote that is never closed would otherwise swallow the rest of the file.
const MAX_RECORD: usize = 64 << 20;

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Problem {
    Io(std::io::Error),
    /// The file ends inside a quoted field of the record that begins at `line`.
    Unclosed {
        line: u64,
    },
    TooLong {
        line: u64,
    },
}

/// Reads records; keeps one at a time.
pub(super) struct Records<R> {
    input: R,
    core: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    line: u64,
}

/// One record. Its fields are bytes, unquoted.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    text: &'a [u8],
    ends: &'a [usize],
    /// Where it begins, counted from 1.
    pub line: u64,
}

impl<'a> Record<'a> {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of all its fields together.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    pub fn field(&self, position: usize) -> &'a [u8] {
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        &self.text[start..self.ends[position]]
    }
}

impl<R: BufRead> Records<R> {
    pub fn new(input: R, delimiter: u8) -> Self {
        Records {
            input,
            core: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            text: vec![0; 4096],
            ends: vec![0; 64],
            line: 1,
        }
    }

    /// The next record; `None` at the end of the file. Empty lines are no records.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Problem> {
        self.skip_line_ends().map_err(Problem::Io)?;
        self.line = self.core.line();
        let (mut length, mut count) = (0, 0);
        let mut is_line_ended = false;
        loop {
            let input = fill(&mut self.input).map_err(Problem::Io)?;
            let is_end = input.is_empty();
            // At the end of the file one line end is added: it ends a record that lacks it, unless a quote is open.
            let chunk = if is_end && !is_line_ended { b"\n".as_slice() } else { input };
            let (result, read, wrote, ended) =
                self.core.read_record(chunk, &mut self.text[length..], &mut self.ends[count..]);
            if is_end {
                is_line_ended |= read > 0;
            } else {
                self.input.consume(read);
            }
            length += wrote;
            count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() >= MAX_RECORD => {
                    return Err(Problem::TooLong { line: self.line });
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record if is_line_ended && read == 0 => {
                    return Err(Problem::Unclosed { line: self.line });
                }
                ReadRecordResult::Record => {
                    let (text, ends) = (&self.text[..length], &self.ends[..count]);
                    return Ok(Some(Record { text, ends, line: self.line }));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// Passes over what is left of the last record's line end, and over empty lines, so that the line is right.
    fn skip_line_ends(&mut self) -> std::io::Result<()> {
        loop {
            let input = fill(&mut self.input)?;
            let length = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if length == 0 {
                return Ok(());
            }
            self.core.read_record(&input[..length], &mut self.text, &mut self.ends);
            self.input.consume(length);
        }
    }
}

/// What the buffer holds, read anew if it is empty; an interrupted read is repeated.
fn fill(input: &mut impl BufRead) -> std::io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    input.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Vec<String>>, Problem> {
        // A buffer of a few bytes, so that records cross its edge.
        let mut records = Records::new(std::io::BufReader::with_capacity(4, text.as_bytes()), b',');
        let mut found = Vec::new();
        while let Some(record) = records.next()? {
            let field = |position| String::from_utf8(record.field(position).to_vec()).unwrap();
            found.push((0..record.len()).map(field).collect());
        }
        Ok(found)
    }

    #[test]
    fn quotes_line_ends_and_a_missing_last_line_end_are_understood() {
        let expected = [["a", "b\nc"], ["", "say \"x\""]];
        assert_eq!(all("a,\"b\nc\"\r\n\r\n,\"say \"\"x\"\"\"").unwrap(), expected);
        assert_eq!(all("a,\"b\nc\"\n,\"say \"\"x\"\"\"\n\n").unwrap(), expected);
        assert!(all("").unwrap().is_empty());
        assert_eq!(all("a,").unwrap(), [["a", ""]]);
    }

    #[test]
    fn a_file_that_ends_inside_quotes_is_cut() {
        assert!(matches!(all("a,b\nc,\"d"), Err(Problem::Unclosed { line: 2 })));
        assert!(matches!(all("a,b\nc,\""), Err(Problem::Unclosed { line: 2 })));
        assert!(matches!(all("a,b\nc,\"d\n"), Err(Problem::Unclosed { line: 2 })));
        assert_eq!(all("c,\"d\n\"").unwrap(), [["c", "d\n"]]);
    }

    #[test]
    fn a_record_knows_the_line_it_begins_at() {
        for text in ["a\r\n\r\n\"b\r\nb\"\r\nc", "a\n\n\"b\nb\"\nc\n"] {
            let mut records = Records::new(text.as_bytes(), b',');
            let mut lines = Vec::new();
            while let Some(record) = records.next().unwrap() {
                lines.push(record.line);
            }
            assert_eq!(lines, [1, 3, 5], "{text:?}");
        }
    }

    #[test]
    fn records_longer_than_the_buffers_are_read_whole() {
        let wide = vec!["x".repeat(100); 200].join(",");
        assert_eq!(all(&wide).unwrap()[0].len(), 200);
    }
}
