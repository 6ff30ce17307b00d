//! The only place that spawns tasks.
//!
//! A panic ends one task, is logged by the panic hook and counted here; it never ends a worker.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::task::JoinHandle;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many tasks have panicked since the start.
pub fn panics() -> u64 {
    PANICS.load(Relaxed)
}

/// Counts a task that is unwound.
struct Watched(&'static str);

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            PANICS.fetch_add(1, Relaxed);
            tracing::error!(task = self.0, "task panicked");
        }
    }
}

/// Spawns a task on the runtime of this thread, which must be single-threaded.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn spawn_local(name: &'static str, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    let watched = Watched(name);
    tokio::task::spawn_local(async move {
        let _watched = watched;
        task.await;
    })
}

/// Spawns a task that may move between threads.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn spawn(
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let watched = Watched(name);
    tokio::spawn(async move {
        let _watched = watched;
        task.await;
    })
}
