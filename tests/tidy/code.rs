//! Rust as text, with what is no code blanked out.

pub fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The code with comments and the insides of strings and characters turned into blanks; lines stay where they are.
pub fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = skipped(rest, &code).unwrap_or(0);
        if length == 0 {
            let letter = rest.chars().next().expect("the rest is not empty");
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(length);
            code.extend(gone.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// How many bytes a comment, string or character takes up that begins here; `None` where none begins.
fn skipped(rest: &str, before: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let is_after_word = before.chars().next_back().is_some_and(is_of_word);
    let raw = rest.strip_prefix('b').unwrap_or(rest);
    if let Some(hashes) = raw.strip_prefix('r').filter(|_| !is_after_word) {
        let count = hashes.chars().take_while(|letter| *letter == '#').count();
        if hashes[count..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(count));
            let begin = rest.len() - hashes.len() + count + 1;
            return Some(rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len()));
        }
    }
    match rest.as_bytes() {
        [b'"', ..] => Some(quoted(rest, '"')),
        [b'\'', b'\\', ..] => Some(quoted(rest, '\'')),
        [b'\'', ..] => {
            let letter = rest[1..].chars().next()?;
            let end = 1 + letter.len_utf8();
            rest[end..].starts_with('\'').then_some(end + 1)
        }
        _ => None,
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let mut open = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (open, at) = (open + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (open, at) = (open - 1, at + 2);
            if open == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}
