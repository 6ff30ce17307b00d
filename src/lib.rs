//! Outrigger: a sidecar resilience proxy.
//!
//! The service next door points its outbound calls at localhost; every upstream gets its own
//! bulkhead, timeouts and circuit breaker from one TOML file. A slow upstream is cut loose early,
//! cheaply and visibly, without a change to the caller's code.
//!
//! Where to start reading: [`proxy`] holds the order of a request in one function, [`resilience`]
//! the pure policies, [`upstream`] the guards around them, [`pool`] the connections, [`listener`]
//! the server side, and [`app`] puts them together.

pub mod admin;
pub mod app;
pub mod balance;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod explain;
pub mod lifecycle;
pub mod listener;
pub mod net;
pub mod pool;
pub mod proxy;
pub mod resilience;
pub mod rng;
mod sync;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod upstream;
