//! The memory that the streams of a scan share for what they hold of their files before it is decoded.
//!
//! A file is read once there is room for the largest of its row groups, and gives that up at its end; others wait meanwhile, in
//! turn. Invariants: one file is read at least, however large it is; streams of other scans are not waited for, as those may wait
//! for this one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit.
const UNIT: usize = 1 << 10;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    all: u32,
}

impl Room {
    /// Of so many bytes.
    pub fn of(bytes: usize) -> Room {
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS);
        Room { free: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))), all }
    }

    /// Waits for room for so many bytes, or for all of it where that is less.
    pub async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let asked = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.all);
        let taken = Arc::clone(&self.free).acquire_many_owned(asked).await;
        taken.expect("nobody closes it")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn what_does_not_fit_waits_and_what_would_never_fit_is_alone() {
        let room = Room::of(10 * UNIT);
        let first = room.take(6 * UNIT).now_or_never().unwrap();
        assert!(room.take(5 * UNIT).now_or_never().is_none());
        let second = room.take(4 * UNIT - 1).now_or_never().unwrap();
        assert!(room.take(0).now_or_never().is_none(), "every file takes some");
        drop(first);
        assert!(room.take(99 * UNIT).now_or_never().is_none());
        drop(second);
        let whole = room.take(usize::MAX).now_or_never().unwrap();
        assert!(room.take(1).now_or_never().is_none());
        drop(whole);
        assert!(Room::of(0).take(UNIT).now_or_never().is_some());
    }
}
