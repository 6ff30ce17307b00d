//! The only place that spawns tasks.
//!
//! A panic ends one task, is logged by the panic hook and counted here. In a connection's task it
//! costs that connection; in a vital one it ends the process.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc::UnboundedSender;
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

/// Spawns a task that the process cannot do without: if it panics, `ended` is told its name.
pub fn spawn_vital(
    name: &'static str,
    ended: UnboundedSender<String>,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let vital = Vital(name, ended);
    spawn(name, async move {
        let _vital = vital;
        task.await;
    })
}

struct Vital(&'static str, UnboundedSender<String>);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.1.send(self.0.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_panics_says_so_and_one_that_ends_does_not() {
        let (ended, mut told) = unbounded_channel();
        assert!(spawn_vital("fine", ended.clone(), async {}).await.is_ok());
        let panics = async { panic!("as it must") };
        assert!(spawn_vital("broken", ended, panics).await.is_err());
        assert_eq!(told.recv().await.as_deref(), Some("broken"));
        assert_eq!(told.recv().await, None);
    }
}
