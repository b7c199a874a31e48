//! How the records of one operation become fragments, and fragments a body.
//!
//! A fragment is the record's path (where the path names the record) followed by its JSON. The encoder does not bound
//! batches and does not know values' columns. Guards: NULL is sent as null; nothing is appended for a record that cannot
//! be said; a record whose value would bend the path to another object is refused.

use bytes::{Bytes, BytesMut};

use super::template::{Segment, Template};
use crate::destination::definition::BatchLimits;
use crate::domain::render::{Renderer, Unencodable, render};
use crate::domain::value::Value;
use crate::points;

/// The compiled request of one operation.
#[derive(Debug)]
pub struct Encoder {
    pub(super) fields: Vec<String>,
    /// Only where the path names the record.
    pub(super) path: Option<Vec<Segment>>,
    pub(super) template: Template,
    pub(super) limits: BatchLimits,
}

/// A fragment was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rendered {
    /// How many bytes of the fragment are the path; the rest is JSON.
    pub target_len: u32,
}

/// The record cannot be said; it is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {why}")]
pub struct Unrenderable {
    pub field: String,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error(transparent)]
    Value(#[from] Unencodable),
    #[error("NULL and empty text cannot name a record in a path")]
    EmptyInPath,
    #[error("`.` and `..` cannot name a record in a path")]
    DotsInPath,
    #[error("a list, a struct or a map cannot name a record in a path")]
    NestedInPath,
    #[error("the path is longer than {LONGEST_PATH} bytes")]
    PathTooLong,
}

/// Bytes of the longest path that is sent; what servers take at least.
const LONGEST_PATH: usize = 8000;

impl Encoder {
    pub fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// Whether the path of the request is the record's own.
    pub fn names_record(&self) -> bool {
        self.path.is_some()
    }

    /// Bytes of a body beside its fragments and the commas between them.
    pub fn overhead(&self) -> usize {
        self.template.prefix.len() + self.template.suffix.len()
    }

    /// Appends one record to `out`. `value` is asked for mapped fields by index, on a delete for the key's only.
    ///
    /// # Errors
    /// A value has no form in this request; nothing was appended.
    #[inline]
    pub fn render<'v>(
        &self,
        mut value: impl FnMut(usize) -> Value<'v>,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Unrenderable> {
        let start = out.len();
        let rendered = self.append(&mut value, out);
        if rendered.is_err() {
            out.truncate(start);
        }
        rendered
    }

    fn append<'v>(
        &self,
        value: &mut impl FnMut(usize) -> Value<'v>,
        out: &mut Vec<u8>,
    ) -> Result<Rendered, Unrenderable> {
        let target_len = match &self.path {
            Some(path) => self.append_path(path, value, out)?,
            None => 0,
        };
        for segment in &self.template.record {
            match segment {
                Segment::Literal(literal) => out.extend_from_slice(literal),
                Segment::Field(index)
                    if points::is_planted("nulls_left_out") && value(*index) == Value::Null =>
                {
                    let name = out.iter().rposition(|byte| *byte == b',').unwrap_or(out.len());
                    out.truncate(name);
                }
                Segment::Field(index) => render(value(*index), out)
                    .map_err(|why| self.unrenderable(*index, Why::Value(why)))?,
                Segment::Formed(index, renderer) => renderer
                    .render(value(*index), out)
                    .map_err(|why| self.unrenderable(*index, Why::Value(why)))?,
                Segment::Member(name, index, renderer) => {
                    let value = value(*index);
                    if is_left_out(value) {
                        continue;
                    }
                    separate(out);
                    out.extend_from_slice(name);
                    renderer
                        .render(value, out)
                        .map_err(|why| self.unrenderable(*index, Why::Value(why)))?;
                }
                Segment::Comma => separate(out),
            }
        }
        Ok(Rendered { target_len })
    }

    fn append_path<'v>(
        &self,
        path: &[Segment],
        value: &mut impl FnMut(usize) -> Value<'v>,
        out: &mut Vec<u8>,
    ) -> Result<u32, Unrenderable> {
        let start = out.len();
        let mut last = 0;
        for segment in path {
            match segment {
                Segment::Literal(literal) => out.extend_from_slice(literal),
                Segment::Field(index) => {
                    append_step(value(*index), out)
                        .map_err(|why| self.unrenderable(*index, why))?;
                    last = *index;
                }
                Segment::Formed(index, renderer) | Segment::Member(_, index, renderer) => {
                    append_formed_step(value(*index), renderer, out)
                        .map_err(|why| self.unrenderable(*index, why))?;
                    last = *index;
                }
                Segment::Comma => {}
            }
        }
        let rendered = &out[start..];
        let steps = rendered.split(|byte| *byte == b'?').next().unwrap_or(rendered);
        if steps.split(|byte| *byte == b'/').any(|step| step == b"." || step == b"..") {
            return Err(self.unrenderable(last, Why::DotsInPath));
        }
        match u32::try_from(rendered.len()) {
            Ok(length) if rendered.len() <= LONGEST_PATH => Ok(length),
            _ => Err(self.unrenderable(last, Why::PathTooLong)),
        }
    }

    #[cold]
    fn unrenderable(&self, index: usize, why: Why) -> Unrenderable {
        Unrenderable { field: self.fields[index].clone(), why }
    }

    /// The body of a batch, from the JSON parts of its fragments.
    pub fn body<'f>(&self, fragments: impl Iterator<Item = &'f [u8]> + Clone) -> Bytes {
        let length = fragments.clone().map(|fragment| fragment.len() + 1).sum::<usize>();
        let mut body = BytesMut::with_capacity(self.overhead() + length);
        body.extend_from_slice(&self.template.prefix);
        for (place, fragment) in fragments.enumerate() {
            if place > 0 {
                body.extend_from_slice(b",");
            }
            body.extend_from_slice(fragment);
        }
        body.extend_from_slice(&self.template.suffix);
        body.freeze()
    }
}

/// A comma behind the member before, if there is one: no value ends with a brace that opens.
fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

/// Of a member that may be left out.
fn is_left_out(value: Value<'_>) -> bool {
    let is_zero = matches!(value, Value::Integer(0)) && points::is_planted("omit_drops_zero");
    value == Value::Null || is_zero
}

/// As [`append_step`], of a value in a form of its own.
fn append_formed_step(value: Value<'_>, renderer: &Renderer, out: &mut Vec<u8>) -> Result<(), Why> {
    if value == Value::Null {
        return Err(Why::EmptyInPath);
    }
    let mut json = Vec::new();
    renderer.render(value, &mut json)?;
    match serde_json::from_slice::<String>(&json) {
        Ok(text) => append_step(Value::Text(&text), out),
        // What is no text has neither quotes nor escapes.
        Err(_) => append_step(Value::Text(&String::from_utf8_lossy(&json)), out),
    }
}

/// Appends a value percent-encoded, all but RFC 3986's unreserved characters; text is taken bare.
fn append_step(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Why> {
    match value {
        Value::Null | Value::Text("") => return Err(Why::EmptyInPath),
        Value::List(_) | Value::Struct(_) | Value::Map(_) => return Err(Why::NestedInPath),
        Value::Text(text) => {
            for byte in text.bytes() {
                percent_encode(byte, out);
            }
        }
        other => {
            let start = out.len();
            render(other, out)?;
            let end = out.len();
            for place in start..end {
                // Text is above, so a quotation mark only encloses, and nothing is escaped.
                match out[place] {
                    b'"' => {}
                    byte => percent_encode(byte, out),
                }
            }
            out.drain(start..end);
            if out.len() == start {
                return Err(Why::EmptyInPath);
            }
        }
    }
    Ok(())
}

fn percent_encode(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        out.push(byte);
    } else {
        out.extend_from_slice(percent_encoding::percent_encode_byte(byte).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, ListArray};
    use arrow::datatypes::{Int64Type, i256};
    use serde_json::json;

    use super::*;
    use crate::destination::http::template::{self, Scope};
    use crate::domain::column::Column;
    use crate::domain::form::{Form, Way};

    fn encoder(path: &str, body: Option<serde_json::Value>, is_delete: bool) -> Encoder {
        formed(path, body, is_delete, &[])
    }

    fn formed(
        path: &str,
        body: Option<serde_json::Value>,
        is_delete: bool,
        forms: &[Form],
    ) -> Encoder {
        let fields = ["id", "name"].map(str::to_owned).to_vec();
        let scope = Scope { fields: &fields, forms, key: &[0], is_delete };
        let path = template::path(path, scope).expect("the path compiles");
        let template = body.map_or_else(Template::default, |body| {
            template::body(&body, scope).expect("the body compiles")
        });
        Encoder {
            path: (path.len() > 1).then_some(path),
            template,
            limits: BatchLimits { records: 1, bytes: 1 },
            fields,
        }
    }

    fn rendered(
        encoder: &Encoder,
        values: [Value<'_>; 2],
    ) -> Result<(String, String), Unrenderable> {
        let mut out = b"before".to_vec();
        let result = encoder.render(|index| values[index], &mut out);
        if result.is_err() {
            assert_eq!(out, b"before", "nothing is appended for a record that is refused");
        }
        let length = usize::try_from(result?.target_len).expect("it fits");
        let text = String::from_utf8(out[6..].to_vec()).expect("UTF-8");
        Ok((text[..length].to_owned(), text[length..].to_owned()))
    }

    #[test]
    fn nulls_escapes_and_long_numbers_are_sent_as_they_are() {
        let encoder = encoder("/batch", Some(json!({"rows": {"each": "{{record}}"}})), false);
        let (_, first) =
            rendered(&encoder, [Value::Unsigned(u64::MAX), Value::Null]).expect("it renders");
        assert_eq!(first, r#"{"id":18446744073709551615,"name":null}"#);
        let digits = i256::from_i128(12_345_678_901_234_567_890_123);
        let decimal = Value::Decimal { mantissa: digits, scale: 3 };
        let (path, second) =
            rendered(&encoder, [decimal, Value::Text("a\"\n\u{1}é")]).expect("it renders");
        assert_eq!(
            (path.as_str(), second.as_str()),
            ("", "{\"id\":12345678901234567890.123,\"name\":\"a\\\"\\n\\u0001é\"}")
        );
        let body = encoder.body([first.as_bytes(), second.as_bytes()].into_iter());
        assert_eq!(body, format!("{{\"rows\":[{first},{second}]}}"));
        assert_eq!(encoder.overhead() + first.len() + 1 + second.len(), body.len());
    }

    #[test]
    fn a_value_without_json_is_named_and_nothing_is_appended() {
        let encoder = encoder("/batch", Some(json!({"each": "{{record}}"})), false);
        let refused = rendered(&encoder, [Value::Integer(1), Value::Float64(f64::NAN)]);
        let why = Why::Value(Unencodable::NotFinite);
        assert_eq!(refused, Err(Unrenderable { field: "name".to_owned(), why }));
    }

    #[test]
    fn a_path_carries_the_record_percent_encoded() {
        let encoder = encoder("/c/{{record.id}}", None, true);
        for (value, path) in [
            (Value::Text("a/b c?é%"), "/c/a%2Fb%20c%3F%C3%A9%25"),
            (Value::Integer(-7), "/c/-7"),
            (Value::Binary(&[255, 254]), "/c/%2F%2F4%3D"),
            (Value::Timestamp(0), "/c/1970-01-01T00%3A00%3A00Z"),
            (Value::Text("..."), "/c/..."),
        ] {
            let text = rendered(&encoder, [value, Value::Null]).expect("it renders");
            assert_eq!(text, (path.to_owned(), String::new()));
        }
    }

    #[test]
    fn a_value_that_would_bend_the_path_to_another_object_is_refused() {
        let encoder = encoder("/c/{{record.id}}", None, true);
        let long = "x".repeat(9000);
        let list: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]));
        for (value, why) in [
            (Column::new(&list).expect("a list").value(0), Why::NestedInPath),
            (Value::Text(""), Why::EmptyInPath),
            (Value::Null, Why::EmptyInPath),
            (Value::Binary(b""), Why::EmptyInPath),
            (Value::Text("."), Why::DotsInPath),
            (Value::Text(".."), Why::DotsInPath),
            (Value::Text(&long), Why::PathTooLong),
        ] {
            let refused = rendered(&encoder, [value, Value::Null]).expect_err("it is refused");
            assert_eq!(refused, Unrenderable { field: "id".to_owned(), why });
        }
    }

    #[test]
    fn a_null_is_left_out_with_its_name_wherever_its_member_stands_and_nothing_else_is() {
        let omitted = Form { omits_null: true, way: Way::Usual };
        let forms = [omitted.clone(), Form { way: Way::NumbersAsText, ..omitted }];
        let record = formed("/b", Some(json!({"each": "{{record}}"})), false, &forms);
        let own = json!({"each": {"a": "{{record.id}}", "b": {"c": "{{record.name}}"}, "d": 1}});
        let own = formed("/b", Some(own), false, &forms);
        for (values, whole, within) in [
            (
                [Value::Integer(1), Value::Integer(2)],
                r#"{"id":1,"name":"2"}"#,
                r#"{"a":1,"b":{"c":"2"},"d":1}"#,
            ),
            ([Value::Null, Value::Integer(2)], r#"{"name":"2"}"#, r#"{"b":{"c":"2"},"d":1}"#),
            ([Value::Text("{"), Value::Null], r#"{"id":"{"}"#, r#"{"a":"{","b":{},"d":1}"#),
            ([Value::Null, Value::Null], "{}", r#"{"b":{},"d":1}"#),
            // Zero, false and empty text are values.
            (
                [Value::Integer(0), Value::Text("")],
                r#"{"id":0,"name":""}"#,
                r#"{"a":0,"b":{"c":""},"d":1}"#,
            ),
            (
                [Value::Boolean(false), Value::Null],
                r#"{"id":false}"#,
                r#"{"a":false,"b":{},"d":1}"#,
            ),
        ] {
            assert_eq!(rendered(&record, values).expect("it renders").1, whole);
            assert_eq!(rendered(&own, values).expect("it renders").1, within);
        }
    }

    #[test]
    fn a_form_is_the_same_in_a_path_as_in_a_body_and_on_a_delete_as_on_an_upsert() {
        let forms = [Form { omits_null: false, way: Way::NumbersAsText }];
        for is_delete in [false, true] {
            let encoder =
                formed("/c/{{record.id}}", Some(json!("{{record.id}}")), is_delete, &forms);
            let said = rendered(&encoder, [Value::Integer(-7), Value::Null]).expect("it renders");
            assert_eq!(said, ("/c/-7".to_owned(), "\"-7\"".to_owned()));
            let refused = rendered(&encoder, [Value::Null, Value::Null]).expect_err("no name");
            assert_eq!(refused.why, Why::EmptyInPath);
        }
        let hex =
            formed("/c/{{record.id}}", None, true, &[Form { way: Way::Hex, ..forms[0].clone() }]);
        let said = rendered(&hex, [Value::Binary(&[255, 0]), Value::Null]).expect("it renders");
        assert_eq!(said.0, "/c/ff00");
    }

    #[test]
    fn what_is_parsed_is_said_as_json_and_what_is_none_is_refused_by_name() {
        let forms = [Form::default(), Form { omits_null: false, way: Way::ParsedJson }];
        let encoder = formed("/b", Some(json!({"each": "{{record}}"})), false, &forms);
        let profile = Value::Text(" {\"n\": 1.00}");
        let said = rendered(&encoder, [Value::Integer(1), profile]).expect("it renders");
        assert_eq!(said.1, r#"{"id":1,"name":{"n": 1.00}}"#);
        let refused = rendered(&encoder, [Value::Integer(1), Value::Text("{")]).expect_err("none");
        let why = Why::Value(Unencodable::NotJson);
        assert_eq!(refused, Unrenderable { field: "name".to_owned(), why });
    }

    #[test]
    fn a_delete_asks_only_for_the_key() {
        let encoder = encoder("/c", Some(json!({"each": "{{record}}"})), true);
        let mut out = Vec::new();
        encoder
            .render(
                |index| {
                    assert_eq!(index, 0, "only the key's fields are asked");
                    Value::Integer(5)
                },
                &mut out,
            )
            .expect("it renders");
        assert_eq!(out, br#"{"id":5}"#);
    }
}
