//! The breaker once more, as plainly as its rules read: it keeps every attempt and every outcome
//! and counts them afresh for each decision. Only good for comparison.

use std::time::{Duration, Instant};

use super::*;
use crate::resilience::Verdict;

#[derive(Clone, Debug)]
struct Attempt {
    generation: u64,
    /// Time on its clock up to `running_since`.
    ran: Duration,
    running_since: Option<Duration>,
    /// Past this on its clock it is overdue; `None`: never.
    allowance: Option<Duration>,
    headed: bool,
    ended: bool,
    overdue: bool,
    /// Its result in the half-open period, or that it gave its permit back.
    result: Option<(bool, bool)>,
    given_back: bool,
    outcomes_before: usize,
}

impl Attempt {
    fn due(&self) -> Option<Duration> {
        if self.headed || self.ended || self.overdue {
            return None;
        }
        let left = self.allowance? + Duration::from_nanos(1) - self.ran;
        Some(self.running_since? + left)
    }
}

#[derive(Clone, Debug)]
struct Outcome {
    generation: u64,
    at: Duration,
    failed: bool,
    slow: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    settings: Settings,
    rng: fastrand::Rng,
    origin: Instant,
    now: Duration,
    generation: u64,
    state: State,
    entered: Duration,
    /// When the state ends, as far as time ends it.
    until: Option<Duration>,
    draw: u32,
    opens: u32,
    transitions: u64,
    last: Option<Transition>,
    half_open_calls: usize,
    half_open_then: AfterMaxWait,
    reported: bool,
    attempts: Vec<Attempt>,
    outcomes: Vec<Outcome>,
    /// Outcomes before this one were forgotten by a reload of the window.
    window_from: usize,
    pub(super) events: Vec<Event>,
}

impl Model {
    pub(super) fn new(settings: Settings, seed: u64, origin: Instant) -> Self {
        Self {
            settings,
            rng: fastrand::Rng::with_seed(seed),
            origin,
            now: Duration::ZERO,
            generation: 0,
            state: State::Closed,
            entered: Duration::ZERO,
            until: None,
            draw: 0,
            opens: 0,
            transitions: 0,
            last: None,
            half_open_calls: 0,
            half_open_then: AfterMaxWait::Open,
            reported: false,
            attempts: Vec::new(),
            outcomes: Vec::new(),
            window_from: 0,
            events: Vec::new(),
        }
    }

    pub(super) fn peek(&mut self, now: Instant) -> Result<(), Rejected> {
        self.run_to(now);
        let retry_after = match self.state {
            State::Closed | State::MetricsOnly | State::Disabled => return Ok(()),
            State::Open if self.now >= self.until.unwrap() => return Ok(()),
            State::Open | State::ForcedOpen => self.until.unwrap() - self.now,
            State::HalfOpen if self.permits() > 0 => return Ok(()),
            State::HalfOpen => Duration::ZERO,
        };
        Err(Rejected {
            retry_after,
            state: self.state,
        })
    }

    pub(super) fn acquire(&mut self, now: Instant) -> Result<usize, Rejected> {
        self.peek(now)?;
        if self.state == State::Open {
            self.enter_half_open(self.now, Cause::WaitOver);
        }
        self.attempts.push(Attempt {
            generation: self.generation,
            ran: Duration::ZERO,
            running_since: Some(self.now),
            allowance: if self.settings.count_overdue && self.state != State::Disabled {
                self.settings.slow_call
            } else {
                None
            },
            headed: false,
            ended: false,
            overdue: false,
            result: None,
            given_back: false,
            outcomes_before: self.outcomes.len(),
        });
        Ok(self.attempts.len() - 1)
    }

    pub(super) fn pause(&mut self, id: usize, now: Instant) {
        self.run_to(now);
        let attempt = &mut self.attempts[id];
        if let Some(since) = attempt.running_since.take() {
            attempt.ran += self.now - since;
        }
    }

    pub(super) fn resume(&mut self, id: usize, now: Instant) {
        self.run_to(now);
        let attempt = &mut self.attempts[id];
        attempt.running_since.get_or_insert(self.now);
    }

    pub(super) fn head(&mut self, id: usize, now: Instant) {
        self.run_to(now);
        self.attempts[id].headed = true;
    }

    pub(super) fn record(
        &mut self,
        id: usize,
        verdict: Verdict,
        duration: Duration,
        now: Instant,
    ) -> Counted {
        self.run_to(now);
        self.attempts[id].ended = true;
        if self.attempts[id].generation != self.generation {
            return Counted::Late;
        }
        let slow = self
            .settings
            .slow_call
            .is_some_and(|limit| duration > limit);
        let failed = match (verdict, slow) {
            (Verdict::Ignored, _) | (Verdict::Abandoned, false) => {
                self.attempts[id].given_back = true;
                return Counted::Ignored;
            }
            (Verdict::Failure, _) => true,
            (Verdict::Success, _) | (Verdict::Abandoned, true) => false,
        };
        match self.state {
            State::Closed | State::MetricsOnly => {
                self.outcomes.push(Outcome {
                    generation: self.generation,
                    at: self.now,
                    failed,
                    slow,
                });
                self.evaluate();
            }
            State::HalfOpen if self.attempts[id].result.is_none() => {
                self.attempts[id].result = Some((failed, slow));
                self.decide(self.now);
            }
            _ => {}
        }
        if failed {
            Counted::Failure { slow }
        } else {
            Counted::Success { slow }
        }
    }

    pub(super) fn operate(&mut self, operation: Operation, now: Instant) -> Result<(), Refused> {
        self.run_to(now);
        let overridden = matches!(
            self.state,
            State::MetricsOnly | State::Disabled | State::ForcedOpen
        );
        let (state, until) = match operation {
            Operation::Reset => (State::Closed, None),
            Operation::Trip if !overridden => {
                self.enter_open(self.now, Cause::Operator);
                return Ok(());
            }
            Operation::Probe if !overridden && self.state != State::Closed => {
                self.enter_half_open(self.now, Cause::Operator);
                return Ok(());
            }
            Operation::Trip | Operation::Probe => return Err(Refused::State(self.state)),
            Operation::ForcedOpen { until } => (State::ForcedOpen, Some(until)),
            Operation::Disabled { until } => (State::Disabled, Some(until)),
            Operation::MetricsOnly { until } => (State::MetricsOnly, Some(until)),
        };
        self.opens = 0;
        let until = until.map(|until| until.saturating_duration_since(self.origin).max(self.now));
        self.enter(state, until, self.now, Cause::Operator, None);
        Ok(())
    }

    pub(super) fn reconfigure(&mut self, settings: Settings, now: Instant) {
        self.run_to(now);
        let old = std::mem::replace(&mut self.settings, settings);
        if old.window != self.settings.window {
            self.window_from = self.outcomes.len();
        }
        if self.settings.slow_call.is_none() || !self.settings.count_overdue {
            for attempt in &mut self.attempts {
                attempt.allowance = None;
                attempt.overdue = false;
            }
        }
        if self.state == State::Open {
            let until = self.entered + self.wait(self.draw);
            self.until = Some(self.until.unwrap().min(until).max(self.now));
        }
    }

    pub(super) fn view(&mut self, now: Instant) -> View {
        self.run_to(now);
        let counts = self.counts(self.now);
        let rate = |part: u32| {
            let known = matches!(self.state, State::Closed | State::MetricsOnly)
                && counts.calls >= self.settings.min_calls
                && counts.calls > 0;
            known.then(|| f64::from(part) / f64::from(counts.calls))
        };
        let remaining = self.until.map(|until| until.saturating_sub(self.now));
        View {
            state: self.state,
            counts,
            failure_rate: rate(counts.failed),
            slow_rate: rate(counts.slow),
            opens: self.opens,
            open_remaining: match self.state {
                State::Open => remaining.unwrap(),
                _ => Duration::ZERO,
            },
            probes_left: match self.state {
                State::HalfOpen => u32::try_from(self.permits()).unwrap(),
                _ => 0,
            },
            override_remaining: match self.state {
                State::MetricsOnly | State::Disabled | State::ForcedOpen => remaining,
                _ => None,
            },
            transitions: self.transitions,
            last: self.last.clone(),
        }
    }

    /// Probes of this period that neither have a result nor gave their permit back.
    pub(super) fn probes_out(&self) -> usize {
        self.present()
            .filter(|a| self.state == State::HalfOpen && a.result.is_none() && !a.given_back)
            .count()
    }

    fn run_to(&mut self, now: Instant) {
        let now = now.saturating_duration_since(self.origin).max(self.now);
        loop {
            let ends = match self.state {
                State::Open if !self.settings.auto_half_open => None,
                _ => self.until,
            };
            let overdue = self
                .attempts
                .iter()
                .enumerate()
                .filter(|(_, a)| a.generation == self.generation)
                .filter_map(|(id, a)| Some((a.due()?, id)))
                .min();
            match (ends, overdue) {
                (Some(ends), _) if ends <= now && overdue.is_none_or(|(due, _)| ends <= due) => {
                    self.time_ends(ends);
                }
                (_, Some((due, id))) if due <= now => self.becomes_overdue(id, due),
                _ => break,
            }
        }
        self.now = now;
    }

    fn time_ends(&mut self, at: Duration) {
        match (self.state, self.half_open_then) {
            (State::Open, _) => self.enter_half_open(at, Cause::WaitOver),
            (State::HalfOpen, AfterMaxWait::Open) => self.enter_open(at, Cause::MaxWait),
            (state, _) => {
                self.opens = 0;
                let cause = if state == State::HalfOpen {
                    Cause::MaxWait
                } else {
                    Cause::OverrideExpired
                };
                self.enter(State::Closed, None, at, cause, None);
            }
        }
    }

    fn becomes_overdue(&mut self, id: usize, at: Duration) {
        self.attempts[id].overdue = true;
        if self.state == State::HalfOpen {
            self.attempts[id].result = Some((false, true));
            self.decide(at);
            return;
        }
        let overdue: Vec<&Attempt> = self.present().filter(|a| is_overdue(a)).collect();
        let settings = &self.settings;
        let since = self.outcomes.len() - overdue[0].outcomes_before;
        let least = settings.min_calls.min(settings.max_requests) as usize;
        let share = 100_000 * overdue.len() / (overdue.len() + since);
        if overdue.len() >= least && share >= settings.slow_rate as usize {
            self.trip(at, Cause::Overdue);
        }
    }

    fn evaluate(&mut self) {
        let window = self.window(self.now);
        let calls = window.len();
        let failed = window.iter().filter(|o| o.failed).count();
        let slow = window.iter().filter(|o| o.slow).count();
        let in_a_row = self
            .outcomes
            .iter()
            .rev()
            .take_while(|o| o.generation == self.generation && o.failed)
            .count();
        let rates = (calls >= self.settings.min_calls as usize)
            .then(|| self.reached(failed, slow, calls))
            .flatten();
        let limit = self.settings.consecutive_failures;
        if let Some(cause) = rates {
            self.trip(self.now, cause);
        } else if in_a_row > 0 && limit.is_some_and(|limit| in_a_row >= limit as usize) {
            self.trip(self.now, Cause::ConsecutiveFailures);
        }
    }

    fn decide(&mut self, at: Duration) {
        let results: Vec<_> = self.present().filter_map(|a| a.result).collect();
        if results.len() < self.half_open_calls {
            return;
        }
        let failed = results.iter().filter(|(failed, _)| *failed).count();
        let slow = results.iter().filter(|(_, slow)| *slow).count();
        if let Some(cause) = self.reached(failed, slow, results.len()) {
            self.enter_open(at, cause);
        } else {
            self.opens = 0;
            self.enter(State::Closed, None, at, Cause::Recovered, None);
        }
    }

    fn reached(&self, failed: usize, slow: usize, calls: usize) -> Option<Cause> {
        let failed = 100_000 * failed >= self.settings.failure_rate as usize * calls;
        let slow = 100_000 * slow >= self.settings.slow_rate as usize * calls;
        match (failed, slow) {
            (true, true) => Some(Cause::FailureAndSlowRate),
            (true, false) => Some(Cause::FailureRate),
            (false, true) => Some(Cause::SlowRate),
            (false, false) => None,
        }
    }

    fn trip(&mut self, at: Duration, cause: Cause) {
        if self.state == State::Closed {
            self.enter_open(at, cause);
        } else if !self.reported {
            self.reported = true;
            let counts = self.counts(at);
            self.events.push(Event::WouldTrip { cause, counts });
        }
    }

    fn enter_open(&mut self, at: Duration, cause: Cause) {
        self.opens += 1;
        self.draw = self.rng.u32(..);
        let wait = self.wait(self.draw);
        self.enter(State::Open, Some(at + wait), at, cause, Some(wait));
    }

    fn enter_half_open(&mut self, at: Duration, cause: Cause) {
        self.half_open_calls = self.settings.half_open_calls as usize;
        self.half_open_then = self.settings.half_open_on_max_wait;
        let until = self.settings.half_open_max_wait.map(|wait| at + wait);
        self.enter(State::HalfOpen, until, at, cause, None);
    }

    fn enter(
        &mut self,
        state: State,
        until: Option<Duration>,
        at: Duration,
        cause: Cause,
        open_wait: Option<Duration>,
    ) {
        let transition = Transition {
            from: self.state,
            to: state,
            cause,
            counts: self.counts(at),
            open_wait,
        };
        self.last = Some(transition.clone());
        self.events.push(Event::Transition(transition));
        self.state = state;
        self.until = until;
        self.entered = at;
        self.generation += 1;
        self.transitions += 1;
        self.reported = false;
    }

    fn wait(&self, draw: u32) -> Duration {
        let settings = &self.settings;
        let cap = settings.open_for_max.as_millis();
        let mut wait = settings.open_for.as_millis();
        for _ in 1..self.opens {
            wait = (wait * u128::from(settings.open_multiplier) / 1000).min(cap);
        }
        // Thousandths of a millisecond, times 2³².
        let jitter = u128::from(settings.open_jitter) * u128::from(draw);
        let scaled = wait.min(cap) * ((1000 << 32) + jitter);
        Duration::from_millis(u64::try_from(scaled / (1000 << 32)).unwrap())
    }

    fn present(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(|a| a.generation == self.generation)
    }

    fn permits(&self) -> usize {
        self.half_open_calls
            - self
                .present()
                .filter(|a| !a.given_back || a.result.is_some())
                .count()
    }

    fn window(&self, at: Duration) -> Vec<&Outcome> {
        let all = self.outcomes[self.window_from..]
            .iter()
            .filter(|o| o.generation == self.generation);
        match self.settings.window {
            Window::Seconds(size) => all
                .filter(|o| o.at.as_secs() + u64::from(size) > at.as_secs())
                .collect(),
            Window::Calls(size) => {
                let all: Vec<_> = all.collect();
                all[all.len().saturating_sub(size as usize)..].to_vec()
            }
        }
    }

    fn counts(&self, at: Duration) -> Counts {
        let calls: Vec<(bool, bool)> = if self.state == State::HalfOpen {
            self.present().filter_map(|a| a.result).collect()
        } else {
            self.window(at).iter().map(|o| (o.failed, o.slow)).collect()
        };
        let count = |number: usize| u32::try_from(number).unwrap();
        Counts {
            calls: count(calls.len()),
            failed: count(calls.iter().filter(|(failed, _)| *failed).count()),
            slow: count(calls.iter().filter(|(_, slow)| *slow).count()),
            overdue: count(self.present().filter(|a| is_overdue(a)).count()),
        }
    }
}

fn is_overdue(attempt: &Attempt) -> bool {
    attempt.overdue && !attempt.headed && !attempt.ended
}
