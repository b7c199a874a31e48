//! Databases as the file has them, before any meaning is checked; as `raw`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::raw_forms::{Named, StructureOrText, Whole};

/// A PostgreSQL database: by `url`, by its parts, or by both where each says something else.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPostgres {
    /// `postgres://user@host:5432/database?sslmode=verify-full`; one with a password is a reference, `${NAME}` or `file:PATH`.
    pub url: Option<String>,
    /// A name, an address, or the folder of a Unix socket, which begins with `/`.
    pub host: Option<String>,
    /// `5432` unless said.
    #[schemars(extend("minimum" = 1, "maximum" = 65_535))]
    pub port: Option<Whole>,
    /// The name of the user unless said.
    pub database: Option<String>,
    pub user: Option<String>,
    /// As a reference; unless said it is looked up in `PGPASSFILE`, else in `~/.pgpass`.
    pub password: Option<String>,
    /// `off`, or what is verified; `verify: full` unless said, and `off` on this machine's own addresses.
    pub tls: Option<StructureOrText<RawTls>>,
    /// `10s` unless said.
    pub connect_timeout: Option<String>,
    /// How long the server lets one read last; unless said, as long as its own settings do.
    pub statement_timeout: Option<String>,
    /// A server that says nothing for so long is given up; `5m` unless said.
    pub idle_timeout: Option<String>,
    /// `error`, unless said: a read is refused where policies would hide rows; or `apply`: they are left out.
    pub row_security: Option<RawRowSecurity>,
    /// The role that the session takes on.
    pub role: Option<String>,
    /// Settings of the session, such as `search_path` or `work_mem`.
    pub settings: Option<Named<String>>,
    /// What models with `sources:` may read of it, by name: a table, as `SCHEMA.TABLE`, or a query.
    pub tables: Option<Named<StructureOrText<RawQueried>>>,
    /// `error`, unless said: dates and times that are infinite refuse the read; or `as_null`: they are NULL.
    pub infinity: Option<RawInfinity>,
}

/// A MySQL or MariaDB database: by `url`, by its parts, or by both where each says something else.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMySql {
    /// `mysql://user@host:3306/database?ssl-mode=VERIFY_IDENTITY`; one with a password is a reference, `${NAME}` or `file:PATH`.
    pub url: Option<String>,
    /// A name, an address, or the path of a Unix socket, which begins with `/`.
    pub host: Option<String>,
    /// `3306` unless said.
    #[schemars(extend("minimum" = 1, "maximum" = 65_535))]
    pub port: Option<Whole>,
    /// Unless said, models name it: `shop.customers`.
    pub database: Option<String>,
    pub user: Option<String>,
    /// As a reference; none unless said.
    pub password: Option<String>,
    /// `off`, or what is verified; `verify: full` unless said, and `off` on this machine's own addresses.
    pub tls: Option<StructureOrText<RawTls>>,
    /// `10s` unless said.
    pub connect_timeout: Option<String>,
    /// How long the server lets one read last; unless said, as long as its own settings do.
    pub statement_timeout: Option<String>,
    /// A server that says nothing for so long is given up; `5m` unless said.
    pub idle_timeout: Option<String>,
    /// Settings of the session, such as `sql_mode` or `group_concat_max_len`.
    pub settings: Option<Named<String>>,
    /// What models with `sources:` may read of it, by name: a table, as `DATABASE.TABLE`, or a query. One of them a model.
    pub tables: Option<Named<StructureOrText<RawQueried>>>,
    /// `error`, unless said: dates with a zero for year, month or day refuse the read; or `as_null`: they are NULL.
    pub zero_dates: Option<RawZeroDates>,
    /// A file with the server's public key, in PEM: passwords are sealed for it where the server is not verified by `tls`.
    pub server_public_key: Option<String>,
    /// What `TINYINT(1)` is: `integer`, unless said, or `boolean`.
    pub tinyint1: Option<RawTinyInt1>,
}

/// A table of a database that is a query there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawQueried {
    /// One SELECT in the database's own SQL, which runs there as it stands.
    pub sql: Option<String>,
}

/// Whom an encrypted connection believes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// `full`, unless said; `ca`: whatever host its certificate is for; or `none`: whoever it is.
    pub verify: Option<RawVerify>,
    /// A file with the authorities to believe; those of the machine unless said.
    pub ca: Option<String>,
    /// A file with the client's certificate.
    pub certificate: Option<String>,
    /// A file with the key to it.
    pub key: Option<String>,
    /// `require`: the password is bound to the server's certificate; of PostgreSQL alone.
    pub channel_binding: Option<RawChannelBinding>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawVerify {
    Full,
    Ca,
    None,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawChannelBinding {
    Prefer,
    Require,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawRowSecurity {
    Error,
    Apply,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawInfinity {
    Error,
    AsNull,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawZeroDates {
    Error,
    AsNull,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawTinyInt1 {
    Integer,
    Boolean,
}
