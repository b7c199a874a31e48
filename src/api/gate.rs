//! Who asks, whether they may, and how often.
//!
//! Where no token was ever made, whoever reaches the loopback address may do everything, as `local`, and `command` adds who
//! says to give a command. From the first token
//! on every request needs one, on loopback too, and stays in need of one when tokens expire or are revoked: no door
//! opens by itself. `/health` and `/ready` are open to all. Not responsible for whether the request is for us (`access`).
//!
//! Invariants: a path without a scope of its own needs `admin`; no secret is logged; guesses are slowed down together,
//! callers each for themselves.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::problem::Problem;
use super::routes::Scopes;
use super::{App, token};
use crate::engine::run::now;
use crate::store::{self, Scope, Store, Token};

/// Who asks where no token was ever made.
pub const LOCAL: &str = "local";
/// Bytes of all headers.
const HEADERS: usize = 16 << 10;

/// Who asks, and how much they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token, or `local`.
    pub who: String,
    pub scope: Scope,
}

/// The limits that requests share.
#[derive(Debug)]
pub struct Gate {
    /// Every path with its scopes.
    pub scopes: Scopes,
    callers: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    guesses: DefaultDirectRateLimiter,
    /// Whether only this machine can reach us.
    is_loopback: bool,
    /// As they were last read, for what is still answered when the state is closed.
    known: Mutex<Option<Vec<Token>>>,
}

impl Gate {
    /// `rate`: requests of one caller in a second; also those of all together that show no good token.
    pub fn new(scopes: Scopes, rate: NonZeroU32, is_loopback: bool) -> Gate {
        Gate {
            scopes,
            callers: RateLimiter::hashmap_with_clock(
                Quota::per_second(rate),
                DefaultClock::default(),
            ),
            guesses: RateLimiter::direct(Quota::per_second(rate)),
            is_loopback,
            known: Mutex::default(),
        }
    }

    async fn tokens(&self, store: &Store) -> Result<Vec<Token>, store::Error> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if store.is_closed()
            && let Some(tokens) = known().clone()
        {
            return Ok(tokens);
        }
        let tokens = store.tokens().await?;
        *known() = Some(tokens.clone());
        Ok(tokens)
    }

    /// Who shows these headers.
    fn caller(&self, tokens: &[Token], headers: &HeaderMap) -> Result<Caller, Problem> {
        if tokens.is_empty() && self.is_loopback {
            return Ok(Caller { who: LOCAL.to_owned(), scope: Scope::Admin });
        }
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let secret = shown.and_then(|shown| {
            let (scheme, secret) = shown.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
        });
        let Some(secret) = secret else {
            let detail = "this server needs a token; send `Authorization: Bearer TOKEN`, \
                          and have one made by `counterflow token create NAME --scope read`";
            return Err(Problem::unauthorized(detail));
        };
        match token::find(tokens, secret).filter(|token| token.is_valid(now())) {
            Some(token) => Ok(Caller { who: token.name.clone(), scope: token.scope }),
            None => Err(Problem::unauthorized(
                "the token is not known here, has expired or was revoked; `counterflow token list` shows those that \
                 are good, `counterflow token create NAME --scope read` makes another",
            )),
        }
    }

    fn within_rate(&self, caller: &Result<Caller, Problem>) -> Result<(), Problem> {
        let now = DefaultClock::default().now();
        let wait = match caller {
            Ok(caller) => {
                self.callers.check_key(&caller.who).map_err(|not| not.wait_time_from(now))
            }
            Err(_) => self.guesses.check().map_err(|not| not.wait_time_from(now)),
        };
        wait.map_err(|wait| Problem::too_often(wait, "too many requests in a second"))
    }
}

/// Lets a request through that may be made, with its [`Caller`].
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admitted(&app, &parts).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                parts.extensions.insert(caller);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// `None`: open to all.
async fn admitted(app: &App, request: &Parts) -> Result<Option<Caller>, Problem> {
    let size: usize = request.headers.iter().map(|(k, v)| k.as_str().len() + v.len()).sum();
    if size > HEADERS {
        let detail = format!("the headers have {size} bytes; send at most {HEADERS}");
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
    }
    let path = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    if path.is_some_and(|path| app.gate.scopes.is_open(path)) {
        return Ok(None);
    }
    let tokens = app.gate.tokens(&app.store).await?;
    let caller = app.gate.caller(&tokens, &request.headers);
    app.gate.within_rate(&caller)?;
    let caller = caller?;
    let Some(path) = path else { return Ok(Some(caller)) };
    let needed = app.gate.scopes.needed(&request.method, path);
    if caller.scope < needed {
        let detail = format!(
            "the token `{}` may {}, and this needs `{needed}`; use one that was made with `--scope {needed}`",
            caller.who, caller.scope
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(Some(caller))
}
