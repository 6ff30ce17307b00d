//! `outrigger run`: the daemon from its first signal handler to its exit code.

use std::path::Path;

use super::{SOFTWARE, complain, ended, load, start};
use crate::lifecycle::signals::{self, Signals, TERMINATION};

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
        .block_on(async { Signals::listen(&TERMINATION) })
        .map_err(internal)?;
    let app = start(&config)?;
    let handle = app.handle();
    let code = runtime.block_on(async {
        let mut wait = tokio::task::spawn_blocking(move || app.wait());
        tokio::select! {
            end = &mut wait => return ended(end),
            _ = signals.next() => handle.drain(),
        }
        tokio::select! {
            end = wait => ended(end),
            signal = signals.next() => signals::exit_code(signal),
        }
    });
    // The wait may still run after a second signal: it ends with the process.
    runtime.shutdown_background();
    Ok(code)
}
