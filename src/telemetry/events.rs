//! Changes of state, and of files, as one log line and one count.
//!
//! The machines of [`crate::resilience`] return transitions as values; the shells hand them over
//! here once their lock is released.

use std::time::Duration;

use tracing::{info, warn};

use super::access_log::rfc3339;
use super::metrics::{BreakerMetrics, Reload, TlsMetrics};
use crate::resilience::breaker::{Cause, Counted, Counts, State, Transition};
use crate::tls::files::Outcome;
use crate::upstream::breaker::Observer;

impl Observer for BreakerMetrics {
    fn transition(&self, transition: &Transition) {
        self.transitions(transition.from, transition.to, transition.cause)
            .inc();
        log(self, transition);
    }

    fn would_trip(&self, cause: Cause, counts: &Counts) {
        self.would_trip.inc();
        info!(
            upstream = &*self.upstream,
            route = self.route.as_deref(),
            host = self.target.as_deref(),
            cause = cause.as_str(),
            calls = counts.calls,
            failed = counts.failed,
            slow = counts.slow,
            overdue = counts.overdue,
            "breaker would have opened"
        );
    }

    fn counted(&self, counted: Counted) {
        self.count(counted);
    }
}

fn log(of: &BreakerMetrics, transition: &Transition) {
    let counts = transition.counts;
    let (upstream, route, host) = (&*of.upstream, of.route.as_deref(), of.target.as_deref());
    macro_rules! line {
        ($level:ident, $message:literal) => {
            $level!(
                upstream,
                route,
                host,
                from = transition.from.as_str(),
                to = transition.to.as_str(),
                cause = transition.cause.as_str(),
                calls = counts.calls,
                failed = counts.failed,
                slow = counts.slow,
                overdue = counts.overdue,
                retry_after_ms = transition.open_wait.map(millis),
                $message
            )
        };
    }
    match transition.to {
        State::Open => line!(warn, "breaker opened"),
        State::HalfOpen => line!(info, "breaker half-open"),
        // An override that is lifted is news too, but what counts is that traffic flows again.
        State::Closed => line!(info, "breaker closed"),
        State::MetricsOnly | State::Disabled | State::ForcedOpen => {
            line!(info, "breaker overridden")
        }
    }
}

impl TlsMetrics {
    /// Logs and counts what a look at the files came to; nothing, where nothing is new.
    pub fn looked(&self, outcome: &Outcome) {
        let [listener, upstream] = self.labels.each_ref().map(|name| Some(&**name));
        let [listener, upstream] = [listener, upstream].map(|name| name.filter(|n| !n.is_empty()));
        match outcome {
            Outcome::Unchanged => {}
            Outcome::Changed { not_after } => {
                self.reloaded(Reload::Taken);
                self.expires(*not_after);
                let not_after = not_after.map(rfc3339);
                info!(listener, upstream, not_after, "TLS files taken up");
            }
            Outcome::Kept(error) => {
                self.reloaded(Reload::Refused);
                warn!(
                    listener,
                    upstream,
                    file = %error.file.display(),
                    problem = %error.problem,
                    help = error.problem.help(),
                    "TLS files refused, those before them stay in use"
                );
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
