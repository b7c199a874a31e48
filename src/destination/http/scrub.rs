//! Makes a destination's message fit to be kept and shown: free of the sent records' values and of our secrets, on one
//! line, and short (I12).
//!
//! Message and values are compared as `fold` makes them, so that case, escapes (JSON, URL, HTML) and ASCII punctuation
//! make no difference; beginnings of values count too. What looks like JSON or a map is cut off with all that follows,
//! since it may be the record itself. Not found: values that the destination reformatted beyond that, parts from the
//! middle of one, and values of one or two characters. Cost: nothing until the first message is cleaned, then one pass
//! over the body, and for each message a binary search for each character looked at.

use std::cell::OnceCell;

use super::fold::{self, Folded, is_invisible};

/// Characters of the longest message that is kept.
const LONGEST_MESSAGE: usize = 200;
/// Characters of the longest code that is kept.
const LONGEST_CODE: usize = 64;
/// Bytes of a message that are looked at. No value need be known further than that.
const LONGEST_LOOK: usize = 1024;
/// Shorter values are found as whole words only.
const SHORTEST_PART: usize = 4;
/// Shorter values say nothing and would blank out every message.
const SHORTEST_WORD: usize = 3;
/// So much of a value's beginning is as good as the value, even within a word.
const TELLING_BEGINNING: usize = 8;
const MARK: &str = "***";

/// What one request must not see again in a message.
pub(super) struct Scrub<'a> {
    body: &'a [u8],
    path: Option<&'a str>,
    /// Scalars of the templates: they may be named.
    constants: &'a [String],
    secrets: &'a [&'a str],
    index: OnceCell<Index>,
}

/// Folded values, sorted; values that share a beginning with a text are neighbours of its place among them.
struct Index {
    values: Vec<String>,
    /// For each value the longest other one that it begins with.
    within: Vec<Option<usize>>,
}

impl<'a> Scrub<'a> {
    pub fn new(
        body: &'a [u8],
        path: Option<&'a str>,
        constants: &'a [String],
        secrets: &'a [&'a str],
    ) -> Scrub<'a> {
        Scrub { body, path, constants, secrets, index: OnceCell::new() }
    }

    pub fn message(&self, text: &str) -> String {
        self.clean(text, LONGEST_MESSAGE)
    }

    pub fn code(&self, text: &str) -> String {
        self.clean(text, LONGEST_CODE)
    }

    /// Whether the answer has the whole body that was sent in it: then its words are ours.
    pub fn is_echoed_in(&self, answer: &str) -> bool {
        let body = std::str::from_utf8(self.body).unwrap_or_default();
        body.len() > 2 && answer.contains(body)
    }

    fn clean(&self, text: &str, longest: usize) -> String {
        let text = &text[..text.floor_char_boundary(LONGEST_LOOK)];
        let index = self.index.get_or_init(|| self.indexed());
        one_line(&index.without(text), longest)
    }

    fn indexed(&self) -> Index {
        let mut values = Vec::new();
        let mut add = |value: &str| {
            fold::forms(&value[..value.floor_char_boundary(LONGEST_LOOK)], &mut values)
        };
        let mut add_value = |value: &str, is_number: bool| {
            let is_constant = self.constants.iter().any(|constant| constant == value);
            // Short numbers are counts and statuses more often than they are values.
            let is_count = is_number && value.len() < SHORTEST_PART;
            if !is_constant && !is_count {
                add(value);
            }
        };
        scalars(self.body, &mut add_value);
        for step in self.path.unwrap_or("").split(['/', '?', '&', '=', ',']) {
            let decoded = percent_encoding::percent_decode_str(step).decode_utf8_lossy();
            let is_number = decoded.bytes().all(|byte| byte.is_ascii_digit());
            add_value(&decoded, is_number);
        }
        self.secrets.iter().for_each(|secret| add(secret));
        values.retain(|value| value.chars().nth(SHORTEST_WORD - 1).is_some());
        Index::new(values)
    }
}

impl Index {
    fn new(mut values: Vec<String>) -> Index {
        values.sort_unstable();
        values.dedup();
        let mut within = Vec::with_capacity(values.len());
        let mut open: Vec<usize> = Vec::new();
        for (place, value) in values.iter().enumerate() {
            while open.last().is_some_and(|outer| !value.starts_with(values[*outer].as_str())) {
                open.pop();
            }
            within.push(open.last().copied());
            open.push(place);
        }
        Index { values, within }
    }

    /// The text with a mark in place of each value.
    fn without(&self, text: &str) -> String {
        let text = &text[..structure(text).unwrap_or(text.len())];
        let folded = Folded::new(text);
        let mut out = String::with_capacity(text.len());
        let (mut place, mut from) = (0, 0);
        while place < folded.len() {
            let found = self.found(&folded, place);
            if found == 0 {
                place += 1;
                continue;
            }
            out.push_str(&text[from..folded.start(place)]);
            out.push_str(MARK);
            from = folded.end(place + found - 1);
            place += found;
        }
        out.push_str(&text[from..]);
        out
    }

    /// Folded characters from `place` on that tell of a value; zero if they do not.
    fn found(&self, folded: &Folded, place: usize) -> usize {
        let rest = folded.rest(place);
        let next = self.values.partition_point(|value| value.as_str() <= rest);
        let before = next.checked_sub(1);
        let is_start = folded.is_word_start(place);
        let is_end = |length: usize| folded.is_word_end(place + length - 1);
        let shared = |at: usize| {
            let pairs = self.values[at].chars().zip(rest.chars());
            pairs.take_while(|(a, b)| a == b).count()
        };
        let mut longest = 0;
        let mut whole = before;
        while let Some(at) = whole {
            let length = self.values[at].chars().count();
            let is_whole = rest.starts_with(self.values[at].as_str());
            if is_whole && (length >= SHORTEST_PART || is_start && is_end(length)) {
                longest = length;
                break;
            }
            whole = self.within[at];
        }
        let neighbours = [before, Some(next).filter(|next| *next < self.values.len())];
        let beginning = neighbours.into_iter().flatten().map(shared).max().unwrap_or(0);
        let begun = match beginning {
            _ if !is_start => 0,
            TELLING_BEGINNING.. => beginning,
            _ => (SHORTEST_PART..=beginning).rev().find(|length| is_end(*length)).unwrap_or(0),
        };
        longest.max(begun)
    }
}

/// Where something that looks like JSON, or the map of a programming language, begins.
fn structure(text: &str) -> Option<usize> {
    text.match_indices(['{', '[']).map(|(at, _)| at).find(|at| {
        let inner =
            text[at + 1..].trim_start_matches(|c: char| c.is_whitespace() || "\\[{".contains(c));
        inner.starts_with(['"', '\'']) || inner.starts_with("&quot;") || inner.starts_with("u0022")
    })
}

/// One line without control and direction characters, of at most `longest` characters.
fn one_line(text: &str, longest: usize) -> String {
    let mut out = String::new();
    let words = text.split(|c: char| c.is_whitespace() || is_invisible(c));
    for word in words.filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    match out.char_indices().nth(longest) {
        Some((end, _)) => out[..end].to_owned(),
        None => out,
    }
}

/// Whether what follows a string makes it a name: not with a blank behind the colon, for then it is the key of a map.
fn is_name(behind: &[u8]) -> bool {
    behind.first() == Some(&b':') && behind.get(1) != Some(&b' ')
}

/// Calls `found` with every string and number of JSON that we made ourselves, names left out, and whether it is a number.
fn scalars(json: &[u8], found: &mut impl FnMut(&str, bool)) {
    let mut place = 0;
    while let Some(&byte) = json.get(place) {
        let start = place;
        if byte == b'"' {
            place = end_of_string(json, start);
            if !is_name(&json[place..]) {
                let raw = &json[start..place];
                match serde_json::from_slice::<String>(raw) {
                    Ok(text) => found(&text, false),
                    Err(_) => found(&String::from_utf8_lossy(raw), false),
                }
            }
        } else if byte == b'-' || byte.is_ascii_digit() {
            while json.get(place).is_some_and(|byte| b"+-.eE0123456789".contains(byte)) {
                place += 1;
            }
            found(&String::from_utf8_lossy(&json[start..place]), true);
        } else {
            place += 1;
        }
    }
}

/// The place after the string that begins at `start`.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while let Some(byte) = json.get(place) {
        match byte {
            b'"' => return place + 1,
            b'\\' => place += 2,
            _ => place += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"type":"contact","rows":[{"email":"ann@example.com","note":"line\n\"two\" of a long story","mrr":1234.50,"age":42}]}"#;

    fn cleaned(text: &str) -> String {
        let constants = ["contact".to_owned()];
        Scrub::new(BODY, Some("/c/k%20ey9"), &constants, &["s3cr3t-token"]).message(text)
    }

    #[test]
    fn the_keys_of_a_map_are_values_and_the_names_of_members_are_not() {
        let body = br#"{"id":7,"home":{"city":"Berlin"},"points":{"ann@example.com": [1],"b": {"x":true}}}"#;
        let cleaned = |text: &str| Scrub::new(body, None, &[], &[]).message(text);
        assert_eq!(cleaned("no player Ann@Example.com"), "no player ***");
        assert_eq!(cleaned("home.city is not Berlin"), "home.city is not ***");
    }

    #[test]
    fn values_of_the_record_and_secrets_are_taken_out_and_names_stay() {
        assert_eq!(
            cleaned("email ANN@example.com of contact is taken"),
            "email *** of contact is taken"
        );
        assert_eq!(cleaned("mrr 1234.50 at age 42"), "mrr *** at age 42");
        assert_eq!(
            cleaned("note line\n\"two\" of a long st... is too long"),
            "note ***... is too long"
        );
        assert_eq!(cleaned("no such key: k ey9"), "no such key: ***");
        assert_eq!(cleaned("bad token s3cr3t-token."), "bad token ***.");
    }

    /// What one cell leaves in a message, in every way that a destination may repeat it (I12).
    #[test]
    fn no_way_of_repeating_a_value_shows_it() {
        for cell in [
            "CANARYCELL \"q\" \\ uni é x",
            "CANARY\nnew\\nline \u{1}\tx",
            "ZOË MÜLLER-STRASSE",
            "C:\\new\\uCANARY",
            "Straße CANARY %41&lt;",
        ] {
            let json = serde_json::to_string(cell).unwrap();
            let ascii: String =
                json.chars()
                    .map(|c| {
                        if c.is_ascii() {
                            c.to_string()
                        } else {
                            format!("\\u{:04x}", u32::from(c))
                        }
                    })
                    .collect();
            let twice = serde_json::to_string(&ascii).unwrap();
            let url =
                percent_encoding::utf8_percent_encode(cell, percent_encoding::NON_ALPHANUMERIC)
                    .to_string();
            let html = cell.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
            let body = format!("{{\"rows\":[{{\"note\":{json}}}]}}");
            let scrub = Scrub::new(body.as_bytes(), None, &[], &[]);
            for echo in [
                cell.to_owned(),
                cell.to_lowercase(),
                cell.to_uppercase(),
                json.clone(),
                ascii.clone(),
                twice.clone(),
                url,
                html,
                format!("{{\"note\": {json}}}"),
                format!("[{{'note': '{cell}'}}]"),
                format!("{{\\\"note\\\": {twice}}}"),
                body.clone(),
                cell.chars().take(8).collect(),
                format!("{}…", cell.chars().take(9).collect::<String>()),
            ] {
                let shown = scrub.message(&format!("row {echo} is refused"));
                let (lower, bare) = (
                    shown.to_lowercase(),
                    shown.replace(['*', ' ', '"', '.', '…', '\\', '\''], ""),
                );
                for part in ["canary", "zo", "müller", "llerstr", "stra", "uni", "new", "line"] {
                    assert!(!lower.contains(part), "{echo}: {shown}");
                }
                assert!(
                    bare.starts_with("row") && bare.len() <= "rowisrefused&lt;%41uC".len(),
                    "{echo}: {shown}"
                );
            }
        }
    }

    #[test]
    fn beginnings_and_short_words_are_taken_out_and_innocent_words_stay() {
        let body = br#"[{"name":"John Smithers","first":"Bob","city":"Reformatville","n":7}]"#;
        let scrub = Scrub::new(body, None, &[], &[]);
        assert_eq!(scrub.message("John is unknown to Bob"), "*** is unknown to ***");
        assert_eq!(scrub.message("Bobby: bad format, 7 of 9"), "Bobby: bad format, 7 of 9");
        assert_eq!(scrub.message("johnsmithersxyz"), "***xyz");
    }

    #[test]
    fn what_looks_like_a_record_is_cut_off() {
        assert_eq!(cleaned("bad row {\"x\": 1} of [\"y\"]"), "bad row");
        assert_eq!(cleaned("bad row {'x': 1}"), "bad row");
        assert_eq!(cleaned("field [0] of {name} is bad"), "field [0] of {name} is bad");
    }

    #[test]
    fn many_values_with_one_beginning_cost_little() {
        let rows: Vec<String> = (0..20_000).map(|n| format!("\"user{n:07}\"")).collect();
        let body = format!("[{}]", rows.join(","));
        let scrub = Scrub::new(body.as_bytes(), None, &[], &[]);
        let shown = scrub.message(&"user0000007 useruser0000008 ".repeat(100));
        assert!(!shown.contains('7') && !shown.contains('8'), "{shown}");
    }

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(cleaned("a\r\n\u{1b}[31mb\u{202e}c\0"), "a [31mb c");
        assert_eq!(cleaned(&"é".repeat(10_000)).chars().count(), LONGEST_MESSAGE);
        assert_eq!(cleaned(""), "");
    }

    #[test]
    fn damaged_input_ends() {
        scalars(b"\"abc\\", &mut |_, _| ());
        scalars(b"[-", &mut |_, _| ());
    }
}
