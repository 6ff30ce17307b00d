//! Pure policies: state machines and arithmetic that know no socket, no clock and no metric.
//!
//! The present instant comes in as an argument, decisions and transitions go out as return
//! values, randomness is seeded. The shells in [`crate::upstream`] add the lock, the guard and
//! the observer. Nothing here is `async` and nothing here can fail or panic.

pub mod adaptive;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod classify;
pub mod ejection;
pub mod fault;
pub mod hedge;
pub mod rate_limit;
pub mod retry;
pub mod timeout;

/// Shares are kept in thousandths of a percent, so that comparisons are exact: this is the whole.
pub const WHOLE: u32 = 100_000;

/// What an attempt told us about its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The upstream answered.
    Success,
    /// The upstream failed.
    Failure,
    /// No evidence either way.
    Ignored,
    /// Cut short by somebody else than the upstream: slow if it already was, else no evidence.
    Abandoned,
}
