//! Handles of certificates in use.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGaugeVec};

use super::Metrics;
use super::words::words;

impl Metrics {
    /// Resolves the handles of what a listener was told about TLS.
    pub fn listener_tls(&self, name: &str) -> TlsMetrics {
        self.tls([name, ""])
    }

    /// Resolves the handles of what an upstream was told about TLS.
    pub fn upstream_tls(&self, name: &str) -> TlsMetrics {
        self.tls(["", name])
    }

    fn tls(&self, [listener, upstream]: [&str; 2]) -> TlsMetrics {
        let reloads = &self.families.tls_reloads;
        TlsMetrics {
            labels: [listener.into(), upstream.into()],
            expiry: self.families.tls_expiry.clone(),
            reloads: Reload::ALL
                .map(|result| reloads.with_label_values(&[listener, upstream, result.as_str()])),
        }
    }
}

/// Handles of the files of one listener or upstream.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    /// Listener and upstream, of which one is empty.
    pub(in crate::telemetry) labels: [Arc<str>; 2],
    expiry: IntGaugeVec,
    reloads: [IntCounter; Reload::ALL.len()],
}

impl TlsMetrics {
    /// Shows the end of the certificate in use, since the Unix epoch; `None`: there is none.
    pub fn expires(&self, at: Option<Duration>) {
        let labels = [&*self.labels[0], &*self.labels[1]];
        match at {
            Some(at) => {
                let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
                self.expiry.with_label_values(&labels).set(seconds);
            }
            // That it was never there is as well.
            None => drop(self.expiry.remove_label_values(&labels)),
        }
    }

    /// Counts a change of the files.
    pub fn reloaded(&self, result: Reload) {
        self.reloads[result as usize].inc();
    }
}

words! {
    /// What came of files that have changed.
    pub Reload {
        /// They are in use.
        Taken = "taken",
        /// They cannot be used, and those before them stay in use.
        Refused = "refused",
    }
}
