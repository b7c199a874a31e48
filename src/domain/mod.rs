//! Values and pure rules. No IO, no async, no clock.

pub mod chosen;
pub mod codec;
pub mod column;
pub mod cursor;
pub mod decimal;
pub mod decision;
pub mod entry;
pub mod extras;
pub mod file;
pub mod guard;
pub mod hexadecimal;
pub mod id;
pub mod key;
pub mod kind;
pub mod message;
pub mod nested;
pub mod priority;
pub mod render;
pub mod run;
pub mod skip;
pub mod status;
pub mod sync;
pub mod syncable;
pub mod tally;
pub mod value;
pub mod whole;
