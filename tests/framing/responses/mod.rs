//! From the upstream to the caller.

mod bodies;
mod fields;
mod framing;
mod interim;
mod status;
