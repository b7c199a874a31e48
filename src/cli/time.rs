use crate::api::token;
pub use crate::delivery::clock::now;
use crate::domain::id::Instant;

/// Who gives the command, as the system calls them.
pub fn who() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}

/// The same as a name that a server takes: at most 64 characters, with `_` in place of what it does not know.
pub fn who_as_name() -> String {
    who().chars().take(64).map(|c| if token::is_name(&c.to_string()) { c } else { '_' }).collect()
}

/// An instant as a server says it.
pub fn read(text: &str) -> Option<Instant> {
    let read: jiff::Timestamp = text.parse().ok()?;
    Some(Instant(read.as_millisecond()))
}
