//! Text as two that say the same are alike: escapes undone, case folded, spaces and ASCII punctuation left out.

use crate::domain::key::is_unshowable;

/// A folded text that knows where each of its characters stood.
pub(super) struct Folded {
    text: String,
    /// For each character: where it begins in the folded text, and the stretch of the original that it stands for.
    places: Vec<(usize, usize, usize)>,
    is_start: Vec<bool>,
}

impl Folded {
    pub fn new(original: &str) -> Folded {
        let mut folded = Folded { text: String::new(), places: Vec::new(), is_start: Vec::new() };
        let mut is_apart = true;
        unescaped(original, &mut |character, start, end| {
            if is_left_out(character) {
                is_apart = true;
                return;
            }
            for folded_to in fold(character) {
                folded.places.push((folded.text.len(), start, end));
                folded.is_start.push(std::mem::take(&mut is_apart));
                folded.text.push(folded_to);
            }
        });
        folded
    }

    /// In characters.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn rest(&self, place: usize) -> &str {
        &self.text[self.places[place].0..]
    }

    /// Where the character begins in the original.
    pub fn start(&self, place: usize) -> usize {
        self.places[place].1
    }

    pub fn end(&self, place: usize) -> usize {
        self.places[place].2
    }

    pub fn is_word_start(&self, place: usize) -> bool {
        self.is_start[place]
    }

    pub fn is_word_end(&self, place: usize) -> bool {
        self.is_start.get(place + 1).copied().unwrap_or(true)
    }
}

/// The folded forms in which a value may be met: as it is, as its own escapes would have it, and with its line breaks
/// escaped more than once.
pub(super) fn forms(value: &str, found: &mut Vec<String>) {
    let plain: String = value.chars().filter(|c| !is_left_out(*c)).flat_map(fold).collect();
    let read = Folded::new(value).text;
    let mut spelled = String::new();
    for character in value.chars() {
        match character {
            '\n' => spelled.push('n'),
            '\r' => spelled.push('r'),
            '\t' => spelled.push('t'),
            '\u{8}' => spelled.push('b'),
            '\u{c}' => spelled.push('f'),
            other if is_left_out(other) => {}
            other => spelled.extend(fold(other)),
        }
    }
    for form in [read, spelled] {
        if form != plain {
            found.push(form);
        }
    }
    found.push(plain);
}

fn fold(character: char) -> impl Iterator<Item = char> {
    // There and back, so that `ß` is `SS` and both sigmas are one.
    let lower = character.to_uppercase().flat_map(char::to_lowercase);
    lower.filter(|c| !is_left_out(*c))
}

/// Those that are not shown, and those that join or part what is.
pub(super) fn is_invisible(character: char) -> bool {
    is_unshowable(character) || matches!(character, '\u{200b}'..='\u{200d}')
}

fn is_left_out(character: char) -> bool {
    character.is_ascii_punctuation()
        || character.is_whitespace()
        || is_invisible(character)
        || matches!(character, '\u{300}'..='\u{36f}' | '\u{2026}')
}

/// Calls `found` with each character, where it begins and where it ends; what is escaped in JSON, a URL or HTML is one.
fn unescaped(text: &str, found: &mut impl FnMut(char, usize, usize)) {
    let mut place = 0;
    while let Some(character) = text[place..].chars().next() {
        let rest = &text[place..];
        let (meant, length) = match character {
            '\\' => backslashes(rest),
            '%' => percent(rest),
            '&' => entity(rest),
            other => (other, other.len_utf8()),
        };
        found(meant, place, place + length);
        place += length;
    }
}

/// Escapes of JSON and of programming languages. A letter after one backslash is a control character, after more it
/// is itself.
fn backslashes(rest: &str) -> (char, usize) {
    let slashes = rest.bytes().take_while(|byte| *byte == b'\\').count();
    let after = &rest[slashes..];
    let hex = |from: usize, digits: usize| {
        let text = after.get(from..from + digits)?;
        u32::from_str_radix(text, 16).ok().filter(|_| text.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    match after.bytes().next() {
        Some(b'u') => match (hex(1, 4), low_surrogate(after)) {
            (Some(high @ 0xd800..=0xdbff), Some((low, length))) => {
                let joined = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(joined).unwrap_or('\u{fffd}'), slashes + length)
            }
            (Some(code), _) => (char::from_u32(code).unwrap_or('\u{fffd}'), slashes + 5),
            (None, _) => ('\\', slashes),
        },
        Some(b'x') => match hex(1, 2).and_then(char::from_u32) {
            Some(character) => (character, slashes + 3),
            None => ('\\', slashes),
        },
        Some(b'n' | b'r' | b't' | b'b' | b'f') if slashes == 1 => ('\n', 2),
        _ => ('\\', slashes),
    }
}

/// The second half of a pair such as `u00e9\ud83d`, and the length of both.
fn low_surrogate(after: &str) -> Option<(u32, usize)> {
    let second = after.get(5..)?;
    let slashes = second.bytes().take_while(|byte| *byte == b'\\').count();
    let code = second[slashes..].strip_prefix('u')?.get(..4)?;
    let low = u32::from_str_radix(code, 16).ok().filter(|low| (0xdc00..0xe000).contains(low))?;
    (slashes > 0).then_some((low, 5 + slashes + 5))
}

/// A character in the percent-encoding of URLs.
fn percent(rest: &str) -> (char, usize) {
    let byte = |at: usize| {
        let digits = rest.get(at..at + 3)?.strip_prefix('%')?;
        u8::from_str_radix(digits, 16).ok()
    };
    let mut bytes = Vec::new();
    while bytes.len() < 4
        && let Some(byte) = byte(bytes.len() * 3)
    {
        bytes.push(byte);
        let read = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next());
        if let Some(character) = read {
            return (character, bytes.len() * 3);
        }
    }
    ('%', 1)
}

fn entity(rest: &str) -> (char, usize) {
    const NAMED: [(&str, char); 7] = [
        ("&amp;", '&'),
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&quot;", '"'),
        ("&apos;", '\''),
        ("&nbsp;", ' '),
        ("&hellip;", ' '),
    ];
    if let Some((name, meant)) = NAMED.iter().find(|(name, _)| rest.starts_with(name)) {
        return (*meant, name.len());
    }
    let numbered = rest.strip_prefix("&#").and_then(|number| {
        let number = &number[..number.bytes().take(9).position(|byte| byte == b';')?];
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        Some((char::from_u32(code)?, number.len() + 3))
    });
    numbered.unwrap_or(('&', 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        Folded::new(text).text
    }

    #[test]
    fn escapes_case_and_punctuation_make_no_difference() {
        for text in [
            "Zoë-K",
            "ZOË k",
            "zo\\u00EBk",
            "zo\\\\\\u00ebk",
            "Zo%C3%ABk",
            "zo&#235;k",
            "zo&#xEB;k",
            "zo\\xebk",
        ] {
            assert_eq!(folded(text), "zoëk", "{text}");
        }
        assert_eq!(folded("stra\u{df}e"), folded("STRASSE"));
        assert_eq!(folded("a\\ud83d\\ude00b"), "a😀b");
        assert_eq!(folded("a\\nb"), "ab");
        assert_eq!(folded("a\\\\nb"), "anb");
    }

    #[test]
    fn what_is_no_escape_is_read_as_it_stands_and_ends() {
        for text in [
            "\\",
            "\\u",
            "\\u12",
            "\\ud83d",
            "\\ud83d\\u",
            "%",
            "%4",
            "%zz",
            "%C3",
            "&",
            "&#",
            "&#x;",
            "&#99999999;",
            "é\\é",
            "\\x",
            "\\xé",
            "%é1",
            "&é",
        ] {
            folded(text);
        }
        assert_eq!(folded("100% of \\users & co"), "100ofusersco");
    }
}
