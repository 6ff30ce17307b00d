//! `outrigger run`: the daemon from its first signal handler to its exit code.

use std::path::Path;

use rustix::process::Signal;

use super::{SOFTWARE, complain, ended, load, start};
use crate::lifecycle::signals::{self, Signals};

/// What the daemon takes over. SIGHUP would end it by default, and whoever sends it to reload or to
/// rotate a log does not mean that.
const AWAITED: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// Runs the proxy until it has drained.
///
/// SIGTERM or SIGINT begins the drain; a second one ends the process at once.
pub(super) fn run(file: &Path) -> u8 {
    try_run(file).unwrap_or_else(|code| code)
}

fn try_run(file: &Path) -> Result<u8, u8> {
    let config = load(file)?;
    let internal = |error: std::io::Error| {
        complain(&format_args!("cannot start: {error}"));
        SOFTWARE
    };
    let runtime = signals::runtime().map_err(internal)?;
    let mut signals = runtime
        .block_on(async { Signals::listen(&AWAITED) })
        .map_err(internal)?;
    let app = start(&config)?;
    let handle = app.handle();
    let code = runtime.block_on(async {
        let mut wait = tokio::task::spawn_blocking(move || app.wait());
        let mut draining = false;
        loop {
            tokio::select! {
                end = &mut wait => return ended(end),
                signal = signals.next() => match signal {
                    Signal::HUP => tracing::warn!("no reload yet: restart to take over a change"),
                    signal if draining => return signals::exit_code(signal),
                    _ => handle.drain(),
                },
            }
            draining |= handle.is_draining();
        }
    });
    // The wait may still run after a second signal: it ends with the process.
    runtime.shutdown_background();
    Ok(code)
}
