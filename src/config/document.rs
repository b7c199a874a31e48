//! The tree as a JSON value, with references replaced, beside a table of where each part stands in the file.
//!
//! SQL and credentials are taken as they stand: SQL is nobody's template, and credentials are read only into secrets.
//! Credentials that stand in the open are covered in the text that messages show.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::problem::Problem;
use super::reference::{self, Environment, Fault};
use super::tree::{Content, Node, Position};
use super::{database, scalar, store, tree};
use crate::destination::definition::is_credential_name;

/// A config file, read as far as its text goes.
pub struct Document {
    pub value: Value,
    /// The text with credentials covered.
    pub shown: String,
    places: HashMap<String, Place>,
    /// Pointers to text whose references have problems; their values mean nothing.
    unresolved: HashSet<String>,
    /// What references stand for, by the pointers to the text they are in.
    hidden: Vec<(String, SecretString)>,
    pub problems: Vec<Problem>,
    /// Problems that are none while nobody uses the connection, by its name, or the traces, without one.
    pub absent: Vec<(String, Problem)>,
    /// Problems that are none while nobody reads the source, by its name.
    pub absent_of_sources: Vec<(String, Problem)>,
    /// Files that it names, as far as their content counts here.
    pub files: Vec<PathBuf>,
    /// The queries among them, by their paths.
    pub queries: BTreeMap<PathBuf, String>,
    /// Of each credential, by its pointer: enough to know another one by.
    pub credentials: BTreeMap<String, u128>,
}

struct Place {
    position: Position,
    key: Option<Position>,
    is_item: bool,
    /// The text before references were replaced; none for credentials in the open.
    written: Option<String>,
}

impl Document {
    /// Reads a file's text. `None` in place of a value means that the text could not be followed.
    pub fn read(text: &str, environment: Environment) -> Document {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (root, faults) = tree::read(text);
        let mut document = Document {
            value: Value::Null,
            shown: text.to_owned(),
            places: HashMap::new(),
            unresolved: HashSet::new(),
            hidden: Vec::new(),
            problems: Vec::new(),
            absent: Vec::new(),
            absent_of_sources: Vec::new(),
            files: Vec::new(),
            queries: BTreeMap::new(),
            credentials: BTreeMap::new(),
        };
        if let Some(root) = &root {
            let mut path = Vec::new();
            document.value = document.add(root, &mut path, None, false, environment);
        }
        if !faults.is_empty() {
            // What the tree leaves out, such as a key's second value, is in the text all the same.
            document.shown = without_credentials(&document.shown);
        }
        for fault in faults {
            document.problems.push(Problem {
                place: String::new(),
                line: fault.position.line,
                column: fault.position.column,
                span: fault.position.span,
                what: fault.what,
                remedy: fault.remedy.to_owned(),
            });
        }
        document
    }

    /// Whether nothing but the problems is known of the file.
    pub fn is_unreadable(&self) -> bool {
        self.places.is_empty()
    }

    /// Notes a problem with the value at the pointer, or, where there is none, with what surrounds it.
    pub fn report(&mut self, pointer: &str, what: String, remedy: String) {
        let position = self.nearest(pointer).map(|place| {
            let of_key = place.key.as_ref().filter(|_| place.position.span.is_empty());
            of_key.unwrap_or(&place.position).clone()
        });
        self.note(pointer, position.unwrap_or_default(), what, remedy);
    }

    /// Notes a problem with the key at the pointer, or, for an item or the root, with the value.
    pub fn report_key(&mut self, pointer: &str, what: String, remedy: String) {
        let position = self
            .nearest(pointer)
            .map(|place| place.key.as_ref().unwrap_or(&place.position).clone());
        self.note(pointer, position.unwrap_or_default(), what, remedy);
    }

    fn note(&mut self, pointer: &str, position: Position, what: String, remedy: String) {
        let problem = self.problem(pointer, position, what, remedy);
        self.problems.push(problem);
    }

    fn problem(&self, pointer: &str, position: Position, what: String, remedy: String) -> Problem {
        let place = self.display(pointer);
        let Position { line, column, span } = position;
        let (what, remedy) =
            (self.without_hidden(pointer, what), self.without_hidden(pointer, remedy));
        Problem { place, line, column, span, what, remedy }
    }

    /// The words of a problem without what references stand for, which may be a secret. Shorter values are none, and would
    /// take every message apart.
    fn without_hidden(&self, pointer: &str, words: String) -> String {
        const SHORTEST: usize = 4;
        let hidden = self.hidden_within(pointer).into_iter();
        hidden
            .filter(|hidden| hidden.expose_secret().len() >= SHORTEST)
            .fold(words, |words, hidden| words.replace(hidden.expose_secret(), "***"))
    }

    /// Notes what is wrong with a reference at the pointer.
    pub fn report_fault(&mut self, pointer: &str, fault: Fault) {
        let is_optional =
            ["/connections/", "/telemetry/", "/sources/"].iter().any(|at| pointer.starts_with(at));
        if fault.is_absent && is_optional {
            self.report_absent(pointer, fault.what, fault.remedy);
        } else {
            self.report(pointer, fault.what, fault.remedy);
        }
    }

    /// Notes a problem that is none while nobody uses the connection, or the traces, that the pointer is in.
    pub fn report_absent(&mut self, pointer: &str, what: String, remedy: String) {
        let at = self.nearest(pointer).map(|place| place.position.clone()).unwrap_or_default();
        let problem = self.problem(pointer, at, what, remedy);
        let name = |rest: &str| rest.split('/').next().map(unescaped).unwrap_or_default();
        match pointer.strip_prefix("/sources/").map(name) {
            Some(source) => self.absent_of_sources.push((source, problem)),
            None => self.absent.push((
                pointer.strip_prefix("/connections/").map(name).unwrap_or_default(),
                problem,
            )),
        }
    }

    /// What references stand for in what the pointer points to.
    pub fn hidden_within(&self, pointer: &str) -> Vec<SecretString> {
        let inside = format!("{pointer}/");
        let hidden = self.hidden.iter().filter(|(at, _)| at == pointer || at.starts_with(&inside));
        hidden.map(|(_, hidden)| hidden.clone()).collect()
    }

    /// The text at the pointer as it is written, where references stand in it.
    pub fn written_reference(&self, pointer: &str) -> Option<String> {
        let written = self.places.get(pointer)?.written.as_deref()?;
        reference::has_references(written).then(|| written.to_owned())
    }

    /// Whether the file has something at the pointer.
    pub fn has(&self, pointer: &str) -> bool {
        self.places.contains_key(pointer)
    }

    /// Whether a problem was noted with what the pointer points to, or with a part of it.
    pub fn has_problem_within(&self, pointer: &str) -> bool {
        let place = self.display(pointer);
        let absent = self.absent.iter().chain(&self.absent_of_sources);
        let absent = absent.map(|(_, problem)| problem);
        self.problems.iter().chain(absent).any(|problem| {
            problem.place.strip_prefix(&place).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')
            })
        })
    }

    /// Whether the file has a map without keys at the pointer, or nothing.
    pub fn is_empty_map(&self, pointer: &str) -> bool {
        let inside = format!("{pointer}/");
        !self.places.keys().any(|place| place.starts_with(&inside))
    }

    pub fn is_item(&self, pointer: &str) -> bool {
        self.places.get(pointer).is_some_and(|place| place.is_item)
    }

    pub fn unresolved(&self) -> impl Iterator<Item = &String> {
        self.unresolved.iter()
    }

    /// The text at the pointer as it is written, for a message.
    pub fn written(&self, pointer: &str) -> &str {
        let written = self.places.get(pointer).and_then(|place| place.written.as_deref());
        written.unwrap_or("..")
    }

    fn nearest(&self, pointer: &str) -> Option<&Place> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return Some(place);
            }
            pointer = parent(pointer)?;
        }
    }

    /// The pointer as people write places: `syncs.crm.upsert.outcome[0]`.
    fn display(&self, pointer: &str) -> String {
        let mut shown = String::new();
        for (at, _) in pointer.match_indices('/') {
            let end = pointer[at + 1..].find('/').map_or(pointer.len(), |next| at + 1 + next);
            let segment = unescaped(&pointer[at + 1..end]);
            let is_plain = !segment.is_empty()
                && segment.chars().all(|c| c.is_alphanumeric() || "_-~<".contains(c));
            if self.is_item(&pointer[..end]) {
                shown.push_str(&format!("[{segment}]"));
            } else if is_plain {
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(&segment);
            } else {
                shown.push_str(&format!("[{segment:?}]"));
            }
        }
        shown
    }

    fn add(
        &mut self,
        node: &Node,
        path: &mut Vec<String>,
        key: Option<Position>,
        is_item: bool,
        environment: Environment,
    ) -> Value {
        let pointer = pointer(path);
        let mut place = Place { position: node.position.clone(), key, is_item, written: None };
        if let Content::Scalar { text, .. } = &node.content {
            if is_open_credential(path, text) {
                cover(&mut self.shown, &node.position);
            } else {
                place.written = Some(text.clone());
            }
        }
        self.places.insert(pointer.clone(), place);
        match &node.content {
            Content::Scalar { text, is_plain } => {
                let value = if *is_plain { scalar::value(text) } else { text.as_str().into() };
                match value {
                    Value::String(text) if !is_verbatim(path) => {
                        Value::String(self.expanded(&pointer, text, environment))
                    }
                    other => other,
                }
            }
            Content::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    list.push(self.add(item, path, None, true, environment));
                    path.pop();
                }
                Value::Array(list)
            }
            Content::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for entry in entries {
                    path.push(entry.key.clone());
                    let key = Some(entry.key_position.clone());
                    let value = self.add(&entry.value, path, key, false, environment);
                    map.insert(entry.key.clone(), value);
                    path.pop();
                }
                Value::Object(map)
            }
        }
    }

    fn expanded(&mut self, pointer: &str, text: String, environment: Environment) -> String {
        if !reference::has_references(&text) {
            return text;
        }
        match reference::expand(&text, environment) {
            Ok(expanded) => {
                let meant = reference::meant(&text, environment).into_iter();
                self.hidden.extend(meant.map(|value| (pointer.to_owned(), value.into())));
                expanded
            }
            Err(faults) => {
                self.unresolved.insert(pointer.to_owned());
                for fault in faults {
                    self.report_fault(pointer, fault);
                }
                text
            }
        }
    }
}

/// The pointer to `name` in what `pointer` points to.
pub fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The pointer to what holds the thing; none for the root.
pub fn parent(pointer: &str) -> Option<&str> {
    pointer.rfind('/').map(|at| &pointer[..at])
}

pub fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

fn pointer(path: &[String]) -> String {
    path.iter().fold(String::new(), |pointer, name| child(&pointer, name))
}

fn is_verbatim(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        ["models", _, "sql"]
            | ["syncs", _, "mapping", ..]
            | ["connections", _, "http", "auth", ..]
            | ["telemetry", "otlp", "headers", ..]
            | ["sources", _, "postgres" | "mysql", "url" | "password" | "tables", ..]
    ) || store::is_secret(&path)
}

/// Whether the text is a credential that anyone can read, wherever it stands.
fn is_open_credential(path: &[String], text: &str) -> bool {
    let last = path.last().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    let first = path.first().map(String::as_str).unwrap_or_default();
    let is_in_requests = first == "syncs"
        && path.iter().any(|name| name == "body" || name == "mapping")
        || first == "sources" && path.iter().any(|name| name == "columns");
    let is_in_auth =
        !matches!(first, "syncs" | "models" | "sources") && path.iter().any(|name| name == "auth");
    let is_credential = is_in_auth && last != "user"
        || is_credential_name(&last)
        || last == "base_url" && text.contains(['@', '?', '#'])
        || first == "sources" && last == "url" && database::has_open_password(text);
    is_credential && !is_in_requests && !reference::is_reference(text)
}

/// Puts stars in place of what the position spans; line breaks stay.
fn cover(text: &mut String, position: &Position) {
    let span = position.span.clone();
    let stars: String = text[span.clone()]
        .chars()
        .map(|c| if c == '\n' { c.to_string() } else { "*".repeat(c.len_utf8()) })
        .collect();
    text.replace_range(span, &stars);
}

/// For a file that is not YAML, or not all of it: covers what follows a credential's name in its line, and the lines
/// below that stand deeper.
fn without_credentials(text: &str) -> String {
    let mut covered = String::with_capacity(text.len());
    let mut holder: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let depth = line.len() - line.trim_start().len();
        if line.trim().is_empty() || holder.is_some_and(|holder| depth > holder) {
            covered.extend(line.chars().map(star));
            continue;
        }
        let lower = line.to_ascii_lowercase();
        let mut colons = lower.match_indices(':').map(|(at, _)| at);
        let found = colons.find(|at| is_credential_at(&lower[..*at], &lower[*at..]));
        holder = found.map(|_| depth);
        let open = found.map_or(line.len(), |at| at + 1);
        covered.push_str(&line[..open]);
        covered.extend(line[open..].chars().map(star));
    }
    covered
}

/// As many stars as the character has bytes; white space stays.
fn star(character: char) -> String {
    match character {
        '\n' | '\r' | ' ' => character.to_string(),
        other => "*".repeat(other.len_utf8()),
    }
}

/// Whether the text before a colon ends with a credential's name, in quotes or not, or that of an address that has more
/// than a path.
fn is_credential_at(before: &str, after: &str) -> bool {
    let before = before.trim_end().trim_end_matches(['"', '\'']);
    let mut words = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    let name = words.next().unwrap_or_default();
    is_credential_name(name) || matches!(name, "base_url" | "url") && after.contains(['@', '?'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Document {
        Document::read(text, &|name| (name == "HOST").then(|| "crm".to_owned()))
    }

    fn whats(document: &Document) -> Vec<(usize, usize, &str)> {
        document.problems.iter().map(|p| (p.line, p.column, p.what.as_str())).collect()
    }

    #[test]
    fn values_keep_the_order_of_the_file_and_aliases_are_followed() {
        let document = read("b: &x {q: '5', p: 5}\na: *x\nc: [\"${HOST}\", 'ü']\n");
        assert!(document.problems.is_empty(), "{:?}", document.problems);
        let expected = json!({"b": {"q": "5", "p": 5}, "a": {"q": "5", "p": 5}, "c": ["crm", "ü"]});
        assert_eq!(document.value.to_string(), expected.to_string());
        assert_eq!(document.written("/c/0"), "${HOST}");
    }

    #[test]
    fn columns_count_characters_and_spans_bytes() {
        let mut document = read("größe: [ü, \"${NONE}\"]\n");
        document.report_key("/größe", "x".to_owned(), String::new());
        assert_eq!(whats(&document)[0], (1, 12, "the environment variable `NONE` is not set"));
        assert_eq!(&document.shown[document.problems[0].span.clone()], "\"${NONE}\"");
        assert_eq!(document.problems[0].place, "größe[1]");
        assert_eq!(&document.shown[document.problems[1].span.clone()], "größe");
    }

    #[test]
    fn what_yaml_allows_and_we_do_not_is_named() {
        for (text, line, what) in [
            ("a: 1\nb: 2\na: 3\n", 3, "`a` stands here again, first in line 1"),
            ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys (`<<`) are not supported"),
            ("a: !thing 1\n", 1, "the tag `!thing` is not supported"),
            ("? [a]\n: 1\n", 1, "a key that is not text"),
            ("a: 1\n---\nb: 2\n", 2, "a second document begins here"),
            ("a: [1\nb: 2\n", 2, "not valid YAML"),
            ("# nothing\n", 1, "the file is empty"),
        ] {
            let document = read(text);
            let found = whats(&document);
            assert!(
                found.iter().any(|(l, _, w)| *l == line && w.starts_with(what)),
                "{text:?}: {found:?}"
            );
        }
    }

    #[test]
    fn depth_and_aliases_are_bounded() {
        let deep = read(&format!("{}{}", "[".repeat(100), "]".repeat(100)));
        assert!(deep.problems[0].what.contains("nested deeper"), "{:?}", deep.problems);
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let before = n - 1;
            let aliases = vec![format!("*a{before}"); 10].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
        }
        assert!(read(&laughs).problems[0].what.contains("aliases followed"));
    }

    #[test]
    fn a_name_in_any_alphabet_may_stand_in_a_file_that_is_not_yaml() {
        for text in ["größe: [1\nb: 2\n", "ß: {a\n", "att\u{feff}: [\n", "naïve password日本: [\n"]
        {
            assert!(whats(&read(text)).iter().any(|(_, _, what)| what.starts_with("not valid")));
        }
    }

    #[test]
    fn credentials_are_covered_whether_or_not_the_file_is_yaml() {
        for text in [
            "connections: {crm: {http: {auth: {bearer: \"s3cret\"}}}}",
            "connections:\n  crm:\n    http: {base_url: 'http://u:s3cret@host'}\n",
            "headers: {X-Api-Key: s3cret}\n",
            "x: &token s3cret\nauth: {bearer: *token}\n",
            "auth: {bearer: s3cret\nx: y\n",
            "auth: {\"password\": 's3cret\n",
            "base_url: http://x\nbase_url: http://u:s3cret@x\n",
            "base_url: https://x/?k=s3cret\n",
            "headers: {X-Auth: s3cret}\n",
            "bearer: ${X}\nbearer: |\n  s3cret\n",
        ] {
            let document = read(text);
            assert!(!document.shown.contains("s3cret"), "{}", document.shown);
            assert_eq!(document.shown.len(), text.len());
        }
    }
}
