//! What authorises requests: as the config says it, and read anew where the destination refuses it.
//!
//! Not responsible for trying again, nor for whose others are (`client`). Guards: a request that was refused is tried again
//! only with other credentials than it had; what was a secret before, or was only tried, is never repeated by a destination
//! either; nothing of it is printed.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use tokio::sync::Mutex;

use crate::destination::definition::{Auth, Connection, Renewal, is_credential_name};
use crate::domain::hexadecimal;

/// The credentials of one connection. They may change while requests are in flight.
pub struct Credentials {
    /// Others are for the same account: a person has declared it, or it is asked for before a request is sent with them.
    pub(super) is_of_one_account: bool,
    /// Held from reading others until they stand: two that are refused at once must not each put away what the other has
    /// read.
    pub(super) renewing: Mutex<()>,
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
            is_of_one_account: connection.knows_account(),
            renewing: Mutex::default(),
            renewal: connection.renewal.clone(),
            headers,
            current: RwLock::new(Arc::new(current)),
        }
    }

    /// HMAC-SHA256 in hex, keyed by the snapshot's lineage; `None` without credentials.
    pub fn hash(&self, lineage: u128) -> Option<String> {
        let current = self.current();
        if current.secrets.is_empty() {
            return None;
        }
        let mut hash = Hmac::<Sha256>::new_from_slice(&lineage.to_be_bytes())
            .expect("HMAC takes a key of any length");
        for secret in &current.secrets {
            let secret = secret.expose_secret().as_bytes();
            hash.update(&secret.len().to_be_bytes());
            hash.update(secret);
        }
        Some(hexadecimal::of(&hash.finalize().into_bytes()))
    }

    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Others than the current ones, if there are any by now; the current ones stay. Blocks.
    pub(super) fn others(&self) -> Option<Current> {
        let auth = self.renewal.as_ref().and_then(Renewal::read)?;
        let current = self.current();
        let past = current.past.iter().chain(&current.secrets).cloned().collect();
        let others = Current::new(&auth, &self.headers, past);
        (others.authorization != current.authorization).then_some(others)
    }

    /// Requests are sent with these from now on.
    pub(super) fn take(&self, others: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(others);
    }

    /// Requests are not sent with these, but the destination has seen them.
    pub(super) fn forgo(&self, others: &Current) {
        let current = self.current();
        let is_new = |secret: &&SecretString| {
            current.all_secrets().all(|known| known.expose_secret() != secret.expose_secret())
        };
        let seen = others.secrets.iter().filter(is_new);
        let past = current.past.iter().chain(seen).cloned().collect();
        let (authorization, secrets) = (current.authorization.clone(), current.secrets.clone());
        self.take(Current { authorization, secrets, past });
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
}
