//! The certificates, keys and roots in use: their end is shown, and their files are looked at.
//!
//! Files are read on the control thread, which accepts connections and serves none. One that hangs
//! (a network volume) delays accepting, not what is open.

use std::sync::Arc;
use std::time::Duration;

use super::Built;
use crate::telemetry::metrics::{Metrics, TlsMetrics};
use crate::time;
use crate::tls::client::Client;
use crate::tls::files::Outcome;
use crate::tls::server::Server;

/// How often files are looked at. Who renews a certificate waits about so long to see it.
const LOOK: Duration = Duration::from_secs(2);

/// All of them.
#[derive(Default)]
pub(super) struct Certificates(Vec<Files>);

struct Files {
    user: User,
    metrics: TlsMetrics,
}

enum User {
    Listener(Arc<Server>),
    Upstream(Arc<Client>),
}

impl User {
    fn reload(&self) -> Outcome {
        match self {
            Self::Listener(server) => server.reload(),
            Self::Upstream(client) => client.reload(),
        }
    }

    fn not_after(&self) -> Option<Duration> {
        match self {
            Self::Listener(server) => server.not_after(),
            Self::Upstream(client) => client.not_after(),
        }
    }
}

impl Certificates {
    /// Gathers those of `built` and shows when they end.
    pub(super) fn of(built: &Built, metrics: &Metrics) -> Self {
        let listeners = built.listeners.iter().filter_map(|listener| {
            let user = User::Listener(Arc::clone(listener.tls.as_ref()?));
            Some((user, metrics.listener_tls(&listener.name)))
        });
        let upstreams = built.upstreams.iter().zip(&built.tls);
        let upstreams = upstreams.filter_map(|(upstream, client)| {
            let user = User::Upstream(Arc::clone(client.as_ref()?));
            Some((user, metrics.upstream_tls(&upstream.name)))
        });
        let all = listeners.chain(upstreams).map(|(user, metrics)| {
            metrics.expires(user.not_after());
            Files { user, metrics }
        });
        Self(all.collect())
    }

    /// Takes up changed files for ever; ends at once where there are none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the looking; what is in use stays in use.
    pub(super) async fn keep_current(self) {
        while !self.0.is_empty() {
            time::sleep(LOOK).await;
            for Files { user, metrics } in &self.0 {
                metrics.looked(&user.reload());
            }
        }
    }
}
