//! One JSON object in a line, read strictly and by its letters: numbers stay as they are written.
//!
//! Invariants: what RFC 8259 does not allow is refused, and so is half a surrogate pair, which is no text, and a member that
//! is there twice at whatever depth, because readers differ in which of the two counts. Nothing that is refused is told: a
//! problem says what is wrong, never what stands there.

use std::ops::Range;

/// How deep lists and objects may be in the line's object.
const DEEPEST: usize = 127;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    NotUtf8,
    NotObject,
    /// At this byte of the line, counted from 1.
    NotJson(usize),
    /// A text has half a surrogate pair.
    Surrogate,
    /// An object inside of the line's has a member twice.
    Repeated,
    TooDeep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    /// An object or a list.
    Nested,
}

/// A member of the line's object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member<'o> {
    pub name: &'o str,
    pub kind: Kind,
    /// The letters of a text, the JSON of anything else.
    pub plain: &'o str,
    /// Its JSON as it is written, without blanks.
    pub json: &'o str,
}

/// The object of the last line that was read; its memory is used again for the next.
#[derive(Default)]
pub(super) struct Object {
    /// Names, texts and JSON of all members, one after the other.
    text: String,
    members: Vec<Spans>,
    inner: Names,
}

struct Spans {
    name: Range<usize>,
    kind: Kind,
    plain: Range<usize>,
    json: Range<usize>,
}

/// The names in the objects that are open, inside of the line's.
#[derive(Default)]
struct Names {
    text: String,
    spans: Vec<Range<usize>>,
}

impl Object {
    /// Reads one line, without its end.
    pub fn read(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let line = std::str::from_utf8(line).map_err(|_| Wrong::NotUtf8)?;
        self.text.clear();
        self.members.clear();
        self.inner.clear();
        let mut cursor = Cursor { line, at: 0 };
        cursor.skip_blanks();
        if !cursor.accepts(b'{') {
            return Err(Wrong::NotObject);
        }
        cursor.skip_blanks();
        if !cursor.accepts(b'}') {
            loop {
                self.member(&mut cursor)?;
                if cursor.ends_list(b'}')? {
                    break;
                }
            }
        }
        cursor.skip_blanks();
        if cursor.at == line.len() { Ok(()) } else { Err(cursor.wrong()) }
    }

    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        let part = |range: &Range<usize>| &self.text[range.clone()];
        self.members.iter().map(move |spans| Member {
            name: part(&spans.name),
            kind: spans.kind,
            plain: part(&spans.plain),
            json: part(&spans.json),
        })
    }

    fn member(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Wrong> {
        cursor.skip_blanks();
        let begin = self.text.len();
        cursor.string(&mut self.text)?;
        let name = begin..self.text.len();
        cursor.colon()?;
        let begin = self.text.len();
        let kind = match cursor.peek() {
            Some(b'"') => {
                let written = cursor.string(&mut self.text)?;
                let plain = begin..self.text.len();
                self.text.push_str(written);
                let json = plain.end..self.text.len();
                self.members.push(Spans { name, kind: Kind::Text, plain, json });
                return Ok(());
            }
            Some(b'{' | b'[') => {
                self.inner.nested(cursor, &mut self.text, 1)?;
                Kind::Nested
            }
            _ => cursor.scalar(&mut self.text)?,
        };
        let json = begin..self.text.len();
        self.members.push(Spans { name, kind, plain: json.clone(), json });
        Ok(())
    }
}

impl Names {
    fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    /// Copies an object or a list without its blanks.
    fn nested(
        &mut self,
        cursor: &mut Cursor<'_>,
        out: &mut String,
        depth: usize,
    ) -> Result<(), Wrong> {
        if depth > DEEPEST {
            return Err(Wrong::TooDeep);
        }
        let is_object = cursor.accepts(b'{');
        let close = if is_object { b'}' } else { b']' };
        if !is_object {
            cursor.expect(b'[')?;
        }
        out.push(if is_object { '{' } else { '[' });
        let (first, letters) = (self.spans.len(), self.text.len());
        cursor.skip_blanks();
        if !cursor.accepts(close) {
            loop {
                cursor.skip_blanks();
                if is_object {
                    let begin = self.text.len();
                    out.push_str(cursor.string(&mut self.text)?);
                    self.spans.push(begin..self.text.len());
                    cursor.colon()?;
                    out.push(':');
                }
                match cursor.peek() {
                    Some(b'"') => {
                        let begin = self.text.len();
                        out.push_str(cursor.string(&mut self.text)?);
                        self.text.truncate(begin);
                    }
                    Some(b'{' | b'[') => self.nested(cursor, out, depth + 1)?,
                    _ => drop(cursor.scalar(out)?),
                }
                if cursor.ends_list(close)? {
                    break;
                }
                out.push(',');
            }
        }
        out.push(char::from(close));
        let text = &self.text;
        let names = &mut self.spans[first..];
        names.sort_unstable_by(|a, b| text[a.clone()].cmp(&text[b.clone()]));
        if names.windows(2).any(|pair| text[pair[0].clone()] == text[pair[1].clone()]) {
            return Err(Wrong::Repeated);
        }
        self.spans.truncate(first);
        self.text.truncate(letters);
        Ok(())
    }
}

struct Cursor<'l> {
    line: &'l str,
    at: usize,
}

impl<'l> Cursor<'l> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn wrong(&self) -> Wrong {
        Wrong::NotJson(self.at + 1)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn accepts(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.accepts(byte) { Ok(()) } else { Err(self.wrong()) }
    }

    /// Behind a name: the sign that its value follows, and blanks.
    fn colon(&mut self) -> Result<(), Wrong> {
        self.skip_blanks();
        self.expect(b':')?;
        self.skip_blanks();
        Ok(())
    }

    /// Behind a part: whether the list or object ends here; else another part follows.
    fn ends_list(&mut self, close: u8) -> Result<bool, Wrong> {
        self.skip_blanks();
        if self.accepts(close) {
            return Ok(true);
        }
        self.expect(b',').map(|()| false)
    }

    /// Copies a number or a word.
    fn scalar(&mut self, out: &mut String) -> Result<Kind, Wrong> {
        let begin = self.at;
        let rest = &self.line[begin..];
        let words = [("null", Kind::Null), ("true", Kind::Boolean), ("false", Kind::Boolean)];
        let kind = match words.into_iter().find(|(word, _)| rest.starts_with(word)) {
            Some((word, kind)) => {
                self.at += word.len();
                kind
            }
            None => {
                self.number()?;
                Kind::Number
            }
        };
        out.push_str(&self.line[begin..self.at]);
        Ok(kind)
    }

    fn number(&mut self) -> Result<(), Wrong> {
        self.accepts(b'-');
        if !self.accepts(b'0') {
            self.digits()?;
        }
        if self.accepts(b'.') {
            self.digits()?;
        }
        if self.accepts(b'e') || self.accepts(b'E') {
            let _ = self.accepts(b'+') || self.accepts(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// One digit at least.
    fn digits(&mut self) -> Result<(), Wrong> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > begin { Ok(()) } else { Err(self.wrong()) }
    }

    /// Appends the letters of a text; the text as it is written, with its quotes.
    fn string(&mut self, letters: &mut String) -> Result<&'l str, Wrong> {
        let begin = self.at;
        self.expect(b'"')?;
        loop {
            let from = self.at;
            while self.peek().is_some_and(|byte| !matches!(byte, b'"' | b'\\' | ..0x20)) {
                self.at += 1;
            }
            letters.push_str(&self.line[from..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.line[begin..self.at]);
                }
                Some(b'\\') => letters.push(self.escaped()?),
                _ => return Err(self.wrong()),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, Wrong> {
        self.at += 1;
        let letter = match self.peek() {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(letter)
    }

    /// What four digits stand for, or twice four with an escape between them.
    fn unicode(&mut self) -> Result<char, Wrong> {
        let first = self.hexadecimal()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(Wrong::Surrogate);
        }
        let is_pair = first < 0xdc00 && self.line[self.at..].starts_with("\\u");
        if !is_pair {
            return Err(Wrong::Surrogate);
        }
        self.at += 2;
        let second = self.hexadecimal()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Wrong::Surrogate);
        }
        let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(both).ok_or(Wrong::Surrogate)
    }

    fn hexadecimal(&mut self) -> Result<u32, Wrong> {
        let digits = self.line.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.wrong())?;
        self.at += 4;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<(String, Kind, String, String)>, Wrong> {
        let mut object = Object::default();
        object.read(line.as_bytes())?;
        let owned = |member: Member<'_>| {
            (member.name.to_owned(), member.kind, member.plain.to_owned(), member.json.to_owned())
        };
        Ok(object.members().map(owned).collect())
    }

    fn wrong(line: &str) -> Wrong {
        read(line).expect_err(line)
    }

    #[test]
    fn members_are_found_with_their_letters_and_their_json() {
        let line = " { \"a\" : 1.50 ,\t\"b\":\"x\\n\\u00e9\\ud83d\\ude00\", \"\":null,\"c\":[ 1 , {\"d\" : \"\\u0041\"} ],\"e\":true}\r";
        let expected = [
            ("a", Kind::Number, "1.50", "1.50"),
            ("b", Kind::Text, "x\né😀", "\"x\\n\\u00e9\\ud83d\\ude00\""),
            ("", Kind::Null, "null", "null"),
            ("c", Kind::Nested, "[1,{\"d\":\"\\u0041\"}]", "[1,{\"d\":\"\\u0041\"}]"),
            ("e", Kind::Boolean, "true", "true"),
        ];
        let expected = expected.map(|(name, kind, plain, json)| {
            (name.to_owned(), kind, plain.to_owned(), json.to_owned())
        });
        assert_eq!(read(line).unwrap(), expected);
        assert_eq!(read("{}").unwrap(), []);
        assert_eq!(read("{\"a\":{},\"b\":[]}").unwrap()[1].2, "[]");
    }

    #[test]
    fn what_is_no_object_is_told_from_what_is_no_json() {
        for line in ["[1]", "1", "null", "\"a\"", "", "x"] {
            assert_eq!(wrong(line), Wrong::NotObject, "{line}");
        }
        for (line, at) in [
            ("{\"a\":1}x", 8),
            ("{\"a\":1} {}", 9),
            ("{\"a\":01}", 7),
            ("{\"a\":1.}", 8),
            ("{\"a\":.5}", 6),
            ("{\"a\":+5}", 6),
            ("{\"a\":1e}", 8),
            ("{\"a\":NaN}", 6),
            ("{\"a\":nul}", 6),
            ("{\"a\" 1}", 6),
            ("{a:1}", 2),
            ("{\"a\":1,}", 8),
            ("{\"a\":[1,]}", 9),
            ("{\"a\":\"\t\"}", 7),
            ("{\"a\":\"\\x\"}", 8),
            ("{\"a\":\"\\u12g4\"}", 9),
            ("{\"a\":'b'}", 6),
        ] {
            assert_eq!(wrong(line), Wrong::NotJson(at), "{line}");
        }
        assert_eq!(Object::default().read(b"{\"a\":\"\xe9\"}"), Err(Wrong::NotUtf8));
    }

    /// Of an object, no beginning is one: a line that was cut is never a shorter row.
    #[test]
    fn no_cut_line_is_an_object() {
        let line =
            "{\"a\":[1,{\"b\":\"x\\u00e9\"}],\"c\":-1.5e+3,\"d\":null,\"é\":\"\\ud83d\\ude00\"}";
        assert!(read(line).is_ok());
        for length in 0..line.len() {
            assert!(Object::default().read(&line.as_bytes()[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for text in
            ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\n", "\\ud800\\ud800", "\\udc00\\ud800"]
        {
            assert_eq!(wrong(&format!("{{\"a\":\"{text}\"}}")), Wrong::Surrogate, "{text}");
            assert_eq!(wrong(&format!("{{\"a\":[\"{text}\"]}}")), Wrong::Surrogate, "{text}");
            assert_eq!(wrong(&format!("{{\"{text}\":1}}")), Wrong::Surrogate, "{text}");
        }
    }

    #[test]
    fn a_member_twice_inside_of_another_is_refused_however_it_is_written() {
        for value in [
            "{\"b\":1,\"b\":1}",
            "[{\"b\":1,\"c\":{\"b\":2},\"\\u0062\":1}]",
            "{\"x\":[{\"b\":1},{\"c\":{\"b\":1,\"a\":0,\"b\":2}}]}",
        ] {
            assert_eq!(wrong(&format!("{{\"a\":{value}}}")), Wrong::Repeated, "{value}");
        }
        assert!(read("{\"a\":[{\"b\":1},{\"b\":{\"b\":[{\"b\":1}]}}]}").is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&deep(DEEPEST)).is_ok());
        assert_eq!(wrong(&deep(DEEPEST + 1)), Wrong::TooDeep);
        assert_eq!(wrong(&format!("{{\"a\":{}", "[".repeat(1 << 20))), Wrong::TooDeep);
    }
}
