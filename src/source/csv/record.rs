//! Records of a CSV file, one after the other: quotes and line ends are understood, values are not.
//!
//! Invariants: a file that ends inside a quoted field is an error, never a shorter last field; whatever follows a
//! closing quote in its field is an error, never a part of the value.

use std::io::{BufRead, Chain, Cursor, Read};

use super::super::text::fetch::is_waiting;

use super::super::text::BYTE_ORDER_MARK;

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
    /// A closing quote at `line` is followed by something other than a delimiter or a line end.
    AfterQuote {
        line: u64,
    },
    TooLong {
        line: u64,
    },
}

impl Problem {
    /// Whether the same record comes once more was fetched.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Problem::Io(error) if is_waiting(error))
    }
}

/// Reads records; keeps one at a time.
pub(super) struct Records<R> {
    /// What was read to find a byte order mark, then the rest.
    input: Chain<Cursor<Vec<u8>>, R>,
    fields: Fields,
    /// Where the last record begins, counted from 1.
    line: u64,
    is_begun: bool,
    /// A part of the record is read, and the rest has to be waited for.
    is_within: bool,
}

/// The fields of the record that is being read.
struct Fields {
    delimiter: u8,
    text: Vec<u8>,
    ends: Vec<End>,
    state: State,
    /// The line that the reader is at, counted from 1.
    line: u64,
}

/// Where a field ends in the text of its record.
#[derive(Debug, Clone, Copy)]
struct End {
    at: usize,
    is_quoted: bool,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    /// Behind a quote in a quoted field: it closes the field, or is the first of two that stand for one.
    Quote,
}

/// One record. Its fields are bytes, unquoted.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    text: &'a [u8],
    ends: &'a [End],
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
        let start = if position == 0 { 0 } else { self.ends[position - 1].at };
        &self.text[start..self.ends[position].at]
    }

    /// Whether the field stands in quotes.
    pub fn is_quoted(&self, position: usize) -> bool {
        self.ends[position].is_quoted
    }
}

impl Fields {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.state = State::FieldStart;
    }

    fn end_field(&mut self) {
        self.ends.push(End { at: self.text.len(), is_quoted: self.state == State::Quote });
        self.state = State::FieldStart;
    }

    /// Takes what belongs to the record; how many bytes that was, and whether a line end, which is not taken, ended it.
    fn take(&mut self, input: &[u8]) -> Result<(usize, bool), Problem> {
        let delimiter = self.delimiter;
        let is_line_end = |byte: u8| byte == b'\n' || byte == b'\r';
        let is_field_end = |byte: u8| byte == delimiter || is_line_end(byte);
        let mut rest = input;
        while let Some(byte) = rest.first().copied() {
            let mut taken = 1;
            match self.state {
                State::FieldStart if byte == b'"' => self.state = State::Quoted,
                State::FieldStart | State::Bare => {
                    let part = until(rest, is_field_end);
                    self.text.extend_from_slice(part);
                    self.state = State::Bare;
                    taken = part.len();
                    if let Some(end) = rest.get(taken).copied() {
                        self.end_field();
                        if is_line_end(end) {
                            return Ok((input.len() - rest.len() + taken, true));
                        }
                        taken += 1;
                    }
                }
                State::Quoted if byte == b'"' => self.state = State::Quote,
                State::Quoted => {
                    let part = until(rest, |byte| byte == b'"');
                    self.text.extend_from_slice(part);
                    self.line += lines(part);
                    taken = part.len();
                }
                State::Quote if byte == b'"' => {
                    self.text.push(b'"');
                    self.state = State::Quoted;
                }
                State::Quote if is_field_end(byte) => {
                    self.end_field();
                    if is_line_end(byte) {
                        return Ok((input.len() - rest.len(), true));
                    }
                }
                State::Quote => return Err(Problem::AfterQuote { line: self.line }),
            }
            rest = &rest[taken..];
        }
        Ok((input.len(), false))
    }
}

impl<R: BufRead> Records<R> {
    pub fn new(input: R, delimiter: u8) -> Self {
        let (text, ends) = (Vec::with_capacity(4096), Vec::with_capacity(64));
        let fields = Fields { delimiter, text, ends, state: State::FieldStart, line: 1 };
        let input = Cursor::new(Vec::new()).chain(input);
        Records { input, fields, line: 1, is_begun: false, is_within: false }
    }

    /// The next record; `None` at the end of the file. Empty lines are no records. Where the input has to be waited for, the
    /// next call goes on where this one was.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Problem> {
        if !self.is_within {
            self.skip_line_ends().map_err(Problem::Io)?;
            self.line = self.fields.line;
            self.fields.clear();
            self.is_within = true;
        }
        let fields = &mut self.fields;
        loop {
            let input = fill(&mut self.input).map_err(Problem::Io)?;
            if input.is_empty() {
                match fields.state {
                    State::FieldStart if fields.ends.is_empty() => {
                        self.is_within = false;
                        return Ok(None);
                    }
                    State::Quoted => return Err(Problem::Unclosed { line: self.line }),
                    _ => fields.end_field(),
                }
                break;
            }
            let (read, is_ended) = fields.take(input)?;
            self.input.consume(read);
            if fields.text.len() + fields.ends.len() > MAX_RECORD {
                return Err(Problem::TooLong { line: self.line });
            }
            if is_ended {
                break;
            }
        }
        self.is_within = false;
        Ok(Some(Record { text: &fields.text, ends: &fields.ends, line: self.line }))
    }

    /// One read of the input may give less than the bytes of the mark.
    fn skip_byte_order_mark(&mut self) -> std::io::Result<()> {
        let (first, rest) = self.input.get_mut();
        let bytes = first.get_mut();
        while bytes.len() < BYTE_ORDER_MARK.len() {
            let read = fill(rest)?;
            let length = read.len().min(BYTE_ORDER_MARK.len() - bytes.len());
            if length == 0 {
                break;
            }
            bytes.extend_from_slice(&read[..length]);
            rest.consume(length);
        }
        if bytes == BYTE_ORDER_MARK {
            bytes.clear();
        }
        Ok(())
    }

    /// Passes over what is left of the last record's line end, and over empty lines, so that the line is right; at the
    /// file's beginning over a byte order mark.
    fn skip_line_ends(&mut self) -> std::io::Result<()> {
        if !self.is_begun {
            self.skip_byte_order_mark()?;
            self.is_begun = true;
        }
        loop {
            let input = fill(&mut self.input)?;
            let length = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if length == 0 {
                return Ok(());
            }
            self.fields.line += lines(&input[..length]);
            self.input.consume(length);
        }
    }
}

/// The beginning of `text` up to the first byte that ends it.
fn until(text: &[u8], is_end: impl Fn(u8) -> bool) -> &[u8] {
    let length = text.iter().position(|byte| is_end(*byte)).unwrap_or(text.len());
    &text[..length]
}

fn lines(text: &[u8]) -> u64 {
    text.iter().map(|byte| u64::from(*byte == b'\n')).sum()
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
    use super::super::super::text::fetch::tests::Slow;
    use super::*;

    fn all(text: &str) -> Result<Vec<Vec<String>>, Problem> {
        // A buffer of a few bytes, so that records cross its edge.
        let at_once = Records::new(std::io::BufReader::with_capacity(4, text.as_bytes()), b',');
        let found = gathered(at_once);
        for piece in [1, 3] {
            let slow = gathered(Records::new(Slow::new(text.as_bytes(), piece), b','));
            assert_eq!(format!("{slow:?}"), format!("{found:?}"), "pieces of {piece}");
        }
        found
    }

    fn gathered(mut records: Records<impl BufRead>) -> Result<Vec<Vec<String>>, Problem> {
        let mut found = Vec::new();
        loop {
            let record = match records.next() {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(found),
                Err(problem) if problem.is_waiting() => continue,
                Err(problem) => return Err(problem),
            };
            let field = |position| String::from_utf8(record.field(position).to_vec()).unwrap();
            found.push((0..record.len()).map(field).collect());
        }
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
    fn whatever_follows_a_closing_quote_is_named_with_its_line() {
        for text in ["a,b\n1,\"abc\"def\n", "a\n\"b\" \n", "a\n\"\"x\"\"\n", "a,b\n\"x\"\ty,z"] {
            assert!(matches!(all(text), Err(Problem::AfterQuote { line: 2 })), "{text:?}");
        }
        assert!(matches!(all("a\n\"b\nc\"d\n"), Err(Problem::AfterQuote { line: 3 })));
        assert_eq!(all("5'10\",x\"y\"\n").unwrap(), [["5'10\"", "x\"y\""]]);
    }

    #[test]
    fn it_is_known_which_fields_stand_in_quotes() {
        let mut records = Records::new("\"\",,\"NA\",NA,\"\"\n".as_bytes(), b',');
        let record = records.next().unwrap().unwrap();
        let quoted = (0..record.len()).map(|position| record.is_quoted(position));
        assert_eq!(quoted.collect::<Vec<_>>(), [true, false, true, false, true]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert_eq!(all("\u{feff}a,b\n").unwrap(), [["a", "b"]]);
        assert_eq!(all("\u{feff}\"a\",b\n").unwrap(), [["a", "b"]]);
        let text = "\u{feff}\"a\"\n".as_bytes();
        let mut records = Records::new(std::io::BufReader::with_capacity(1, text), b',');
        assert_eq!(records.next().unwrap().unwrap().field(0), b"a");
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
