use std::fmt::Write as _;

/// The bytes in hexadecimal, two small letters or digits each.
pub fn of(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(of(&[0, 9, 0x7f, 0xff]), "00097fff");
        assert_eq!(of(&[]), "");
    }
}
