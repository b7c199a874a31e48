//! The one way to read path, query and body: what cannot be read is a problem that names the remedy.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Names and numbers in the path.
#[derive(Debug)]
pub struct FromPath<T>(pub T);

/// The query.
#[derive(Debug)]
pub struct FromQuery<T>(pub T);

/// A JSON object, or the default where there is no body.
#[derive(Debug)]
pub struct FromBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for FromPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<FromPath<T>, Problem> {
        let Path(value) = Path::from_request_parts(parts, state).await?;
        Ok(FromPath(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for FromQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<FromQuery<T>, Problem> {
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(FromQuery(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for FromBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<FromBody<T>, Problem> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await?;
        read(&headers, &body).map(FromBody)
    }
}

/// How many of a list are asked for.
///
/// # Errors
/// More than there may be in one answer, or none.
pub fn limit(asked: Option<u32>, usual: u32, most: u32) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        let detail =
            format!("`limit` is {limit}; ask for 1 to {most}, and for more by the link `next`");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(limit)
}

/// A JSON object, or the default where there is no body.
///
/// # Errors
/// It is not declared as JSON, is none, or does not have what is asked for.
pub fn read<T: DeserializeOwned + Default>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "the body is not declared as JSON; send `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let refuse = |status, what: &str| {
        Problem::new(status, format!("the body cannot be read: {what}; send a JSON object"))
    };
    let read = serde_json::from_slice(body).map_err(|error| {
        let status = match error.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        refuse(status, &error.to_string())
    })?;
    // Fields are read from a list too, by their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, "it is no object"));
    }
    Ok(read)
}
