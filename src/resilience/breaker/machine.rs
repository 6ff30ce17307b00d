//! The machine: states, tickets and what a recorded outcome does.
//!
//! | state        | acquire                               | record                   | left by                          |
//! |--------------|---------------------------------------|--------------------------|----------------------------------|
//! | closed       | grants                                | window, then thresholds  | a threshold, overdue attempts    |
//! | open         | rejects until the wait is over        | –                        | acquire after the wait, or alone |
//! | half-open    | grants while there are permits        | as one of the N results  | N results, the longest wait      |
//! | metrics-only | grants                                | window, reports only     | operator, its time limit         |
//! | disabled     | grants                                | –                        | operator, its time limit         |
//! | forced-open  | rejects                               | –                        | operator, its time limit         |
//!
//! Every entry into a state starts an epoch with fresh data; a ticket of another epoch changes
//! nothing. Changes that time brings are found at the next call, and happen as of the instant
//! they were due, in that order, before the call itself.

use std::mem;
use std::time::{Duration, Instant};

use super::overdue::{Key, NONE, Running};
use super::wait::open_wait;
use super::window::{Sliding, Tally, reaches};
use super::{AfterMaxWait, Cause, Counted, Counts, Event, Rejected, Settings, State, Transition};
use crate::resilience::Verdict;

/// Right of one attempt to record its outcome. Its guard is [`crate::upstream::breaker::Permit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    epoch: u64,
    key: Key,
}

/// A breaker without clock, lock or observer.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    rng: fastrand::Rng,
    origin: Instant,
    last_seen: Duration,
    epoch: u64,
    sequence: u64,
    /// Outcomes recorded since the start.
    recorded: u64,
    pub(super) opens: u32,
    pub(super) transitions: u64,
    pub(super) last: Option<Transition>,
    pub(super) phase: Phase,
    window: Sliding,
    pub(super) running: Running,
    /// Failures in a row.
    failures: u32,
    events: Vec<Event>,
}

/// A state with its data. Instants are durations since the machine's origin.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Closed,
    Open {
        entered: Duration,
        until: Duration,
        /// The draw of the jitter, kept for a reload.
        draw: u32,
    },
    HalfOpen {
        calls: u32,
        permits: u32,
        results: Tally,
        until: Option<Duration>,
        then: AfterMaxWait,
    },
    MetricsOnly {
        until: Duration,
        reported: bool,
    },
    Disabled {
        until: Duration,
    },
    ForcedOpen {
        until: Duration,
    },
}

impl Phase {
    pub(super) const fn state(&self) -> State {
        match self {
            Self::Closed => State::Closed,
            Self::Open { .. } => State::Open,
            Self::HalfOpen { .. } => State::HalfOpen,
            Self::MetricsOnly { .. } => State::MetricsOnly,
            Self::Disabled { .. } => State::Disabled,
            Self::ForcedOpen { .. } => State::ForcedOpen,
        }
    }
}

impl Machine {
    /// Starts closed with an empty window. `now` is the zero of the window's seconds, `seed` that
    /// of the jitter.
    pub fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            origin: now,
            last_seen: Duration::ZERO,
            epoch: 0,
            sequence: 0,
            recorded: 0,
            opens: 0,
            transitions: 0,
            last: None,
            phase: Phase::Closed,
            window: Sliding::new(settings.window, 0),
            running: Running::new(),
            failures: 0,
            events: Vec::new(),
            settings,
        }
    }

    /// Says what [`Self::acquire`] would, and takes nothing.
    pub fn peek(&mut self, now: Instant) -> Result<(), Rejected> {
        let now = self.advance(now);
        let retry_after = match self.phase {
            Phase::Open { until, .. } if now < until => until.saturating_sub(now),
            Phase::ForcedOpen { until } => until.saturating_sub(now),
            Phase::HalfOpen { permits: 0, .. } => Duration::ZERO,
            _ => return Ok(()),
        };
        Err(Rejected {
            retry_after,
            state: self.phase.state(),
        })
    }

    /// Whether attempts go out as if there were no breaker; else the state, which rejects or probes.
    pub fn steady(&mut self, now: Instant) -> Result<(), State> {
        self.advance(now);
        match self.phase {
            Phase::Closed | Phase::MetricsOnly { .. } | Phase::Disabled { .. } => Ok(()),
            _ => Err(self.phase.state()),
        }
    }

    /// Admits an attempt or rejects it. The first after the open wait begins the half-open period.
    pub fn acquire(&mut self, now: Instant) -> Result<Ticket, Rejected> {
        self.peek(now)?;
        let now = self.last_seen;
        if matches!(self.phase, Phase::Open { .. }) {
            self.half_open(now, Cause::WaitOver);
        }
        if let Phase::HalfOpen { permits, .. } = &mut self.phase {
            *permits -= 1;
        }
        self.sequence += 1;
        let key = match self.settings.overdue_after() {
            Some(after) if !matches!(self.phase, Phase::Disabled { .. }) => {
                self.running
                    .insert(self.sequence, self.recorded, now.saturating_add(after))
            }
            _ => Key {
                slot: NONE,
                sequence: self.sequence,
            },
        };
        self.check();
        Ok(Ticket {
            epoch: self.epoch,
            key,
        })
    }

    /// The attempt's clock stops: nothing to send, the caller's upload is awaited.
    pub fn pause(&mut self, ticket: Ticket, now: Instant) {
        let now = self.advance(now);
        if ticket.epoch == self.epoch {
            self.running.pause(ticket.key, now);
        }
    }

    /// The attempt's clock runs on.
    pub fn resume(&mut self, ticket: Ticket, now: Instant) {
        let now = self.advance(now);
        if ticket.epoch == self.epoch {
            self.running.resume(ticket.key, now);
        }
    }

    /// The response head arrived: the attempt is not overdue from here on.
    pub fn head(&mut self, ticket: Ticket, now: Instant) {
        self.advance(now);
        if ticket.epoch == self.epoch {
            let remember = self.is_half_open();
            self.running.answered(ticket.key, remember);
        }
    }

    /// Records how an attempt ended, `duration` being read from its clock. A ticket is recorded
    /// once; the guard sees to that.
    pub fn record(
        &mut self,
        ticket: Ticket,
        verdict: Verdict,
        duration: Duration,
        now: Instant,
    ) -> Counted {
        let now = self.advance(now);
        if ticket.epoch != self.epoch {
            return Counted::Late;
        }
        let was_overdue = self.running.end(ticket.key);
        let slow = self
            .settings
            .slow_call
            .is_some_and(|limit| duration > limit);
        let failed = match verdict {
            Verdict::Failure => true,
            Verdict::Success => false,
            Verdict::Abandoned if slow => false,
            Verdict::Abandoned | Verdict::Ignored => {
                if let Phase::HalfOpen { permits, .. } = &mut self.phase
                    && !was_overdue
                {
                    *permits += 1;
                }
                self.check();
                return Counted::Ignored;
            }
        };
        match self.phase {
            Phase::Closed | Phase::MetricsOnly { .. } => self.sample(failed, slow, now),
            // An overdue probe has had its result.
            Phase::HalfOpen { .. } if !was_overdue => self.probed(failed, slow, now),
            _ => {}
        }
        self.check();
        if failed {
            Counted::Failure { slow }
        } else {
            Counted::Success { slow }
        }
    }

    /// Hands out what happened since the last time, in order. Allocates nothing where that is
    /// nothing.
    pub fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    /// Whether [`Self::take_events`] has something to hand out.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Lets happen what is due by `now`; says what time it is in here.
    pub(super) fn advance(&mut self, now: Instant) -> Duration {
        let now = self.since_origin(now).max(self.last_seen);
        self.last_seen = now;
        loop {
            // A period that ends at the instant an attempt falls due is over by then.
            match (self.phase_due(), self.running.first_due()) {
                (Some(due), overdue)
                    if due <= now && overdue.is_none_or(|overdue| due <= overdue) =>
                {
                    self.phase_over(due);
                }
                (_, Some(due)) if due <= now => self.fall_due(due),
                _ => return now,
            }
        }
    }

    pub(super) fn since_origin(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.origin)
    }

    /// When time alone ends the present state.
    fn phase_due(&self) -> Option<Duration> {
        match self.phase {
            Phase::Closed => None,
            Phase::Open { until, .. } => self.settings.auto_half_open.then_some(until),
            Phase::HalfOpen { until, .. } => until,
            Phase::MetricsOnly { until, .. }
            | Phase::Disabled { until }
            | Phase::ForcedOpen { until } => Some(until),
        }
    }

    fn phase_over(&mut self, due: Duration) {
        match self.phase {
            Phase::Open { .. } => self.half_open(due, Cause::WaitOver),
            Phase::HalfOpen {
                then: AfterMaxWait::Open,
                ..
            } => self.open(due, Cause::MaxWait),
            Phase::HalfOpen {
                then: AfterMaxWait::Closed,
                ..
            } => self.close(due, Cause::MaxWait),
            _ => self.close(due, Cause::OverrideExpired),
        }
    }

    /// The next attempt becomes overdue.
    fn fall_due(&mut self, due: Duration) {
        self.running.fall_due();
        if self.is_half_open() {
            self.probed(false, true, due);
        } else if self.overdue_reached() {
            self.trip(due, Cause::Overdue);
        }
    }

    fn overdue_reached(&self) -> bool {
        let settings = &self.settings;
        let overdue = self.running.overdue();
        let recorded = self.running.recorded_before_oldest();
        let since = self.recorded - recorded.unwrap_or(self.recorded);
        overdue >= u64::from(settings.min_calls.min(settings.max_requests))
            && reaches(overdue, overdue + since, settings.slow_rate)
    }

    /// A call of the closed or metrics-only state.
    fn sample(&mut self, failed: bool, slow: bool, now: Duration) {
        self.recorded += 1;
        self.failures = if failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
        self.window.add(failed, slow, now.as_secs());
        let total = self.window.total(now.as_secs());
        let settings = &self.settings;
        let rates = if total.calls >= u64::from(settings.min_calls) {
            self.rates_reached(total)
        } else {
            None
        };
        let in_a_row = || {
            let limit = settings.consecutive_failures?;
            (failed && self.failures >= limit).then_some(Cause::ConsecutiveFailures)
        };
        if let Some(cause) = rates.or_else(in_a_row) {
            self.trip(now, cause);
        }
    }

    /// A result of the half-open state; the last one decides.
    fn probed(&mut self, failed: bool, slow: bool, now: Duration) {
        let Phase::HalfOpen { results, calls, .. } = &mut self.phase else {
            return;
        };
        results.add(failed, slow);
        if results.calls == u64::from(*calls) {
            let results = *results;
            match self.rates_reached(results) {
                Some(cause) => self.open(now, cause),
                None => self.close(now, Cause::Recovered),
            }
        }
    }

    fn rates_reached(&self, total: Tally) -> Option<Cause> {
        let failure = reaches(total.failed, total.calls, self.settings.failure_rate);
        let slow = reaches(total.slow, total.calls, self.settings.slow_rate);
        match (failure, slow) {
            (true, true) => Some(Cause::FailureAndSlowRate),
            (true, false) => Some(Cause::FailureRate),
            (false, true) => Some(Cause::SlowRate),
            (false, false) => None,
        }
    }

    fn trip(&mut self, now: Duration, cause: Cause) {
        if matches!(self.phase, Phase::Closed) {
            self.open(now, cause);
        } else if let Phase::MetricsOnly { reported, .. } = &mut self.phase
            && !mem::replace(reported, true)
        {
            let counts = self.counts(now);
            self.events.push(Event::WouldTrip { cause, counts });
        }
    }

    pub(super) fn close(&mut self, now: Duration, cause: Cause) {
        self.opens = 0;
        self.enter(Phase::Closed, now, cause, None);
    }

    pub(super) fn open(&mut self, now: Duration, cause: Cause) {
        self.opens = self.opens.saturating_add(1);
        let draw = self.rng.u32(..);
        let wait = open_wait(&self.settings, self.opens, draw);
        let phase = Phase::Open {
            entered: now,
            until: now.saturating_add(wait),
            draw,
        };
        self.enter(phase, now, cause, Some(wait));
    }

    pub(super) fn half_open(&mut self, now: Duration, cause: Cause) {
        let settings = &self.settings;
        let wait = settings.half_open_max_wait.filter(|wait| !wait.is_zero());
        let phase = Phase::HalfOpen {
            calls: settings.half_open_calls,
            permits: settings.half_open_calls,
            results: Tally::default(),
            until: wait.map(|wait| now.saturating_add(wait)),
            then: settings.half_open_on_max_wait,
        };
        self.enter(phase, now, cause, None);
    }

    /// Starts an epoch.
    pub(super) fn enter(
        &mut self,
        phase: Phase,
        now: Duration,
        cause: Cause,
        open_wait: Option<Duration>,
    ) {
        let counts = self.counts(now);
        let transition = Transition {
            from: self.phase.state(),
            to: phase.state(),
            cause,
            counts,
            open_wait,
        };
        self.last = Some(transition.clone());
        self.events.push(Event::Transition(transition));
        self.phase = phase;
        self.transitions += 1;
        self.forget();
    }

    /// A new epoch with fresh data.
    pub(super) fn forget(&mut self) {
        self.epoch += 1;
        self.window.clear();
        self.running.clear();
        self.failures = 0;
    }

    pub(super) fn new_window(&mut self, now: Duration) {
        self.window = Sliding::new(self.settings.window, now.as_secs());
    }

    /// What counts in the present state.
    pub(super) fn counts(&mut self, now: Duration) -> Counts {
        let total = match self.phase {
            Phase::HalfOpen { results, .. } => results,
            _ => self.window.total(now.as_secs()),
        };
        let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Counts {
            calls: narrow(total.calls),
            failed: narrow(total.failed),
            slow: narrow(total.slow),
            overdue: narrow(self.running.overdue()),
        }
    }

    pub(super) const fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { .. })
    }

    /// What must hold between calls.
    fn check(&self) {
        if let Phase::HalfOpen {
            calls,
            permits,
            results,
            ..
        } = self.phase
        {
            debug_assert!(u64::from(permits) + results.calls <= u64::from(calls));
            debug_assert!(results.calls < u64::from(calls), "undecided");
        }
    }
}
