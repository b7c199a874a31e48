//! What of a PostgreSQL database the config says beside what every database has.

use super::database::{Kind, Options, Parts, remote};
use super::document::child;
use super::raw_database::{RawInfinity, RawPostgres, RawRowSecurity};
use super::validate::Check;
use crate::source::Dialect;
use crate::source::postgres::definition::Definition;

const KIND: Kind = Kind {
    schemes: &["postgres", "postgresql"],
    name: "PostgreSQL",
    form: "postgres://USER@HOST:5432/DATABASE",
    port: 5432,
    dialect: Dialect::Postgres,
    options: Options {
        mode: "sslmode",
        authorities: "sslrootcert",
        certificate: "sslcert",
        key: "sslkey",
        full: "verify-full",
        authority: "verify-ca",
        required: "require",
        off: "disable",
        undecided: &["allow", "prefer"],
        // As libpq has it.
        verifies_what_it_can: true,
        has_channel_binding: true,
    },
    ours: &[
        "bytea_output",
        "client_connection_check_interval",
        "client_encoding",
        "datestyle",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "idle_in_transaction_session_timeout",
        "intervalstyle",
        "role",
        "row_security",
        "timezone",
        "transaction_isolation",
        "transaction_read_only",
    ],
    said_by_key: &["statement_timeout", "lock_timeout"],
};

pub fn postgres(check: &mut Check, pointer: &str, raw: &RawPostgres) -> Definition {
    let parts = Parts {
        url: raw.url.as_deref(),
        host: raw.host.as_ref(),
        port: raw.port,
        database: raw.database.as_ref(),
        user: raw.user.as_ref(),
        password: raw.password.as_deref(),
        tls: raw.tls.as_ref(),
        connect_timeout: raw.connect_timeout.as_deref(),
        statement_timeout: raw.statement_timeout.as_deref(),
        idle_timeout: raw.idle_timeout.as_deref(),
        settings: raw.settings.as_ref(),
        tables: raw.tables.as_ref(),
    };
    let mut remote = remote(check, pointer, &KIND, &parts);
    if remote.database.is_empty() {
        remote.database = remote.user.clone();
    }
    if raw.role.as_deref().is_some_and(str::is_empty) {
        check.report(&child(pointer, "role"), "an empty name", "name a role, or remove the key");
    }
    Definition {
        remote,
        applies_row_security: matches!(raw.row_security, Some(RawRowSecurity::Apply)),
        role: raw.role.clone(),
        is_infinity_null: matches!(raw.infinity, Some(RawInfinity::AsNull)),
    }
}
