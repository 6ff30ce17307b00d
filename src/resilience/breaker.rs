//! The circuit breaker: cuts a failing or slow upstream loose.
//!
//! [`Machine`] is the whole of it: it admits attempts by ticket, hears how they ended, and says
//! when the upstream is too bad to go on. It counts a hung call while it hangs, not when it ends.
//! It knows no clock, no lock and no HTTP; [`crate::upstream::breaker`] is the shell around it.

mod attempt;
mod control;
mod machine;
#[cfg(test)]
mod model;
mod overdue;
#[cfg(test)]
mod tests;
mod wait;
mod window;

use std::time::{Duration, Instant};

pub use self::attempt::AttemptClock;
pub use self::machine::{Machine, Ticket};
use super::WHOLE;

/// Settings of one breaker, valid by construction of [`crate::config`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the rates are computed over.
    pub window: Window,
    /// Rates count only from this many recorded calls on.
    pub min_calls: u32,
    /// Trips at or above this share of failures, thousandths of a percent, 1 to [`WHOLE`].
    pub failure_rate: u32,
    /// A call is slow if it took longer than this; `None` turns slow detection off.
    pub slow_call: Option<Duration>,
    /// Trips at or above this share of slow calls, thousandths of a percent, 1 to [`WHOLE`].
    pub slow_rate: u32,
    /// Whether running calls past `slow_call` count while they run.
    pub count_overdue: bool,
    /// The bulkhead's limit: a small bulkhead full of overdue calls trips below `min_calls`.
    pub max_requests: u32,
    /// This many failures in a row trip at once; `None` is off.
    pub consecutive_failures: Option<u32>,
    /// First open wait.
    pub open_for: Duration,
    /// Cap of the growing open wait, before jitter.
    pub open_for_max: Duration,
    /// Growth of the open wait per consecutive opening, thousandths (2000 doubles), at least 1000.
    pub open_multiplier: u32,
    /// Open waits are lengthened by up to this share, thousandths, at most 1000.
    pub open_jitter: u32,
    /// Probes admitted, and results required, per half-open period.
    pub half_open_calls: u32,
    /// Longest half-open period; `None` is no limit.
    pub half_open_max_wait: Option<Duration>,
    /// Where a half-open period goes that lasted too long.
    pub half_open_on_max_wait: AfterMaxWait,
    /// Whether OPEN is left by time alone.
    pub auto_half_open: bool,
}

impl Settings {
    /// From which age on its clock a running attempt is overdue: the first instant past
    /// `slow_call`, as a call of exactly `slow_call` is not slow.
    fn overdue_after(&self) -> Option<Duration> {
        let limit = self.slow_call.filter(|_| self.count_overdue)?;
        Some(limit.saturating_add(Duration::from_nanos(1)))
    }
}

/// What the rates are computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last so many seconds, in buckets of one second.
    Seconds(u32),
    /// The last so many recorded calls.
    Calls(u32),
}

/// Where a half-open period goes that reached its maximum wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterMaxWait {
    /// Back to open, as a further consecutive opening.
    Open,
    /// To closed with an empty window.
    Closed,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Traffic flows and is watched.
    Closed,
    /// Attempts are rejected until the wait is over.
    Open,
    /// A limited number of probes decides.
    HalfOpen,
    /// Operator: all pass and are counted, nothing trips.
    MetricsOnly,
    /// Operator: all pass, nothing is counted.
    Disabled,
    /// Operator: all are rejected.
    ForcedOpen,
}

impl State {
    /// Every state, in the order of the enum.
    pub const ALL: [Self; 6] = [
        Self::Closed,
        Self::Open,
        Self::HalfOpen,
        Self::MetricsOnly,
        Self::Disabled,
        Self::ForcedOpen,
    ];

    /// The word for metrics, logs and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::MetricsOnly => "metrics_only",
            Self::Disabled => "disabled",
            Self::ForcedOpen => "forced_open",
        }
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The failure rate reached its threshold.
    FailureRate,
    /// The slow rate reached its threshold.
    SlowRate,
    /// Both did at once.
    FailureAndSlowRate,
    /// Running calls past `slow_call` reached their threshold.
    Overdue,
    /// So many failures in a row.
    ConsecutiveFailures,
    /// The open wait is over.
    WaitOver,
    /// The probes were good.
    Recovered,
    /// The half-open period lasted too long.
    MaxWait,
    /// An operator asked for it.
    Operator,
    /// An operator's override expired.
    OverrideExpired,
}

impl Cause {
    /// The word for metrics, logs and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureRate => "failure_rate",
            Self::SlowRate => "slow_rate",
            Self::FailureAndSlowRate => "failure_rate+slow_rate",
            Self::Overdue => "overdue",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::WaitOver => "wait_over",
            Self::Recovered => "recovered",
            Self::MaxWait => "max_wait",
            Self::Operator => "operator",
            Self::OverrideExpired => "override_expired",
        }
    }
}

/// What counted when something was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recorded calls in the window.
    pub calls: u32,
    /// Of them failed.
    pub failed: u32,
    /// Of them slow.
    pub slow: u32,
    /// Running calls past `slow_call`.
    pub overdue: u32,
}

/// Why an attempt may not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Time until an attempt may be admitted; zero where all probes are out.
    pub retry_after: Duration,
    /// The state that rejects.
    pub state: State,
}

/// What became of an attempt in the eyes of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It counts as a success.
    Success {
        /// It took longer than `slow_call`.
        slow: bool,
    },
    /// It counts as a failure.
    Failure {
        /// It took longer than `slow_call`.
        slow: bool,
    },
    /// It is no evidence.
    Ignored,
    /// It was admitted before the last change of state: dropped.
    Late,
    /// It was not admitted.
    Rejected,
    /// It would not have been admitted, had the breaker been enforced.
    WouldReject,
}

/// What happened in a breaker, beside the outcomes themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It changed its state.
    Transition(Transition),
    /// It would have opened, were it not in the metrics-only state: reported once per entry.
    WouldTrip {
        /// Why.
        cause: Cause,
        /// What counted.
        counts: Counts,
    },
}

/// What an operator can ask for. Overrides end by themselves, with a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Closed with an empty window, from any state.
    Reset,
    /// Open, from closed, open (once more) or half-open.
    Trip,
    /// Half-open with full permits, from open or half-open.
    Probe,
    /// Reject all.
    ForcedOpen {
        /// When the override ends.
        until: Instant,
    },
    /// Admit all and count nothing.
    Disabled {
        /// When the override ends.
        until: Instant,
    },
    /// Admit all and count.
    MetricsOnly {
        /// When the override ends.
        until: Instant,
    },
}

/// Why an operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It makes no sense in this state.
    State(State),
    /// The breaker is off.
    Off,
}

/// A change of state, as a value: the shell logs and counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state left.
    pub from: State,
    /// The state entered.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// What counted.
    pub counts: Counts,
    /// On entering open: the wait until probes are admitted.
    pub open_wait: Option<Duration>,
}

/// What a breaker looks like at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its state.
    pub state: State,
    /// What the window holds.
    pub counts: Counts,
    /// Share of failures 0-1, where there are enough calls to say.
    pub failure_rate: Option<f64>,
    /// Share of slow calls 0-1, where there are enough calls to say.
    pub slow_rate: Option<f64>,
    /// Consecutive openings.
    pub opens: u32,
    /// Time until probes are admitted; zero unless open.
    pub open_remaining: Duration,
    /// Probes that may still be taken; zero unless half-open.
    pub probes_left: u32,
    /// An operator's override ends in this time.
    pub override_remaining: Option<Duration>,
    /// Transitions since the start.
    pub transitions: u64,
    /// The transition that led here; `None` before the first.
    pub last: Option<Transition>,
}
