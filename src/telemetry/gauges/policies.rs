//! What the policies of an upstream tell: no series where one that may be off is off.

use std::time::Duration;

use super::{Gauges, count, tally};
use crate::telemetry::metrics::upstream::{ACTIONS, index};
use crate::telemetry::names::{self, Family};
use crate::upstream::view::{
    AdaptiveView, ClassView, EjectionView, EndpointView, FaultView, RateLimitView, UpstreamView,
};

impl Gauges {
    pub(super) fn policies(&mut self, views: &[UpstreamView]) -> Result<(), prometheus::Error> {
        self.each(&names::RETRY_BUDGET_BALANCE, views, |view| {
            Some(retries(view.budget.balance))
        })?;
        self.classes(views)?;
        self.adaptive(views)?;
        self.rate_limits(views)?;
        self.ejections(views)?;
        self.family(&names::FAULTS_ACTIVE, |set| {
            for view in views {
                for (kind, action) in ACTIONS.into_iter().enumerate() {
                    let of_kind = |fault: &&FaultView| index(fault.settings.action) == kind;
                    let active = view.faults.iter().filter(of_kind).count();
                    set(&[&view.name, action.as_str()], count(active));
                }
            }
        })
    }

    /// One series for each upstream that has a value.
    pub(super) fn each(
        &mut self,
        family: &Family,
        views: &[UpstreamView],
        read: impl Fn(&UpstreamView) -> Option<f64>,
    ) -> Result<(), prometheus::Error> {
        self.family(family, |set| {
            for view in views {
                if let Some(value) = read(view) {
                    set(&[&view.name], value);
                }
            }
        })
    }

    fn classes(&mut self, views: &[UpstreamView]) -> Result<(), prometheus::Error> {
        type Read = fn(&ClassView) -> f64;
        let families: [(Family, Read); 4] = [
            (names::CLASS_RESERVED, |class| count(class.reserved)),
            (names::CLASS_IN_FLIGHT, |class| count(class.in_flight)),
            (names::CLASS_QUEUED, |class| count(class.queued)),
            (names::CLASS_REJECTED, |class| tally(class.rejected)),
        ];
        for (family, read) in families {
            self.family(&family, |set| {
                for view in views {
                    for class in &view.classes {
                        set(&[&view.name, &class.name], read(class));
                    }
                }
            })?;
        }
        self.each(&names::WOULD_REORDER, views, |view| {
            (!view.classes.is_empty()).then(|| tally(view.would_reorder))
        })
    }

    fn adaptive(&mut self, views: &[UpstreamView]) -> Result<(), prometheus::Error> {
        type Read = fn(&AdaptiveView) -> Option<f64>;
        let families: [(Family, Read); 6] = [
            (names::ADAPTIVE_LIMIT, |a| Some(f64::from(a.limit))),
            (names::ADAPTIVE_MIN, |a| Some(f64::from(a.min))),
            (names::ADAPTIVE_BASELINE, |a| a.baseline.map(seconds)),
            (names::ADAPTIVE_LATENCY, |a| a.latency.map(seconds)),
            (names::ADAPTIVE_SAMPLES, |a| Some(tally(a.samples))),
            (names::ADAPTIVE_DROPS, |a| Some(tally(a.drops))),
        ];
        for (family, read) in families {
            self.each(&family, views, |view| view.adaptive.as_ref().and_then(read))?;
        }
        Ok(())
    }

    fn rate_limits(&mut self, views: &[UpstreamView]) -> Result<(), prometheus::Error> {
        type Read = fn(&RateLimitView) -> f64;
        let families: [(Family, Read); 4] = [
            (names::RATE_LIMIT_TOKENS, |limit| limit.tokens),
            (names::RATE_LIMIT_REJECTED, |limit| tally(limit.rejected)),
            (names::RATE_LIMIT_DELAYED, |limit| tally(limit.delayed)),
            (names::RATE_LIMIT_WOULD_REJECT, |limit| {
                tally(limit.would_reject)
            }),
        ];
        for (family, read) in families {
            self.each(&family, views, |view| view.rate_limit.as_ref().map(read))?;
        }
        Ok(())
    }

    fn ejections(&mut self, views: &[UpstreamView]) -> Result<(), prometheus::Error> {
        self.family(&names::EJECTIONS, |set| {
            for view in views {
                if let Some(ejection) = &view.ejection {
                    let consecutive = tally(ejection.consecutive);
                    set(&[&view.name, "consecutive_failures"], consecutive);
                    set(&[&view.name, "failure_rate"], tally(ejection.failure_rate));
                }
            }
        })?;
        type Read = fn(&UpstreamView, &EjectionView) -> f64;
        let families: [(Family, Read); 3] = [
            (names::ENDPOINTS_EJECTED, |view, _| {
                count(view.endpoints.iter().filter(|e| ejected(e)).count())
            }),
            (names::WOULD_EJECT, |_, ejection| {
                tally(ejection.would_eject)
            }),
            (names::EJECTION_PANICS, |_, ejection| tally(ejection.panics)),
        ];
        for (family, read) in families {
            self.each(&family, views, |view| {
                view.ejection.as_ref().map(|ejection| read(view, ejection))
            })?;
        }
        type OfEndpoint = fn(&UpstreamView, &EndpointView) -> Option<f64>;
        let families: [(Family, OfEndpoint); 2] = [
            (names::ENDPOINT_EJECTED, |view, endpoint| {
                let is = || f64::from(u8::from(ejected(endpoint)));
                view.ejection.is_some().then(is)
            }),
            (names::ENDPOINT_LATENCY, |_, endpoint| {
                endpoint.latency.map(seconds)
            }),
        ];
        for (family, read) in families {
            self.family(&family, |set| {
                for view in views {
                    for endpoint in &view.endpoints {
                        if let Some(value) = read(view, endpoint) {
                            set(&[&view.name, &endpoint.address.to_string()], value);
                        }
                    }
                }
            })?;
        }
        Ok(())
    }
}

fn ejected(endpoint: &EndpointView) -> bool {
    endpoint.ejected_for.is_some()
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Whole retries of a balance in thousandths.
#[expect(clippy::cast_precision_loss, reason = "balances stay far below 2^53")]
fn retries(balance: i64) -> f64 {
    balance as f64 / 1000.0
}
