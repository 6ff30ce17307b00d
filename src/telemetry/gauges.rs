//! What is read at scrape time, from views and statics: the request path never touches it.

mod policies;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};

use super::names::{self, Family, Kind};
use crate::lifecycle::tasks;
use crate::resilience::breaker::State;
use crate::upstream::view::{BreakerView, TargetView, UpstreamView};

/// Builds every live gauge from scratch, without those that have no series.
pub(super) fn collect(
    views: &[UpstreamView],
    workers: usize,
    ready: bool,
) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let mut gauges = Gauges(Vec::new());
    gauges.upstreams(views)?;
    gauges.policies(views)?;
    gauges.breakers(views)?;
    gauges.one(&names::PANICS, &[], tally(tasks::panics()))?;
    gauges.one(&names::READY, &[], f64::from(u8::from(ready)))?;
    gauges.one(&names::WORKERS, &[], count(workers))?;
    // One configuration is read at start and kept.
    gauges.one(&names::CONFIG_GENERATION, &[], 1.0)?;
    gauges.one(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0)?;
    Ok(gauges.0)
}

struct Gauges(Vec<MetricFamily>);

impl Gauges {
    fn one(
        &mut self,
        family: &Family,
        labels: &[&str],
        value: f64,
    ) -> Result<(), prometheus::Error> {
        self.family(family, |set| set(labels, value))
    }

    fn family(
        &mut self,
        family: &Family,
        fill: impl FnOnce(&dyn Fn(&[&str], f64)),
    ) -> Result<(), prometheus::Error> {
        let opts = Opts::new(family.name, family.help);
        let families = if family.kind == Kind::Counter {
            let vec = CounterVec::new(opts, family.labels)?;
            fill(&|labels, value| vec.with_label_values(labels).inc_by(value));
            vec.collect()
        } else {
            let vec = GaugeVec::new(opts, family.labels)?;
            fill(&|labels, value| vec.with_label_values(labels).set(value));
            vec.collect()
        };
        // The encoder refuses a family without series.
        let families = families.into_iter();
        self.0
            .extend(families.filter(|family| !family.get_metric().is_empty()));
        Ok(())
    }

    fn upstreams(&mut self, views: &[UpstreamView]) -> Result<(), prometheus::Error> {
        type Read = fn(&UpstreamView) -> f64;
        let plain: [(Family, Read); 8] = [
            (names::BULKHEAD_IN_FLIGHT, |view| count(view.in_flight)),
            (names::BULKHEAD_MAX_REQUESTS, |view| {
                count(view.max_requests)
            }),
            (names::BULKHEAD_EFFECTIVE, |view| {
                count(view.effective_max_requests)
            }),
            (names::BULKHEAD_QUEUED, |view| count(view.queued)),
            (names::BULKHEAD_MAX_QUEUED, |view| count(view.max_queued)),
            (names::BULKHEAD_WOULD_QUEUE, |view| {
                tally(view.would_have.queued)
            }),
            (names::BULKHEAD_WOULD_REJECT, |view| {
                tally(view.would_have.refused)
            }),
            (names::POOL_MAX_CONNECTIONS, |view| {
                count(view.max_connections)
            }),
        ];
        for (family, read) in plain {
            self.family(&family, |set| {
                for view in views {
                    set(&[&view.name], read(view));
                }
            })?;
        }
        // Where callers name the host, nothing is missing before they do.
        self.each(&names::ENDPOINTS, views, |view| {
            view.targets.is_none().then(|| count(view.endpoints.len()))
        })?;
        self.family(&names::POOL_CONNECTIONS, |set| {
            for view in views {
                set(&[&view.name, "active"], count(view.connections_active));
                set(&[&view.name, "idle"], count(view.connections_idle));
            }
        })?;
        self.family(&names::FORWARD_TARGETS, |set| {
            for view in views {
                let Some(targets) = &view.targets else {
                    continue;
                };
                for state in State::ALL {
                    let is = |target: &&TargetView| {
                        let own = target.view.breakers.first();
                        own.is_some_and(|own| own.view.state == state)
                    };
                    let many = targets.iter().filter(is).count();
                    set(&[&view.name, state.as_str()], count(many));
                }
            }
        })?;
        self.family(&names::ENDPOINT_IN_FLIGHT, |set| {
            for view in views {
                for endpoint in &view.endpoints {
                    let address = endpoint.address.to_string();
                    set(&[&view.name, &address], count(endpoint.in_flight));
                }
            }
        })
    }

    fn breakers(&mut self, views: &[UpstreamView]) -> Result<(), prometheus::Error> {
        self.family(&names::BREAKER_STATE, |set| {
            for (upstream, breaker) in breakers(views) {
                for state in State::ALL {
                    let is = f64::from(u8::from(state == breaker.view.state));
                    set(&[upstream, route(breaker), state.as_str()], is);
                }
            }
        })?;
        type Read = fn(&BreakerView) -> Option<f64>;
        let plain: [(Family, Read); 5] = [
            (names::BREAKER_FAILURE_RATE, |b| b.view.failure_rate),
            (names::BREAKER_SLOW_RATE, |b| b.view.slow_rate),
            (names::BREAKER_WINDOW_CALLS, |b| {
                Some(f64::from(b.view.counts.calls))
            }),
            (names::BREAKER_OVERDUE, |b| {
                Some(f64::from(b.view.counts.overdue))
            }),
            (names::BREAKER_OPENS, |b| Some(f64::from(b.view.opens))),
        ];
        for (family, read) in plain {
            self.family(&family, |set| {
                for (upstream, breaker) in breakers(views) {
                    if let Some(value) = read(breaker) {
                        set(&[upstream, route(breaker)], value);
                    }
                }
            })?;
        }
        Ok(())
    }
}

fn breakers(views: &[UpstreamView]) -> impl Iterator<Item = (&str, &BreakerView)> {
    views
        .iter()
        .flat_map(|view| view.breakers.iter().map(|breaker| (&*view.name, breaker)))
}

fn route(breaker: &BreakerView) -> &str {
    breaker.route.as_deref().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn count(value: usize) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn tally(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
pub(super) mod tests;
