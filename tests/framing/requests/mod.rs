//! From the caller to the upstream.

pub(crate) mod chunks;
pub(crate) mod connection;
pub(crate) mod content_length;
pub(crate) mod fields;
pub(crate) mod host;
pub(crate) mod lines;
pub(crate) mod methods;
pub(crate) mod pipeline;
pub(crate) mod transfer_encoding;
pub(crate) mod versions;
