//! The demo's words on the terminal or in a pipe: chapters, commands with what they said, and the comparison.
//!
//! Not responsible for what is told. A reader that went away is no error. Colours only where they were asked for.

use std::io::Write;

use super::compare::Comparison;
use super::destination::Counts;
use super::faults::Fault;
use crate::engine::report::Report;

/// Columns of a line.
const WIDTH: usize = 96;
const INDENT: &str = "   ";

/// Tells as it goes.
pub struct Teller {
    out: Box<dyn Write + Send>,
    is_coloured: bool,
    /// Whether the last line was empty.
    is_at_gap: bool,
}

#[derive(Debug, Clone, Copy)]
enum Colour {
    Bold,
    Cyan,
    Green,
    Yellow,
}

impl Teller {
    pub fn new(out: Box<dyn Write + Send>, is_coloured: bool) -> Teller {
        Teller { out, is_coloured, is_at_gap: true }
    }

    pub fn title(&mut self, text: &str) {
        self.gap();
        let text = self.painted(Colour::Bold, text);
        self.line(&text);
    }

    pub fn chapter(&mut self, number: usize, title: &str) {
        self.title(&format!("{number}  {title}"));
    }

    /// A paragraph.
    pub fn say(&mut self, text: &str) {
        for line in wrapped(text, WIDTH - INDENT.len()) {
            self.line(&format!("{INDENT}{line}"));
        }
    }

    /// A command, as one would type it.
    pub fn command(&mut self, command: &str) {
        let command = self.painted(Colour::Cyan, &format!("$ {command}"));
        self.line(&format!("{INDENT}{command}"));
    }

    /// What a command printed, or what it came to.
    pub fn printed(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("{INDENT}  {line}"));
        }
    }

    /// What the destination holds against what the source holds.
    pub fn comparison(&mut self, comparisons: &[Comparison]) {
        self.gap();
        let head = ["source", "destination", "equal", "missing", "extra", "stale", "kept"];
        self.line(&format!("{INDENT}{}", row("object", head.map(str::to_owned))));
        for comparison in comparisons {
            let dash = |count: usize| if count == 0 { "-".to_owned() } else { count.to_string() };
            let counts = [
                comparison.source.to_string(),
                comparison.destination.to_string(),
                comparison.equal.to_string(),
                dash(comparison.missing),
                dash(comparison.extra),
                dash(comparison.stale),
                dash(comparison.kept),
            ];
            let colour = if comparison.is_equal() { Colour::Green } else { Colour::Yellow };
            let line = self.painted(colour, &row(comparison.object.name(), counts));
            self.line(&format!("{INDENT}{line}"));
        }
        self.gap();
    }

    /// What the destination did to us.
    pub fn counts(&mut self, counts: &Counts) {
        self.say(&format!("The destination got {} requests and played", counts.requests));
        for (fault, played) in &counts.faults {
            self.line(&format!("{INDENT}{played:>5} x {}", fault.words()));
        }
        self.say(&format!(
            "{} records came a second time because an answer had been lost, and did no harm.",
            counts.absorbed
        ));
    }

    fn painted(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            _ if !self.is_coloured => return text.to_owned(),
            Colour::Bold => 1,
            Colour::Cyan => 36,
            Colour::Green => 32,
            Colour::Yellow => 33,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// One empty line, not two.
    fn gap(&mut self) {
        if !self.is_at_gap {
            self.line("");
        }
    }

    fn line(&mut self, text: &str) {
        self.is_at_gap = text.is_empty();
        let _ = writeln!(self.out, "{}", text.trim_end());
        let _ = self.out.flush();
    }
}

/// A run in one or two lines.
pub fn told(report: &Report) -> String {
    let tally = &report.tally;
    let why = match (report.kind, report.reason) {
        (Some(kind), Some(reason)) => format!(", {kind} ({reason})"),
        _ => String::new(),
    };
    let parts = [
        (tally.delivered, "delivered"),
        (tally.rejected, "rejected"),
        (tally.unknown, "unknown"),
        (tally.held, "held"),
        (tally.deferred, "deferred"),
        (tally.unsent, "not sent"),
    ];
    let came_to: Vec<String> = parts
        .into_iter()
        .filter(|(count, word)| *count > 0 || *word == "delivered")
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let deleted = match tally.deleted {
        0 => String::new(),
        deleted => format!(" ({deleted} of them deletes)"),
    };
    let unchanged = match tally.unchanged {
        0 => String::new(),
        unchanged => format!(", {unchanged} unchanged"),
    };
    let retries = match tally.retries {
        0 => String::new(),
        retries => format!(", {retries} of them retries"),
    };
    format!(
        "run {} {}{why}\n{} rows read{unchanged}: {}{deleted} in {} requests{retries}",
        report.run,
        report.outcome,
        tally.rows_read,
        came_to.join(", "),
        tally.requests,
    )
}

fn row(object: &str, counts: [String; 7]) -> String {
    let [source, destination, equal, missing, extra, stale, kept] = counts;
    format!(
        "{object:<10} {source:>8} {destination:>12} {equal:>8} {missing:>8} {extra:>6} {stale:>6} {kept:>5}"
    )
}

/// The words in lines of at most `width` letters; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The faults that were never played, in words.
pub fn unplayed(counts: &Counts) -> Vec<&'static str> {
    let is_unplayed = |fault: &Fault| counts.faults.get(fault).is_none_or(|played| *played == 0);
    Fault::ALL.into_iter().filter(is_unplayed).map(Fault::words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::object::Object;
    use crate::telemetry::tests::Page;

    fn told_to(is_coloured: bool, tell: impl FnOnce(&mut Teller)) -> String {
        let page = Page::default();
        tell(&mut Teller::new(Box::new(page.clone()), is_coloured));
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_comparison_is_a_table_in_which_nothing_stands_out_but_differences() {
        let comparison = Comparison {
            object: Object::Orders,
            source: 1_012,
            destination: 1_040,
            equal: 1_010,
            missing: 2,
            extra: 0,
            stale: 0,
            kept: 30,
            examples: Vec::new(),
        };
        let text = told_to(false, |teller| teller.comparison(&[comparison]));
        assert_eq!(
            text,
            "   object       source  destination    equal  missing  extra  stale  kept\n   \
             orders         1012         1040     1010        2      -      -    30\n\n"
        );
    }

    #[test]
    fn there_is_colour_only_where_it_was_asked_for() {
        let tell = |teller: &mut Teller| teller.command("counterflow sync crm");
        assert_eq!(told_to(false, tell), "   $ counterflow sync crm\n");
        assert!(told_to(true, tell).contains("\u{1b}[36m$ counterflow sync crm\u{1b}[0m"));
    }

    #[test]
    fn long_paragraphs_are_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("immeasurably", 4), ["immeasurably"]);
        assert!(wrapped(" ", 4).is_empty());
    }
}
