//! How requests and the judging of their answers are written in the file. Meaning is checked in `request`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::raw::{RawStatus, RawWhen};
use super::raw_forms::{Named, StructureOrText, Whole};

/// A request; exactly one of `post`, `put`, `patch` and `delete` gives its method and path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRequest {
    /// The path of a POST, after the connection's `base_url`.
    pub post: Option<String>,
    /// The path of a PUT; `{{record.FIELD}}` stands for that field where a batch is one record.
    pub put: Option<String>,
    /// The path of a PATCH.
    pub patch: Option<String>,
    /// The path of a DELETE.
    pub delete: Option<String>,
    pub batch: Option<RawBatch>,
    /// Sent with this request, beside the connection's.
    pub headers: Option<Named<String>>,
    /// Nothing is sent as a body unless said.
    pub body: Option<RawBody>,
    pub idempotency: Option<RawIdempotency>,
    /// Rules in order; the first that matches an answer judges it.
    #[schemars(required, length(min = 1))]
    pub outcome: Option<Vec<RawRule>>,
}

/// A batch is full at whichever comes first.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBatch {
    /// Records in a request; 100 unless said, and 1 where the body has no `each`.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub records: Option<Whole>,
    /// Size of the encoded body; `1MiB` unless said.
    pub bytes: Option<String>,
}

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBody {
    /// A JSON template: `{each: TEMPLATE}` becomes an array with one TEMPLATE for each record; `"{{record}}"` is the
    /// whole record and `"{{record.FIELD}}"` one value.
    #[schemars(required)]
    pub json: Option<Value>,
}

/// Whether a repetition does harm.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawIdempotency {
    /// Whether an attempt without a known outcome may be repeated: `natural`, `key` or `never` (unless said).
    pub repeat: Option<RawRepeat>,
    /// The header that carries the idempotency key, `Idempotency-Key` unless said; `null` for none.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<String>", extend("nullable" = true))]
    pub header: Option<Option<String>>,
}

/// Keeps a written `null` apart from a key that is not there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawRepeat {
    Natural,
    Key,
    Never,
}

/// Matches an answer and says what it means.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    /// A status (`200`), a class (`2xx`) or a list of them.
    #[schemars(required)]
    pub status: Option<RawStatus>,
    /// Values that must stand in the body, by JSON pointer.
    pub when: Option<RawWhen>,
    /// What the body must be: `json`, or `none` where it is not looked at. Unless said, `json` where the rule can say
    /// delivered or has a `when`, else `none`.
    pub decode: Option<RawDecode>,
    /// `delivered`, `retry`, `reject`, `split`, `halt`, or `per_record: {..}`.
    #[schemars(required)]
    pub then: Option<StructureOrText<RawThen>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawDecode {
    Json,
    None,
}

/// A verdict that has more to say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawThen {
    #[schemars(required)]
    pub per_record: Option<RawPerRecord>,
}

/// How the records of a request are found in its answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPerRecord {
    /// `index`: the list has one item for each record, in the order sent.
    #[schemars(required)]
    pub by: Option<RawBy>,
    /// JSON pointer to the list of results; `""` (unless said) is the root.
    pub items: Option<String>,
    /// JSON pointer in each item to the value that tells.
    #[schemars(required)]
    pub status: Option<String>,
    /// Status values that mean delivered.
    #[schemars(required, length(min = 1))]
    pub delivered: Option<Vec<Value>>,
    /// Status values that mean not applied, try again; every other one means rejected.
    pub retry: Option<Vec<Value>>,
    /// JSON pointer in each item to a refusal's code.
    pub code: Option<String>,
    /// JSON pointer in each item to a refusal's message.
    pub message: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawBy {
    Index,
}
