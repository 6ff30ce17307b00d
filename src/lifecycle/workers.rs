//! Worker threads: one single-threaded runtime each, which proxies and pools on its own core.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::tasks;
use crate::config::model::Protocol;
use crate::listener::{self, Accepted, Door};
use crate::net::{Ends, Shared};
use crate::proxy::{Activity, Proxy};
use crate::telemetry::access_log::AccessLog;
use crate::time;

/// One worker, seen from outside. It ends once all copies of its door are dropped.
pub struct Worker {
    /// The way in.
    pub door: Door,
    /// Whether it is quiet.
    pub activity: Arc<Activity>,
}

impl Worker {
    /// Starts the worker number `index`. `panicked` is told if its thread unwinds.
    ///
    /// # Errors
    ///
    /// Fails where the system gives no thread or no reactor.
    pub fn spawn(
        index: usize,
        access_log: Arc<AccessLog>,
        panicked: UnboundedSender<String>,
    ) -> io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let door = Door {
            sender,
            load: Arc::new(AtomicUsize::new(0)),
        };
        let activity = Arc::new(Activity::new(time::now()));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        drop(runtime?); // Fails here rather than in the thread.
        let shared = Arc::clone(&activity);
        let name = format!("worker-{index}");
        std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let _alarm = PanicAlarm { name, panicked };
                let proxy = Proxy {
                    worker: index,
                    access_log,
                    activity: shared,
                };
                run(receiver, proxy);
            })?;
        Ok(Self { door, activity })
    }
}

/// Says so when its thread unwinds.
struct PanicAlarm {
    name: String,
    panicked: UnboundedSender<String>,
}

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.panicked.send(std::mem::take(&mut self.name));
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "a worker without a reactor cannot go on: it says so"
)]
fn run(mut accepted: UnboundedReceiver<Accepted>, proxy: Proxy) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a reactor could be built a moment ago");
    runtime.block_on(async move {
        let proxy = Rc::new(proxy);
        while let Some(Accepted {
            socket,
            peer,
            listener,
            open,
        }) = accepted.recv().await
        {
            let Ok(socket) = socket.attach() else {
                continue;
            };
            let socket = Arc::new(socket);
            let ends = Ends {
                socket: Some(Arc::downgrade(&socket)),
                peer,
                local: (listener.protocol == Protocol::Tcp)
                    .then(|| socket.local())
                    .flatten(),
            };
            let proxy = Rc::clone(&proxy);
            tasks::spawn_local("connection", async move {
                listener::serve(proxy, listener, Shared(socket), ends).await;
                drop(open);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_unwinds_tells_its_name_and_one_that_ends_does_not() {
        let (panicked, mut told) = unbounded_channel();
        for (name, unwinds) in [("worker-0", false), ("worker-1", true)] {
            let panicked = panicked.clone();
            let thread = std::thread::spawn(move || {
                let name = name.to_owned();
                let _alarm = PanicAlarm { name, panicked };
                if unwinds {
                    std::panic::resume_unwind(Box::new(()));
                }
            });
            assert_eq!(thread.join().is_err(), unwinds);
        }
        assert_eq!(told.try_recv().as_deref(), Ok("worker-1"));
        assert!(told.try_recv().is_err());
    }
}
