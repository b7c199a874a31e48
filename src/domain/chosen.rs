use std::collections::BTreeSet;

use serde::Serialize;

/// The rows of a sample. What is said of them must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// So many rows at most; which, is open.
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

    fn fault(limit: Option<u64>, keys: Option<&[&str]>, sql: Option<&str>) -> bool {
        let keys = keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
        Chosen { limit, keys, condition: sql.map(str::to_owned) }.fault().is_some()
    }

    #[test]
    fn a_choice_names_rows_in_one_way() {
        assert!(!fault(Some(1), None, None));
        assert!(!fault(None, Some(&["7"]), None));
        assert!(!fault(None, None, Some("a = 1")));
        assert!(!fault(Some(3), None, Some("a")));
        assert!(fault(None, None, None));
        assert!(fault(Some(0), None, None));
        assert!(fault(None, Some(&[]), None));
        assert!(fault(None, None, Some(" ")));
        assert!(fault(Some(1), Some(&["7"]), None));
        assert!(fault(None, Some(&["7"]), Some("a")));
    }
}
