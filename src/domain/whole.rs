//! Whole numbers as JSON has them: `3.0` is one as good as `3`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Written(f64),
}

impl Number {
    fn read(self) -> Option<u64> {
        match self {
            Number::Whole(number) => Some(number),
            // Without the sign of -0.0; digits behind the point are none of a whole number.
            Number::Written(number) => {
                let number = number + 0.0;
                (number.fract() == 0.0).then(|| format!("{number:.0}").parse().ok())?
            }
        }
    }
}

/// For `deserialize_with`.
///
/// # Errors
/// It is no whole number from 0 to 2^64 - 1.
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer).ok().and_then(Number::read);
    number.ok_or_else(|| D::Error::custom("expected a whole number from 0 to 18446744073709551615"))
}

/// As [`whole`], of what may be `null`.
///
/// # Errors
/// As [`whole`].
pub fn maybe_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Read(#[serde(deserialize_with = "whole")] u64);
    Ok(Option::<Read>::deserialize(deserializer)?.map(|Read(number)| number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Of {
        #[serde(default, deserialize_with = "maybe_whole")]
        a: Option<u64>,
    }

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        let read = |text: &str| serde_json::from_str::<Of>(text).map(|of| of.a).ok();
        for (text, number) in [("3", 3), ("3.0", 3), ("-0.0", 0), ("1e3", 1_000)] {
            assert_eq!(read(&format!("{{\"a\": {text}}}")), Some(Some(number)), "{text}");
        }
        for text in ["3.5", "-1", "-1.0", "\"3\"", "1e30", "18446744073709551616", "true", "[3]"] {
            assert_eq!(read(&format!("{{\"a\": {text}}}")), None, "{text}");
        }
        assert_eq!((read("{\"a\": null}"), read("{}")), (Some(None), Some(None)));
    }
}
