//! The adaptive limit that requests share: [`Machine`] behind one short lock, with its mode.
//!
//! Attempts hand in what they saw; what comes out is a limit for the bulkhead, and only where the
//! mode is [`Mode::Enforce`]. In [`Mode::Observe`] the limit is found all the same and is seen in
//! the view alone. It holds no slot and refuses nobody itself.

use std::time::Instant;

use super::view::AdaptiveView;
use crate::config::model::{self, Mode};
use crate::resilience::adaptive::{Machine, Sample};
use crate::sync::{Mutex, lock};

/// Finds the limit of one upstream, process-wide.
#[derive(Debug)]
pub struct Adaptive {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    machine: Machine,
}

impl Adaptive {
    /// Starts at the initial limit.
    pub fn new(settings: &model::Adaptive, now: Instant) -> Self {
        Self {
            state: Mutex::new(State {
                mode: settings.mode,
                machine: Machine::new(settings.settings.clone(), now),
            }),
        }
    }

    /// Takes a sample. Returns the new limit for the bulkhead where there is one to enforce.
    ///
    /// The lock is released by then. Two changes lie at least a window apart: far longer than
    /// handing one on takes, so they arrive in order.
    #[must_use = "the bulkhead is to be told"]
    pub fn sample(&self, sample: Sample, now: Instant) -> Option<usize> {
        let mut state = lock(&self.state);
        if state.mode == Mode::Off {
            return None;
        }
        let limit = state.machine.sample(sample, now)?;
        state.enforced(limit)
    }

    /// The limit for the bulkhead now; `None` where there is none to enforce. For the start.
    pub fn limit(&self) -> Option<usize> {
        let state = lock(&self.state);
        state.enforced(state.machine.limit())
    }

    /// Takes over the settings of a reload, the bounds at once, and returns the limit for the
    /// bulkhead from now on.
    #[must_use = "the bulkhead is to be told"]
    pub fn reconfigure(&self, settings: &model::Adaptive, now: Instant) -> Option<usize> {
        let mut state = lock(&self.state);
        state.mode = settings.mode;
        state.machine.reconfigure(settings.settings.clone(), now);
        state.enforced(state.machine.limit())
    }

    /// How it looks now.
    pub fn view(&self) -> AdaptiveView {
        let state = lock(&self.state);
        let view = state.machine.view();
        AdaptiveView {
            mode: state.mode,
            limit: view.limit,
            min: view.min,
            baseline: view.baseline,
            latency: view.latency,
            samples: view.samples,
            drops: view.drops,
        }
    }
}

impl State {
    fn enforced(&self, limit: u32) -> Option<usize> {
        let enforced = self.mode == Mode::Enforce;
        enforced.then(|| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::resilience::adaptive::{Algorithm, Settings};
    use crate::time;

    fn settings(mode: Mode, min: u32) -> model::Adaptive {
        model::Adaptive {
            mode,
            settings: Settings {
                algorithm: Algorithm::Aimd {
                    backoff: 0.9,
                    timeout: Duration::from_secs(5),
                },
                initial: 20,
                min,
                max: 500,
                window: Duration::from_secs(1),
                min_samples: 1,
            },
        }
    }

    const DROP: Sample = Sample {
        rtt: None,
        in_flight: 20,
        drop: true,
    };

    /// Hands in two samples that make a window, and returns what each came to.
    fn window(adaptive: &Adaptive, now: &mut Instant) -> [Option<usize>; 2] {
        let first = adaptive.sample(DROP, *now);
        *now += Duration::from_secs(1);
        [first, adaptive.sample(DROP, *now)]
    }

    #[test]
    fn enforced_it_hands_each_change_to_the_bulkhead() {
        let mut now = time::now();
        let adaptive = Adaptive::new(&settings(Mode::Enforce, 17), now);
        assert_eq!(adaptive.limit(), Some(20));
        assert_eq!(window(&adaptive, &mut now), [None, Some(18)]);
        assert_eq!(window(&adaptive, &mut now), [None, Some(17)]);
        assert_eq!(window(&adaptive, &mut now), [None, None], "no change");
        assert_eq!(adaptive.limit(), Some(17));
        let view = adaptive.view();
        assert_eq!((view.mode, view.limit), (Mode::Enforce, 17));
        assert_eq!((view.samples, view.drops), (6, 6));
        assert_eq!((view.baseline, view.latency), (None, None));
    }

    #[test]
    fn observing_it_is_seen_and_not_felt() {
        let mut now = time::now();
        let adaptive = Adaptive::new(&settings(Mode::Observe, 10), now);
        assert_eq!(adaptive.limit(), None);
        assert_eq!(window(&adaptive, &mut now), [None, None]);
        assert_eq!(adaptive.limit(), None);
        assert_eq!((adaptive.view().limit, adaptive.view().drops), (18, 2));
    }

    #[test]
    fn a_reload_changes_mode_and_bounds_at_once() {
        let mut now = time::now();
        let adaptive = Adaptive::new(&settings(Mode::Observe, 10), now);
        window(&adaptive, &mut now);
        let enforce = settings(Mode::Enforce, 10);
        assert_eq!(adaptive.reconfigure(&enforce, now), Some(18));
        let higher = settings(Mode::Enforce, 30);
        assert_eq!(adaptive.reconfigure(&higher, now), Some(30));
        let off = settings(Mode::Off, 30);
        assert_eq!(adaptive.reconfigure(&off, now), None);
        assert_eq!(window(&adaptive, &mut now), [None, None]);
        assert_eq!(adaptive.view().samples, 2, "off, it learns nothing");
    }
}
