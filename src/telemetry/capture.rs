//! What the code under test logs, for assertions.
//!
//! `tracing` caches process-wide whether anybody listens to a log statement, and tests run on many
//! threads; so all share one subscriber that listens to everything, and each thread keeps its own.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;

use serde_json::Value;

use super::logging;
use crate::config::model::LogFormat;

static LISTENING: Once = Once::new();

thread_local! {
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThisThread;

impl Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.with(|written| written.borrow_mut().extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep what this thread logs, and forgets what it logged before.
pub(crate) fn start() {
    LISTENING.call_once(|| {
        let log = logging::subscriber("trace", LogFormat::Json, || ThisThread).unwrap();
        tracing::subscriber::set_global_default(log).expect("no other test sets a subscriber");
    });
    WRITTEN.take();
}

/// Returns the lines that this thread logged with a message, and forgets them.
pub(crate) fn lines(message: &str) -> Vec<Value> {
    let written = WRITTEN.take();
    written
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("one JSON object a line"))
        .filter(|line: &Value| line["message"] == message)
        .collect()
}
