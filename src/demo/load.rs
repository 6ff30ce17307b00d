//! A gentle open-loop load: calls are begun by the clock, whatever became of earlier ones.
//!
//! That is how callers behave who do not know each other; a load that waits for its answers
//! would slow down with the upstream and show nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::sync::{Semaphore, watch};
use tokio::time::MissedTickBehavior;

use super::moody::Switch;
use super::stats::{End, Meter};
use crate::client::Connection;
use crate::lifecycle::tasks;
use crate::net::Address;
use crate::time;

/// Calls that may run at once; further ones are left out and counted.
const MAX_RUNNING: usize = 2_000;
/// A caller's patience: longer than every timeout of the proxy.
const PATIENCE: Duration = Duration::from_secs(20);

/// The load on one listener of the proxy.
#[derive(Debug)]
pub struct Load {
    target: Address,
    switch: Switch,
    meter: Mutex<Meter>,
    /// `None` once no call is to keep its connection.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Load {
    /// Begins `rate` calls a second to `target`, until `stop` turns true or its sender is gone.
    pub fn start(
        target: Address,
        rate: u32,
        switch: Switch,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let load = Arc::new(Self {
            target,
            switch,
            meter: Mutex::default(),
            idle: Mutex::new(Some(Vec::new())),
        });
        tasks::spawn("demo load", Arc::clone(&load).run(rate, stop));
        load
    }

    /// What was measured so far.
    pub fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, rate: u32, mut stop: watch::Receiver<bool>) {
        let mut clock = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let places = Arc::new(Semaphore::new(MAX_RUNNING));
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = clock.tick() => {}
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                self.meter().skip();
                continue;
            };
            let load = Arc::clone(&self);
            let mut stop = stop.clone();
            tasks::spawn("demo call", async move {
                let _place = place;
                tokio::select! {
                    () = load.call() => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        }
        *self.idle() = None;
    }

    async fn call(&self) {
        self.meter().begin();
        let start = time::now();
        let end = tokio::time::timeout(PATIENCE, self.exchange())
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or(End::Failed);
        let now = time::now();
        let took = now.saturating_duration_since(start);
        self.meter().end(now, end, took, self.switch.since().mood);
    }

    async fn exchange(&self) -> Result<End, String> {
        let kept = self.idle().as_mut().and_then(Vec::pop);
        let mut connection = match kept {
            Some(kept) if !kept.is_closed() => kept,
            _ => Connection::open(&self.target).await?,
        };
        let answer = connection.send(Method::GET, "/").await?;
        if !connection.is_closed()
            && let Some(idle) = &mut *self.idle()
        {
            idle.push(connection);
        }
        let says = answer
            .headers()
            .get("proxy-status")
            .and_then(|value| value.to_str().ok());
        let says = |word| says.is_some_and(|value| value.contains(word));
        Ok(match answer.status().as_u16() {
            503 if says("breaker_open") => End::BreakerOpen,
            503 if says("error=") => End::LocalReply,
            500.. => End::Failed,
            _ => End::Ok,
        })
    }

    fn idle(&self) -> MutexGuard<'_, Option<Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::moody::{self, Mood};
    use super::*;

    #[tokio::test]
    async fn a_hung_call_does_not_hold_up_the_next() {
        let listener = moody::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let target = listener.local_addr().unwrap().into();
        let switch = Switch::default();
        switch.set(Mood::Hang);
        moody::serve("moody", listener, Some(switch.clone()));
        let (stop, stopped) = watch::channel(false);
        let load = Load::start(target, 500, switch.clone(), stopped);

        let wait_until = async |met: fn(&Meter) -> bool| {
            while !met(&load.meter()) {
                tokio::task::yield_now().await;
            }
        };
        wait_until(|meter| meter.total().begun >= 20).await;
        assert_eq!(load.meter().total().ok, 0);
        switch.set(Mood::Ok);
        wait_until(|meter| meter.total().ok >= 5).await;
        // Every running call is cut off, and with it everything that shares the load.
        stop.send(true).unwrap();
        while Arc::strong_count(&load) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(load.idle().is_none());
    }
}
