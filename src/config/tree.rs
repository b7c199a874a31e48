//! YAML text → a tree whose every node knows where it stands.
//!
//! Anchors and aliases are followed; merge keys, tags of one's own, keys that are not text, repeated keys and more
//! than one document are problems. Size, depth and number of nodes are bounded, so that a small file cannot become a large
//! tree. Not responsible for types or meaning.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

const MAX_BYTES: usize = 4 << 20;
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 200_000;

/// Where something stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// In bytes.
    pub span: Range<usize>,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub position: Position,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// Text, and whether it was written bare, so that `5` is a number and `"5"` is not.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_position: Position,
    pub value: Node,
}

/// What the text itself has wrong, before it means anything.
#[derive(Debug)]
pub struct Fault {
    pub position: Position,
    pub what: String,
    pub remedy: &'static str,
}

/// Reads the text. The tree is there as far as the text could be followed.
pub fn read(text: &str) -> (Option<Node>, Vec<Fault>) {
    if text.len() > MAX_BYTES {
        let what = format!("the file has {} bytes, more than {MAX_BYTES}", text.len());
        let remedy = "split it, or put queries into `sql_file`";
        let fault = Fault { position: Position::default(), what, remedy };
        return (None, vec![fault]);
    }
    let mut reader = Reader {
        text,
        parser: Parser::new_from_str(text),
        positions: Positions::new(text),
        anchors: HashMap::new(),
        nodes: 0,
        faults: Vec::new(),
    };
    let root = reader.document().ok();
    (root, reader.faults)
}

/// The fault is noted; nothing more can be read.
struct Stop;

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    positions: Positions,
    /// Finished nodes by anchor, with the number of nodes in each.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_some() => {
                    let position = self.positions.of(span);
                    self.fault(
                        position,
                        "a second document begins here".to_owned(),
                        "keep one document in the file",
                    );
                    break;
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                _ => break,
            }
        }
        root.ok_or_else(|| {
            let position = Position { line: 1, column: 1, span: 0..0 };
            self.fault(
                position,
                "the file is empty".to_owned(),
                "begin with `counterflow init`, or see config.example.yaml",
            );
            Stop
        })
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let position = self.positions.of(Span::empty(*error.marker()));
                let line = self.text.lines().nth(position.line.saturating_sub(1));
                let remedy = if line.is_some_and(|line| line.contains("${")) {
                    "put `${..}` in quotes where it stands within `{ }` or `[ ]`"
                } else {
                    "check indentation, quotes and brackets here and in the lines above"
                };
                self.fault(position, format!("not valid YAML: {}", error.info()), remedy);
                Err(Stop)
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        let position = self.positions.of(span);
        self.count(1, &position)?;
        if depth > MAX_DEPTH {
            let what = format!("nested deeper than {MAX_DEPTH} levels");
            self.fault(position, what, "flatten the structure");
            return Err(Stop);
        }
        let before = self.nodes;
        let (content, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, position),
            Event::Scalar(text, style, anchor, tag) => {
                let is_text_tag = tag.as_deref().is_some_and(|tag| {
                    tag.is_yaml_core_schema() && tag.suffix == "str" || tag.to_string() == "!"
                });
                if let (Some(tag), false) = (tag, is_text_tag) {
                    self.tag(&position, &tag.to_string());
                }
                let is_plain = style == ScalarStyle::Plain && !is_text_tag;
                (Content::Scalar { text: text.into_owned(), is_plain }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                if let Some(tag) = tag {
                    self.tag(&position, &tag.to_string());
                }
                (Content::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                if let Some(tag) = tag {
                    self.tag(&position, &tag.to_string());
                }
                (Content::Map(self.map(depth)?), anchor)
            }
            _ => (Content::Scalar { text: String::new(), is_plain: true }, 0),
        };
        let node = Node { position, content };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<Node, Stop> {
        let Some((node, nodes)) = self.anchors.get(&anchor).cloned() else {
            self.fault(
                position,
                "an alias to a node that contains it".to_owned(),
                "write the value out",
            );
            return Err(Stop);
        };
        self.count(nodes, &position)?;
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Content::Scalar { text, is_plain } = key.content else {
                self.fault(key.position, "a key that is not text".to_owned(), "use a plain name");
                continue;
            };
            if is_plain && text == "<<" {
                self.fault(
                    key.position,
                    "merge keys (`<<`) are not supported".to_owned(),
                    "write the keys out, or alias a whole value with `*name`",
                );
            } else if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                let what = format!(
                    "`{text}` stands here again, first in line {}",
                    first.key_position.line
                );
                self.fault(key.position, what, "keep one of the two");
            } else {
                entries.push(Entry { key: text, key_position: key.position, value });
            }
        }
    }

    fn count(&mut self, nodes: usize, position: &Position) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let what = format!("more than {MAX_NODES} values, aliases followed");
            self.fault(position.clone(), what, "use fewer aliases");
            return Err(Stop);
        }
        Ok(())
    }

    fn tag(&mut self, position: &Position, tag: &str) {
        let what = format!("the tag `{tag}` is not supported");
        self.fault(position.clone(), what, "remove it; quote a value to make it text");
    }

    fn fault(&mut self, position: Position, what: String, remedy: &'static str) {
        self.faults.push(Fault { position, what, remedy });
    }
}

/// Turns the parser's positions, which count characters, into bytes.
struct Positions {
    /// Byte offset of each character, where the text is not ASCII.
    offsets: Option<Vec<usize>>,
    bytes: usize,
    /// Which bytes are white space.
    blank: Vec<bool>,
}

impl Positions {
    fn new(text: &str) -> Positions {
        let offsets =
            (!text.is_ascii()).then(|| text.char_indices().map(|(offset, _)| offset).collect());
        let blank = text.bytes().map(|byte| byte.is_ascii_whitespace()).collect();
        Positions { offsets, bytes: text.len(), blank }
    }

    fn byte(&self, index: usize) -> usize {
        let byte = match &self.offsets {
            Some(offsets) => offsets.get(index).copied().unwrap_or(self.bytes),
            None => index,
        };
        byte.min(self.bytes)
    }

    /// A structure's span is its first character; a text's ends before the white space that follows it.
    fn of(&self, span: Span) -> Position {
        let start = self.byte(span.start.index());
        let mut end = self.byte(span.end.index()).max(start);
        while end > start && self.blank[end - 1] {
            end -= 1;
        }
        Position { line: span.start.line(), column: span.start.col() + 1, span: start..end }
    }
}
