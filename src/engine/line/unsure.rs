use super::{End, Line};
use crate::engine::prepare::Error;
use crate::engine::progress::Progress;
use crate::engine::proving;
use crate::shutdown::blocking;

impl Line<'_> {
    /// Decides on what had to be put aside while rows were read; how the read has ended by that. Where a stop comes before all
    /// of it is decided on, the read was stopped.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) async fn decide(&mut self, end: End, progress: &Progress) -> Result<End, Error> {
        let mut end = end;
        while self.course.has_unsure() && self.make_room(progress).await? {
            self.deliver_meanwhile(progress).await?;
            let journal = self.prepared.snapshot.journal();
            let decided = blocking(|| self.course.decide(&mut self.delivery.dispatch, journal));
            let limit = self.order.sync.limits.max_invalid;
            let checked = decided.map_err(Error::from);
            let checked = checked.and_then(|()| proving::check_invalid(&self.course.intake, limit));
            if let Err(error) = checked
                && !matches!(end, End::Failed(_))
            {
                end = End::Failed(error);
            }
        }
        let was_stopped = self.course.has_unsure() && !matches!(end, End::Failed(_));
        Ok(if was_stopped { End::Stopped } else { end })
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
