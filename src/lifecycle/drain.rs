//! When a draining process may end.
//!
//! Outbound calls are served until they are quiet: the application next door is shutting down
//! too and still needs its upstreams.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::config::model;
use crate::listener::Door;
use crate::proxy::Activity;
use crate::time;

/// How often quiet is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until no connection of a caller is open, or no request was in flight for `drain_quiet`,
/// or `drain_grace` is over. Returns whether it was quiet.
pub async fn drained(settings: &model::Runtime, workers: &[(Door, Arc<Activity>)]) -> bool {
    let began = time::now();
    loop {
        let now = time::now();
        if is_quiet(settings, workers, now) {
            return true;
        }
        if now.saturating_duration_since(began) >= settings.drain_grace {
            return false;
        }
        time::sleep(LOOK).await;
    }
}

fn is_quiet(settings: &model::Runtime, workers: &[(Door, Arc<Activity>)], now: Instant) -> bool {
    let connections: usize = workers
        .iter()
        .map(|(door, _)| door.load.load(Relaxed))
        .sum();
    if connections == 0 {
        return true;
    }
    let in_flight: usize = workers
        .iter()
        .map(|(_, activity)| activity.in_flight())
        .sum();
    let last = workers.iter().map(|(_, activity)| activity.last()).max();
    in_flight == 0
        && last.is_none_or(|last| now.saturating_duration_since(last) >= settings.drain_quiet)
}
