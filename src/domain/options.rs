//! What is said of one field of a mapping beside its SQL: how it is said in requests, and what of it counts as a change.
//!
//! Guards: a mapping without options is recorded as it always was; one with options in a form that older versions refuse, as
//! they would say its rows otherwise.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::compare::Compare;
use super::form::{Form, is_default};
use super::sync::Mapped;

/// The options of one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    #[serde(skip_serializing_if = "Form::is_plain")]
    pub form: Form,
    #[serde(skip_serializing_if = "is_default")]
    pub compare: Compare,
}

impl Options {
    /// Of a field that is sent whenever its row is, and never makes a row be sent.
    pub const IGNORED: Options = Options {
        form: Form { omits_null: false, way: super::form::Way::Usual },
        compare: Compare::Ignore,
    };

    pub fn are_plain(&self) -> bool {
        is_default(self)
    }

    /// Why they do not fit values of this type, and what to do; `None` if they do.
    pub fn misfit(&self, data_type: &DataType) -> Option<String> {
        self.form.misfit(data_type).or_else(|| self.compare.misfit(data_type))
    }

    /// Why they do not fit a field of the key, and what to do; `None` if they do. To be read behind the field's name.
    pub fn misfit_of_key(&self) -> Option<&'static str> {
        match self.compare {
            Compare::Exact => self.form.misfit_of_key(),
            Compare::Ignore => {
                Some("is ignored, and a record is known by its key; do not ignore it")
            }
            Compare::Digits(_) | Compare::Precision(_) => Some(
                "has `compare`, and a record is known by its key exactly; leave it out, or round it in the model's SQL",
            ),
        }
    }
}

/// A mapped field as the snapshot's header keeps it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Recorded {
    Plain(Plain),
    Optioned(Optioned),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    field: String,
    expression: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Optioned {
    field: String,
    sql: String,
    options: Options,
}

impl From<Mapped> for Recorded {
    fn from(mapped: Mapped) -> Recorded {
        let Mapped { field, expression, options } = mapped;
        match options.are_plain() {
            true => Recorded::Plain(Plain { field, expression }),
            false => Recorded::Optioned(Optioned { field, sql: expression, options }),
        }
    }
}

impl From<Recorded> for Mapped {
    fn from(recorded: Recorded) -> Mapped {
        match recorded {
            Recorded::Plain(Plain { field, expression }) => Mapped::plain(field, expression),
            Recorded::Optioned(Optioned { field, sql, options }) => {
                Mapped { field, expression: sql, options }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::form::Way;
    use super::*;

    #[test]
    fn a_mapping_without_options_is_recorded_as_ever_and_one_with_them_so_that_older_versions_refuse()
     {
        /// As it was before there were options.
        #[derive(Deserialize)]
        struct Older {
            #[expect(dead_code, reason = "it is only read")]
            field: String,
            #[expect(dead_code, reason = "it is only read")]
            expression: String,
        }
        let plain = Mapped::plain("email", "lower(email)");
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(text, r#"{"field":"email","expression":"lower(email)"}"#);
        assert_eq!(serde_json::from_str::<Mapped>(&text).unwrap(), plain);
        assert!(serde_json::from_str::<Older>(&text).is_ok());
        let form = Form { omits_null: true, way: Way::NumbersAsText };
        let options = Options { form, compare: Compare::Digits(6) };
        let mapped = Mapped { options, ..Mapped::plain("mrr", "mrr") };
        let text = serde_json::to_string(&mapped).unwrap();
        let told = r#"{"field":"mrr","sql":"mrr","options":{"form":{"omits_null":true,"way":"numbers_as_text"},"compare":{"digits":6}}}"#;
        assert_eq!(text, told);
        assert_eq!(serde_json::from_str::<Mapped>(&text).unwrap(), mapped);
        assert!(serde_json::from_str::<Older>(&text).is_err());
        let foreign = r#"{"field":"a","sql":"a","options":{"colour":1}}"#;
        assert!(serde_json::from_str::<Mapped>(foreign).is_err());
    }
}
