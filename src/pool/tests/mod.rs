//! HTTP/2 to an upstream over pipes in memory, by a server of the same library as the client; time
//! is paused.

mod exchanges;
mod lifetimes;
mod sharing;
mod support;
mod upgrades;
