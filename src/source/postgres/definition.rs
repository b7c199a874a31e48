//! What the config says of a PostgreSQL source, validated.
//!
//! Only data. Invariant: whatever decides which rows a model has is described.

use serde_json::{Value, json};

use crate::source::remote::Remote;

/// A database, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// A host that begins with `/` is the folder of a Unix socket; without a password it is looked up in the password file.
    pub remote: Remote,
    /// Rows that policies hide are left out silently, where others refuse the read.
    pub applies_row_security: bool,
    /// The role that the session takes on.
    pub role: Option<String>,
    /// Dates and times that are infinite are NULL, where others refuse the read.
    pub is_infinity_null: bool,
}

impl Definition {
    /// As [`Remote::described`].
    pub(in crate::source) fn described(&self) -> Value {
        let security = if self.applies_row_security { "apply" } else { "error" };
        let settings = self.remote.sorted_settings();
        let mut more = vec![json!(security)];
        if self.role.is_some() || !settings.is_empty() {
            more.extend([json!(self.role), json!(settings)]);
        }
        self.remote.described("postgres", more)
    }
}

#[cfg(test)]
pub(super) fn example() -> Definition {
    Definition {
        remote: crate::source::remote::example(),
        applies_row_security: false,
        role: None,
        is_infinity_null: false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::Secret;
    use crate::source::remote::Tls;

    fn described(change: impl FnOnce(&mut Definition)) -> String {
        let mut definition = example();
        change(&mut definition);
        definition.described().to_string()
    }

    /// What is written here stands in headers: whatever changes it holds the deletes of every sync.
    #[test]
    fn a_database_is_described_by_what_decides_its_rows_and_never_by_its_password() {
        let plain = r#"{"postgres":["db.internal",5432,"shop","reader","error"]}"#;
        assert_eq!(described(|_| ()), plain);
        let password = || Some(Secret::new("canary".into()));
        assert_eq!(described(|it| it.remote.password = password()), plain);
        assert_eq!(described(|it| it.remote.tls = Tls::Off), plain);
        assert_eq!(described(|it| it.remote.idle_timeout = Duration::from_secs(1)), plain);
        let others = [
            described(|it| it.remote.host = "other".into()),
            described(|it| it.remote.port = 1),
            described(|it| it.remote.database = "other".into()),
            described(|it| it.remote.user = "other".into()),
            described(|it| it.applies_row_security = true),
            described(|it| it.role = Some("other".into())),
            described(|it| it.remote.settings = vec![("search_path".into(), "other".into())]),
        ];
        for (position, other) in others.iter().enumerate() {
            assert!(other != plain && !others[..position].contains(other), "{other}");
        }
        let mut secret = example();
        secret.remote.password = password();
        let shown = format!("{secret:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn what_references_stand_for_is_told_apart_and_not_told() {
        let written = |host: &str| {
            described(|it| {
                (it.remote.host, it.remote.written) = (host.into(), Some("${URL}".into()))
            })
        };
        assert!(written("canary").starts_with(r#"{"postgres":"${URL} ("#));
        assert!(!written("canary").contains("canary"));
        assert_ne!(written("canary"), written("other"));
        assert_eq!(written("canary"), written("canary"));
    }
}
