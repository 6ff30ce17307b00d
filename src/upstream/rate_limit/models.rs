//! Every interleaving of requests with what may cross them.

use loom::thread;

use super::*;
use crate::resilience::rate_limit::Settings;

const SECOND: Duration = Duration::from_secs(1);

/// Later than what a drop reads from the clock, which then changes nothing.
fn start() -> Instant {
    crate::time::now() + 3600 * SECOND
}

/// One token a second, one at once, and time for two to wait.
fn limit(now: Instant) -> Arc<RateLimit> {
    RateLimit::new(&settings(1), now)
}

fn settings(burst: u32) -> model::RateLimit {
    model::RateLimit {
        mode: Mode::Enforce,
        settings: Settings {
            rate: 1,
            per: SECOND,
            burst,
            max_wait: 2 * SECOND,
        },
    }
}

#[test]
fn racing_requests_get_one_token_each() {
    loom::model(|| {
        let now = start();
        let limit = limit(now);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let limit = Arc::clone(&limit);
                thread::spawn(move || limit.acquire(None, now).unwrap())
            })
            .collect();
        let own = limit.acquire(None, now).unwrap();
        let mut all: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .chain([own])
            .collect();
        all.sort_by_key(|got| got.as_ref().map(Reservation::at));
        let times: Vec<_> = all
            .iter()
            .map(|got| got.as_ref().map(Reservation::at))
            .collect();
        assert_eq!(times, [None, Some(now + SECOND), Some(now + 2 * SECOND)]);
        drop(all);
        assert!(limit.view(now).tokens.abs() < 1e-9);
    });
}

#[test]
fn a_departure_that_crosses_a_request_and_a_reload_gives_back_one_token() {
    loom::model(|| {
        let now = start();
        let limit = limit(now);
        assert!(limit.acquire(None, now).unwrap().is_none());
        let leaves = limit.acquire(None, now).unwrap().unwrap();
        let leaving = thread::spawn(move || drop(leaves));
        let reloaded = Arc::clone(&limit);
        let reloading = thread::spawn(move || reloaded.reconfigure(&settings(2), now));
        let stays = limit.acquire(None, now).unwrap().unwrap();
        leaving.join().unwrap();
        reloading.join().unwrap();
        assert!((limit.view(now).tokens + 1.0).abs() < 1e-9);
        stays.spend();
        assert!((limit.view(now).tokens + 1.0).abs() < 1e-9);
    });
}
