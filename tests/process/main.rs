//! The real binary over real sockets: faults, policies, signals and exit codes.
//!
//! Results are asserted by what the caller got, what the upstream saw and what the metrics say,
//! never by how long something took.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/h2raw/mod.rs"]
#[expect(dead_code, reason = "shared with a suite that uses more of it")]
mod h2raw;

mod adaptive;
mod balance;
mod breaker;
mod bulkhead;
mod callers;
mod continues;
mod discovery;
mod ejection;
mod expect;
mod explain;
mod failover;
mod fairness;
mod fault_injection;
mod faults;
mod forward;
mod framing;
mod grpc_h2;
mod header_case;
mod headers;
mod hedging;
mod http;
mod http2_upstream;
mod idempotency;
mod layers;
mod lifecycle;
mod limits;
mod limits_h2;
mod logs;
mod operator;
mod priority;
mod rate_limit;
mod recovery;
mod replay;
mod retries;
mod reuse;
mod routing;
mod scripted;
mod tcp;
mod timeouts;
mod tls_listener;
mod tls_upstream;
mod tunnels;
mod unix;
mod verdicts;
