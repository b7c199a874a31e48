//! Object stores: where tables can lie that are made of objects in place of files.
//!
//! A read lists the objects of each table, opens them pinned to what the listing said of them, and lists them again at its
//! end. Not responsible for what is in an object: that is the format's. Invariants: a listing is bounded in objects, pages
//! and time; bytes come from the very object that was listed, all of them, or the read fails; no message has a secret or an
//! answer of a store in it.

mod bucket;
mod client;
pub mod definition;
mod error;
mod heard;
mod listing;
mod pinned;
mod right;

pub(super) use bucket::Bucket;
pub(super) use error::{Asked, own};
pub(super) use listing::{Listing, nanoseconds, strong};
pub(super) use pinned::{Pieces, Pinned};
