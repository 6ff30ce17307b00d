//! The budget that the retries and hedges of an upstream share: [`Machine`] behind one short lock,
//! with a guard for a withdrawal.
//!
//! Lives between the request path, which deposits once a request and withdraws before each further
//! attempt, and the machine, which counts. A withdrawal whose attempt was never dispatched, because
//! the caller left during the wait, goes back by itself. There is no mode: whether a denial acts is
//! decided where it is asked for.

use std::sync::Arc;
use std::time::Instant;

use super::view::BudgetView;
use crate::resilience::budget::{self, Machine, Settings};
use crate::sync::{Mutex, lock};

/// Bounds the retries and hedges to one upstream, process-wide.
#[derive(Debug)]
pub struct Budget {
    machine: Mutex<Machine>,
}

impl Budget {
    /// Makes a budget that holds its reserve and no deposits.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            machine: Mutex::new(Machine::new(settings, now)),
        }
    }

    /// Adds a request's share. Once a request, when its first attempt is dispatched.
    pub fn deposit(&self, now: Instant) {
        lock(&self.machine).deposit(now);
    }

    /// Takes one retry or hedge out, if there is one left.
    pub fn withdraw(self: &Arc<Self>, now: Instant) -> Option<Withdrawal> {
        let taken = lock(&self.machine).withdraw(now)?;
        Some(Withdrawal {
            budget: Arc::clone(self),
            taken: Some(taken),
        })
    }

    /// How it looks now.
    pub fn view(&self, now: Instant) -> BudgetView {
        BudgetView {
            balance: lock(&self.machine).balance(now),
        }
    }

    /// Takes over the settings of a reload: a new budget if they differ, for which withdrawals of
    /// the old one mean nothing.
    pub fn reconfigure(&self, settings: Settings, now: Instant) {
        lock(&self.machine).reconfigure(settings, now);
    }
}

/// The right to one retry or hedge, paid for. Goes back to the budget when dropped, unless spent.
#[derive(Debug)]
#[must_use = "a dropped withdrawal goes back to the budget"]
pub struct Withdrawal {
    budget: Arc<Budget>,
    /// `None` once it is spent.
    taken: Option<budget::Withdrawal>,
}

impl Withdrawal {
    /// Keeps what was taken: the wait is over and the caller is still there, whatever the breaker
    /// says to the attempt.
    pub fn spend(mut self) {
        self.taken = None;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            lock(&self.budget.machine).refund(taken, crate::time::now());
        }
    }
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;

#[cfg(test)]
#[cfg(outrigger_loom)]
mod models;
