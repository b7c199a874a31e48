//! A field of a mapping as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::raw_forms::{StructureOrText, Whole};

/// A field with more to say than its SQL.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawField {
    /// The SQL expression that fills it, taken as it stands; the column of the field's name unless said.
    pub sql: Option<String>,
    /// Integers and decimals as JSON numbers (`number`, unless said) or as text, digit by digit (`text`).
    pub numbers: Option<RawNumbers>,
    /// A NULL is sent as null (`send`, unless said), or its member is left out of the object (`omit`).
    pub nulls: Option<RawNulls>,
    /// How days, times and instants are said; RFC 3339, instants in UTC, unless said.
    pub time: Option<RawTime>,
    /// Text that is JSON is sent as text (`text`, unless said) or as the value that it says (`parse`).
    pub json: Option<RawJson>,
    /// Bytes as text in base64 (`base64`, unless said) or hexadecimal (`hex`).
    pub binary: Option<RawBinary>,
    /// What counts as a change: every difference (`exact`, unless said), none (`ignore`), or what is left of it by `digits` or
    /// `precision`.
    pub compare: Option<StructureOrText<RawCompare>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawNumbers {
    Number,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawNulls {
    Send,
    Omit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawJson {
    Text,
    Parse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawBinary {
    Base64,
    Hex,
}

/// How a time is said.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTime {
    /// `rfc3339`, unless said; `unix` or `unix_ms`, whole seconds or milliseconds since 1970; `date`; or a pattern of strftime
    /// such as `%d.%m.%Y`.
    pub format: Option<String>,
    /// An IANA name such as `Europe/Berlin`: instants are shown in it, and times without a zone and days are taken to be
    /// times and days of it; UTC for instants unless said.
    pub zone: Option<String>,
}

/// Values that count as the same: those that round to the same. Exactly one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCompare {
    /// Floats and decimals are rounded to so many significant digits.
    #[schemars(extend("minimum" = 1, "maximum" = 38))]
    pub digits: Option<Whole>,
    /// Times are counted back to the beginning of a period such as `1m`.
    pub precision: Option<String>,
}
