use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::control::handle::Refused;
use crate::store;

/// Why a request was not granted, as `application/problem+json` (RFC 9457). The detail says what to do.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    pub fn no_path() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "there is nothing at this path; begin at `/api/v1/syncs`, `/api/v1/connections`, `/api/v1/runs`, `/ready` or `/version`",
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
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, headers, body.to_string()).into_response()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let status = match &refused {
            Refused::UnknownSync(_) => StatusCode::NOT_FOUND,
            Refused::Closed(_) => StatusCode::CONFLICT,
            Refused::Starting | Refused::Draining | Refused::Busy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refused::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, refused.to_string())
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Problem {
        let status = match &error {
            store::Error::NoRun(_) => StatusCode::NOT_FOUND,
            store::Error::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        Problem::new(rejection.status(), format!("the path cannot be read: {rejection}"))
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
