//! Configuration: written, valid, explained.

pub mod model;
