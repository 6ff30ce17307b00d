//! The command that `outrigger exec` runs beside the proxy: started, signalled, reaped.
//!
//! Every child is reaped, not only the command: as process 1 of a container we inherit the
//! orphans of the application. Nothing else in the process may wait for children. Knows nothing
//! about the proxy.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command as Process};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix;

/// What is passed on to the command.
pub const FORWARDED: [Signal; 6] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// Exit code of a command that was found but cannot be run, as shells have it.
const NOT_EXECUTABLE: u8 = 126;
/// Exit code of a command that does not exist, as shells have it.
const NOT_FOUND: u8 = 127;

/// Exit code where that of the command is not known (`EX_SOFTWARE` of sysexits).
const LOST: u8 = 70;

/// A running command.
#[derive(Debug)]
pub struct Command {
    pid: Pid,
    /// Kept unwaited: [`wait`] collects it among all the others.
    _child: Child,
    died: unix::Signal,
}

/// A command that could not be started.
#[derive(Debug)]
pub struct CannotStart {
    /// Why.
    pub error: io::Error,
    /// 127 if there is no such command, else 126.
    pub exit_code: u8,
}

impl From<io::Error> for CannotStart {
    fn from(error: io::Error) -> Self {
        let exit_code = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        };
        Self { error, exit_code }
    }
}

impl Command {
    /// Starts `program` with our own standard streams and environment. Needs a runtime to be
    /// entered.
    pub fn start(program: &OsString, args: &[OsString]) -> Result<Self, CannotStart> {
        // Listening begins before the start, so that no death is missed.
        let died = unix::signal(unix::SignalKind::child())?;
        let child = Process::new(program).args(args).spawn()?;
        Ok(Self {
            pid: Pid::from_child(&child),
            _child: child,
            died,
        })
    }

    /// Sends it `signal`. Until [`Self::ended`] has returned, its process id cannot be another's.
    pub fn signal(&self, signal: Signal) {
        // It may have died a moment ago: `ended` is about to say so.
        let _ = kill_process(self.pid, signal);
    }

    /// Waits for its end and returns its exit code: 128 plus the signal's number if one ended it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses nothing. It must not be called again once it has returned.
    pub async fn ended(&mut self) -> u8 {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => return exit_code(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => {
                    self.died.recv().await;
                }
                // No child is left: somebody else has reaped it.
                Err(_) => return LOST,
            }
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    if let Some(signal) = status.terminating_signal() {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    let code = status.exit_status().unwrap_or_default();
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: they would reap each other's children.
    #[tokio::test]
    async fn exit_codes_follow_the_command() {
        let start = |program: &str, args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(Into::into).collect();
            Command::start(&program.into(), &args)
        };
        let mut command = start("sh", &["-c", "exit 7"]).unwrap();
        assert_eq!(command.ended().await, 7);

        let mut command = start("sleep", &["600"]).unwrap();
        command.signal(Signal::TERM);
        assert_eq!(command.ended().await, 143);

        let missing = start("/nonexistent/command", &[]).unwrap_err();
        assert_eq!(missing.exit_code, 127);
        let directory = start("/", &[]).unwrap_err();
        assert_eq!(directory.exit_code, 126);
    }
}
