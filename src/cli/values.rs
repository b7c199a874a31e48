//! How single values on the command line are read.

use crate::api::{LONGEST_KEY, is_key, token};
use crate::domain::message::one_line;

/// What a command can be known again by.
pub fn key(text: &str) -> Result<String, String> {
    if is_key(text) {
        return Ok(text.to_owned());
    }
    Err(format!("use 1 to {LONGEST_KEY} visible ASCII characters, such as a UUID"))
}

/// A reason that says something.
pub fn message(text: &str) -> Result<String, &'static str> {
    one_line(text).ok_or("a message says why")
}

/// `90d`, `12h` or `30m`; at most ten years.
pub fn lifetime(text: &str) -> Result<std::time::Duration, &'static str> {
    const REMEDY: &str = "write a number and `d`, `h` or `m`, such as `90d`; at most `3650d`";
    let unit = text.chars().last().filter(char::is_ascii).ok_or(REMEDY)?;
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| REMEDY)?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return Err(REMEDY),
    };
    let seconds = number.checked_mul(seconds).ok_or(REMEDY)?;
    let is_some = (1..=3_650 * 86_400).contains(&seconds);
    is_some.then(|| std::time::Duration::from_secs(seconds)).ok_or(REMEDY)
}

/// A name that can stand in an audit log, and is not that of nobody.
pub fn token_name(text: &str) -> Result<String, &'static str> {
    if !token::is_name(text) || text == "local" {
        return Err("use 1 to 64 letters, digits, `_`, `-`, `.` and `@`; `local` is taken");
    }
    Ok(text.to_owned())
}

/// The number that a run is named by.
pub fn run(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a run is named by its number; `counterflow runs` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_that_says_something() {
        assert_eq!(message(" month end\n"), Ok("month end".to_owned()));
        assert_eq!(message("month\nend"), Ok("month end".to_owned()));
        for nothing in ["", " ", "\n\t"] {
            assert!(message(nothing).is_err(), "{nothing:?}");
        }
    }
}
