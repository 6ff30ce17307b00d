//! What operators and reloads do to the machine, and how it looks from outside.

use std::mem;
use std::time::{Duration, Instant};

use super::machine::{Machine, Phase};
use super::{Cause, Operation, Refused, Settings, View};

impl Machine {
    /// Does what an operator asks, or refuses and changes nothing. Running attempts do not count
    /// afterwards.
    pub fn operate(&mut self, operation: Operation, now: Instant) -> Result<(), Refused> {
        let now = self.advance(now);
        let limit = |machine: &Self, until| machine.since_origin(until).max(now);
        let phase = match (operation, &self.phase) {
            (Operation::Reset, _) => {
                self.close(now, Cause::Operator);
                return Ok(());
            }
            (Operation::Trip, Phase::Closed | Phase::Open { .. } | Phase::HalfOpen { .. }) => {
                self.open(now, Cause::Operator);
                return Ok(());
            }
            (Operation::Probe, Phase::Open { .. } | Phase::HalfOpen { .. }) => {
                self.half_open(now, Cause::Operator);
                return Ok(());
            }
            (Operation::Trip | Operation::Probe, phase) => {
                return Err(Refused::State(phase.state()));
            }
            (Operation::ForcedOpen { until }, _) => Phase::ForcedOpen {
                until: limit(self, until),
            },
            (Operation::Disabled { until }, _) => Phase::Disabled {
                until: limit(self, until),
            },
            (Operation::MetricsOnly { until }, _) => Phase::MetricsOnly {
                until: limit(self, until),
                reported: false,
            },
        };
        self.opens = 0;
        self.enter(phase, now, Cause::Operator, None);
        Ok(())
    }

    /// Takes over new settings: the state stays.
    ///
    /// Thresholds act from the next record, a changed window starts empty, an open wait may only
    /// become shorter, the half-open settings act from the next period. Attempts in flight keep
    /// the allowance they were dispatched with until they are overdue.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        let now = self.advance(now);
        let old = mem::replace(&mut self.settings, settings);
        if old.window != self.settings.window {
            self.new_window(now);
        }
        if old.overdue_after() != self.settings.overdue_after() {
            if self.settings.overdue_after().is_some() {
                self.running.allowance_changed();
            } else {
                self.running.all_answered(self.is_half_open());
            }
        }
        if let Phase::Open {
            entered,
            until,
            draw,
        } = &mut self.phase
        {
            let wait = super::wait::open_wait(&self.settings, self.opens, *draw);
            // Not before now, so that half-open cannot begin in the past.
            *until = (*until).min(entered.saturating_add(wait)).max(now);
        }
    }

    /// Forgets all: closed with an empty window, running attempts do not count afterwards. Says
    /// nothing where it was closed before.
    pub fn switch_off(&mut self, now: Instant) {
        let now = self.advance(now);
        if matches!(self.phase, Phase::Closed) {
            self.forget();
        } else {
            self.close(now, Cause::Operator);
        }
    }

    /// How the breaker looks. Changes no decision.
    pub fn view(&mut self, now: Instant) -> View {
        let now = self.advance(now);
        let counts = self.counts(now);
        let rate = |part: u32| {
            let enough = match self.phase {
                Phase::HalfOpen { calls, .. } => calls,
                _ => self.settings.min_calls,
            };
            (counts.calls >= enough.max(1)).then(|| f64::from(part) / f64::from(counts.calls))
        };
        View {
            state: self.phase.state(),
            counts,
            failure_rate: rate(counts.failed),
            slow_rate: rate(counts.slow),
            opens: self.opens,
            open_remaining: match self.phase {
                Phase::Open { until, .. } => until.saturating_sub(now),
                _ => Duration::ZERO,
            },
            probes_left: match self.phase {
                Phase::HalfOpen { permits, .. } => permits,
                _ => 0,
            },
            override_remaining: match self.phase {
                Phase::MetricsOnly { until, .. }
                | Phase::Disabled { until }
                | Phase::ForcedOpen { until } => Some(until.saturating_sub(now)),
                _ => None,
            },
            transitions: self.transitions,
            last: self.last.clone(),
        }
    }
}
