//! Why no run of a sync may begin: it is paused, or its source is disabled.
//!
//! Works in the process that runs and beside it. Not responsible for ending a run that goes: it is asked to drain as by a
//! stop, and sees that by itself.

use std::collections::BTreeMap;
use std::fmt;

use super::pausing::{Paused, paused};
use crate::domain::id::Instant;
use crate::domain::sync::Model;
use crate::store::{DisabledSource, Error, Pause, Store};

/// Why no run of the sync may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    Paused(Paused),
    Source { sync: String, disabled: DisabledSource },
}

/// What has been recorded of all syncs and sources.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    pub pauses: BTreeMap<String, Pause>,
    pub sources: BTreeMap<String, DisabledSource>,
}

impl Recorded {
    /// # Errors
    /// The store cannot be read.
    pub async fn read(store: &Store) -> Result<Recorded, Error> {
        Ok(Recorded { pauses: store.pauses().await?, sources: store.disabled_sources().await? })
    }

    /// Whether runs of this sync, which has `model`, may begin `now`. `configured`: what the config says of its being paused.
    pub fn closed(
        &self,
        sync: &str,
        model: &Model,
        configured: bool,
        now: Instant,
    ) -> Option<Closed> {
        let source = disabled_of(model, &self.sources);
        closed(sync, self.pauses.get(sync).cloned(), configured, source, now)
    }
}

/// The first source of the model that is disabled: one is enough to keep its syncs from running.
pub fn disabled_of<'d>(
    model: &Model,
    disabled: &'d BTreeMap<String, DisabledSource>,
) -> Option<&'d DisabledSource> {
    model.sources().find_map(|source| disabled.get(source))
}

/// As [`Recorded::closed`], of what was recorded of one sync and of the source of it that is disabled.
pub fn closed(
    sync: &str,
    pause: Option<Pause>,
    configured: bool,
    source: Option<&DisabledSource>,
    now: Instant,
) -> Option<Closed> {
    let sync_is = paused(sync, pause, configured, now).map(Closed::Paused);
    let source_is = || {
        let disabled = source?.clone();
        Some(Closed::Source { sync: sync.to_owned(), disabled })
    };
    sync_is.or_else(source_is)
}

impl Closed {
    /// In words, without the way out.
    pub fn why(&self) -> String {
        match self {
            Closed::Paused(paused) => format!("paused {}", paused.why()),
            Closed::Source { disabled, .. } => disabled_since(disabled),
        }
    }
}

/// Since when a source is disabled, by whom and why.
pub fn disabled_since(disabled: &DisabledSource) -> String {
    let DisabledSource { source, message, who, at } = disabled;
    format!("source `{source}` is disabled since {at} by {who}: {message}")
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Paused(paused) => paused.fmt(f),
            Closed::Source { sync, disabled } => {
                let (why, source) = (disabled_since(disabled), &disabled.source);
                write!(
                    f,
                    "`{sync}` does not run: {why}; `counterflow source enable {source} -m WHY` ends that"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sync::Reads;

    #[test]
    fn one_disabled_source_of_several_is_enough() {
        let disabled = |source: &str| {
            let (message, who) = ("it moves".to_owned(), "ada".to_owned());
            (
                source.to_owned(),
                DisabledSource { source: source.to_owned(), message, who, at: Instant(0) },
            )
        };
        let model = |names: &[&str]| Model {
            name: "m".to_owned(),
            reads: Reads::Joined(names.iter().map(|name| (*name).to_owned()).collect()),
            sql: String::new(),
            primary_key: Vec::new(),
            cursor: None,
        };
        let recorded = BTreeMap::from([disabled("shop"), disabled("sea")]);
        let found = |names: &[&str]| Some(disabled_of(&model(names), &recorded)?.source.clone());
        assert_eq!(found(&["lake", "shop"]).as_deref(), Some("shop"));
        assert_eq!(found(&["shop", "lake"]).as_deref(), Some("shop"));
        assert_eq!(found(&["lake"]), None);
    }

    #[test]
    fn a_pause_is_named_before_the_source_and_each_with_its_way_out() {
        let (source, message, who) = ("lake".to_owned(), "it moves".to_owned(), "ada".to_owned());
        let disabled = DisabledSource { source, message, who, at: Instant(0) };
        let of = |configured| closed("crm", None, configured, Some(&disabled), Instant(1));
        let by_source = of(false).unwrap();
        assert_eq!(
            by_source.to_string(),
            "`crm` does not run: source `lake` is disabled since 1970-01-01T00:00:00Z by ada: it moves; \
             `counterflow source enable lake -m WHY` ends that"
        );
        assert!(matches!(of(true), Some(Closed::Paused(_))));
        assert_eq!(closed("crm", None, false, None, Instant(1)), None);
    }
}
