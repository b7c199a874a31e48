//! The plot: four steps, each a few commands that anyone could type, and a comparison.
//!
//! Not responsible for how commands are run and compared (`story`). The interruptions wait for what the destination has
//! got, never for a time.

use super::folder::{FIRST, SECOND};
use super::object::Object;
use super::source;
use super::story::{Error, Expected, Story};
use crate::domain::kind::Kind;

/// Requests that are in flight when a run is interrupted.
const IN_FLIGHT: u64 = 2;
/// Requests of the full resync that are answered before it is stopped: 8 of 21.
const ANSWERED_BEFORE_STOP: u64 = 8;
/// Requests that are answered before the kill: 1 of 3.
const ANSWERED_BEFORE_KILL: u64 = 1;
/// How often a run is asked whether it drains.
const MOST_ASKED: usize = 200;
/// Customers that leave before the kill.
const LEAVING: [&str; 3] = ["00007,", "00015,", "00031,"];

impl Story {
    /// Step 1: the first, full run of every sync. One order is refused for good, and named.
    pub(super) async fn send_everything(&mut self) -> Result<(), Error> {
        self.step("first", "Everything is sent for the first time");
        self.teller.say(
            "Each sync reads its model, finds that the destination is known to hold nothing, and sends \
             every row in batches. What is answered with 429 or 503 is tried again, and so are the busy \
             records of a batch; a batch whose answer was lost is sent again under the same idempotency \
             key. One order is under review at the destination, which will not have it: that is no error \
             of the run, but it is never passed over in silence (exit code 3).",
        );
        let refused = self.refuse_an_order()?;
        self.sync(Object::Customers, &[], 0).await?;
        let orders = self.sync(Object::Orders, &[], 3).await?;
        self.claim(orders.tally.rejected == 1, "first: exactly one order must be rejected");
        self.sync(Object::Airlines, &[], 0).await?;
        self.sync(Object::Flights, &[], 0).await?;
        self.compare("after the first runs", &Expected::Lacks(Object::Orders, refused.clone()))?;
        self.teller.say("What is missing is the one record that the run named:");
        let named = self.show(&["rejected", Object::Orders.sync()], 5).await?;
        self.claim(named.contains(&refused), "first: the refused order must be named");
        Ok(())
    }

    /// Step 2: the source changes; only the difference is sent.
    pub(super) async fn change_the_source(&mut self) -> Result<(), Error> {
        self.step("change", "The source changes, and only the difference is sent");
        self.folder.open_shop(SECOND).map_err(Error::of_folder(self.folder.path()))?;
        self.destination.accept();
        self.teller.say(
            "A new export of the shop: customers came, changed and left, open orders were paid, the one \
             under review among them. `plan` says what a run would do and sends nothing. Customers are \
             mirrored: who left is deleted, once the read is proven complete and unless they are \
             suspiciously many (the guard). Orders are only upserted: what left the source is kept.",
        );
        self.show(&["plan", Object::Customers.sync()], 3).await?;
        self.show(&["plan", Object::Orders.sync()], 3).await?;
        let customers = self.sync(Object::Customers, &[], 0).await?;
        let is_small = customers.kind == Some(Kind::Incremental) && customers.tally.deleted > 0;
        self.claim(is_small, "change: the customers' run must be incremental and delete some");
        self.sync(Object::Orders, &[], 0).await?;
        self.compare("after the incremental runs", &Expected::Equal)
    }

    /// Step 3: a full resync is stopped in the middle and resumed.
    pub(super) async fn stop_and_resume(&mut self) -> Result<(), Error> {
        self.step("stop", "A full resync is stopped in the middle, and goes on where it was");
        let lost = self.destination.lose_a_third(Object::Orders);
        self.teller.say(&format!(
            "Behind our back the destination restores an old backup and loses {lost} orders. No \
             difference of the source tells of that; Force Full Resync sends all rows again."
        ));
        self.compare("after the loss", &Expected::Interrupted(Object::Orders))?;
        self.teller.say(
            "The destination is slow now. After some requests somebody stops the run: nothing new is \
             sent, what is in flight is finished, what was answered is committed.",
        );
        self.destination.close_gate(Object::Orders, ANSWERED_BEFORE_STOP);
        let mut running = self.start_sync(Object::Orders, &["--full"])?;
        self.until_in_flight(&mut running).await?;
        let stop = self.start(&["stop", Object::Orders.sync(), "--yes"])?;
        self.until_draining().await?;
        self.destination.open_gate();
        let stopped = self.end_sync(running, 6).await?;
        self.end_started(stop).await?;
        let is_in_the_middle = stopped.tally.delivered > 0 && stopped.tally.unsent > 0;
        self.claim(is_in_the_middle, "stop: some must be delivered and some not sent");
        self.compare("after the stop", &Expected::Interrupted(Object::Orders))?;
        self.teller.say(
            "The next run keeps the kind of the one that was stopped: it is full, though nobody says so, \
             and sends only what the first half did not.",
        );
        let resumed = self.sync(Object::Orders, &[], 0).await?;
        let is_continued =
            resumed.kind == Some(Kind::Full) && resumed.tally.delivered == stopped.tally.unsent;
        self.claim(is_continued, "stop: the resumed run must be full and send exactly the rest");
        self.compare("after the resumed run", &Expected::Equal)
    }

    /// Step 4: a run is killed between request and answer, and the next one recovers.
    pub(super) async fn kill_and_recover(&mut self) -> Result<(), Error> {
        self.step("kill", "A run is killed between request and answer, and the next one recovers");
        self.folder.edit_customers(rename_plan).map_err(Error::of_folder(self.folder.path()))?;
        self.teller.say(&format!(
            "The shop renames its plans, which changes every customer, and {} customers leave. In the \
             middle of the run the process is killed: one batch is applied and its answer never arrives, \
             another is never applied. From outside they look alike.",
            LEAVING.len()
        ));
        self.destination.close_gate(Object::Customers, ANSWERED_BEFORE_KILL);
        let mut running = self.start_sync(Object::Customers, &[])?;
        self.until_in_flight(&mut running).await?;
        self.teller.command("kill -9");
        self.kill(running).await?;
        self.destination.hang_up();
        self.compare("after the kill", &Expected::Interrupted(Object::Customers))?;
        let unanswered = self.destination.unanswered(Object::Customers);
        let key = unanswered.first().ok_or(Error::Plot("nothing was left unanswered"))?;
        self.teller.say(
            "Before each request left, a note of it was on disk. So it is known which records are in \
             doubt, and each of them is asserted again, whatever the snapshot says:",
        );
        let told = self.show(&["explain", Object::Customers.sync(), key], 5).await?;
        self.claim(told.contains("in doubt"), "kill: the unanswered record must be in doubt");
        self.show(&["status", Object::Customers.sync()], 4).await?;
        let recovered = self.sync(Object::Customers, &[], 0).await?;
        let is_mended = usize::try_from(recovered.tally.deleted) == Ok(LEAVING.len());
        self.claim(is_mended, "kill: the next run must delete those who left");
        let runs = self.ask(&["runs", Object::Customers.sync(), "--limit", "2"]).await?;
        self.claim(runs.contains("interrupted"), "kill: the killed run must be called interrupted");
        self.teller.say(
            "The killed run is listed as interrupted, never as a success. What it had in doubt was sent \
             again, and the deletes came last, after a complete read without those who left.",
        );
        self.compare("after the recovery", &Expected::Equal)
    }

    /// One of the orders that differ in the second version is refused from now on.
    fn refuse_an_order(&self) -> Result<String, Error> {
        let first = source::orders(FIRST.orders).map_err(Error::of_folder(self.folder.path()))?;
        let second = source::orders(SECOND.orders).map_err(Error::of_folder(self.folder.path()))?;
        let differs =
            |key: &&String| second.get(*key).is_some_and(|row| first.get(*key) != Some(row));
        let changed = first.keys().filter(differs).cloned().collect();
        let refused = self.destination.refuse_one(Object::Orders, changed);
        refused.ok_or(Error::Plot("no order of the fixtures changes"))
    }

    /// Waits until requests are at the destination and unanswered.
    async fn until_in_flight(&self, running: &mut super::child::Running) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.destination.waiting(IN_FLIGHT) => Ok(()),
            ended = running.stopped() => {
                ended?;
                Err(Error::Plot("the run ended before it could be interrupted"))
            }
        }
    }

    /// Waits until the run says that it drains: an answer that comes before would let it send the next request.
    async fn until_draining(&self) -> Result<(), Error> {
        for _ in 0..MOST_ASKED {
            let runs = self.ask(&["runs", Object::Orders.sync(), "--limit", "1"]).await?;
            if runs.contains("draining") {
                return Ok(());
            }
        }
        Err(Error::Plot("the run was asked to stop and does not drain"))
    }
}

/// A customer's line with the plan under its new name; `None` for those who leave.
fn rename_plan(line: &str) -> Option<String> {
    const PLANS: [&str; 5] = ["free", "starter", "team", "pro", "enterprise"];
    if LEAVING.iter().any(|id| line.starts_with(id)) {
        return None;
    }
    let renamed = PLANS.iter().find_map(|plan| {
        let (old, new) = (format!(",{plan},"), format!(",{plan}-2026,"));
        line.contains(&old).then(|| line.replacen(&old, &new, 1))
    });
    Some(renamed.unwrap_or_else(|| line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::folder::Folder;

    #[test]
    fn every_customer_changes_or_leaves_before_the_kill() {
        let folder = Folder::make("http://127.0.0.1:1", false).unwrap();
        folder.open_shop(SECOND).unwrap();
        let read = || source::records(folder.path(), Object::Customers).unwrap();
        let before = read();
        folder.edit_customers(rename_plan).unwrap();
        let after = read();
        assert_eq!(before.len() - after.len(), LEAVING.len(), "those who leave are active");
        assert!(after.iter().all(|(key, customer)| before[key] != *customer));
    }
}
