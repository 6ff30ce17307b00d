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

/// Why an attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The upstream certainly did not process it.
    NotSent,
    /// The connection broke before the response head.
    Reset,
    /// `first_byte` ran out.
    Timeout,
    /// The status of the response.
    Status,
    /// The gRPC status of the response.
    Grpc,
}

impl Why {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 5] = [
        Self::NotSent,
        Self::Reset,
        Self::Timeout,
        Self::Status,
        Self::Grpc,
    ];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Grpc => "grpc",
        }
    }
}

/// Why an outcome that calls for a retry is delivered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// All attempts were made.
    Spent,
    /// The request may have been processed and is not idempotent.
    Unsafe,
    /// Its body was not kept.
    Committed,
    /// The upstream forbids it.
    Forbidden,
    /// The delay does not fit into what is left of the deadline.
    Deadline,
    /// The breaker would reject it.
    Breaker,
    /// The budget is exhausted.
    Budget,
}

impl Denied {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Spent,
        Self::Unsafe,
        Self::Committed,
        Self::Forbidden,
        Self::Deadline,
        Self::Breaker,
        Self::Budget,
    ];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spent => "spent",
            Self::Unsafe => "unsafe",
            Self::Committed => "committed",
            Self::Forbidden => "forbidden",
            Self::Deadline => "deadline",
            Self::Breaker => "breaker",
            Self::Budget => "budget",
        }
    }
}
