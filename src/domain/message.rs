//! What people say with a command, as it is stored and shown on terminals.

/// The text on one line, without blanks around it; `None` where it says nothing. It comes from whoever reaches the server.
pub fn one_line(text: &str) -> Option<String> {
    let line = text.replace(char::is_control, " ");
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_a_blank_one_is_none() {
        assert_eq!(one_line(" month\nend\u{1b}\t").as_deref(), Some("month end"));
        for nothing in ["", " ", "\n\t", "\u{1b}"] {
            assert_eq!(one_line(nothing), None, "{nothing:?}");
        }
    }
}
