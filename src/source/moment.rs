//! The states of databases that a read sees, so that another read can see the same.
//!
//! PostgreSQL alone can share one; of MySQL each read sees its own. Whoever names a state does not keep it: the read that sees it
//! does, for as long as its rows are not asked for.

use std::collections::BTreeMap;
use std::sync::Weak;

use super::error::Error;
use super::postgres::Sessions;

/// Those that a read holds open.
#[derive(Debug, Clone, Default)]
pub struct Held(pub(super) Vec<(String, Weak<Sessions>)>);

/// Those that can be seen by other reads, by the names of their sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment(BTreeMap<String, String>);

impl Held {
    /// Has the databases share them. To be asked before the first row is.
    ///
    /// # Errors
    /// A database cannot, or is gone.
    pub async fn share(&self) -> Result<Moment, Error> {
        let mut shared = BTreeMap::new();
        for (source, sessions) in &self.0 {
            let Some(sessions) = sessions.upgrade() else { continue };
            let name = sessions.share().await?;
            shared.extend(name.map(|name| (source.clone(), name)));
        }
        Ok(Moment(shared))
    }
}

impl Moment {
    /// Under which name the database shares it.
    pub(super) fn of(&self, source: &str) -> Option<&str> {
        self.0.get(source).map(String::as_str)
    }
}
