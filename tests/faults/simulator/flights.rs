//! What stands for the loop of `delivery::worker`: syncs, requests on their way, answers in any order, stops.

use std::collections::BTreeMap;
use std::time::Duration;

use counterflow::delivery::dispatch::Sending;
use counterflow::delivery::window::ParcelId;
use counterflow::shutdown::Stage;
use counterflow::snapshot;

use super::judge::broken;
use super::plan::{How, Trouble};
use super::session::{Halt, Session};
use super::target::Request;
use super::world::World;

/// A parcel that was given out.
pub struct Flight {
    sending: Sending,
    /// Once it has left.
    pub request: Option<Request>,
    left: Duration,
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Event {
    Synced,
    Leaves(ParcelId),
    Answered(ParcelId),
    Due(Duration),
    Overdue,
}

impl Session<'_> {
    /// Finishes everything that delivery was given; in a drain, everything that is in flight.
    pub fn settle(&mut self) -> Result<(), Halt> {
        self.dispatch.seal();
        loop {
            self.step()?;
            if self.dispatch.is_idle() {
                return Ok(());
            }
        }
    }

    /// Waits until delivery can take more; false if the run is being stopped or has halted.
    pub fn make_room(&mut self) -> Result<bool, Halt> {
        while !self.is_ending() && !self.dispatch.has_room() {
            self.step()?;
        }
        Ok(!self.is_ending())
    }

    pub fn is_ending(&self) -> bool {
        self.stage > Stage::Running || self.dispatch.halted().is_some()
    }

    fn step(&mut self) -> Result<(), Halt> {
        self.pass()?;
        match self.stage {
            Stage::Running => {}
            Stage::Draining => self.stop(),
            Stage::Aborting => self.abort(),
        }
        if self.dispatch.is_idle() { Ok(()) } else { self.deliver() }
    }

    fn stop(&mut self) {
        self.dispatch.stop();
        self.recall();
    }

    fn abort(&mut self) {
        self.stop();
        for (_, flight) in std::mem::take(&mut self.flights) {
            if let Some(request) = flight.request {
                self.world.give_up(request, &mut self.chance);
            }
        }
        self.facts.in_flight.clear();
        self.dispatch.abort();
    }

    /// What has not left never will.
    fn recall(&mut self) {
        let (left, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.flights).into_iter().partition(|it| it.1.request.is_some());
        self.flights = left;
        for parcel in waiting.into_keys() {
            self.dispatch.recalled(parcel);
        }
    }

    /// One step of the delivery, as `Delivery::progress` makes it.
    pub fn deliver(&mut self) -> Result<(), Halt> {
        if self.dispatch.has_receipts() {
            return self.write_receipts();
        }
        match self.dispatch.begin_sync(self.snapshot.journal()) {
            Ok(Some(syncer)) => self.syncer = Some(syncer),
            Ok(None) => {}
            Err(error) => return Err(self.fail(error)),
        }
        self.pass()?;
        let events = self.events();
        if events.is_empty() {
            return match self.dispatch.is_idle() {
                true => Ok(()),
                false => Ok(broken("I9", "delivery waits for nothing")?),
            };
        }
        let event = self.chance.pick(&events);
        self.happen(event)?;
        self.pass()?;
        self.write_receipts()?;
        for sending in self.dispatch.take_sendings() {
            let flight = Flight { request: None, left: Duration::ZERO, sending };
            self.flights.insert(flight.sending.parcel, flight);
        }
        Ok(())
    }

    fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.syncer.iter().map(|_| Event::Synced).collect();
        for (parcel, flight) in &self.flights {
            events.push(match flight.request {
                Some(_) => Event::Answered(*parcel),
                None => Event::Leaves(*parcel),
            });
        }
        events.extend(self.dispatch.next_due().map(Event::Due));
        let is_overdue = |trouble: &Trouble| matches!(trouble, Trouble::Overdue);
        let has_left = self.flights.values().any(|flight| flight.request.is_some());
        if self.stage > Stage::Running && has_left && self.run.troubles.iter().any(is_overdue) {
            events.extend([Event::Overdue; 3]);
        }
        events
    }

    fn happen(&mut self, event: Event) -> Result<(), Halt> {
        match event {
            Event::Synced => {
                let syncer = self.syncer.take().expect("it is an event only while there is one");
                match syncer.sync() {
                    Ok(()) => self.dispatch.note_durable(),
                    Err(error) => return Err(self.fail(error)),
                }
            }
            Event::Leaves(parcel) => self.leave(parcel)?,
            Event::Answered(parcel) => self.answer(parcel),
            Event::Due(moment) => {
                self.elapsed = self.elapsed.max(moment);
                self.dispatch.wake(self.elapsed);
            }
            Event::Overdue => {
                self.world.count("drains beyond their limit");
                self.abort();
            }
        }
        Ok(())
    }

    fn leave(&mut self, parcel: ParcelId) -> Result<(), Halt> {
        let flight = self.flights.get_mut(&parcel).expect("an event names a flight");
        let World { judge, requests, runs, .. } = &mut *self.world;
        *requests += 1;
        let header = self.snapshot.header();
        let request = Request::of(&flight.sending, header, *runs, *requests);
        flight.left = self.elapsed;
        judge.leaves(&request, &mut self.facts)?;
        flight.request = Some(request);
        Ok(())
    }

    fn answer(&mut self, parcel: ParcelId) {
        let flight = self.flights.remove(&parcel).expect("an event names a flight");
        let request = flight.request.expect("only what has left is answered");
        let number = self.answers;
        self.answers += 1;
        let how = self.run.troubles.iter().find_map(|trouble| match trouble {
            Trouble::Answer { request, how } if *request == number => Some(*how),
            _ => None,
        });
        if let Some(how) = how {
            self.world.count(word(how));
        }
        let World { judge, target, ticks, .. } = &mut *self.world;
        let attempt = target.answer(&request, how, *ticks);
        judge.answered(&request, &attempt, &mut self.facts);
        let random = self.chance.fraction();
        self.dispatch.answered(parcel, attempt, flight.left, self.elapsed, random);
        if self.dispatch.is_stopping() {
            self.recall();
        }
    }

    fn write_receipts(&mut self) -> Result<(), Halt> {
        let at = self.wall();
        let written = self.dispatch.write_receipts(self.snapshot.journal(), at);
        written.map_err(|error| self.fail(error))
    }

    fn fail(&mut self, error: snapshot::Error) -> Halt {
        self.abort();
        self.dispatch.fail();
        Halt::Disk(error)
    }
}

fn word(how: How) -> &'static str {
    match how {
        How::Lost(_) => "answers lost",
        How::Late(_) => "answers lost and applied late",
        How::Unavailable(_) => "answers 503",
        How::Busy => "answers 429",
        How::Unreachable => "connections refused",
        How::TooLarge => "answers 413",
        How::AgainByRecord(_) => "answers that ask for records again",
        How::RejectByRecord(_) => "answers that reject records",
        How::WrongCount => "answers with a wrong count",
        How::Unauthorised => "answers 401",
        How::Forbidden(_) => "answers 403",
    }
}
