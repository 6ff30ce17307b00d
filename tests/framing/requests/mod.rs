//! From the caller to the upstream.

mod chunks;
mod connection;
mod content_length;
mod fields;
mod host;
mod lines;
mod methods;
mod pipeline;
mod transfer_encoding;
mod versions;
