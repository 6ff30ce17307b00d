//! `outrigger exec -- COMMAND`: the application and its proxy in one container.
//!
//! The command starts when the proxy is ready, gets the signals, and decides the end: while it
//! shuts down it still needs its upstreams, so the proxy drains after it and not beside it.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::probe::reachable;
use super::{SOFTWARE, complain, ended, load, start};
use crate::app::{App, Ended, Handle};
use crate::client;
use crate::lifecycle::exec::{CannotStart, Command, FORWARDED};
use crate::lifecycle::signals::{self, Signals};

/// The command starts after this long even if the proxy is not ready: an upstream that cannot
/// be resolved must not keep the application down.
const READY: Duration = Duration::from_secs(10);

/// Runs the proxy and `command` beside it; returns the command's exit code.
pub(super) fn exec(file: &Path, command: &[OsString]) -> u8 {
    try_exec(file, command).unwrap_or_else(|code| code)
}

fn try_exec(file: &Path, command: &[OsString]) -> Result<u8, u8> {
    let config = load(file)?;
    let internal = |error: io::Error| {
        complain(&format_args!("cannot start: {error}"));
        SOFTWARE
    };
    let runtime = signals::runtime().map_err(internal)?;
    let signals = runtime
        .block_on(async { Signals::listen(&FORWARDED) })
        .map_err(internal)?;
    let app = start(&config)?;
    let code = beside(&runtime, app, signals, command, config.runtime.drain_grace);
    // The wait may still run: it ends with the process.
    runtime.shutdown_background();
    Ok(code)
}

fn beside(
    runtime: &Runtime,
    app: App,
    mut signals: Signals,
    command: &[OsString],
    grace: Duration,
) -> u8 {
    runtime.block_on(async {
        let metrics = app.addresses().metrics.as_ref().map(reachable);
        let handle = app.handle();
        let mut proxy = tokio::task::spawn_blocking(move || app.wait());
        let ready = async {
            if let Some(metrics) = &metrics
                && let Err(problem) = client::until_ready(metrics, READY).await
            {
                complain(&format_args!("starting the command anyway: {problem}"));
            }
        };
        tokio::select! {
            () = ready => {}
            end = &mut proxy => return ended(end),
            signal = termination(&mut signals) => {
                return drain(&handle, proxy, signals, signals::exit_code(signal)).await;
            }
        }
        let started = match command.split_first() {
            Some((program, args)) => Command::start(program, args),
            None => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        };
        let mut child = match started {
            Ok(child) => child,
            Err(CannotStart { error, exit_code }) => {
                let program = command.first().map(|p| p.to_string_lossy());
                let program = program.unwrap_or_default();
                complain(&format_args!("cannot start `{program}`: {error}"));
                return drain(&handle, proxy, signals, exit_code).await;
            }
        };
        // A terminal has sent its Ctrl-C to the command as well: once is enough.
        let terminal = io::stdin().is_terminal();
        loop {
            tokio::select! {
                code = child.ended() => return drain(&handle, proxy, signals, code).await,
                signal = signals.next() => {
                    if !(terminal && matches!(signal, Signal::INT | Signal::QUIT)) {
                        child.signal(signal);
                    }
                }
                end = &mut proxy => {
                    let code = ended(end);
                    child.signal(Signal::TERM);
                    let own = tokio::time::timeout(grace, child.ended()).await;
                    if own.is_err() {
                        child.signal(Signal::KILL);
                    }
                    return if code == 0 { own.unwrap_or(SOFTWARE) } else { code };
                }
            }
        }
    })
}

/// Waits for a signal that asks for the end.
async fn termination(signals: &mut Signals) -> Signal {
    loop {
        let signal = signals.next().await;
        if !matches!(signal, Signal::USR1 | Signal::USR2) {
            return signal;
        }
    }
}

/// Lets the proxy finish what is in flight; a signal ends that at once.
async fn drain(handle: &Handle, proxy: JoinHandle<Ended>, mut signals: Signals, code: u8) -> u8 {
    handle.drain();
    tokio::select! {
        end = proxy => match ended(end) {
            0 => code,
            panicked => panicked,
        },
        _ = termination(&mut signals) => code,
    }
}
