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

/// Stops at the cap and where rounding leaves no growth, so that it ends whatever `opens` is.
fn grown(settings: &Settings, opens: u32) -> Duration {
    let mut wait = settings.open_for;
    for _ in 1..opens {
        if wait >= settings.open_for_max {
            break;
        }
        let next = millis(wait.as_millis() * u128::from(settings.open_multiplier) / 1000);
        if next <= wait {
            break;
        }
        wait = next;
    }
    wait.min(settings.open_for_max)
}

fn millis(millis: u128) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
