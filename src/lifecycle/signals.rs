//! Signals as a stream, and the main thread's small runtime that waits for them.
//!
//! A signal is taken over from the kernel when [`Signals::listen`] is called, before anything is
//! started: as process 1 of a container, a signal nobody listens to is simply lost.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix;

/// What ends the process: an orchestrator's SIGTERM, Ctrl-C's SIGINT.
pub const TERMINATION: [Signal; 2] = [Signal::TERM, Signal::INT];

/// Signals that no longer have their default effect but are awaited here.
#[derive(Debug)]
pub struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Takes `signals` over. Needs a runtime to be entered.
    pub fn listen(signals: &[Signal]) -> io::Result<Self> {
        let listen = |&signal: &Signal| {
            let kind = unix::SignalKind::from_raw(signal.as_raw());
            Ok((signal, unix::signal(kind)?))
        };
        signals
            .iter()
            .map(listen)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses no signal.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            for (signal, stream) in &mut self.0 {
                if let Poll::Ready(Some(())) = stream.poll_recv(cx) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The exit code of a process that `signal` ended, as shells report it.
pub fn exit_code(signal: Signal) -> u8 {
    128 + u8::try_from(signal.as_raw()).unwrap_or(127)
}

/// Builds the main thread's runtime. Nothing of the data plane runs on it.
pub fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("outrigger-wait")
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(Signal::INT), 130);
        assert_eq!(exit_code(Signal::TERM), 143);
    }

    #[tokio::test]
    async fn a_signal_arrives_by_its_name() {
        let mut signals = Signals::listen(&[Signal::WINCH, Signal::CONT]).unwrap();
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, Signal::CONT).unwrap();
        assert_eq!(signals.next().await, Signal::CONT);
    }
}
