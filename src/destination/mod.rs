//! Say one batch to one API and judge the answer. No retry, no concurrency.
//!
//! A kind of destination is one folder and one arm of [`Destination`].

pub mod answer;
pub mod definition;
pub mod http;

use bytes::Bytes;

use crate::domain::entry::Operation;

pub use http::check::{At, Problem};
pub use http::encoder::{Encoder, Rendered, Unrenderable, Why};

/// The object a sync writes, ready to be written to.
#[derive(Debug)]
pub enum Destination {
    Http(http::Http),
}

/// One attempt at one request.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub operation: Operation,
    pub records: u32,
    pub body: Bytes,
    /// The rendered path, where the request's path names the record; `None` where it is the same for all.
    pub path: Option<String>,
    /// The same for every attempt at the same content; none where no header carries it.
    pub idempotency_key: Option<String>,
    pub run: String,
    /// From 1.
    pub attempt: u32,
}

impl Destination {
    /// How records look in requests of this operation; `None` if the sync declares no such request.
    pub fn encoder(&self, operation: Operation) -> Option<&Encoder> {
        match self {
            Destination::Http(http) => http.encoder(operation),
        }
    }

    /// Whether requests of this operation carry an idempotency key.
    pub fn carries_key(&self, operation: Operation) -> bool {
        match self {
            Destination::Http(http) => http.carries_key(operation),
        }
    }

    /// Sends once, reads the answer whole and judges it. Dropping the future leaves the outcome unknown.
    pub async fn send(&self, outgoing: &Outgoing) -> answer::Attempt {
        match self {
            Destination::Http(http) => http.send(outgoing).await,
        }
    }

    /// Account and object, for the snapshot's header: another identity is another destination.
    pub fn identity(&self) -> String {
        match self {
            Destination::Http(http) => http.identity(),
        }
    }

    /// Changes if and only if the same row would look different in an upsert.
    pub fn rendering(&self) -> String {
        match self {
            Destination::Http(http) => http.rendering(),
        }
    }

    /// A hash of the credentials, keyed by the snapshot's lineage; `None` without credentials.
    pub fn credentials_hash(&self, lineage: u128) -> Option<String> {
        match self {
            Destination::Http(http) => http.credentials_hash(lineage),
        }
    }
}
