//! Who is heard, and for how long.
//!
//! A page in somebody's browser can send requests to this machine. It is kept out by what it cannot change: the `Host`
//! it was made to believe in (DNS rebinding) and its own `Origin`. Not responsible for who asks (`gate`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{backlog, replace};

/// How long a request may take.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// The same, of a command that reads the model, or asks a destination, before it is answered.
const LONG: Duration = Duration::from_secs(3_600);
/// Those commands.
const READERS: [&str; 2] = [backlog::DISCARD, replace::REPLACE];

/// The names of this machine.
#[derive(Debug)]
pub struct Names {
    /// Where we listen.
    pub ours: IpAddr,
    /// What else we are called, by the config; in lower case, without a port.
    pub hosts: Vec<String>,
}

/// Lets a request through that names this machine, and that no foreign page sent.
pub async fn to_us(names: Arc<Names>, request: Request, next: Next) -> Response {
    match check(&names, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Answers in time, or says that it cannot.
pub async fn in_time(request: Request, next: Next) -> Response {
    let (limit, is_command) = (limit(&request), request.method() == Method::POST);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => too_long(is_command).into_response(),
    }
}

/// What a command does may go on though its answer is waited for no longer.
fn too_long(is_command: bool) -> Problem {
    let detail = match is_command {
        true => {
            "the answer took too long, and it may have been done: repeat it under the same `Idempotency-Key`, or look into the \
             audit log"
        }
        false => "the answer took too long; ask again, and see the server's log",
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

fn limit(request: &Request) -> Duration {
    let path = request.extensions().get::<MatchedPath>();
    let is_reader = path.is_some_and(|path| READERS.contains(&path.as_str()));
    if is_reader { LONG } else { TIMEOUT }
}

fn check(ours: &Names, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let hosts = headers.get_all(header::HOST).iter().collect::<Vec<_>>();
    let host = match hosts.as_slice() {
        [one] => one.to_str().ok(),
        // As HTTP/2 says it.
        [] => uri.authority().map(Authority::as_str),
        _ => None,
    };
    let Some(host) = host else {
        let detail = "the request has no one `Host`; name the server's address in it";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    let refuse = |what: &str, name: HeaderName| {
        let detail = format!(
            "`{name}: {what}` is not this machine; use `localhost`, the address that the server listens on, or a name that \
             `server.hosts` in the config has"
        );
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    let is_elsewhere = uri.authority().is_some_and(|authority| !is_ours(ours, authority.as_str()));
    if is_elsewhere || !is_ours(ours, host) {
        return refuse(host, header::HOST);
    }
    match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default()) {
        None => Ok(()),
        Some(origin) if is_our_origin(ours, origin) => Ok(()),
        Some(origin) => refuse(origin, header::ORIGIN),
    }
}

fn is_our_origin(ours: &Names, origin: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| is_ours(ours, authority))
}

/// Whether the authority names this machine. Its port may be another one: it may be forwarded.
fn is_ours(names: &Names, authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        // Where we listen on every address, any of them is ours; no page's name turns into an address.
        Ok(ip) => ip.is_loopback() || ip == names.ours || names.ours.is_unspecified(),
        Err(_) => {
            let is_named = names.hosts.iter().any(|name| host.eq_ignore_ascii_case(name));
            is_named || host.eq_ignore_ascii_case("localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::handler::Handler as _;
    use axum::middleware::from_fn;
    use axum::routing::{any, any_service};

    use super::*;

    fn names(ours: [u8; 4]) -> Names {
        Names { ours: ours.into(), hosts: vec!["sync.example.com".to_owned()] }
    }

    fn status(host: Option<&str>, origin: Option<&str>) -> Option<u16> {
        let mut headers = HeaderMap::new();
        host.map(|host| headers.insert(header::HOST, host.parse().unwrap()));
        origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().unwrap()));
        let checked = check(&names([127, 0, 0, 1]), &Uri::from_static("/health"), &headers);
        checked.err().map(|problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn only_requests_that_name_this_machine_are_heard() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:9",
            "SYNC.example.com",
        ] {
            assert_eq!(status(Some(host), None), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.evil.example",
            "user@localhost",
            "192.168.1.5:8080",
        ] {
            assert_eq!(status(Some(host), None), Some(403), "{host}");
        }
        assert_eq!(status(None, None), Some(400));
    }

    #[tokio::test]
    async fn only_a_command_that_reads_the_model_or_asks_a_destination_may_take_long() {
        let seconds = async |path: &'static str| {
            let paths = Router::new()
                .route(backlog::DISCARD, any(|| async {}))
                .route(replace::REPLACE, any(|| async {}))
                .route("/api/v1/syncs/{sync}/backlog", any(|| async {}))
                .layer(from_fn(async |request: Request, _: Next| {
                    limit(&request).as_secs().to_string()
                }));
            let request = Request::get(path).body(Body::empty()).unwrap();
            let told: Response = any_service(paths).call(request, ()).await;
            let told = to_bytes(told.into_body(), 16).await.unwrap();
            str::from_utf8(&told).unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(seconds("/api/v1/syncs/crm/discard-backlog").await, LONG.as_secs());
        assert_eq!(seconds("/api/v1/connections/crm/replace").await, LONG.as_secs());
        assert_eq!(seconds("/api/v1/syncs/crm/backlog").await, TIMEOUT.as_secs());
        assert_eq!(seconds("/nothing").await, TIMEOUT.as_secs());
    }

    #[test]
    fn whoever_waited_too_long_for_a_command_is_told_that_it_may_have_been_done() {
        let told = |is_command| format!("{:?}", too_long(is_command));
        assert!(told(true).contains("under the same `Idempotency-Key`"), "{}", told(true));
        assert!(told(false).contains("ask again") && !told(false).contains("Idempotency-Key"));
    }

    #[test]
    fn an_address_is_ours_where_all_are_and_a_name_only_where_it_is_named() {
        let all = names([0, 0, 0, 0]);
        assert!(is_ours(&all, "10.1.2.3:8080") && is_ours(&all, "sync.example.com"));
        assert!(!is_ours(&all, "evil.example"));
    }

    #[test]
    fn the_authority_of_http_2_is_taken_where_no_host_was_sent() {
        let checked = |uri: &'static str| {
            check(&names([127, 0, 0, 1]), &Uri::from_static(uri), &HeaderMap::new())
                .err()
                .map(|problem| problem.into_response().status().as_u16())
        };
        assert_eq!(checked("http://localhost:8080/health"), None);
        assert_eq!(checked("http://evil.example/health"), Some(403));
        assert_eq!(checked("/health"), Some(400));
    }

    #[test]
    fn a_page_from_elsewhere_is_refused() {
        let ours = Some("localhost:8080");
        assert_eq!(status(ours, Some("http://localhost:8080")), None);
        assert_eq!(status(ours, Some("https://sync.example.com")), None);
        for origin in ["https://evil.example", "null", "http://evil.example:8080", ""] {
            assert_eq!(status(ours, Some(origin)), Some(403), "{origin}");
        }
    }
}
