//! Tests of the machine in argument time.

mod attempt;
mod closed;
mod control;
mod half_open;
mod overdue;
mod random;

use std::time::{Duration, Instant};

use super::*;
use crate::resilience::Verdict::{self, Abandoned, Failure, Ignored, Success};

const FAST: Duration = Duration::from_millis(1);
const SLOW_CALL: Duration = Duration::from_millis(100);
const NANO: Duration = Duration::from_nanos(1);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Four calls, half of them bad; no other rule interferes and no jitter.
fn base() -> Settings {
    Settings {
        window: Window::Seconds(10),
        min_calls: 4,
        failure_rate: 50_000,
        slow_call: Some(SLOW_CALL),
        slow_rate: 50_000,
        count_overdue: true,
        max_requests: 100,
        consecutive_failures: None,
        open_for: secs(1),
        open_for_max: secs(60),
        open_multiplier: 2000,
        open_jitter: 0,
        half_open_calls: 3,
        half_open_max_wait: None,
        half_open_on_max_wait: AfterMaxWait::Open,
        auto_half_open: false,
    }
}

/// A machine with a clock driven by hand.
struct Rig {
    machine: Machine,
    start: Instant,
    now: Duration,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let start = crate::time::now();
        Self {
            machine: Machine::new(settings, 7, start),
            start,
            now: Duration::ZERO,
        }
    }

    fn at(&self, at: Duration) -> Instant {
        self.start + at
    }

    fn now(&self) -> Instant {
        self.at(self.now)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn acquire(&mut self) -> Ticket {
        self.machine.acquire(self.now()).expect("is admitted")
    }

    fn rejected(&mut self) -> Rejected {
        let now = self.now();
        let peeked = self.machine.peek(now).expect_err("would be rejected");
        assert_eq!(self.machine.acquire(now), Err(peeked), "peek says the same");
        peeked
    }

    fn head(&mut self, ticket: Ticket) {
        self.machine.head(ticket, self.now());
    }

    fn record(&mut self, ticket: Ticket, verdict: Verdict, duration: Duration) -> Counted {
        self.machine.record(ticket, verdict, duration, self.now())
    }

    /// One call, from beginning to end at this instant.
    fn call(&mut self, verdict: Verdict) -> Counted {
        self.call_of(verdict, FAST)
    }

    fn call_of(&mut self, verdict: Verdict, duration: Duration) -> Counted {
        let ticket = self.acquire();
        self.record(ticket, verdict, duration)
    }

    fn calls(&mut self, count: usize, verdict: Verdict) {
        for _ in 0..count {
            self.call(verdict);
        }
    }

    fn operate(&mut self, operation: Operation) -> Result<(), Refused> {
        self.machine.operate(operation, self.now())
    }

    fn reconfigure(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.machine.settings.clone();
        change(&mut settings);
        self.machine.reconfigure(settings, self.now());
    }

    fn view(&mut self) -> View {
        self.machine.view(self.now())
    }

    #[track_caller]
    fn assert_state(&mut self, state: State) {
        assert_eq!(self.view().state, state);
    }

    #[track_caller]
    fn assert_counts(&mut self, calls: u32, failed: u32, slow: u32) {
        let counts = self.view().counts;
        assert_eq!(
            (counts.calls, counts.failed, counts.slow),
            (calls, failed, slow)
        );
    }

    /// The transitions since the last time.
    fn transitions(&mut self) -> Vec<(State, State, Cause)> {
        let events = self.machine.take_events();
        events
            .into_iter()
            .map(|event| match event {
                Event::Transition(t) => (t.from, t.to, t.cause),
                Event::WouldTrip { .. } => panic!("{event:?}"),
            })
            .collect()
    }

    /// Brings a new machine into a state.
    fn enter(&mut self, state: State) {
        let until = self.at(secs(3600));
        let operations: &[Operation] = match state {
            State::Closed => &[],
            State::Open => &[Operation::Trip],
            State::HalfOpen => &[Operation::Trip, Operation::Probe],
            State::MetricsOnly => &[Operation::MetricsOnly { until }],
            State::Disabled => &[Operation::Disabled { until }],
            State::ForcedOpen => &[Operation::ForcedOpen { until }],
        };
        for operation in operations {
            self.operate(*operation).expect("is possible");
        }
        self.machine.take_events();
    }
}
