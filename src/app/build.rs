//! From a valid configuration to what runs. Everything that can fail has failed before this.

mod forward;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::config::model::{self, Config, Mode, Protocol};
use crate::pool::{self, Dial, DialSocket, Limits, Pool};
use crate::proxy::route::{Hedge, Idempotency, Matcher, Route, RouteTable};
use crate::proxy::{Fallback, Listener};
use crate::telemetry::metrics::{BreakerMetrics, Metrics, RouteMetrics, UpstreamMetrics};
use crate::tls::Offer;
use crate::tls::client::Client;
use crate::tls::files::LoadError;
use crate::tls::server::Server;
use crate::upstream::breaker::Breaker;
use crate::upstream::fault::Faults;
use crate::upstream::forward::Following;
use crate::upstream::forward::Targets;
use crate::upstream::hedge::HedgeDelay;
use crate::upstream::{HostHeader, Parts, Upstream};
use crate::{rng, time};

/// The data plane of one configuration.
pub struct Built {
    /// In the order of the file.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What makes the TLS connections of each upstream that is encrypted, in the order of the file.
    pub tls: Vec<Option<Arc<Client>>>,
    /// In the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// Targets that callers have named, each to be resolved for as long as there is use for it.
    pub followings: UnboundedReceiver<Following>,
}

/// The breakers of one route with overrides, before the upstream owns them.
struct OwnBreaker {
    listener: usize,
    route: usize,
    /// `listener/route`.
    name: Arc<str>,
    breaker: Arc<Breaker>,
}

/// Builds upstreams (without endpoints) and listeners (not bound).
///
/// # Errors
///
/// Says which certificate, key or root cannot be used.
pub fn build(config: &Config, workers: usize, metrics: &Metrics) -> Result<Built, LoadError> {
    let mut tls = Vec::new();
    for upstream in &config.upstreams {
        tls.push(match &upstream.tls {
            Some(settings) => Some(Arc::new(Client::new(settings.clone())?)),
            None => None,
        });
    }
    let dial = |index: usize| -> Arc<dyn Dial> {
        let protocol = config
            .upstreams
            .get(index)
            .map(|upstream| upstream.protocol);
        let tls = tls.get(index).cloned().flatten();
        Arc::new(DialSocket::new(protocol.unwrap_or(Protocol::Http1), tls))
    };
    let built = build_by(config, workers, metrics, dial)?;
    Ok(Built { tls, ..built })
}

/// As [`build`], with sockets from `dial`.
///
/// # Errors
///
/// Says which certificate or key of a listener cannot be used.
pub fn build_with(
    config: &Config,
    workers: usize,
    metrics: &Metrics,
    dial: &Arc<dyn Dial>,
) -> Result<Built, LoadError> {
    build_by(config, workers, metrics, |_| Arc::clone(dial))
}

fn build_by(
    config: &Config,
    workers: usize,
    metrics: &Metrics,
    dial: impl Fn(usize) -> Arc<dyn Dial>,
) -> Result<Built, LoadError> {
    let (follow, followings) = unbounded_channel();
    let (mut own, mut tables) = (Vec::new(), Vec::new());
    let upstreams: Vec<_> = config
        .upstreams
        .iter()
        .enumerate()
        .map(|(index, upstream)| {
            let found = own_breakers(config, index, metrics);
            let faults = Faults::new(&upstream.faults, time::now(), time::unix_now());
            let (faults, dial) = (Arc::new(faults), dial(index));
            let env = (workers, metrics);
            let table = forward::targets(config, index, env, &dial, &faults, &follow);
            let targets = table.clone().map(|table| table as _);
            let keeps_case = keeps_header_case(config, index);
            let handles = metrics.upstream(&upstream.name);
            let pool = build_pool(upstream, keeps_case, workers, dial, &handles);
            let built = build_upstream(upstream, &found, metrics, pool, faults, targets);
            own.extend(found);
            tables.push(table);
            built
        })
        .collect();
    let failovers = failovers(config, &upstreams);
    let listeners = config
        .listeners
        .iter()
        .enumerate()
        .map(|(index, listener)| {
            let tls = match &listener.tls {
                Some(settings) => {
                    let offer = Offer::from(listener.protocol);
                    Some(Arc::new(Server::new(settings.clone(), offer)?))
                }
                None => None,
            };
            let routes = listener
                .routes
                .iter()
                .enumerate()
                .filter_map(|(position, route)| {
                    let upstream = upstreams.get(route.upstream)?;
                    let mut own = own.iter();
                    let own = own.find(|own| own.listener == index && own.route == position);
                    let own = own.map(|own| Arc::clone(&own.breaker));
                    let failover = failovers.get(route.upstream).cloned().flatten();
                    let handles = metrics.route(&listener.name, &route.name, &upstream.name);
                    let settings = config.upstreams.get(route.upstream)?;
                    let handles = Some(handles);
                    let mut built = build_route(settings, route, upstream, own, failover, handles);
                    let table = tables.get(route.upstream).and_then(Option::as_ref);
                    let here = (index, position);
                    built.targets = table.and_then(|table| forward::index(config, table, here));
                    Some((Matcher::new(route), Arc::new(built)))
                });
            Ok(Arc::new(Listener {
                name: Arc::clone(&listener.name),
                protocol: listener.protocol,
                tls,
                downstream: listener.downstream.clone(),
                routes: ArcSwap::from_pointee(RouteTable::new(routes.collect())),
                metrics: metrics.listener(&listener.name),
            }))
        })
        .collect::<Result<_, _>>()?;
    Ok(Built {
        upstreams,
        tls: Vec::new(),
        listeners,
        followings,
    })
}

fn own_breakers(config: &Config, upstream: usize, metrics: &Metrics) -> Vec<OwnBreaker> {
    let mut found = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        for (position, route) in listener.routes.iter().enumerate() {
            let Some(settings) = route
                .breaker
                .as_ref()
                .filter(|_| route.upstream == upstream)
            else {
                continue;
            };
            let Some(upstream) = config.upstreams.get(upstream) else {
                continue;
            };
            let name = route_label(listener, route);
            found.push(OwnBreaker {
                listener: index,
                route: position,
                breaker: build_breaker(settings, metrics.breaker(&upstream.name, Some(&name))),
                name: name.into(),
            });
        }
    }
    found
}

/// A route as breakers name it.
fn route_label(listener: &model::Listener, route: &model::Route) -> String {
    format!("{}/{}", listener.name, route.name)
}

fn build_breaker(settings: &model::Breaker, handles: BreakerMetrics) -> Arc<Breaker> {
    let observer = Box::new(handles);
    Breaker::new(
        settings.settings.clone(),
        settings.mode,
        rng::u64(),
        observer,
        time::now(),
    )
}

fn build_upstream(
    config: &model::Upstream,
    own: &[OwnBreaker],
    metrics: &Metrics,
    pool: Arc<Pool>,
    faults: Arc<Faults>,
    targets: Option<Arc<dyn Targets>>,
) -> Arc<Upstream> {
    let handles = metrics.upstream(&config.name);
    let shared = build_breaker(&config.breaker, metrics.breaker(&config.name, None));
    let own = own
        .iter()
        .map(|own| (Arc::clone(&own.name), Arc::clone(&own.breaker)))
        .collect();
    let host = match &config.host {
        model::HostHeader::Endpoint => HostHeader::Endpoint,
        model::HostHeader::Preserve => HostHeader::Preserve,
        model::HostHeader::Literal(host) => {
            HeaderValue::try_from(host).map_or(HostHeader::Endpoint, HostHeader::Literal)
        }
    };
    Upstream::new(Parts {
        config,
        host,
        pool,
        breaker: shared,
        own_breakers: own,
        faults,
        metrics: handles,
        targets,
    })
}

/// Whether a listener from which requests come to this upstream, as a failover or before one, has the
/// names of their fields go on as they were spelled. Its answers are spelled so on all of them.
fn keeps_header_case(config: &Config, upstream: usize) -> bool {
    let next = |at: &usize| config.upstreams.get(*at)?.failover;
    let leads = |from| {
        let mut way = std::iter::successors(Some(from), next).take(config.upstreams.len());
        way.any(|at| at == upstream)
    };
    let listeners = config.listeners.iter();
    let mut keeping = listeners.filter(|listener| listener.downstream.keep_header_case);
    keeping.any(|listener| listener.routes.iter().any(|route| leads(route.upstream)))
}

fn build_pool(
    config: &model::Upstream,
    keeps_header_case: bool,
    workers: usize,
    dial: Arc<dyn Dial>,
    handles: &UpstreamMetrics,
) -> Arc<Pool> {
    let limits = Limits {
        max_connections: config.bulkhead.max_connections,
        max_idle: config.bulkhead.max_idle,
        idle_timeout: config.bulkhead.idle_timeout,
        max_age: config.bulkhead.max_age,
    };
    let settings = pool::Settings {
        limits,
        protocol: config.protocol,
        http2: config.http2.clone(),
        tls: config.tls.is_some(),
        keeps_header_case,
    };
    Pool::new(settings, workers, dial, Box::new(handles.clone()))
}

/// For each upstream the route to the one that is asked in its place, if there is one: with that
/// one's own policies, and on to its own failover.
fn failovers(config: &Config, upstreams: &[Arc<Upstream>]) -> Vec<Option<Arc<Route>>> {
    let mut ways = vec![None; upstreams.len()];
    let from = config.upstreams.iter();
    from.map(|from| way_to(from.failover?, config, upstreams, &mut ways))
        .collect()
}

/// The way to the upstream at `to`, built once. The configuration has refused circles.
fn way_to(
    to: usize,
    config: &Config,
    upstreams: &[Arc<Upstream>],
    ways: &mut [Option<Arc<Route>>],
) -> Option<Arc<Route>> {
    if let Some(built) = ways.get(to)? {
        return Some(Arc::clone(built));
    }
    let (upstream, settings) = upstreams.get(to).zip(config.upstreams.get(to))?;
    let next = settings
        .failover
        .and_then(|next| way_to(next, config, upstreams, ways));
    let route = model::Route::to(to, settings);
    let built = Arc::new(build_route(settings, &route, upstream, None, next, None));
    ways.get_mut(to)?.replace(Arc::clone(&built));
    Some(built)
}

fn build_route(
    settings: &model::Upstream,
    route: &model::Route,
    upstream: &Arc<Upstream>,
    own: Option<Arc<Breaker>>,
    failover: Option<Arc<Route>>,
    metrics: Option<RouteMetrics>,
) -> Route {
    let breaker = route.breaker.as_ref().unwrap_or(&settings.breaker);
    let deadline_header = route.timeouts.deadline_header.as_deref();
    let retry = &route.retry;
    let retries = retry.mode != Mode::Off && retry.settings.retries > 0;
    let hedges = |hedge: &model::Hedge| hedge.mode == Mode::Enforce;
    let sends_again = (retries && retry.mode == Mode::Enforce)
        || route.hedge.as_ref().is_some_and(hedges)
        || failover.is_some();
    let key = retry.idempotency_key_header.parse().ok();
    let hedge = route.hedge.as_ref().map(|hedge| Hedge {
        mode: hedge.mode,
        delay: HedgeDelay::new(hedge.settings.delay),
        settings: hedge.settings.clone(),
    });
    Route {
        name: Arc::clone(&route.name),
        upstream: Arc::clone(upstream),
        breaker: own.unwrap_or_else(|| Arc::clone(&upstream.breaker)),
        timeouts: route.timeouts.clone(),
        deadline_header: deadline_header.and_then(|name| name.parse().ok()),
        rules: breaker.rules.clone(),
        settle_after: breaker.settle_after,
        slow: breaker.settings.slow_call,
        retry: retry.clone(),
        idempotency: key
            .filter(|_| retry.honours_idempotency_key)
            .map(|header| Idempotency {
                header,
                mint: retry.mint_idempotency_key && sends_again,
            }),
        repeats: retries || hedge.is_some() || failover.is_some(),
        hedge,
        class: route.class,
        targets: None,
        failover,
        fallback: route.fallback.as_ref().and_then(Fallback::new),
        metrics,
    }
}
