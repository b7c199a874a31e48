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
    /// A person has declared the account, so that others are for the same one.
    pub is_of_one_account: bool,
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
    /// Reads them once more: a process may be older than its secrets. What it was started with is a secret all the same.
    pub fn new(connection: &Connection) -> Credentials {
        let is_credential = |(name, _): &&(String, String)| is_credential_name(name);
        let headers = connection.headers.iter().filter(is_credential);
        let headers: Vec<SecretString> = headers.map(|(_, value)| value.clone().into()).collect();
        let is_other = |auth: &Auth| authorization(auth) != authorization(&connection.auth);
        let renewed = connection.renewal.as_ref().and_then(Renewal::read).filter(is_other);
        let past = renewed.as_ref().map_or(Vec::new(), |_| secrets(&connection.auth));
        let auth = renewed.as_ref().unwrap_or(&connection.auth);
        let current = Current::new(auth, &headers, past);
        Credentials {
            is_of_one_account: connection.account.is_some(),
            renewal: connection.renewal.clone(),
            headers,
            current: RwLock::new(Arc::new(current)),
        }
    }

    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The destination has refused `used`: whether there are others by now. Blocks.
    pub fn renew(&self, used: &Arc<Current>) -> bool {
        // Held until the others stand: two that are refused at once must not each put away what the other has read.
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.authorization != used.authorization {
            return true;
        }
        let Some(auth) = self.renewal.as_ref().and_then(Renewal::read) else { return false };
        let past = current.past.iter().chain(&current.secrets).cloned().collect();
        let next = Current::new(&auth, &self.headers, past);
        let is_other = next.authorization != used.authorization;
        if is_other {
            *current = Arc::new(next);
        }
        is_other
    }
}

impl Current {
    fn new(auth: &Auth, headers: &[SecretString], past: Vec<SecretString>) -> Current {
        let mut secrets = secrets(auth);
        secrets.extend_from_slice(headers);
        Current { authorization: authorization(auth), secrets, past }
    }

    /// What must never be repeated by a destination.
    pub fn all_secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.secrets.iter().chain(&self.past)
    }
}

fn secrets(auth: &Auth) -> Vec<SecretString> {
    match auth {
        Auth::None => Vec::new(),
        Auth::Bearer(token) => vec![token.clone()],
        Auth::Basic { user, password } => vec![password.clone(), basic(user, password).into()],
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, OnceLock, Weak};

    use super::*;
    use crate::destination::http::tests::connection;

    fn bearer(token: &str) -> Auth {
        Auth::Bearer(token.to_owned().into())
    }

    fn tokens(current: &Current) -> Vec<&str> {
        current.all_secrets().map(|secret| secret.expose_secret()).collect()
    }

    #[test]
    fn what_a_process_was_started_with_is_a_secret_although_its_file_holds_another_i12() {
        let mut connection = connection("http://localhost", bearer("first"));
        connection.renewal = Some(Renewal::new(|| Some(bearer("second"))));
        let current = Credentials::new(&connection).current();
        assert_eq!(current.secrets.len(), 2, "with the one in a header");
        assert!(tokens(&current).contains(&"first"));
        for same in [None, Some("first")] {
            connection.renewal = Some(Renewal::new(move || same.map(bearer)));
            assert!(Credentials::new(&connection).current().past.is_empty());
        }
    }

    #[test]
    fn nobody_takes_other_credentials_while_some_are_read_anew_so_that_none_is_forgotten_i12() {
        let mut connection = connection("http://localhost", bearer("first"));
        let credentials: Arc<OnceLock<Weak<Credentials>>> = Arc::default();
        let kept = Arc::new(Mutex::new("first"));
        let (cell, read) = (Arc::clone(&credentials), Arc::clone(&kept));
        connection.renewal = Some(Renewal::new(move || {
            let made = cell.get().and_then(Weak::upgrade);
            assert!(made.is_none_or(|made| made.current.try_read().is_err()), "it is not held");
            Some(bearer(*read.lock().expect("no test panics with it")))
        }));
        let made = Arc::new(Credentials::new(&connection));
        credentials.set(Arc::downgrade(&made)).expect("it is set once");
        let first = made.current();
        for next in ["second", "third"] {
            *kept.lock().expect("no test panics with it") = next;
            assert!(made.renew(&made.current()));
        }
        assert!(made.renew(&first), "one that was in flight meanwhile is tried too");
        let current = made.current();
        for token in ["first", "second", "third"] {
            assert!(tokens(&current).contains(&token), "{token}");
        }
    }
}
