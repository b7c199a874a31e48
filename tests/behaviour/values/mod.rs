//! Every supported type from the source to the request, the snapshot and a second run that sends nothing (E6, E7, I8).
//!
//! What should arrive is computed from the values that the test made (`cell`), never with code of the product. `kind`
//! knows how Arrow carries them, `nested` how those that are made of others, `draw` draws some, `table` writes them into
//! Parquet files in any order and cut, `line` is the way of a row through the library without a process, `properties` has
//! the rules for all rows, `wide` shows one table of all types through the real binary, `named` the values that are
//! refused, `inside` what becomes of lists, structs and maps.

mod cell;
mod draw;
mod inside;
mod int96;
mod kind;
mod line;
mod named;
mod nested;
mod properties;
mod table;
mod wide;
