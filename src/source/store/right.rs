//! By whose right objects are read, where that is from and whether it could write, in words.
//!
//! No store is asked. Invariant: of what opens a store nothing is told but who it is for: an account, a role, the ends of the id
//! of a key.

use std::path::Path;

use serde_json::Value;

use super::super::secret::Secret;
use super::bucket::pairs;
use super::definition::{AzAccess, GsAccess, S3Access, Scheme, Store};
use crate::small_file;

/// Bytes of a file with credentials that are looked at.
const LONGEST: u64 = 1 << 20;
/// What a shared access signature may allow that changes nothing.
const HARMLESS: &str = "rlfe";
/// Letters of an id from which on its ends are shown.
const LONG: usize = 12;

impl Store {
    /// How locations of this scheme are reached, and by whose right. May read a file with credentials.
    pub(in crate::source) fn told(&self, scheme: Scheme) -> String {
        let (endpoint, right, of_environment) = match scheme {
            Scheme::S3 => (&self.s3.endpoint, self.s3.access.told(), self.s3.of_environment),
            Scheme::Gs => (&self.gs.endpoint, self.gs.access.told(), self.gs.of_environment),
            Scheme::Az => {
                let right = self.az.access.told(&self.az.account);
                (&self.az.endpoint, right, self.az.of_environment)
            }
            Scheme::Http if self.headers.is_empty() => return "no credentials".to_owned(),
            Scheme::Http => {
                let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
                let many = if names.len() == 1 { "the header" } else { "the headers" };
                return format!("{many} `{}` of the config", names.join("`, `"));
            }
        };
        let at = match endpoint {
            Some(endpoint) => format!("`{endpoint}`"),
            None => "the usual endpoint".to_owned(),
        };
        let from = match of_environment {
            Some(variable) => format!("`{variable}` of the environment"),
            None => "the config".to_owned(),
        };
        match right {
            None => format!("{at} without credentials, as {from} says"),
            Some(right) => format!("{at} by {right}, which {from} says"),
        }
    }

    /// Whether that right could write; `None` where nobody knows without a write.
    pub(in crate::source) fn could_write(&self, scheme: Scheme) -> Option<bool> {
        match (scheme, &self.az.access) {
            (Scheme::Az, AzAccess::Sas(signature)) => {
                let allowed = pairs(signature).into_iter().find(|(name, _)| name == "sp");
                // Without them they are kept at the account.
                let allowed = allowed.map(|(_, allowed)| allowed)?;
                Some(!allowed.chars().all(|letter| HARMLESS.contains(letter)))
            }
            _ => None,
        }
    }

    /// As [`Store::could_write`], for people.
    pub(in crate::source) fn told_of_writing(&self, scheme: Scheme) -> &'static str {
        match (scheme, self.could_write(scheme)) {
            (Scheme::Http, _) => "only GET and HEAD are sent",
            (_, Some(true)) => "the signature lets write",
            (_, Some(false)) => "the signature lets only read",
            (_, None) => "whether it could write is not known, as no store tells without a write",
        }
    }
}

impl S3Access {
    fn told(&self) -> Option<String> {
        Some(match self {
            S3Access::Anonymous => return None,
            S3Access::Keys { id, token, .. } => {
                let with = token.as_ref().map_or("", |_| " with a session token");
                format!("access key `{}`{with}", ends(id))
            }
            S3Access::WebIdentity { token_file, role } => {
                format!("role `{role}` for the token in `{token_file}`")
            }
            S3Access::Container { .. } => "the role of the container".to_owned(),
            S3Access::Pod { .. } => "the role of the pod".to_owned(),
            S3Access::Instance => "the role of the machine".to_owned(),
        })
    }
}

impl GsAccess {
    fn told(&self) -> Option<String> {
        let of = |key: &[u8]| match account(key) {
            Some(account) => format!("the key of service account `{account}`"),
            None => "credentials".to_owned(),
        };
        Some(match self {
            GsAccess::Anonymous => return None,
            GsAccess::Key(key) => of(key.expose().as_bytes()),
            GsAccess::File(file) => {
                // What cannot be read is told where it is needed.
                let content = small_file::read(Path::new(file), LONGEST).unwrap_or_default();
                format!("{} in `{}`", of(&content), file.display())
            }
            GsAccess::Instance => "the role of the machine".to_owned(),
        })
    }
}

impl AzAccess {
    fn told(&self, account: &str) -> Option<String> {
        Some(match self {
            AzAccess::Anonymous => return None,
            AzAccess::Key(_) => format!("the key of account `{account}`"),
            AzAccess::Sas(_) => format!("a shared access signature of account `{account}`"),
            AzAccess::Client { tenant, id, .. } => {
                format!("the secret of client `{id}` of tenant `{tenant}`")
            }
            AzAccess::Workload { tenant, id, token_file } => {
                format!("client `{id}` of tenant `{tenant}` for the token in `{token_file}`")
            }
            AzAccess::Instance => "the role of the machine".to_owned(),
        })
    }
}

/// Enough of an id to tell it from others.
fn ends(id: &Secret) -> String {
    let letters: Vec<char> = id.expose().chars().collect();
    let (first, last) = if letters.len() < LONG { (1, 0) } else { (4, 3) };
    let first = letters.iter().take(first);
    let last = letters.iter().skip(letters.len() - last);
    first.chain(&['…']).chain(last).collect()
}

/// The account that a key of Google's is of, if it says one.
fn account(key: &[u8]) -> Option<String> {
    let key: Value = serde_json::from_slice(key).ok()?;
    key.get("client_email")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Az, Gs, S3};
    use super::*;

    const SECRET: &str = "canary";

    fn secret() -> Secret {
        Secret::new(SECRET.into())
    }

    fn s3(access: S3Access, of_environment: Option<&'static str>) -> Store {
        Store { s3: S3 { access, of_environment, ..S3::default() }, ..Store::default() }
    }

    fn gs(access: GsAccess) -> Store {
        Store { gs: Gs { access, ..Gs::default() }, ..Store::default() }
    }

    fn az(access: AzAccess) -> Store {
        Store { az: Az { account: "me".into(), access, ..Az::default() }, ..Store::default() }
    }

    #[test]
    fn a_right_is_told_by_whose_it_is_and_where_it_is_from_and_no_secret_is() {
        let keys = |id: &str, token| {
            let id = Secret::new(id.into());
            S3Access::Keys { id, secret: secret(), token }
        };
        let variable = Some("AWS_ACCESS_KEY_ID");
        let at = "the usual endpoint by access key";
        let from = "which `AWS_ACCESS_KEY_ID` of the environment says";
        let told = |access, of| s3(access, of).told(Scheme::S3);
        assert_eq!(
            told(keys("AKIAIOSFODNN7EX7Q2", None), variable),
            format!("{at} `AKIA…7Q2`, {from}")
        );
        assert_eq!(
            told(keys("minioadmin", Some(secret())), None),
            format!("{at} `m…` with a session token, which the config says")
        );
        assert_eq!(told(keys("", None), variable), format!("{at} `…`, {from}"));
        let role = "arn:aws:iam::1:role/reader";
        let access = S3Access::WebIdentity { token_file: "/t".into(), role: role.into() };
        assert!(told(access, Some("AWS_ROLE_ARN")).contains("role `arn:aws:iam::1:role/reader`"));
        let told = told(S3Access::Anonymous, None);
        assert_eq!(told, "the usual endpoint without credentials, as the config says");

        let key = r#"{"client_email": "reader@p.example", "private_key": "canary"}"#;
        let told = gs(GsAccess::Key(Secret::new(key.into()))).told(Scheme::Gs);
        assert!(told.contains("service account `reader@p.example`, which the config"), "{told}");
        assert!(!told.contains(SECRET), "{told}");
        let told = gs(GsAccess::Key(secret())).told(Scheme::Gs);
        assert!(told.contains("by credentials, which") && !told.contains(SECRET), "{told}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key).unwrap();
        let told = gs(GsAccess::File(file.path().to_owned())).told(Scheme::Gs);
        let place = format!("`reader@p.example` in `{}`", file.path().display());
        assert!(told.contains(&place) && !told.contains(SECRET), "{told}");

        let client =
            AzAccess::Client { tenant: "home".into(), id: "reader".into(), secret: secret() };
        for (access, words) in [
            (AzAccess::Key(secret()), "by the key of account `me`"),
            (AzAccess::Sas(secret()), "a shared access signature of account `me`"),
            (client, "the secret of client `reader` of tenant `home`"),
        ] {
            let told = az(access).told(Scheme::Az);
            assert!(told.contains(words) && !told.contains(SECRET), "{told}");
        }

        let headers = |names: &[&str]| {
            let headers = names.iter().map(|name| ((*name).to_owned(), secret())).collect();
            Store { headers, ..Store::default() }.told(Scheme::Http)
        };
        assert_eq!(headers(&[]), "no credentials");
        assert_eq!(headers(&["x-a"]), "the header `x-a` of the config");
        assert_eq!(headers(&["x-a", "x-b"]), "the headers `x-a`, `x-b` of the config");
    }

    #[test]
    fn whether_a_right_could_write_is_told_where_it_says_so_itself() {
        let signed = |token: &str| {
            let store = az(AzAccess::Sas(Secret::new(token.into())));
            (store.could_write(Scheme::Az), store.told_of_writing(Scheme::Az))
        };
        assert_eq!(signed("?sv=1&sp=rl&sig=s"), (Some(false), "the signature lets only read"));
        for allowed in ["rwl", "rld", "racwdl", "rlt"] {
            let token = format!("sp={allowed}&sig=s");
            assert_eq!(signed(&token), (Some(true), "the signature lets write"), "{allowed}");
        }
        assert_eq!(signed("si=kept&sig=s").0, None);
        let unknown = s3(S3Access::Anonymous, None);
        assert_eq!(unknown.could_write(Scheme::S3), None);
        assert!(unknown.told_of_writing(Scheme::S3).contains("not known"));
        assert_eq!(unknown.told_of_writing(Scheme::Http), "only GET and HEAD are sent");
    }
}
