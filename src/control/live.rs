use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::domain::id::RunId;
use crate::engine::progress::Progress;

/// The live counts of the runs that go in this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<BTreeMap<RunId, Arc<Progress>>>>);

/// A run is among those that go until this is dropped.
#[derive(Debug)]
pub struct Going {
    live: Live,
    run: RunId,
}

const WHOLE: &str = "nobody panics while holding the live counts";

impl Live {
    /// The counts of a run that begins, kept until the second value is dropped.
    pub fn begin(&self, run: RunId) -> (Arc<Progress>, Going) {
        let progress = Arc::new(Progress::default());
        self.0.lock().expect(WHOLE).insert(run, Arc::clone(&progress));
        (progress, Going { live: self.clone(), run })
    }

    /// The counts of a run, while it goes.
    pub fn of(&self, run: RunId) -> Option<Arc<Progress>> {
        self.0.lock().expect(WHOLE).get(&run).cloned()
    }

    /// Requests of all runs that have no answer yet.
    pub fn in_flight(&self) -> u64 {
        self.0.lock().expect(WHOLE).values().map(|progress| progress.in_flight()).sum()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.live.0.lock().expect(WHOLE).remove(&self.run);
    }
}
