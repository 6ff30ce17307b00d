//! The whole request path in virtual time, over in-memory pipes.
//!
//! Callers are scripted tasks that write raw bytes to [`outrigger::listener::serve`]; upstreams are
//! scripted tasks behind a [`outrigger::pool::Dial`] that hands out pipes. The runtime's clock is
//! paused: it moves on only when nothing can run, so a simulated minute costs no time and every
//! instant is exact. No socket, file or thread but the log's is touched.

#![cfg(test)]

mod caller;
mod cut;
mod deadlines;
#[path = "../support/metrics.rs"]
mod metrics;
mod policies;
mod pool;
mod random;
mod replies;
mod timers;
mod upstream;
mod wire;
mod world;
