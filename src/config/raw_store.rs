//! Object stores as the file has them, before any meaning is checked; as `raw`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::raw_forms::{Named, Whole};

/// How the object stores are reached that locations of tables are in. What is not said is looked up in the environment, in the
/// variables that the stores' own tools know.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawStore {
    /// For locations that begin with `s3://`.
    pub s3: Option<RawS3>,
    /// For locations that begin with `gs://`.
    pub gs: Option<RawGs>,
    /// For locations that begin with `az://`.
    pub az: Option<RawAz>,
    /// For locations that begin with `https://` or `http://`.
    pub http: Option<RawWeb>,
    /// Whether objects of other machines may be read without encryption; `false` unless said.
    pub allow_http: Option<bool>,
    /// `5s` unless said.
    pub connect_timeout: Option<String>,
    /// A store that says nothing for so long is given up and asked again, a few times; `30s` unless said.
    pub idle_timeout: Option<String>,
    /// Objects that a listing may have, whether or not they fit the pattern; 100000 unless said.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000_000))]
    pub max_listed: Option<Whole>,
}

/// Amazon S3, and what speaks its protocol.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawS3 {
    /// The address of a store of others, such as `https://minio.example.com`.
    pub endpoint: Option<String>,
    /// Such as `eu-central-1`.
    pub region: Option<String>,
    /// Whether the bucket stands in the path, not before the host; `true` with an `endpoint`, unless said.
    pub path_style: Option<bool>,
    pub access_key_id: Option<String>,
    /// As a reference.
    pub secret_access_key: Option<String>,
    /// As a reference; of credentials that last for a while.
    pub session_token: Option<String>,
    /// Whether requests are not signed, as public buckets allow; `false` unless said.
    pub anonymous: Option<bool>,
    /// `instance`: the credentials of the machine that this runs on, which it is asked for.
    pub role: Option<RawRole>,
}

/// Google Cloud Storage.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGs {
    /// The address of a store of others.
    pub endpoint: Option<String>,
    /// `file:PATH` of a file with credentials, or a reference to the key of a service account, as JSON.
    pub credentials: Option<String>,
    /// Whether requests are not signed, as public buckets allow; `false` unless said.
    pub anonymous: Option<bool>,
    /// `instance`: the credentials of the machine that this runs on, which it is asked for.
    pub role: Option<RawRole>,
}

/// Azure Blob Storage.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAz {
    /// The storage account.
    pub account: Option<String>,
    /// The address of the account, where it is not Azure's usual one.
    pub endpoint: Option<String>,
    /// As a reference.
    pub access_key: Option<String>,
    /// A shared access signature, as a reference.
    pub sas_token: Option<String>,
    pub tenant_id: Option<String>,
    pub client_id: Option<String>,
    /// As a reference.
    pub client_secret: Option<String>,
    /// Whether requests are not signed, as public containers allow; `false` unless said.
    pub anonymous: Option<bool>,
    /// `instance`: the credentials of the machine that this runs on, which it is asked for.
    pub role: Option<RawRole>,
}

/// Addresses on the web.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWeb {
    /// Sent with every request; a credential is a reference, `${NAME}`, `Bearer ${NAME}` or `file:PATH`.
    pub headers: Option<Named<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawRole {
    Instance,
}
