//! What the config and the environment say of object stores, validated.
//!
//! Only data. Invariants: a secret is neither printed nor described; whatever decides which objects a location has is
//! described.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::secret::Secret;
use super::listing::fixed;
use crate::domain::hexadecimal;

/// Who is asked for objects, by the beginning of a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    S3,
    Gs,
    Az,
    /// One object an address, which nobody lists.
    Http,
}

impl Scheme {
    /// The key of `store` that has what is said of it.
    pub fn key(self) -> &'static str {
        match self {
            Scheme::S3 => "s3",
            Scheme::Gs => "gs",
            Scheme::Az => "az",
            Scheme::Http => "http",
        }
    }
}

/// Where the objects of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub scheme: Scheme,
    /// The bucket or container; of addresses on the web the scheme, host and port.
    pub holder: String,
    /// The key of an object, or a glob over keys. Not encoded.
    pub pattern: String,
}

impl Location {
    /// The place of an object with this key, for people and for the snapshot's header.
    pub(in crate::source) fn place(&self, key: &str) -> String {
        match self.scheme {
            Scheme::Http => format!("{}/{key}", self.holder),
            scheme => format!("{}://{}/{key}", scheme.key(), self.holder),
        }
    }

    /// The key of what stands beside the objects, or where the first folder with a wildcard is.
    pub(in crate::source) fn beside(&self, name: &str) -> String {
        let fixed = fixed(&self.pattern);
        let folder = fixed.rfind('/').map_or("", |at| &fixed[..=at]);
        format!("{folder}{name}")
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place(&self.pattern))
    }
}

/// How the stores of a source are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub s3: S3,
    pub gs: Gs,
    pub az: Az,
    /// Sent with every request for an address on the web.
    pub headers: Vec<(String, Secret)>,
    pub connect_timeout: Duration,
    /// A store that says nothing for so long is given up, and asked again a few times.
    pub idle_timeout: Duration,
    /// Objects that a listing may have, whether or not they fit the pattern.
    pub max_listed: usize,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            s3: S3::default(),
            gs: Gs::default(),
            az: Az::default(),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            max_listed: 100_000,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3 {
    /// Without it Amazon's own.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// The bucket stands in the path; else before the host.
    pub is_path_style: bool,
    pub access: S3Access,
    /// The variable of the environment that says the right; else the config does.
    pub of_environment: Option<&'static str>,
}

/// By whose right objects are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum S3Access {
    #[default]
    Anonymous,
    Keys {
        id: Secret,
        secret: Secret,
        token: Option<Secret>,
    },
    /// A token in a file, which is exchanged for a role.
    WebIdentity {
        token_file: String,
        role: String,
    },
    /// Of a container: the path that is asked at its host.
    Container {
        path: String,
    },
    /// Of a pod: an address, and the file with the token for it.
    Pod {
        address: String,
        token_file: String,
    },
    /// Of a machine: the address for its metadata is asked.
    Instance,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gs {
    pub endpoint: Option<String>,
    pub access: GsAccess,
    /// As [`S3::of_environment`].
    pub of_environment: Option<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GsAccess {
    #[default]
    Anonymous,
    /// The key of a service account, as JSON.
    Key(Secret),
    /// A file with credentials.
    File(PathBuf),
    Instance,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Az {
    pub account: String,
    pub endpoint: Option<String>,
    pub access: AzAccess,
    /// As [`S3::of_environment`].
    pub of_environment: Option<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AzAccess {
    #[default]
    Anonymous,
    Key(Secret),
    /// A shared access signature.
    Sas(Secret),
    Client {
        tenant: String,
        id: String,
        secret: Secret,
    },
    /// A token in a file, which is exchanged for one of the client.
    Workload {
        tenant: String,
        id: String,
        token_file: String,
    },
    Instance,
}

impl Store {
    /// What of it decides which objects the locations of these schemes have; `None` where that is nothing.
    pub(in crate::source) fn described(&self, schemes: &[Scheme]) -> Option<Value> {
        let of = |scheme: &Scheme| match scheme {
            Scheme::S3 => self.s3.endpoint.as_ref().map(|endpoint| json!(["s3", endpoint])),
            Scheme::Gs => self.gs.endpoint.as_ref().map(|endpoint| json!(["gs", endpoint])),
            Scheme::Az => match &self.az.endpoint {
                Some(endpoint) => Some(json!(["az", self.az.account, endpoint])),
                None => Some(json!(["az", self.az.account])),
            },
            // They may say whose rows these are.
            Scheme::Http => self.headers_hash().map(|hash| json!(["http", hash])),
        };
        let said: Vec<Value> = schemes.iter().filter_map(of).collect();
        (!said.is_empty()).then_some(Value::Array(said))
    }

    fn headers_hash(&self) -> Option<String> {
        let lower = |(name, value): &(String, Secret)| {
            (name.to_ascii_lowercase(), value.expose().to_owned())
        };
        let mut headers: Vec<_> = self.headers.iter().map(lower).collect();
        headers.sort();
        let hash = Sha256::digest(json!(headers).to_string());
        (!headers.is_empty()).then(|| hexadecimal::of(&hash[..8]))
    }
}
