//! Many batches in flight within the connection's limits.
//!
//! A batch is formed (batch.rs), noted in the journal (dispatch.rs), and sent by a loop (worker.rs) that only does what a
//! pure state machine (window.rs) says. No request leaves before its intent is durable; every record settles exactly once.

pub mod batch;
pub mod budget;
pub mod clock;
pub mod counts;
pub mod dispatch;
pub mod idempotency;
pub mod limits;
pub mod notes;
mod request;
pub mod retry;
pub mod spool;
pub mod window;
pub mod worker;

pub use batch::Item;
pub use budget::Budget;
pub use counts::Counts;
pub use dispatch::Dispatch;
pub use worker::{Delivery, Settings};
