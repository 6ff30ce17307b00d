//! What the process tells about itself: metrics, the access log and the process log.
//!
//! Fed with values by the request path and the shells of [`crate::upstream`]; decides nothing and
//! keeps no policy state. Names live in [`names`], once. Nothing here blocks its caller: counters
//! are atomics, live gauges are read at scrape time, a line that finds the access log's queue full
//! is dropped and counted.

pub mod access_log;
#[cfg(test)]
pub(crate) mod capture;
pub mod events;
mod gauges;
pub mod limited;
pub mod logging;
pub mod metrics;
pub mod names;
