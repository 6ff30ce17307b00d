//! From the upstream to the caller.

pub(crate) mod bodies;
pub(crate) mod fields;
pub(crate) mod framing;
pub(crate) mod interim;
pub(crate) mod status;
