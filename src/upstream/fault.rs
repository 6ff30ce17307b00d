//! The faults that are being injected into attempts on one upstream.
//!
//! Faults come from the configuration and from operators, and each has an instant from which it is
//! as if it had never been: it hits nothing, is not shown and gives its place free, whether or not
//! anybody has removed it by then. There is no timer: who looks drops what is over.
//!
//! An upstream without faults pays one relaxed load per attempt. Nothing is done to an attempt
//! here: [`Hit`] says what is to be done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::view::FaultView;
use crate::config::model;
use crate::resilience::fault::{Action, MOST, Settings};
use crate::sync::{Mutex, MutexGuard, lock};

/// Number of the next fault, so that one number names one fault of the whole process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The faults of an upstream.
#[derive(Debug, Default)]
pub struct Faults {
    /// Whether the list may have something in it; written under its lock.
    any: AtomicBool,
    /// In the order in which they were added, which is that in which they are tried.
    active: Mutex<Vec<Active>>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    settings: Settings,
    until: Instant,
    hits: u64,
}

/// What is to be done to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Number of the fault.
    pub id: u64,
    /// What happens.
    pub action: Action,
    /// Whether the breaker, ejection and the adaptive limit learn from it.
    pub counted: bool,
}

/// There are [`MOST`] faults already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Faults {
    /// Begins with those of the configuration that are not over at `unix_now`, the time since the
    /// Unix epoch at the instant `now`. Later steps of the wall clock change nothing.
    pub fn new(configured: &[model::Fault], now: Instant, unix_now: Duration) -> Self {
        let faults = Self::default();
        for fault in configured {
            let remaining = fault.until.saturating_sub(unix_now);
            if let Some(until) = now.checked_add(remaining) {
                // The configuration is refused where it has too many.
                let _ = faults.add(fault.settings.clone(), until, now);
            }
        }
        faults
    }

    /// Begins to inject a fault, until the instant `until` (no longer then), and returns its
    /// number.
    ///
    /// # Errors
    /// Changes nothing where there are [`MOST`] already.
    pub fn add(&self, settings: Settings, until: Instant, now: Instant) -> Result<u64, Full> {
        let mut active = self.current(now);
        if active.len() >= MOST {
            return Err(Full);
        }
        let id = NEXT.fetch_add(1, Relaxed);
        if now < until {
            active.push(Active {
                id,
                settings,
                until,
                hits: 0,
            });
            self.any.store(true, Relaxed);
        }
        Ok(id)
    }

    /// Ends one fault; `false` if there is none of this number (any more).
    pub fn remove(&self, id: u64, now: Instant) -> bool {
        let mut active = self.current(now);
        let before = active.len();
        active.retain(|fault| fault.id != id);
        self.any.store(!active.is_empty(), Relaxed);
        active.len() < before
    }

    /// Ends all faults.
    pub fn clear(&self) {
        let mut active = lock(&self.active);
        active.clear();
        self.any.store(false, Relaxed);
    }

    /// Says what is to be done to an attempt: by the first of the faults that match it and hit.
    ///
    /// `field` returns the first value of a field, by its lower-case name. `random` is asked once
    /// for each fault that matches, so that the shares of several are independent. Both are called
    /// under the lock, and must be short.
    pub fn pick<'a>(
        &self,
        method: &str,
        path: &str,
        field: impl Fn(&str) -> Option<&'a [u8]>,
        mut random: impl FnMut() -> u64,
        now: Instant,
    ) -> Option<Hit> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let mut active = self.current(now);
        let fault = active.iter_mut().find(|fault| {
            let settings = &fault.settings;
            settings.matches(method, path, &field) && settings.hit(random())
        })?;
        fault.hits += 1;
        Some(Hit {
            id: fault.id,
            action: fault.settings.action,
            counted: fault.settings.counted,
        })
    }

    /// What is being injected at `now`.
    pub fn view(&self, now: Instant) -> Vec<FaultView> {
        let view = |fault: &Active| FaultView {
            id: fault.id,
            settings: fault.settings.clone(),
            remaining: fault.until.saturating_duration_since(now),
            hits: fault.hits,
        };
        self.current(now).iter().map(view).collect()
    }

    /// The list, without what is over.
    fn current(&self, now: Instant) -> MutexGuard<'_, Vec<Active>> {
        let mut active = lock(&self.active);
        active.retain(|fault| now < fault.until);
        self.any.store(!active.is_empty(), Relaxed);
        active
    }
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;
