//! What the config says of a MySQL or MariaDB source, validated. Only data.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::source::remote::Remote;

/// A database, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// A host that begins with `/` is a Unix socket.
    pub remote: Remote,
    /// A file with the server's public key. Passwords are sealed for it where the server is not verified otherwise.
    pub server_key: Option<PathBuf>,
    /// Dates with a zero for year, month or day are NULL, where others refuse the read.
    pub is_zero_date_null: bool,
    /// `TINYINT(1)` is a boolean.
    pub is_tinyint1_boolean: bool,
}

impl Definition {
    /// As [`Remote::described`].
    pub(in crate::source) fn described(&self) -> Value {
        let settings = self.remote.sorted_settings();
        let more = (!settings.is_empty()).then(|| json!(settings));
        self.remote.described("mysql", more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Secret;
    use crate::source::remote::{Tls, example};

    fn described(change: impl FnOnce(&mut Definition)) -> String {
        let mut definition = Definition {
            remote: example(),
            server_key: None,
            is_zero_date_null: false,
            is_tinyint1_boolean: false,
        };
        change(&mut definition);
        definition.described().to_string()
    }

    /// What is written here stands in headers: whatever changes it holds the deletes of every sync.
    #[test]
    fn a_database_is_described_by_what_decides_its_rows_and_never_by_its_password() {
        let plain = r#"{"mysql":["db.internal",5432,"shop","reader"]}"#;
        assert_eq!(described(|_| ()), plain);
        assert_eq!(described(|it| it.remote.password = Some(Secret::new("canary".into()))), plain);
        assert_eq!(described(|it| it.remote.tls = Tls::Off), plain);
        assert_eq!(described(|it| it.server_key = Some("key.pem".into())), plain);
        let others = [
            described(|it| it.remote.host = "other".into()),
            described(|it| it.remote.database = String::new()),
            described(|it| it.remote.settings = vec![("sql_mode".into(), "ANSI".into())]),
        ];
        for (position, other) in others.iter().enumerate() {
            assert!(other != plain && !others[..position].contains(other), "{other}");
        }
    }
}
