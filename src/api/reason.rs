//! Why a command is given: what its body says of that, on one line.

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::Problem;
use crate::domain::message::one_line;

/// The body of a command that wants a reason.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Reason", extend("required" = ["message"]))]
pub struct Why {
    /// Why.
    #[serde(default)]
    #[schemars(extend("pattern" = r"[^\s\x00-\x1f\x7f-\x9f]"))]
    pub message: String,
}

/// The message of a command that wants one, as it is shown on terminals.
///
/// # Errors
/// It says nothing.
pub fn said(message: String) -> Result<String, Problem> {
    one_line(&message).ok_or_else(|| {
        let detail = "`message` says nothing; say why, as in `{\"message\": \"the CRM moves\"}`";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
}
