//! What is wrong with a config file: every problem with its place, and what to do about it.
//!
//! The text that is shown has its secrets covered before it comes here, and messages quote the file, never a value that a
//! reference stands for. Not responsible for finding problems.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use serde_json::{Value, json};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the structure, such as `syncs.crm.upsert.outcome[0]`; empty for the file as a whole.
    pub place: String,
    /// Counted from 1; 0 where the file could not be read.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// In bytes of the file.
    pub span: Range<usize>,
    pub what: String,
    pub remedy: String,
}

/// Everything that is wrong with a file, in the order of the file; at least one problem.
#[derive(Clone)]
pub struct Problems {
    path: PathBuf,
    /// The file's text with its secrets covered.
    shown: String,
    list: Vec<Problem>,
    /// The files that the file names.
    files: Vec<PathBuf>,
}

impl Problems {
    pub(super) fn new(path: &Path, shown: String, mut list: Vec<Problem>) -> Problems {
        list.sort_by(|a, b| (a.span.start, &a.place).cmp(&(b.span.start, &b.place)));
        list.dedup();
        Problems { path: path.to_owned(), shown, list, files: Vec::new() }
    }

    pub(super) fn naming(self, files: Vec<PathBuf>) -> Problems {
        Problems { files, ..self }
    }

    /// The files that it names, as far as they are known; a problem may be theirs.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// For a terminal: each problem under the lines it is about. `colour` adds ANSI codes.
    pub fn fancy(&self, colour: bool) -> String {
        let theme =
            if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_context_lines(1);
        let name = self.path.display().to_string();
        let source = miette::NamedSource::new(name, self.shown.clone());
        let mut text = String::new();
        for problem in &self.list {
            let underlined = Underlined { problem, source: &source };
            if problem.line == 0 || handler.render_report(&mut text, &underlined).is_err() {
                text.push_str(&self.line_of(problem));
            }
            text.push('\n');
        }
        text
    }

    /// For `--format json`: an array of objects with `file`, `line`, `column`, `place`, `what` and `remedy`.
    pub fn to_json(&self) -> Value {
        let objects = self.list.iter().map(|problem| {
            json!({
                "file": self.path.display().to_string(),
                "line": problem.line,
                "column": problem.column,
                "place": problem.place,
                "what": problem.what,
                "remedy": problem.remedy,
            })
        });
        Value::Array(objects.collect())
    }

    fn line_of(&self, problem: &Problem) -> String {
        let Problem { place, line, column, what, remedy, .. } = problem;
        let mut text = self.path.display().to_string();
        if *line > 0 {
            text.push_str(&format!(":{line}:{column}"));
        }
        text.push_str(": ");
        if !place.is_empty() {
            text.push_str(&format!("{place}: "));
        }
        text.push_str(what);
        if !remedy.is_empty() {
            text.push_str(&format!("; {remedy}"));
        }
        text
    }
}

/// One line each: `file:line:column: place: what; remedy`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.line_of(problem))?;
        }
        Ok(())
    }
}

/// As [`Display`](fmt::Display): a derived form would repeat the whole file.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}

/// A problem together with the text it underlines.
#[derive(Debug)]
struct Underlined<'a> {
    problem: &'a Problem,
    source: &'a miette::NamedSource<String>,
}

impl fmt::Display for Underlined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.what)
    }
}

impl std::error::Error for Underlined<'_> {}

impl Diagnostic for Underlined<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.problem.remedy.is_empty()).then(|| Box::new(&self.problem.remedy) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = (!self.problem.place.is_empty()).then(|| self.problem.place.clone());
        let span = self.problem.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(label, span))))
    }
}
