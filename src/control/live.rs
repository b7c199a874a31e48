use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::domain::id::RunId;
use crate::engine::progress::Progress;

/// The live counts of the runs that go in this process, and how long each may drain. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<BTreeMap<RunId, Begun>>>);

#[derive(Debug)]
struct Begun {
    progress: Arc<Progress>,
    drain_timeout: Duration,
}

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
        let begun = Begun { progress: Arc::clone(&progress), drain_timeout };
        self.0.lock().expect(WHOLE).insert(run, begun);
        (progress, Going { live: self.clone(), run })
    }

    /// The counts of a run, while it goes.
    pub fn of(&self, run: RunId) -> Option<Arc<Progress>> {
        self.0.lock().expect(WHOLE).get(&run).map(|begun| Arc::clone(&begun.progress))
    }

    /// Requests of all runs that have no answer yet.
    pub fn in_flight(&self) -> u64 {
        self.0.lock().expect(WHOLE).values().map(|begun| begun.progress.in_flight()).sum()
    }

    /// How long the runs that go may drain, by the configs that they began with; zero if none goes.
    pub fn longest_drain(&self) -> Duration {
        let going = self.0.lock().expect(WHOLE);
        going.values().map(|begun| begun.drain_timeout).max().unwrap_or_default()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.live.0.lock().expect(WHOLE).remove(&self.run);
    }
}
