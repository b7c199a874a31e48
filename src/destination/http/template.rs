//! Compiles the JSON template of a body and the template of a path into segments: bytes, and fields by number.
//!
//! Everything a template says and this cannot do is a problem with a name and a place, never ignored. Guards: a delete
//! sees only the delivered key (design.md §3); two records never share a path.

mod path;

use serde_json::Value;

pub(super) use self::path::path;
use crate::domain::form::Form;
use crate::domain::render::Renderer;

/// A piece of a compiled template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Vec<u8>),
    /// The value of the mapped field with this index.
    Field(usize),
    /// The same, in a form of its own.
    Formed(usize, Box<Renderer>),
    /// A member of an object with its name and colon, which is left out where its value is NULL.
    Member(Vec<u8>, usize, Box<Renderer>),
    /// Stands before every member of an object in which one may be left out: a comma, unless none came before.
    Comma,
}

impl Segment {
    /// The mapped field whose value it is.
    pub fn field(&self) -> Option<usize> {
        match self {
            Segment::Literal(_) | Segment::Comma => None,
            Segment::Field(index) | Segment::Formed(index, _) | Segment::Member(_, index, _) => {
                Some(*index)
            }
        }
    }
}

/// A compiled body: `prefix`, then the records with a comma between them, then `suffix`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    pub prefix: Vec<u8>,
    pub record: Vec<Segment>,
    pub suffix: Vec<u8>,
    /// Whether one body takes several records.
    pub has_each: bool,
    /// Scalars of the template itself: they are no record's values.
    pub constants: Vec<String>,
}

/// The fields a template may name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub fields: &'a [String],
    /// By field; those that are not there are the usual one.
    pub forms: &'a [Form],
    pub key: &'a [usize],
    /// A delete has nothing but the key.
    pub is_delete: bool,
}

impl Scope<'_> {
    /// The fields of `{{record}}`, in the order of the mapping.
    fn record(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.fields.len()).filter(|index| !self.is_delete || self.key.contains(index))
    }

    fn field(&self, name: &str) -> Result<usize, String> {
        let Some(index) = self.fields.iter().position(|field| field == name) else {
            return Err(format!(
                "`{name}` is not a mapped field; map it, or name one of `{}`",
                self.fields.join("`, `")
            ));
        };
        if self.is_delete && !self.key.contains(&index) {
            return Err(format!(
                "a delete knows only the key, and `{name}` is not part of it; use the key's fields"
            ));
        }
        Ok(index)
    }

    fn form(&self, index: usize) -> Option<&Form> {
        self.forms.get(index).filter(|form| !form.is_plain())
    }

    /// Whether a member of an object that has this value may be left out.
    fn omits(&self, index: usize) -> bool {
        self.form(index).is_some_and(|form| form.omits_null)
    }

    /// The value of a field as it is said everywhere.
    fn value(&self, index: usize) -> Result<Segment, String> {
        match self.form(index) {
            None => Ok(Segment::Field(index)),
            Some(form) => Ok(Segment::Formed(index, Box::new(Renderer::of(form)?))),
        }
    }
}

enum Placeholder {
    Record,
    Field(usize),
}

/// Reads what stands between the braces.
fn placeholder(inner: &str, scope: Scope<'_>) -> Result<Placeholder, String> {
    let inner = inner.trim();
    if inner.contains('|') {
        return Err(format!(
            "filters as in `{{{{{inner}}}}}` are not built yet; put the expression into the mapping"
        ));
    }
    if inner == "record" {
        return Ok(Placeholder::Record);
    }
    match inner.strip_prefix("record.") {
        Some(name) => scope.field(name).map(Placeholder::Field),
        None => Err(format!(
            "`{{{{{inner}}}}}` is not known; use `{{{{record}}}}` or `{{{{record.FIELD}}}}`"
        )),
    }
}

/// Compiles the body; problems come with the JSON pointer of the node.
pub(super) fn body(value: &Value, scope: Scope<'_>) -> Result<Template, Vec<(String, String)>> {
    let mut compiler = Compiler {
        scope,
        template: Template { has_each: count_each(value) > 0, ..Template::default() },
        stage: Stage::Before,
        problems: Vec::new(),
    };
    if count_each(value) > 1 {
        compiler.problem("", "a body has at most one `each`; others are not built yet".to_owned());
    }
    if !compiler.template.has_each {
        compiler.stage = Stage::Within;
    }
    compiler.node(value, "");
    if compiler.problems.is_empty() { Ok(compiler.template) } else { Err(compiler.problems) }
}

fn count_each(value: &Value) -> usize {
    match value {
        Value::Object(object) => {
            usize::from(object.contains_key("each"))
                + object.values().map(count_each).sum::<usize>()
        }
        Value::Array(array) => array.iter().map(count_each).sum(),
        _ => 0,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Within,
    After,
}

struct Compiler<'a> {
    scope: Scope<'a>,
    template: Template,
    stage: Stage,
    problems: Vec<(String, String)>,
}

impl Compiler<'_> {
    fn node(&mut self, value: &Value, pointer: &str) {
        match value {
            Value::Object(object) if object.contains_key("each") => {
                if object.len() > 1 {
                    self.problem(pointer, "`each` stands alone in its object".to_owned());
                }
                self.literal(b"[");
                self.stage = Stage::Within;
                self.node(&object["each"], &format!("{pointer}/each"));
                self.stage = Stage::After;
                self.literal(b"]");
            }
            Value::Object(object) => self.object(object, pointer),
            Value::Array(array) => {
                self.literal(b"[");
                for (index, value) in array.iter().enumerate() {
                    if index > 0 {
                        self.literal(b",");
                    }
                    self.node(value, &format!("{pointer}/{index}"));
                }
                self.literal(b"]");
            }
            Value::String(text) if text.contains("{{") => self.placeholder(text, pointer),
            Value::String(text) => {
                self.template.constants.push(text.clone());
                self.literal(&json_string(text));
            }
            Value::Number(number) => {
                self.template.constants.push(number.to_string());
                self.literal(number.to_string().as_bytes());
            }
            Value::Bool(_) | Value::Null => self.literal(value.to_string().as_bytes()),
        }
    }

    fn object(&mut self, object: &serde_json::Map<String, Value>, pointer: &str) {
        let omitted = |value: &Value| {
            let placeholder = placeholder(inner(value.as_str()?)?, self.scope);
            match placeholder.ok().filter(|_| self.stage == Stage::Within)? {
                Placeholder::Field(index) => Some(index).filter(|index| self.scope.omits(*index)),
                Placeholder::Record => None,
            }
        };
        let omitted: Vec<Option<usize>> = object.values().map(omitted).collect();
        let omits = omitted.iter().any(Option::is_some);
        self.literal(b"{");
        for (place, (name, value)) in object.iter().enumerate() {
            let pointer = format!("{pointer}/{}", escaped(name));
            if name.contains("{{") {
                self.problem(&pointer, "a placeholder in a name is not built yet".to_owned());
            }
            match omitted[place] {
                Some(index) => self.member(name, index, &pointer),
                None => {
                    self.name(place, name, omits);
                    self.node(value, &pointer);
                }
            }
        }
        self.literal(b"}");
    }

    fn placeholder(&mut self, text: &str, pointer: &str) {
        let Some(inner) = inner(text) else {
            let why = "text around a placeholder is not built yet; let it be the whole string, \
                       and put the expression into the mapping";
            return self.problem(pointer, why.to_owned());
        };
        if self.stage != Stage::Within {
            let why = "a placeholder stands inside `each`, where there is one";
            return self.problem(pointer, why.to_owned());
        }
        match placeholder(inner, self.scope) {
            Err(why) => self.problem(pointer, why),
            Ok(Placeholder::Field(index)) if self.scope.omits(index) => {
                let name = &self.scope.fields[index];
                let why = format!(
                    "`{name}` has `nulls: omit`, and only a member of an object can be left out; let the placeholder be all of \
                     a member's value, or leave `nulls` out"
                );
                self.problem(pointer, why);
            }
            Ok(Placeholder::Field(index)) => self.value(index, pointer),
            Ok(Placeholder::Record) => {
                let (scope, fields) = (self.scope, self.scope.fields);
                let omits = scope.record().any(|index| scope.omits(index));
                self.literal(b"{");
                for (place, index) in scope.record().enumerate() {
                    if scope.omits(index) {
                        self.member(&fields[index], index, pointer);
                    } else {
                        self.name(place, &fields[index], omits);
                        self.value(index, pointer);
                    }
                }
                self.literal(b"}");
            }
        }
    }

    fn value(&mut self, index: usize, pointer: &str) {
        match self.scope.value(index) {
            Ok(segment) => self.template.record.push(segment),
            Err(why) => self.problem(pointer, why),
        }
    }

    /// A member that is left out where its value is NULL.
    fn member(&mut self, name: &str, index: usize, pointer: &str) {
        let name = [&json_string(name)[..], b":"].concat();
        match self.scope.form(index).map(Renderer::of).transpose() {
            Ok(renderer) => {
                let renderer = Box::new(renderer.unwrap_or(Renderer::Usual));
                self.template.record.push(Segment::Member(name, index, renderer));
            }
            Err(why) => self.problem(pointer, why),
        }
    }

    /// `omits`: a member of the object may be left out, so that it is not known which one is the first.
    fn name(&mut self, place: usize, name: &str, omits: bool) {
        if omits {
            self.template.record.push(Segment::Comma);
        } else if place > 0 {
            self.literal(b",");
        }
        self.literal(&json_string(name));
        self.literal(b":");
    }

    fn literal(&mut self, bytes: &[u8]) {
        match self.stage {
            Stage::Before => self.template.prefix.extend_from_slice(bytes),
            Stage::After => self.template.suffix.extend_from_slice(bytes),
            Stage::Within => push_literal(&mut self.template.record, bytes),
        }
    }

    fn problem(&mut self, pointer: &str, why: String) {
        self.problems.push((pointer.to_owned(), why));
    }
}

/// What stands between the braces of a text that is one placeholder and nothing else.
fn inner(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.filter(|inner| !inner.contains("{{"))
}

fn push_literal(segments: &mut Vec<Segment>, bytes: &[u8]) {
    match segments.last_mut() {
        Some(Segment::Literal(literal)) => literal.extend_from_slice(bytes),
        _ => segments.push(Segment::Literal(bytes.to_vec())),
    }
}

fn json_string(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    crate::domain::render::string(text, &mut out);
    out
}

/// `name` as a token of a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::form::Way;

    fn fields() -> Vec<String> {
        ["id", "email", "a \"b\""].map(str::to_owned).to_vec()
    }

    fn compiled(value: &Value, is_delete: bool) -> Result<Template, Vec<(String, String)>> {
        body(value, Scope { fields: &fields(), forms: &[], key: &[0], is_delete })
    }

    fn problem(value: &Value, is_delete: bool) -> (String, String) {
        compiled(value, is_delete).expect_err("it is refused").swap_remove(0)
    }

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.as_bytes().to_vec())
    }

    #[test]
    fn each_splits_the_body_around_the_records() {
        let template = compiled(
            &json!({"a": 1, "rows": {"each": {"k": "{{ record.id }}", "t": "x"}}, "z": null}),
            false,
        )
        .expect("it compiles");
        assert_eq!(template.prefix, br#"{"a":1,"rows":["#);
        assert_eq!(template.suffix, br#"],"z":null}"#);
        assert_eq!(
            template.record,
            [literal(r#"{"k":"#), Segment::Field(0), literal(r#","t":"x"}"#)]
        );
        assert_eq!(template.constants, ["1", "x"]);
    }

    #[test]
    fn the_whole_record_is_the_mapped_object_and_on_a_delete_the_key() {
        let whole = json!({"each": "{{record}}"});
        let upsert = compiled(&whole, false).expect("it compiles");
        assert_eq!(
            upsert.record,
            [
                literal(r#"{"id":"#),
                Segment::Field(0),
                literal(r#","email":"#),
                Segment::Field(1),
                literal(r#","a \"b\"":"#),
                Segment::Field(2),
                literal("}"),
            ]
        );
        let delete = compiled(&whole, true).expect("it compiles");
        assert_eq!(delete.record, [literal(r#"{"id":"#), Segment::Field(0), literal("}")]);
    }

    #[test]
    fn without_each_the_whole_body_is_one_record() {
        let template = compiled(&json!(["{{record.email}}"]), false).expect("it compiles");
        assert!(!template.has_each && template.prefix.is_empty() && template.suffix.is_empty());
        assert_eq!(template.record, [literal("["), Segment::Field(1), literal("]")]);
    }

    #[test]
    fn what_a_template_cannot_say_is_refused_by_name_and_place() {
        for (value, is_delete, pointer, words) in [
            (json!({"each": "{{record.nope}}"}), false, "/each", "`nope` is not a mapped field"),
            (json!({"each": {"e": "{{record.email}}"}}), true, "/each/e", "only the key"),
            (
                json!({"x": "hi {{record.id}}"}),
                false,
                "/x",
                "text around a placeholder is not built yet",
            ),
            (json!({"x": "{{record.id}}{{record.id}}"}), false, "/x", "text around a placeholder"),
            (json!({"x": "{{record.id|lower}}"}), false, "/x", "filters"),
            (json!({"x": "{{secret.token}}"}), false, "/x", "is not known"),
            (json!({"{{record.id}}": 1}), false, "/{{record.id}}", "in a name"),
            (json!({"each": 1, "more": 2}), false, "", "stands alone"),
            (json!([{"each": 1}, {"each": 2}]), false, "", "at most one `each`"),
            (
                json!({"a": {"each": "{{record}}"}, "b/c": "{{record.id}}"}),
                false,
                "/b~1c",
                "inside `each`",
            ),
        ] {
            let (at, why) = problem(&value, is_delete);
            assert_eq!(at, pointer, "{why}");
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn what_cannot_be_left_out_or_stand_in_a_path_is_refused_by_name() {
        let fields = fields();
        let form = |omits_null, way| Form { omits_null, way };
        let forms =
            [form(false, Way::NumbersAsText), form(true, Way::Usual), form(false, Way::ParsedJson)];
        let scope = Scope { fields: &fields, forms: &forms, key: &[0], is_delete: false };
        for (value, pointer) in [
            (json!("{{record.email}}"), ""),
            (json!({"each": "{{record.email}}"}), "/each"),
            (json!({"a": ["{{record.id}}", "{{record.email}}"]}), "/a/1"),
        ] {
            let problems = body(&value, scope).expect_err("it is refused");
            assert!(problems[0].1.contains("`email` has `nulls: omit`"), "{problems:?}");
            assert_eq!(problems[0].0, pointer);
        }
        assert!(body(&json!({"a": [{"e": "{{record.email}}"}]}), scope).is_ok());
        for (text, words) in [
            ("/{{record.email}}", "`email` has `nulls: omit`"),
            ("/{{record.a \"b\"}}", "has `json: parse`"),
        ] {
            let why = path(text, scope).expect_err(text);
            assert!(why.contains(words) && why.contains("; "), "{text}: {why}");
        }
        assert!(path("/{{record.id}}", scope).is_ok());
    }

    #[test]
    fn paths_are_compiled_and_refused_by_name() {
        let fields = fields();
        let scope = Scope { fields: &fields, forms: &[], key: &[0], is_delete: true };
        assert_eq!(path("/a?x=1", scope), Ok(vec![literal("/a?x=1")]));
        assert_eq!(
            path("/a/{{record.id}}/b", scope),
            Ok(vec![literal("/a/"), Segment::Field(0), literal("/b")])
        );
        for (text, words) in [
            ("a", "begins with `/`"),
            ("/{{record}}", "one field at a time"),
            ("/{{record.email}}", "only the key"),
            ("/{{record.id", "without"),
            ("/a b", "cannot stand in a path"),
            ("/a#b", "cannot stand in a path"),
            ("/a/%2E./b", "`..`"),
            ("/{{record.id}}{{record.id}}", "two placeholders"),
            ("/{{record.id}}-{{record.id}}", "two placeholders"),
            ("/{{record.id}}%2F{{record.id}}", "two placeholders"),
        ] {
            let why = path(text, scope).expect_err(text);
            assert!(why.contains(words), "{text}: {why}");
        }
        assert!(path("/{{record.id}}/{{record.id}}", scope).is_ok());
    }
}
