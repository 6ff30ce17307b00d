//! What the tests of the running proxy share: a scripted upstream, a raw client and the daemon.
//!
//! Everything here speaks HTTP/1.1 on plain sockets, byte by byte, and knows nothing of hyper: a
//! mistake in the proxy's codec cannot hide behind the same mistake here. Nothing sleeps to wait
//! for something to happen: waits end on a condition, and a bound ([`PATIENCE`]) only turns a hang
//! into a failure.

use std::time::Duration;

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod dead;
pub(crate) mod dns;
pub(crate) mod gate;
pub(crate) mod grpc;
pub(crate) mod h2_server;
pub(crate) mod metrics;
pub(crate) mod stage;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod wire;

/// What should happen happens long before; past this a test has failed. No result depends on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
