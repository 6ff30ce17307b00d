//! Which outcomes are tried again, and after how long.

use std::time::Duration;

use super::classify::StatusSet;

/// `retry` table, without its budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Attempts after the first (0-10).
    pub retries: u32,
    /// Which outcomes are tried again.
    pub on: On,
    /// Whether requests that are neither idempotent nor keyed may be sent again.
    pub non_idempotent: bool,
    /// A request body up to this size is kept for a retry, bytes.
    pub max_body_buffer: usize,
    /// How long to wait before each retry.
    pub backoff: Backoff,
    /// An upstream that asks for a longer wait than this has forbidden the retry.
    pub max_retry_after: Duration,
}

/// Outcomes that are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// The upstream certainly did not process it.
    pub not_sent: bool,
    /// The connection broke before the response head.
    pub reset: bool,
    /// `first_byte` ran out.
    pub timeout: bool,
    /// Statuses of responses.
    pub status: StatusSet,
    /// gRPC statuses of responses that are trailers only.
    pub grpc: Vec<u8>,
}

/// `retry.backoff` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first delay; it doubles from one retry to the next.
    pub base: Duration,
    /// Greatest ceiling.
    pub max: Duration,
    /// How a delay is drawn below its ceiling.
    pub jitter: Jitter,
}

/// How a delay is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Anything from nothing to the ceiling.
    Full,
    /// Half of the ceiling, and anything up to the other half.
    Equal,
    /// From the base to three times the delay before, up to `max`.
    Decorrelated,
    /// The ceiling itself.
    None,
}
