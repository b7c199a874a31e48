//! Whose turn it is to work on the snapshot of a sync: one at a time, and who has nothing urgent to do gives way.
//!
//! Not responsible for what is done in a turn. Invariants: nobody waits behind one that gives way for longer than that takes to
//! hear of it and to leave things as they were; whoever comes is told at once where a run or a command works.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::shutdown::{self, Shutdown, Stage, Stopper};

/// Whose turn it is to work on the snapshot of a sync: of the runs and other commands of one process, one at a time. Cheap
/// to clone.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    all: Arc<Mutex<All>>,
    /// The one place of what reads beside the queue.
    beside: Lock,
    /// The one place of whoever gives way, of all syncs.
    aside: Lock,
}

type Lock = Arc<tokio::sync::Mutex<()>>;

#[derive(Debug, Default)]
struct All {
    seats: BTreeMap<String, Seat>,
    /// The process ends: whoever gives way does so at once.
    is_closed: bool,
}

/// Of one sync.
#[derive(Debug, Default)]
struct Seat {
    turn: Lock,
    /// How many wait for the turn.
    waiting: usize,
    /// Tells whoever has it, and gives way to others.
    aside: Option<Stopper>,
}

/// The turn ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    sync: String,
    #[expect(dead_code, reason = "held for its drop")]
    held: OwnedMutexGuard<()>,
    /// Of one that reads beside the queue.
    beside: Option<OwnedMutexGuard<()>>,
}

/// Somebody waits for a turn.
struct Waiting<'t>(&'t Turns, &'t str);

impl Turns {
    /// Waits for the turn, behind those who waited before. Cancel-safe.
    pub async fn take(&self, sync: &str) -> Turn {
        let turn = self.all().seat(sync).ask();
        let _waiting = Waiting(self, sync);
        self.turn(sync, turn.lock_owned().await)
    }

    /// As [`Turns::take`], for what reads a model and is not held back by the queue and its limits, such as a sample: one of
    /// all syncs at a time, as each takes the memory of a run. Whoever waits for its sync keeps nobody else from it.
    pub async fn take_beside_queue(&self, sync: &str) -> Turn {
        loop {
            let mut turn = self.take(sync).await;
            if let Ok(place) = Arc::clone(&self.beside).try_lock_owned() {
                turn.beside = Some(place);
                return turn;
            }
            // Runs of the sync are not to wait for what another sync does beside the queue.
            drop(turn);
            drop(Arc::clone(&self.beside).lock_owned().await);
        }
    }

    fn turn(&self, sync: &str, held: OwnedMutexGuard<()>) -> Turn {
        Turn { turns: self.clone(), sync: sync.to_owned(), held, beside: None }
    }

    /// The turn, if nobody has it or waits for it, but for those who give way: their end is waited for. Cancel-safe.
    pub async fn take_unless_working(&self, sync: &str) -> Option<Turn> {
        let (turn, is_next) = {
            let mut all = self.all();
            let seat = all.seat(sync);
            // Who waits already is at work once it has the turn.
            let is_next = seat.aside.is_some() && seat.waiting == 0;
            if is_next { (seat.ask(), true) } else { (Arc::clone(&seat.turn), false) }
        };
        let held = if is_next {
            let _waiting = Waiting(self, sync);
            turn.lock_owned().await
        } else {
            turn.try_lock_owned().ok()?
        };
        Some(self.turn(sync, held))
    }

    /// Whoever gives way does so now, and from here on at once.
    pub fn close(&self) {
        let mut all = self.all();
        all.is_closed = true;
        all.seats.values().for_each(Seat::make_way);
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn seat(&mut self, sync: &str) -> &mut Seat {
        self.seats.entry(sync.to_owned()).or_default()
    }
}

impl Seat {
    /// Somebody waits from now on.
    fn ask(&mut self) -> Lock {
        self.waiting += 1;
        self.make_way();
        Arc::clone(&self.turn)
    }

    fn make_way(&self) {
        if let Some(aside) = &self.aside {
            aside.raise(Stage::Draining);
        }
    }
}

impl Turn {
    /// From here on it is kept only until somebody else wants it, or the process ends: then what comes back is `Draining`.
    pub fn give_way(&mut self) -> Shutdown {
        self.beside = None;
        let (stopper, shutdown) = shutdown::channel();
        let mut all = self.turns.all();
        let is_closed = all.is_closed;
        let seat = all.seat(&self.sync);
        if seat.waiting > 0 || is_closed {
            stopper.raise(Stage::Draining);
        }
        seat.aside = Some(stopper);
        shutdown
    }

    /// Waits until no other sync is worked on by one that gives way; `None` where this one is told to.
    pub async fn aside(&self, told: &mut Shutdown) -> Option<OwnedMutexGuard<()>> {
        tokio::select! {
            biased;
            () = told.reached(Stage::Draining) => None,
            place = Arc::clone(&self.turns.aside).lock_owned() => Some(place),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.all().seat(&self.sync).aside = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.all().seat(self.1).waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_works_on_a_sync_and_others_are_not_held_up() {
        let turns = Turns::default();
        let first = turns.take("crm").await;
        assert!(turns.clone().take("crm").now_or_never().is_none());
        assert!(turns.take("ads").now_or_never().is_some());
        assert!(turns.take_unless_working("crm").await.is_none());
        assert!(turns.take_unless_working("ads").await.is_some());
        drop(first);
        assert!(turns.take("crm").now_or_never().is_some());
    }

    #[tokio::test]
    async fn whoever_gives_way_is_told_of_others_and_of_the_end() {
        let turns = Turns::default();
        let mut first = turns.take("crm").await;
        let told = first.give_way();
        assert_eq!(told.stage(), Stage::Running);
        let mut command = Box::pin(turns.take_unless_working("crm"));
        assert!(command.as_mut().now_or_never().is_none());
        assert_eq!(told.stage(), Stage::Draining);
        drop(first);
        let mut second = command.await.expect("it waited for the turn");
        // Now it is work, which gives way to nobody.
        assert!(turns.take_unless_working("crm").await.is_none());
        let mut third = Box::pin(turns.take("crm"));
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(second.give_way().stage(), Stage::Draining, "somebody waits already");
        let command = turns.take_unless_working("crm").now_or_never().expect("it knows at once");
        assert!(command.is_none(), "a run is next");
        drop((third, second));
        let mut last = turns.take("crm").await;
        let told = last.give_way();
        assert_eq!(told.stage(), Stage::Running, "nobody waits any more");
        let mut other = turns.take("ads").await;
        let mut told_other = other.give_way();
        let place = last.aside(&mut told.clone()).await;
        assert!(
            other.aside(&mut told_other).now_or_never().is_none(),
            "one of all syncs at a time"
        );
        drop(place);
        assert!(other.aside(&mut told_other).now_or_never().flatten().is_some());
        turns.close();
        assert!(other.aside(&mut told_other).now_or_never().expect("it is told").is_none());
        assert_eq!((told.stage(), last.give_way().stage()), (Stage::Draining, Stage::Draining));
    }

    #[tokio::test]
    async fn one_at_a_time_reads_beside_the_queue_and_keeps_nobody_from_it_while_its_sync_is_worked_on()
     {
        let turns = Turns::default();
        let run = turns.take("crm").await;
        let mut waiting = Box::pin(turns.take_beside_queue("crm"));
        assert!(waiting.as_mut().now_or_never().is_none(), "it waits for the run");
        let other =
            turns.take_beside_queue("ads").now_or_never().expect("nobody is beside the queue");
        drop(run);
        assert!(waiting.as_mut().now_or_never().is_none(), "it waits for the other");
        assert!(turns.take("crm").now_or_never().is_some(), "a run of its sync does not");
        assert!(turns.take("shop").now_or_never().is_some(), "a run of the queue does not");
        drop(other);
        assert!(waiting.now_or_never().is_some());
    }
}
