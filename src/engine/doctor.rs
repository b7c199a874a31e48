//! Whether a connection works: its address, its TLS, and its credentials as far as they can be tested.

use serde::Serialize;

use super::report;
use crate::destination::definition::Connection;
use crate::destination::http::identify;

/// What a test of a connection found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tested {
    pub connection: String,
    /// Scheme, host and port: a path may hold a secret.
    pub address: String,
    pub is_well: bool,
    /// That the API named; only where the connection says `identify:`.
    pub account: Option<String>,
    /// Whether the credentials were tried.
    pub is_authorised: Option<bool>,
    /// A status, or a word such as `connect`.
    pub code: Option<String>,
    /// What was found, in words, with what to do.
    pub message: String,
}

/// Tests a connection with one question, which changes nothing. Without `identify:` the credentials are not sent, and said
/// to be untested.
pub async fn test(connection: &Connection) -> Tested {
    let address = report::address(&connection.base_url).to_owned();
    let name = connection.name.clone();
    let asked = match &connection.identify {
        Some(identify) => {
            identify::account(connection, identify).await.map(|(account, _)| Ok(account))
        }
        None => identify::reach(connection).await.map(Err),
    };
    let tested = Tested {
        connection: name,
        address,
        is_well: asked.is_ok(),
        account: None,
        is_authorised: None,
        code: None,
        message: String::new(),
    };
    match asked {
        Ok(Ok(account)) => Tested {
            message: format!("the credentials are for account `{account}`"),
            account: Some(account),
            is_authorised: Some(true),
            ..tested
        },
        Ok(Err(status)) => Tested {
            message:
                "it answers; the credentials were not tested, as the connection says no `identify:`"
                    .to_owned(),
            code: Some(status.to_string()),
            ..tested
        },
        Err(fault) => Tested {
            is_authorised: matches!(fault.code.as_str(), "401" | "403").then_some(false),
            message: format!("{}; {}", fault.message, remedy(&fault.code)),
            code: Some(fault.code),
            ..tested
        },
    }
}

fn remedy(code: &str) -> &'static str {
    match code {
        "no_account" | "404" | "410" => "correct `identify`",
        code => report::remedy(code),
    }
}
