//! Why a request was not granted, for every reason there is, in one form (RFC 9457).
//!
//! Invariant: the detail names the remedy, and holds no secret and no row.

use std::time::Duration;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::document::chain;
use crate::control::handle::Refused;
use crate::engine::prepare;
use crate::store;

/// Why a request was not granted, as `application/problem+json` (RFC 9457). The detail says what to do.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// When to ask again, in whole seconds.
    retry_after: Option<u64>,
    readiness: Option<&'static str>,
}

/// How a problem is written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Problem")]
pub struct Body {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// What is wrong; and what to do about it.
    detail: String,
    /// `starting`, `reloading` or `draining`: why the server is not ready, where that is what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    readiness: Option<&'static str>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), retry_after: None, readiness: None }
    }

    /// Nobody is known by what was sent.
    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// There is a limit, and it is reached for so long.
    pub fn too_often(wait: Duration, what: &str) -> Problem {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = seconds.max(1);
        let detail = format!("{what}; ask again in {seconds} s");
        Problem {
            retry_after: Some(seconds),
            ..Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// As this problem, with a time after which to ask again.
    #[must_use]
    pub fn after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }

    /// As this problem, with the word for why the server is not ready.
    #[must_use]
    pub fn while_it_is(self, readiness: &'static str) -> Problem {
        Problem { readiness: Some(readiness), ..self }
    }

    pub fn no_path() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "there is nothing at this path; begin at `/api/v1/syncs` or `/api/v1/runs`; `/api/v1/openapi.json` has all paths",
        )
    }

    pub fn no_method() -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this path is not asked that way; questions are GET, commands are POST",
        )
    }

    pub fn no_sync(name: &str) -> Problem {
        Refused::UnknownSync(name.to_owned()).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: self.detail,
            readiness: self.readiness,
        };
        let body = serde_json::to_string(&body).expect("a problem is plain text");
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, headers, body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let status = match &refused {
            Refused::UnknownSync(_) => StatusCode::NOT_FOUND,
            Refused::Closed(_) | Refused::Working(_) => StatusCode::CONFLICT,
            Refused::Starting | Refused::Draining | Refused::Busy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refused::Samples(_) => StatusCode::TOO_MANY_REQUESTS,
            Refused::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Problem::new(status, refused.to_string());
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => problem.after(1),
            _ => problem,
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Problem {
        Problem::from(&error)
    }
}

impl From<&store::Error> for Problem {
    fn from(error: &store::Error) -> Problem {
        let status = match error {
            store::Error::NoRun(_) => StatusCode::NOT_FOUND,
            store::Error::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    }
}

/// What keeps a command from its sync's snapshot is for a person to mend.
impl From<prepare::Error> for Problem {
    fn from(error: prepare::Error) -> Problem {
        Problem::from(&error)
    }
}

impl From<&prepare::Error> for Problem {
    fn from(error: &prepare::Error) -> Problem {
        match error {
            prepare::Error::Store(error) => error.into(),
            error => Problem::new(StatusCode::CONFLICT, chain(error)),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        let kind = match &rejection {
            PathRejection::FailedToDeserializePathParams(failed) => Some(failed.kind()),
            _ => None,
        };
        let detail = match kind {
            // Whatever else stands in a path is text.
            Some(ErrorKind::ParseError { value, .. }) => {
                format!(
                    "`{value}` is not the number of a run; `GET /api/v1/runs` lists runs with their numbers"
                )
            }
            _ => format!("the path cannot be read: {rejection}; percent-encode names as UTF-8"),
        };
        Problem::new(rejection.status(), detail)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        let text = rejection.body_text();
        Problem::new(rejection.status(), format!("the query cannot be read: {text}"))
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Problem {
        let text = rejection.body_text();
        Problem::new(rejection.status(), format!("the body cannot be read: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_too_many_samples_is_told_to_ask_again_and_no_fault_of_the_server() {
        let answer = Problem::from(Refused::Samples(16)).into_response();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
        let answer = Problem::from(Refused::Busy).into_response();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
