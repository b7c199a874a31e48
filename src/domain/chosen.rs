use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::whole::maybe_whole;

/// The rows of a sample. What is said of them must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Chosen {
    /// So many rows at most; which, is open.
    #[serde(deserialize_with = "maybe_whole")]
    pub limit: Option<u64>,
    /// Delivered keys, as people are shown them.
    pub keys: Option<BTreeSet<String>>,
    /// SQL over one row of the model.
    #[serde(rename = "where")]
    pub condition: Option<String>,
}

impl Chosen {
    /// Nothing is said, or something that means no row at all; why it is refused.
    pub fn fault(&self) -> Option<&'static str> {
        let Chosen { limit, keys, condition } = self;
        match (limit, keys, condition) {
            (None, None, None) => Some("no rows are chosen; say a limit, keys or a condition"),
            (Some(0), ..) => Some("a limit of 0 chooses no row; say 1 or more"),
            (_, Some(keys), _) if keys.is_empty() => Some("no key is named; name one or more"),
            (_, Some(_), Some(_)) | (Some(_), Some(_), _) => {
                Some("keys are chosen by themselves; leave the limit and the condition out")
            }
            (.., Some(condition)) if !condition.chars().any(is_word) => {
                Some("the condition says nothing; write SQL such as `plan = 'pro'`")
            }
            _ => None,
        }
    }
}

fn is_word(letter: char) -> bool {
    !letter.is_whitespace() && !letter.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(json: &str) -> Option<&'static str> {
        serde_json::from_str::<Chosen>(json).unwrap().fault()
    }

    #[test]
    fn a_choice_names_rows_in_one_way() {
        for good in [
            r#"{"limit":1}"#,
            r#"{"keys":["7"]}"#,
            r#"{"where":"a = 1"}"#,
            r#"{"limit":3,"where":"a"}"#,
        ] {
            assert_eq!(chosen(good), None, "{good}");
        }
        for bad in [
            "{}",
            r#"{"limit":0}"#,
            r#"{"keys":[]}"#,
            r#"{"where":" "}"#,
            r#"{"limit":1,"keys":["7"]}"#,
            r#"{"where":"a","keys":["7"]}"#,
        ] {
            assert!(chosen(bad).is_some(), "{bad}");
        }
    }
}
