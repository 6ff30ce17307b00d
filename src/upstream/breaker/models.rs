//! Every interleaving of what may cross a transition.
//!
//! Run with `RUSTFLAGS="--cfg outrigger_loom" cargo test --lib models`.

use loom::thread;

use super::*;
use crate::resilience::Verdict::Success;
use crate::resilience::breaker::{AfterMaxWait, State, Window};

const fn settings() -> Settings {
    Settings {
        window: Window::Calls(1),
        min_calls: 1,
        failure_rate: 100_000,
        slow_call: None,
        slow_rate: 100_000,
        count_overdue: true,
        max_requests: 100,
        consecutive_failures: None,
        open_for: Duration::from_secs(3600),
        open_for_max: Duration::from_secs(3600),
        open_multiplier: 1000,
        open_jitter: 0,
        half_open_calls: 1,
        half_open_max_wait: None,
        half_open_on_max_wait: AfterMaxWait::Open,
        auto_half_open: false,
    }
}

/// What the observer heard; loom's lock lets it interleave with the breaker's own.
type Heard = Arc<Mutex<Vec<(State, State)>>>;

struct Ear(Heard);

impl Observer for Ear {
    fn transition(&self, transition: &Transition) {
        lock(&self.0).push((transition.from, transition.to));
    }

    fn counted(&self, _: Counted) {}
}

fn breaker() -> (Arc<Breaker>, Heard, Instant) {
    let heard = Heard::default();
    let now = crate::time::now();
    let ear = Box::new(Ear(Arc::clone(&heard)));
    let breaker = Breaker::new(settings(), Mode::Enforce, 1, ear, now);
    (breaker, heard, now)
}

fn half_open() -> (Arc<Breaker>, Heard, Instant) {
    let (breaker, heard, now) = breaker();
    breaker.operate(Operation::Trip, now).unwrap();
    breaker.operate(Operation::Probe, now).unwrap();
    lock(&heard).clear();
    (breaker, heard, now)
}

#[test]
fn a_probe_dropped_across_a_transition_mints_no_permit() {
    loom::model(|| {
        let (breaker, heard, now) = half_open();
        let probe = breaker.admit(now).unwrap();
        let dropping = thread::spawn(move || drop(probe));
        breaker.operate(Operation::Probe, now).unwrap();
        dropping.join().unwrap();
        let probe = breaker.admit(now).unwrap();
        assert!(breaker.admit(now).is_err(), "one permit, not two");
        probe.record(Success, now);
        assert_eq!(
            *lock(&heard),
            [
                (State::HalfOpen, State::HalfOpen),
                (State::HalfOpen, State::Closed),
            ]
        );
    });
}

#[test]
fn racing_attempts_get_the_one_permit_once() {
    loom::model(|| {
        let (breaker, heard, now) = breaker();
        breaker.operate(Operation::Trip, now).unwrap();
        lock(&heard).clear();
        let later = now + Duration::from_secs(3600);
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.admit(later).ok())
        };
        let permits = [breaker.admit(later).ok(), other.join().unwrap()];
        assert_eq!(permits.iter().flatten().count(), 1);
        assert_eq!(*lock(&heard), [(State::Open, State::HalfOpen)]);
        for permit in permits.into_iter().flatten() {
            permit.record(Success, later);
        }
    });
}

#[test]
fn transitions_are_heard_once_and_in_order() {
    loom::model(|| {
        let (breaker, heard, now) = breaker();
        let tripping = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || {
                breaker.operate(Operation::Trip, now).unwrap();
            })
        };
        breaker.operate(Operation::Reset, now).unwrap();
        breaker.operate(Operation::Trip, now).unwrap();
        tripping.join().unwrap();
        let heard = lock(&heard).clone();
        assert_eq!(heard.len(), 3);
        assert_eq!(heard[0].0, State::Closed);
        for pair in heard.windows(2) {
            assert_eq!(pair[0].1, pair[1].0, "{heard:?}");
        }
        let transitions = breaker.view(now).transitions;
        assert_eq!(transitions, 3);
    });
}
