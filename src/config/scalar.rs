//! What a bare YAML scalar is: the core schema of YAML 1.2, except that nothing is lost.
//!
//! A number with leading zeros is text (`00123` never becomes 123), and so is one that a 64-bit number would change.

use serde_json::{Number, Value};

/// Gives a bare scalar its type.
pub fn value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16).then(|| u64::from_str_radix(hex, 16).ok().map(Number::from))?;
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8).then(|| u64::from_str_radix(octal, 8).ok().map(Number::from))?;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = unsigned.split(['.', 'e', 'E']).next().unwrap_or_default();
    if whole.len() > 1 && whole.starts_with('0')
        || !unsigned.starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    if digits(unsigned, 10) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let small = text.parse::<i64>().map(Number::from);
        return small.or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    }
    let is_decimal = unsigned.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c));
    let float: f64 = text.parse().ok().filter(|_| is_decimal)?;
    // More digits than a 64-bit float keeps would be changed silently.
    let significant = unsigned.split(['e', 'E']).next().unwrap_or_default().len();
    if significant > 16 { None } else { Number::from_f64(float) }
}

fn digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_have_the_types_of_yaml_1_2() {
        for (text, expected) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("+5", json!(5)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("10%", json!("10%")),
            ("2xx", json!("2xx")),
            ("1_000", json!("1_000")),
            (".inf", json!(".inf")),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_a_number_would_lose_stays_text() {
        for text in ["00123", "-007", "18446744073709551616", "0.12345678901234567890", "1e999"] {
            assert_eq!(value(text), json!(text));
        }
    }
}
