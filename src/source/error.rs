//! What can go wrong in a read, by meaning, and how DataFusion's errors become it.
//!
//! Invariant: no message carries a value of a row. Errors made while planning may quote the SQL, which is the
//! config's; errors made while running are reduced to what is known to hold no data.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::store::own;

/// Why a read could not begin or did not end. The message names the thing, the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The model, its primary key or a table's declaration must be changed in the config.
    #[error("{0}")]
    Definition(String),
    /// The mapping or the delivered key must be changed in the config.
    #[error("{0}")]
    Mapping(String),
    /// A file or a set of files is not there or may not be read.
    #[error("{0}")]
    Missing(String),
    /// A store gives objects as a whole alone.
    #[error("{0}")]
    Parts(String),
    /// A file is cut, damaged, or differs from the others of its table.
    #[error("{0}")]
    Damaged(String),
    /// A value does not fit its column's type.
    #[error("{0}")]
    Misfit(String),
    /// The query needs more memory than it may use.
    #[error("{0}")]
    Memory(String),
    /// The query failed while it ran.
    #[error("{0}")]
    Query(String),
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl Error {
    /// Whether the config must be changed, rather than the data or the world.
    pub fn is_config_fault(&self) -> bool {
        matches!(self, Error::Definition(_) | Error::Mapping(_))
    }

    /// The same with other words.
    pub(super) fn map(self, change: impl FnOnce(String) -> String) -> Error {
        match self {
            Error::Definition(text) => Error::Definition(change(text)),
            Error::Mapping(text) => Error::Mapping(change(text)),
            Error::Missing(text) => Error::Missing(change(text)),
            Error::Parts(text) => Error::Parts(change(text)),
            Error::Damaged(text) => Error::Damaged(change(text)),
            Error::Misfit(text) => Error::Misfit(change(text)),
            Error::Memory(text) => Error::Memory(change(text)),
            Error::Query(text) => Error::Query(change(text)),
        }
    }

    /// What an error that a partition's stream yielded means. `model` is named where the error does not say more.
    pub fn of_stream(error: &DataFusionError, model: &str) -> Error {
        Error::of(error, Computed { model, field: None })
    }

    /// As [`Error::of_stream`], of what a field is computed from.
    pub(super) fn of_field(error: &DataFusionError, model: &str, field: &str, sql: &str) -> Error {
        Error::of(error, Computed { model, field: Some((field, sql)) })
    }

    fn of(error: &DataFusionError, computed: Computed<'_>) -> Error {
        let model = computed.model;
        if let Some(own) = own(error) {
            return own.clone();
        }
        match error {
            DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
                Some(own) => own.clone(),
                None => match cause.downcast_ref::<DataFusionError>() {
                    Some(inner) => Error::of(inner, computed),
                    None => computed.failed("a part of the query failed"),
                },
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Error::of(inner, computed)
            }
            DataFusionError::Shared(inner) => Error::of(inner, computed),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => Error::of(first, computed),
                None => computed.failed("a part of the query failed"),
            },
            DataFusionError::ArrowError(inner, _) => Error::of_arrow(inner, computed),
            DataFusionError::ParquetError(inner) => Error::Damaged(format!(
                "a Parquet file of model `{model}` cannot be read: {}; replace the file by a whole one",
                first_line(&inner.to_string())
            )),
            DataFusionError::ObjectStore(inner) => Error::Missing(format!(
                "a file of model `{model}` cannot be read: {}; it was there when the read began",
                first_line(&inner.to_string())
            )),
            DataFusionError::IoError(inner) => Error::Missing(format!(
                "a file of model `{model}` cannot be read: {}",
                inner.kind()
            )),
            DataFusionError::ResourcesExhausted(_) => Error::Memory(format!(
                "the query of model `{model}` needs more memory than it may use; raise `memory_limit`, or sort, \
                 group and join fewer rows"
            )),
            DataFusionError::Execution(message) => {
                computed.failed(known_cause(message).unwrap_or("it stopped while it ran"))
            }
            DataFusionError::NotImplemented(_) => {
                computed.failed("it uses something that is not supported")
            }
            _ => computed.failed("the engine reported a fault of its own"),
        }
    }

    fn of_arrow(error: &ArrowError, computed: Computed<'_>) -> Error {
        let model = computed.model;
        match error {
            ArrowError::ExternalError(cause) => match cause.downcast_ref::<DataFusionError>() {
                Some(inner) => Error::of(inner, computed),
                None => match cause.downcast_ref::<Error>() {
                    Some(own) => own.clone(),
                    None => computed.failed("a part of the query failed"),
                },
            },
            ArrowError::DivideByZero => {
                computed.failed("division by zero; guard it with `nullif(divisor, 0)`")
            }
            ArrowError::ArithmeticOverflow(_) => {
                computed.failed("a number overflows its type; cast to a wider one")
            }
            ArrowError::CastError(message) | ArrowError::ParseError(message) => {
                let target = cast_target(message).unwrap_or("the type asked for");
                computed.failed(&format!(
                    "a value cannot be cast to {target}; use `try_cast` to get NULL instead"
                ))
            }
            ArrowError::MemoryError(_) | ArrowError::OffsetOverflowError(_) => Error::Memory(
                format!("a batch of model `{model}` is too large; make its text columns shorter"),
            ),
            ArrowError::ParquetError(message) => Error::Damaged(format!(
                "a Parquet file of model `{model}` cannot be read: {}; replace the file by a whole one",
                first_line(message)
            )),
            _ => computed.failed("a computation failed"),
        }
    }
}

/// What failed: the query of a model, or a field of its mapping, with its SQL.
#[derive(Clone, Copy)]
struct Computed<'a> {
    model: &'a str,
    field: Option<(&'a str, &'a str)>,
}

impl Computed<'_> {
    fn failed(self, cause: &str) -> Error {
        const SHOWN: usize = 80;
        let model = self.model;
        Error::Query(match self.field {
            None => format!("the query of model `{model}` failed: {cause}"),
            Some((field, sql)) => {
                let mut shown: String = sql.chars().take(SHOWN).collect();
                if shown.len() < sql.len() {
                    shown.push_str("..");
                }
                format!(
                    "the mapping of field `{field}`, `{shown}`, over model `{model}` failed, or what the model computes for it: {cause}"
                )
            }
        })
    }
}

/// What a planning error says of SQL at `place`, such as ``model `orders` ``: shortened, with the nearest column's name
/// where one is unknown.
pub(super) fn planning(error: &DataFusionError, place: &str) -> String {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            planning(inner, place)
        }
        DataFusionError::Shared(inner) => planning(inner, place),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => planning(first, place),
            None => format!("{place} cannot be planned"),
        },
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let known =
                    valid_fields.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
                unknown("column", &field.name, place, &known)
            }
            SchemaError::AmbiguousReference { field } => {
                format!("column `{}` in {place} is ambiguous; say which table it is of", field.name)
            }
            SchemaError::DuplicateQualifiedField { name, .. }
            | SchemaError::DuplicateUnqualifiedField { name } => {
                format!("{place} has two columns named `{name}`; give each its own name with `AS`")
            }
        },
        DataFusionError::SQL(parser, _) => {
            format!("{place} is not valid SQL: {}", tail(&parser.to_string()))
        }
        DataFusionError::NotImplemented(message) => {
            format!("{place} uses what is not supported: {}", tail(message))
        }
        other => match other.message().as_ref() {
            message if message.contains("unique expression names") => {
                format!("{place} has two columns of one name; give each its own name with `AS`")
            }
            message => format!("{place} cannot be planned: {}", tail(message)),
        },
    }
}

/// A message about a name that is not there: the nearest known name if one is near, and the known ones.
pub(super) fn unknown(what: &str, name: &str, place: &str, known: &[impl AsRef<str>]) -> String {
    let mut message = format!("unknown {what} `{name}` in {place}");
    if let Some(near) = nearest(name, known) {
        message.push_str(&match near.to_lowercase() == name.to_lowercase() {
            true => format!("; write it `\"{near}\"`, as names with capitals need double quotes"),
            false => format!("; did you mean `{near}`?"),
        });
    }
    if !known.is_empty() {
        const SHOWN: usize = 40;
        let list =
            known.iter().take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>();
        message.push_str(&format!("; known {what}s: {}", list.join(", ")));
        if known.len() > SHOWN {
            message.push_str(&format!(" and {} more", known.len() - SHOWN));
        }
    }
    message
}

fn nearest<'a>(name: &str, known: &'a [impl AsRef<str>]) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .iter()
        .map(AsRef::as_ref)
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= name.chars().count().div_ceil(3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, removed or replaced to make one of the other.
fn distance(left: &str, right: &str) -> usize {
    let right = right.chars().collect::<Vec<_>>();
    let mut row = (0..=right.len()).collect::<Vec<_>>();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

/// Causes whose words hold no data.
fn known_cause(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    [
        ("divide by zero", "division by zero; guard it with `nullif(divisor, 0)`"),
        ("overflow", "a number overflows its type; cast to a wider one"),
        ("more than one row", "a subquery gave more than one row"),
        ("map key must be unique", "a map has a key more than once; keep one of each"),
        (
            "failed to decode",
            "a text cannot be decoded; leave out those that are of another encoding",
        ),
    ]
    .into_iter()
    .find_map(|(words, cause)| message.contains(words).then_some(cause))
}

/// The type in Arrow's "Cannot cast string '...' to value of Int64 type", which ends with it.
fn cast_target(message: &str) -> Option<&str> {
    let (_, tail) = message.rsplit_once("' to value of ")?;
    let name = tail.strip_suffix(" type")?;
    let is_plain = name.len() <= 40
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '(' | ')' | ',' | ' '));
    is_plain.then_some(name)
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

/// The first line of a message, bounded, without a dump of the engine's own structures, and begun in lower case, save
/// where it begins with a word of SQL such as `FETCH`.
fn tail(message: &str) -> String {
    let line = first_line(message);
    let line = line
        .trim_start_matches("sql parser error: ")
        .trim_start_matches("Error during planning: ")
        .trim_end_matches('.');
    let mut letters = without_dump(line).chars().take(300).peekable();
    let Some(first) = letters.next() else { return "no reason given".to_owned() };
    if letters.peek().is_some_and(|second| second.is_uppercase()) {
        return std::iter::once(first).chain(letters).collect();
    }
    first.to_lowercase().chain(letters).collect()
}

/// What stands before the engine's structures, which it prints as Rust code.
fn without_dump(line: &str) -> &str {
    let begun = ["Span(", "Location(", " { ", "(Ident", "[Ident"]
        .iter()
        .filter_map(|part| line.find(part))
        .min();
    let Some(begun) = begun else { return line };
    match line[..begun].rsplit_once(": ") {
        Some(("Unsupported ast node in sqltorel", _)) => "an expression of this kind",
        Some((said, _)) => said,
        None => "something of this kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cast_error_keeps_the_type_and_loses_the_value() {
        let arrow = ArrowError::CastError(
            "Cannot cast string 'it's secret' to value of Int64 type".to_owned(),
        );
        let error = Error::of_stream(&DataFusionError::from(arrow), "people");
        assert!(error.to_string().contains("Int64"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn an_execution_error_never_shows_its_words() {
        let error = Error::of_stream(&DataFusionError::Execution("row 'secret'".into()), "people");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn our_own_error_comes_through_however_it_is_wrapped() {
        let own = Error::Misfit("a".to_owned());
        let shared = DataFusionError::Shared(std::sync::Arc::new(own.clone().into()));
        let wrapped = DataFusionError::Context("while reading".to_owned(), Box::new(shared));
        assert_eq!(Error::of_stream(&wrapped, "people"), own);
    }

    #[test]
    fn a_message_keeps_words_of_sql_and_loses_dumps_of_structures() {
        assert_eq!(tail("FETCH clause is not supported"), "FETCH clause is not supported");
        assert_eq!(tail("Unsupported thing."), "unsupported thing");
        let dump =
            "Unsupported ast node in sqltorel: Like { any: true, span: Span(Location(1,2)) }";
        assert_eq!(tail(dump), "an expression of this kind");
        let dump = "compound identifier: [Ident { value: \"a\", span: Span(Location(1,2)..) }]";
        assert_eq!(tail(dump), "compound identifier");
        assert_eq!(tail(""), "no reason given");
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["customer_id".to_owned(), "Email".to_owned()];
        assert!(
            unknown("column", "custmer_id", "x", &known).contains("did you mean `customer_id`")
        );
        assert!(unknown("column", "email", "x", &known).contains("`\"Email\"`"));
        assert!(!unknown("column", "price", "x", &known).contains("did you mean"));
    }
}
