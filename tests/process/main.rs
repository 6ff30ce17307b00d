//! The real binary over real sockets: faults, policies, signals and exit codes.
//!
//! Results are asserted by what the caller got, what the upstream saw and what the metrics say,
//! never by how long something took.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod breaker;
mod bulkhead;
mod expect;
mod faults;
mod framing;
mod http;
mod lifecycle;
mod operator;
mod reuse;
mod routing;
mod scripted;
mod timeouts;
