//! A destination that misbehaves, and a story told with it.
pub mod destination;
pub mod faults;
pub mod object;
mod request;
pub mod table;
