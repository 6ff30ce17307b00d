//! How long a breaker stays open: grows per consecutive opening, capped, then lengthened by jitter.

use std::time::Duration;

use super::Settings;

/// The wait of the `opens`-th consecutive opening (1 is the first), lengthened by `draw` / 2³² of
/// the jitter.
///
/// Jitter comes after the cap: otherwise all sidecars at the cap would probe in step. Steps of
/// growth and the jitter are whole milliseconds, rounded down.
pub(super) fn open_wait(settings: &Settings, opens: u32, draw: u32) -> Duration {
    let wait = grown(settings, opens);
    let extra =
        (wait.as_millis() * u128::from(settings.open_jitter) * u128::from(draw) / 1000) >> 32;
    wait.saturating_add(millis(extra))
}

/// Ends at the cap, or where rounding leaves no growth, whatever `opens` is.
fn grown(settings: &Settings, opens: u32) -> Duration {
    let cap = settings.open_for_max;
    let mut wait = settings.open_for.min(cap);
    for _ in 1..opens {
        let next = millis(wait.as_millis() * u128::from(settings.open_multiplier) / 1000).min(cap);
        if next <= wait {
            break;
        }
        wait = next;
    }
    wait
}

fn millis(millis: u128) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
