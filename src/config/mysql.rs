//! What of a MySQL or MariaDB database the config says beside what every database has.

use super::database::{Kind, Options, Parts, remote};
use super::raw_database::{RawMySql, RawTinyInt1, RawZeroDates};
use super::resolved;
use super::validate::Check;
use crate::source::Dialect;
use crate::source::mysql::definition::Definition;

const KIND: Kind = Kind {
    schemes: &["mysql", "mariadb"],
    name: "MySQL",
    form: "mysql://USER@HOST:3306/DATABASE",
    port: 3306,
    dialect: Dialect::MySql,
    options: Options {
        mode: "ssl-mode",
        authorities: "ssl-ca",
        certificate: "ssl-cert",
        key: "ssl-key",
        full: "VERIFY_IDENTITY",
        authority: "VERIFY_CA",
        required: "REQUIRED",
        off: "DISABLED",
        undecided: &["PREFERRED"],
        verifies_what_it_can: false,
        has_channel_binding: false,
    },
    ours: &[
        "autocommit",
        "character_set_client",
        "character_set_connection",
        "character_set_results",
        "collation_connection",
        "completion_type",
        "idle_readonly_transaction_timeout",
        "idle_transaction_timeout",
        "lock_wait_timeout",
        "max_error_count",
        "net_write_timeout",
        "sql_select_limit",
        "time_zone",
        "transaction_isolation",
        "transaction_read_only",
        "tx_isolation",
        "tx_read_only",
        "wait_timeout",
    ],
    said_by_key: &["max_execution_time", "max_statement_time"],
};

pub fn mysql(check: &mut Check, pointer: &str, raw: &RawMySql) -> Definition {
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
    let key = raw.server_public_key.as_deref().map(|key| resolved(check.folder, key));
    Definition {
        remote: remote(check, pointer, &KIND, &parts),
        server_key: key,
        is_zero_date_null: matches!(raw.zero_dates, Some(RawZeroDates::AsNull)),
        is_tinyint1_boolean: matches!(raw.tinyint1, Some(RawTinyInt1::Boolean)),
    }
}
