//! Tables of text files: the types that columns can have, the columns of a batch while they are filled, and the table as
//! DataFusion sees it. How a row is found in a file is each format's own.

pub(super) mod bytes;
pub(super) mod column;
pub(super) mod column_type;
pub(super) mod ends;
pub(super) mod fetch;
pub(super) mod place;
mod scan;

pub(super) use self::bytes::window;
use self::column_type::ColumnType;
pub(super) use self::scan::{Layout, Pushed, Rows, TextTable};
use super::error::Error;
use super::pins::Pins;

/// Bytes read from a file at once.
pub(super) const BUFFER: usize = 256 << 10;
/// Rows inferred between two points at which the task can be cancelled, and bytes of them.
const ROWS_PER_TURN: u32 = 4096;
const BYTES_PER_TURN: usize = 4 << 20;
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was inferred since the task could be cancelled.
#[derive(Debug, Default)]
pub(super) struct Turn {
    rows: u32,
    bytes: usize,
}

impl Turn {
    /// A row of so many bytes was seen; now and then the task can be cancelled behind it.
    pub async fn take(&mut self, bytes: usize) {
        (self.rows, self.bytes) = (self.rows + 1, self.bytes.saturating_add(bytes));
        if self.rows >= ROWS_PER_TURN || self.bytes >= BYTES_PER_TURN {
            *self = Turn::default();
            tokio::task::yield_now().await;
        }
    }
}

/// A column of a table, and how its values are read.
#[derive(Debug, Clone)]
pub(super) struct ColumnPlan {
    pub name: String,
    pub column_type: ColumnType,
    pub is_declared: bool,
}

/// The texts that columns can be declared in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    Csv,
    NdJson,
}

/// Whether a column of this format can be declared with this type name.
///
/// # Errors
/// The known names, for people.
pub fn check_type_name(format: TextFormat, name: &str) -> Result<(), String> {
    match (name.parse::<ColumnType>(), format) {
        (Ok(ColumnType::Json), TextFormat::Csv) => {
            Err("`JSON` is for NDJSON; declare the text as `VARCHAR`".to_owned())
        }
        (Ok(_), _) => Ok(()),
        (Err(()), TextFormat::Csv) => {
            Err(format!("unknown type `{name}`; known types: {}", column_type::NAMES))
        }
        (Err(()), TextFormat::NdJson) => {
            Err(format!("unknown type `{name}`; known types: {}, JSON", column_type::NAMES))
        }
    }
}

/// The declared or pinned type of a column.
pub(super) fn known_type(
    table: &str,
    declared: &[(String, String)],
    pins: &Pins,
    name: &str,
) -> Result<Option<ColumnPlan>, Error> {
    let declared = declared.iter().find(|(column, _)| column == name);
    let (type_name, is_declared) = match (declared, pins.get(table, name)) {
        (Some((_, type_name)), _) => (type_name.as_str(), true),
        (None, Some(type_name)) => (type_name, false),
        (None, None) => return Ok(None),
    };
    match type_name.parse() {
        Ok(column_type) => Ok(Some(ColumnPlan { name: name.to_owned(), column_type, is_declared })),
        Err(()) => Err(Error::Definition(format!(
            "table `{table}`: column `{name}` has the unknown type `{type_name}`; known types: {}",
            column_type::NAMES
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn inference_can_be_cancelled_after_so_many_rows_and_after_so_many_bytes() {
        let yields = |rows: u32, bytes: usize| {
            let mut turn = Turn::default();
            let mut count = 0;
            for _ in 0..rows {
                let taken = pin!(turn.take(bytes));
                count +=
                    u32::from(taken.poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            count
        };
        assert_eq!(yields(ROWS_PER_TURN - 1, 1), 0);
        assert_eq!(yields(2 * ROWS_PER_TURN, 1), 2);
        assert_eq!(yields(3, BYTES_PER_TURN), 3);
        assert_eq!(yields(4, BYTES_PER_TURN / 2), 2);
    }
}
