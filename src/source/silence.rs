//! How long a server says nothing, counted only while somebody listens.
//!
//! A stream that nobody polls, as where a merge takes of another one or a destination holds the reader back, hears nothing
//! whatever the server sends. So the time is counted in short pauses, and one at whose end nobody came for long does not
//! count.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pauses in which a silence is counted.
const PAUSES: u32 = 16;
/// The longest of them, and how late whoever listens may come at the end of one.
const LONGEST: Duration = Duration::from_secs(1);

/// It was silent for as long as it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Silent;

/// What `work` comes to, if it is not waited for longer than `limit`, which begins when this is first polled.
pub(super) async fn heard<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Silent> {
    let pause = (limit / PAUSES).clamp(Duration::from_millis(1), LONGEST);
    let (mut work, mut over) = (pin!(work), pin!(sleep(pause)));
    let mut counted = Duration::ZERO;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        while over.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if now.duration_since(over.deadline()) <= LONGEST {
                counted += pause;
            }
            if counted >= limit {
                return Poll::Ready(Err(Silent));
            }
            over.as_mut().reset(now + pause);
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::{Context, Waker};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);

    #[tokio::test]
    async fn a_silence_ends_at_its_limit_where_somebody_listens() {
        for limit in [LIMIT, Duration::from_millis(7)] {
            let begun = Instant::now();
            assert_eq!(heard(limit, pending::<()>()).await, Err(Silent));
            assert!(begun.elapsed() >= limit, "{limit:?}: {:?}", begun.elapsed());
        }
        assert_eq!(heard(LIMIT, async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn what_nobody_listens_to_is_not_silent() {
        let mut silence = pin!(heard(LIMIT, pending::<()>()));
        let mut listen = || silence.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(listen().is_pending());
        sleep(LONGEST + LIMIT).await;
        assert!(listen().is_pending());
        let begun = Instant::now();
        while listen().is_pending() {
            sleep(LIMIT / PAUSES).await;
        }
        assert!(begun.elapsed() >= LIMIT / 2, "{:?}", begun.elapsed());
    }
}
