//! How targets are made that callers name: from the settings of their upstream, when they are asked
//! for. Handles of metrics are those of the upstream, so that callers cannot make series.

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::mpsc::UnboundedSender;

use super::{build_breaker, build_pool, build_route, keeps_header_case, route_label};
use crate::config::model::{self, Config};
use crate::net::target::Target;
use crate::pool::Dial;
use crate::proxy::route::{Forward, Route, Targets};
use crate::telemetry::metrics::{BreakerMetrics, Metrics, RouteMetrics, UpstreamMetrics};
use crate::upstream::fault::Faults;
use crate::upstream::forward::{Following, Made};
use crate::upstream::{HostHeader, Parts, Upstream};

/// What the targets of one upstream are made of.
struct Recipe {
    settings: model::Upstream,
    keeps_header_case: bool,
    routes: Vec<RouteRecipe>,
    workers: usize,
    dial: Arc<dyn Dial>,
    faults: Arc<Faults>,
    metrics: UpstreamMetrics,
    breaker: BreakerMetrics,
}

/// One route to them.
struct RouteRecipe {
    settings: model::Route,
    metrics: RouteMetrics,
    /// Its own breaker, as breakers name it.
    breaker: Option<(Arc<str>, model::Breaker, BreakerMetrics)>,
}

/// Prepares the targets of the upstream at `index`, if its callers name the host.
pub(super) fn targets(
    config: &Config,
    index: usize,
    (workers, metrics): (usize, &Metrics),
    dial: &Arc<dyn Dial>,
    faults: &Arc<Faults>,
    follow: &UnboundedSender<Following>,
) -> Option<Arc<Forward>> {
    let settings = config.upstreams.get(index)?;
    let forward = settings.forward.as_ref()?;
    let recipe = Recipe {
        settings: settings.clone(),
        keeps_header_case: keeps_header_case(config, index),
        routes: routes(config, index, metrics),
        workers,
        dial: Arc::clone(dial),
        faults: Arc::clone(faults),
        metrics: metrics.upstream(&settings.name),
        breaker: metrics.breaker(&settings.name, None),
    };
    let make = Box::new(move |target: &Target| recipe.make(target));
    Some(Forward::new(forward, make, follow.clone()))
}

/// Where the route at `position` of `listener` finds its own among the routes to a target.
pub(super) fn index(
    config: &Config,
    table: &Arc<Forward>,
    (listener, position): (usize, usize),
) -> Option<Targets> {
    let route = config.listeners.get(listener)?.routes.get(position)?;
    let mut all = leading_to(config, route.upstream);
    let index = all.position(|(at, ..)| at == (listener, position))?;
    Some(Targets {
        table: Arc::clone(table),
        index,
    })
}

/// The routes to an upstream, in one order.
fn leading_to(
    config: &Config,
    upstream: usize,
) -> impl Iterator<Item = ((usize, usize), &model::Listener, &model::Route)> {
    let listeners = config.listeners.iter().enumerate();
    let all = listeners.flat_map(|(at, listener)| {
        let routes = listener.routes.iter().enumerate();
        routes.map(move |(position, route)| ((at, position), listener, route))
    });
    all.filter(move |(.., route)| route.upstream == upstream)
}

fn routes(config: &Config, upstream: usize, metrics: &Metrics) -> Vec<RouteRecipe> {
    let name = config
        .upstreams
        .get(upstream)
        .map_or("", |upstream| &*upstream.name);
    let recipe = |(_, listener, route): (_, &model::Listener, &model::Route)| RouteRecipe {
        settings: route.clone(),
        metrics: metrics.route(&listener.name, &route.name, name),
        breaker: route.breaker.clone().map(|settings| {
            let label = route_label(listener, route);
            let handles = metrics.breaker(name, Some(&label));
            (label.into(), settings, handles)
        }),
    };
    leading_to(config, upstream).map(recipe).collect()
}

impl Recipe {
    fn make(&self, target: &Target) -> Made<Vec<Arc<Route>>> {
        let text = target.to_string();
        let breaker =
            |settings, handles: &BreakerMetrics| build_breaker(settings, handles.of_target(&text));
        let own: Vec<_> = self
            .routes
            .iter()
            .map(|route| {
                let own = route.breaker.as_ref();
                own.map(|(name, settings, handles)| (Arc::clone(name), breaker(settings, handles)))
            })
            .collect();
        let upstream = Upstream::new(Parts {
            config: &self.settings,
            host: HostHeader::Literal(host(target)),
            pool: build_pool(
                &self.settings,
                self.keeps_header_case,
                self.workers,
                Arc::clone(&self.dial),
                &self.metrics,
            ),
            breaker: breaker(&self.settings.breaker, &self.breaker),
            own_breakers: own.iter().flatten().cloned().collect(),
            faults: Arc::clone(&self.faults),
            metrics: self.metrics.clone(),
            targets: None,
        });
        let routes = self.routes.iter().zip(own);
        let route = |(route, own): (&RouteRecipe, Option<(_, _)>)| {
            Arc::new(build_route(
                &self.settings,
                &route.settings,
                &upstream,
                own.map(|(_, breaker)| breaker),
                None,
                Some(route.metrics.clone()),
            ))
        };
        Made {
            ways: routes.map(route).collect(),
            upstream,
        }
    }
}

/// `host[:port]`, without the port that goes without saying.
fn host(target: &Target) -> HeaderValue {
    let text = match target.port {
        80 => target.host.to_string(),
        _ => target.to_string(),
    };
    // A host and a port are legal in a field.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
