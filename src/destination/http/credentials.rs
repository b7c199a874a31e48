//! What authorises requests: as the config says it, and read anew where the destination refuses it.
//!
//! Not responsible for trying again. Guards: a request that was refused is tried again only with other credentials than it
//! had; what was a secret before is never repeated by a destination either; nothing of it is printed.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::destination::definition::{Auth, Connection, Renewal, is_credential_name};

/// The credentials of one connection. They may change while requests are in flight.
pub(super) struct Credentials {
    renewal: Option<Renewal>,
    /// Values of headers that look like credentials.
    headers: Vec<SecretString>,
    current: RwLock<Arc<Current>>,
}

/// The credentials that a request is sent with.
pub(super) struct Current {
    /// `None` without credentials, or if they cannot stand in a header.
    pub authorization: Option<HeaderValue>,
    /// What tells one account from another.
    pub secrets: Vec<SecretString>,
    /// What `secrets` were before.
    past: Vec<SecretString>,
}

impl Credentials {
    /// Reads them once more: a process may be older than its secrets.
    pub fn new(connection: &Connection) -> Credentials {
        let is_credential = |(name, _): &&(String, String)| is_credential_name(name);
        let headers = connection.headers.iter().filter(is_credential);
        let headers: Vec<SecretString> = headers.map(|(_, value)| value.clone().into()).collect();
        let auth = connection.renewal.as_ref().and_then(Renewal::read);
        let auth = auth.as_ref().unwrap_or(&connection.auth);
        let current = Current::new(auth, &headers, Vec::new());
        let renewal = connection.renewal.clone();
        Credentials { renewal, headers, current: RwLock::new(Arc::new(current)) }
    }

    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The destination has refused `used`: whether there are others by now. Blocks.
    pub fn renew(&self, used: &Arc<Current>) -> bool {
        let current = self.current();
        if current.authorization != used.authorization {
            return true;
        }
        let Some(auth) = self.renewal.as_ref().and_then(Renewal::read) else { return false };
        let past = current.past.iter().chain(&current.secrets).cloned().collect();
        let next = Current::new(&auth, &self.headers, past);
        let is_other = next.authorization != used.authorization;
        if is_other {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        }
        is_other
    }
}

impl Current {
    fn new(auth: &Auth, headers: &[SecretString], past: Vec<SecretString>) -> Current {
        let mut secrets = match auth {
            Auth::None => Vec::new(),
            Auth::Bearer(token) => vec![token.clone()],
            Auth::Basic { user, password } => {
                vec![password.clone(), basic(user, password).into()]
            }
        };
        secrets.extend_from_slice(headers);
        Current { authorization: authorization(auth), secrets, past }
    }

    /// What must never be repeated by a destination.
    pub fn all_secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.secrets.iter().chain(&self.past)
    }
}

/// The value of `Authorization`.
pub(super) fn authorization(auth: &Auth) -> Option<HeaderValue> {
    let text = match auth {
        Auth::None => return None,
        Auth::Bearer(token) => format!("Bearer {}", token.expose_secret()),
        Auth::Basic { user, password } => format!("Basic {}", basic(user, password)),
    };
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn basic(user: &str, password: &SecretString) -> String {
    let pair = format!("{user}:{}", password.expose_secret());
    base64::engine::general_purpose::STANDARD.encode(pair)
}
