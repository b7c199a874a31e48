pub mod config;
pub mod delivery;
pub mod destination;
pub mod domain;
pub mod shutdown;
pub mod snapshot;
pub mod source;
