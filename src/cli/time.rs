use jiff::Timestamp;

use crate::domain::id::Instant;

/// The clock of the commands.
pub fn now() -> Instant {
    Instant(Timestamp::now().as_millisecond())
}

/// Such as `2026-02-03T04:05:06Z`, to the second.
pub fn shown(instant: Instant) -> String {
    match Timestamp::from_second(instant.0.div_euclid(1_000)) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("{} ms after 1970", instant.0),
    }
}

/// Who gives the command, as the system calls them.
pub fn who() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_to_the_second_and_any_number_is_shown() {
        assert_eq!(shown(Instant(1_770_091_506_999)), "2026-02-03T04:05:06Z");
        assert_eq!(shown(Instant(-1)), "1969-12-31T23:59:59Z");
        assert!(shown(Instant(i64::MAX)).ends_with("after 1970"));
    }
}
