use std::sync::Barrier;
use std::thread;

use super::*;
use crate::resilience::rate_limit::Settings;

const MS: Duration = Duration::from_millis(1);

/// Ten a second, two at once.
fn settings(mode: Mode, max_wait: Duration) -> model::RateLimit {
    model::RateLimit {
        mode,
        settings: Settings {
            rate: 10,
            per: 1000 * MS,
            burst: 2,
            max_wait,
        },
    }
}

/// Later than what a drop reads from the clock, which then changes nothing.
fn start() -> Instant {
    crate::time::now() + 3_600_000 * MS
}

#[track_caller]
fn at_once(limit: &Arc<RateLimit>, now: Instant) {
    assert!(limit.acquire(None, now).unwrap().is_none());
}

#[track_caller]
fn reserve(limit: &Arc<RateLimit>, now: Instant) -> Reservation {
    limit.acquire(None, now).unwrap().unwrap()
}

/// Tokens, and the counters of refusals, delays and refusals that were spared.
#[track_caller]
fn looks(limit: &RateLimit, tokens: f64, counted: (u64, u64, u64), now: Instant) {
    let view = limit.view(now);
    assert!((view.tokens - tokens).abs() < 1e-9, "{view:?}");
    assert_eq!(
        (view.rejected, view.delayed, view.would_reject),
        counted,
        "{view:?}"
    );
}

#[test]
fn guards_cross_threads() {
    fn is_send<T: Send>() {}
    is_send::<Reservation>();
}

#[test]
fn beyond_the_burst_it_refuses_and_says_for_how_long() {
    let t = start();
    let limit = RateLimit::new(&settings(Mode::Enforce, Duration::ZERO), t);
    at_once(&limit, t);
    at_once(&limit, t);
    assert_eq!(limit.acquire(None, t).unwrap_err(), 100 * MS);
    looks(&limit, 0.0, (1, 0, 0), t);
    at_once(&limit, t + 100 * MS);
}

#[test]
fn a_spent_reservation_is_gone_and_a_dropped_one_is_not() {
    let t = start();
    let limit = RateLimit::new(&settings(Mode::Enforce, 1000 * MS), t);
    at_once(&limit, t);
    at_once(&limit, t);
    let (first, second) = (reserve(&limit, t), reserve(&limit, t));
    assert_eq!((first.at(), second.at()), (t + 100 * MS, t + 200 * MS));
    looks(&limit, -2.0, (0, 2, 0), t);
    first.spend();
    looks(&limit, -2.0, (0, 2, 0), t);
    drop(second);
    looks(&limit, -1.0, (0, 2, 0), t);
}

#[test]
fn nobody_waits_longer_than_there_is_time() {
    let t = start();
    let limit = RateLimit::new(&settings(Mode::Enforce, 1000 * MS), t);
    at_once(&limit, t);
    at_once(&limit, t);
    assert_eq!(limit.acquire(Some(100 * MS), t).unwrap_err(), 100 * MS);
    assert!(limit.acquire(Some(101 * MS), t).unwrap().is_some());
    looks(&limit, 0.0, (1, 1, 0), t);
}

#[test]
fn observing_lets_everybody_go_and_counts_the_refusals() {
    let t = start();
    let limit = RateLimit::new(&settings(Mode::Observe, 100 * MS), t);
    for _ in 0..5 {
        at_once(&limit, t);
    }
    // Two went at once and one would have waited; the other two would have been refused, and are
    // not charged.
    looks(&limit, -1.0, (0, 0, 2), t);
}

#[test]
fn off_charges_nobody() {
    let t = start();
    let limit = RateLimit::new(&settings(Mode::Off, Duration::ZERO), t);
    for _ in 0..5 {
        at_once(&limit, t);
    }
    looks(&limit, 2.0, (0, 0, 0), t);
}

#[test]
fn a_reload_keeps_counters_and_reservations() {
    let t = start();
    let limit = RateLimit::new(&settings(Mode::Enforce, 100 * MS), t);
    at_once(&limit, t);
    at_once(&limit, t);
    let waits = reserve(&limit, t);
    assert!(limit.acquire(None, t).is_err());
    limit.reconfigure(&settings(Mode::Observe, 100 * MS), t);
    looks(&limit, -1.0, (1, 1, 0), t);
    at_once(&limit, t);
    looks(&limit, -1.0, (1, 1, 1), t);
    drop(waits);
    looks(&limit, 0.0, (1, 1, 1), t);
}

#[test]
fn threads_share_the_burst_exactly() {
    const THREADS: usize = 4;
    const EACH: u32 = 500;
    let t = start();
    let mut settings = settings(Mode::Enforce, Duration::MAX);
    settings.settings.burst = EACH;
    let limit = RateLimit::new(&settings, t);
    let barrier = Barrier::new(THREADS);
    let run = || {
        barrier.wait();
        let all: Vec<_> = (0..EACH).map(|_| limit.acquire(None, t).unwrap()).collect();
        all.iter().filter(|got| got.is_none()).count()
    };
    let at_once: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    // What is given back at the end goes to those who wait, not into another burst.
    assert_eq!(at_once, EACH as usize);
    looks(&limit, 0.0, (0, u64::from(EACH) * 3, 0), t);
}
