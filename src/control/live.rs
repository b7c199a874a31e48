use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::domain::id::RunId;
use crate::engine::progress::Progress;

/// The live counts of the runs that go in this process, and how long each may drain. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<BTreeMap<RunId, (Arc<Progress>, Duration)>>>);

/// A run is among those that go until this is dropped.
#[derive(Debug)]
pub struct Going {
    live: Live,
    run: RunId,
}

const WHOLE: &str = "nobody panics while holding the live counts";

impl Live {
    /// The counts of a run that begins, kept until the second value is dropped; and the `drain_timeout` that it has to its end.
    pub fn begin(&self, run: RunId, drain_timeout: Duration) -> (Arc<Progress>, Going) {
        let progress = Arc::new(Progress::default());
        self.0.lock().expect(WHOLE).insert(run, (Arc::clone(&progress), drain_timeout));
        (progress, Going { live: self.clone(), run })
    }

    /// The counts of a run, while it goes.
    pub fn of(&self, run: RunId) -> Option<Arc<Progress>> {
        self.0.lock().expect(WHOLE).get(&run).map(|(progress, _)| Arc::clone(progress))
    }

    /// Requests of all runs that have no answer yet.
    pub fn in_flight(&self) -> u64 {
        self.0.lock().expect(WHOLE).values().map(|(progress, _)| progress.in_flight()).sum()
    }

    /// How long the runs that go may drain, by the configs that they began with; zero if none goes.
    pub fn longest_drain(&self) -> Duration {
        let going = self.0.lock().expect(WHOLE);
        going.values().map(|(_, drain_timeout)| *drain_timeout).max().unwrap_or_default()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.live.0.lock().expect(WHOLE).remove(&self.run);
    }
}
