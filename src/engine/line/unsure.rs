//! Between the end of the read and the deletes: what was put aside is decided on, what had to wait leaves.

use super::{End, Line};
use crate::engine::prepare::Error;
use crate::engine::progress::Progress;
use crate::engine::proving;
use crate::shutdown::blocking;

impl Line<'_> {
    /// Sends what had to wait for the end of the read; what needs its proof too, only with it. How the read has ended by that.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn deliver_late(&mut self, end: End, progress: &Progress) -> Result<End, Error> {
        let mut end = self.decide(end, progress).await?;
        if matches!(end, End::Stopped) {
            return Ok(end);
        }
        if proving::check_invalid(&self.course.intake, self.order.sync.limits.max_invalid).is_ok() {
            self.course.end_read(end.is_proven());
        }
        while self.course.has_late() && self.make_room(progress).await? {
            let pushed = blocking(|| self.course.push_late(&mut self.delivery.dispatch));
            if let Err(error) = pushed
                && !matches!(end, End::Failed(_))
            {
                end = End::Failed(error.into());
            }
        }
        self.settle(progress).await?;
        Ok(end)
    }

    /// Decides on what had to be put aside while rows were read; how the read has ended by that. Where a stop comes before all
    /// of it is decided on, the read was stopped. Once too many records are invalid nothing more of it leaves.
    ///
    /// # Errors
    /// The journal cannot be written.
    async fn decide(&mut self, end: End, progress: &Progress) -> Result<End, Error> {
        let limit = self.order.sync.limits.max_invalid;
        let mut checked = proving::check_invalid(&self.course.intake, limit);
        while checked.is_ok() && self.course.has_unsure() && self.make_room(progress).await? {
            self.deliver_meanwhile(progress).await?;
            let journal = self.prepared.snapshot.journal();
            let decided = blocking(|| self.course.decide(&mut self.delivery.dispatch, journal));
            checked = decided.map_err(Error::from);
            checked = checked.and_then(|()| proving::check_invalid(&self.course.intake, limit));
        }
        Ok(match (end, checked) {
            (End::Failed(error), _) | (_, Err(error)) => End::Failed(error),
            (_, Ok(())) if self.course.has_unsure() => End::Stopped,
            (end, Ok(())) => end,
        })
    }

    /// Heeds what has come of requests, without waiting for any.
    async fn deliver_meanwhile(&mut self, progress: &Progress) -> Result<(), Error> {
        self.show(progress).await;
        self.begin_journal().await?;
        let journal = self.prepared.snapshot.journal();
        tokio::select! {
            biased;
            stepped = self.delivery.progress(journal), if !self.delivery.dispatch.is_idle() => stepped?,
            () = tokio::task::yield_now() => {}
        }
        Ok(())
    }
}
