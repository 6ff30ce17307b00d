//! Listeners and their routes: names, addresses, reachability.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use super::layers::Layers;
use super::{Builder, sections};
use crate::config::diagnostic::{Id, Span, suggest};
use crate::config::model::{Listener, Protocol, Route, Upstream};
use crate::config::raw;
use crate::config::section::Section;
use crate::net::Address;

/// Where a listener with an invalid address would bind; never used.
const NOWHERE: Address = Address::Ip(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)));

impl<'b> Builder<'b> {
    /// The listener that `listen` of an upstream stands for.
    pub(super) fn shorthand(
        &mut self,
        section: &'b Section,
        index: usize,
        upstream: &Upstream,
    ) -> Listener {
        Listener {
            name: Arc::clone(&upstream.name),
            address: Layers::of(section, None)
                .address("listen")
                .unwrap_or(NOWHERE),
            protocol: match upstream.protocol {
                Protocol::Tcp => Protocol::Tcp,
                _ => Protocol::Auto,
            },
            tls: None,
            downstream: self.downstream(&[section]),
            routes: vec![Route::to(index, upstream)],
        }
    }

    /// A `[[listeners]]`; its name comes later, and is empty unless given.
    pub(super) fn listener(
        &mut self,
        section: &'b Section,
        upstreams: &[(&'b Section, Upstream)],
        used: &mut [bool],
    ) -> Listener {
        let layers = Layers::of(section, None);
        let written = sections(section, "routes");
        if written.is_empty() && !section.is_broken("routes") {
            self.report(
                Id::ListenerWithoutRoutes,
                Some(section.span.clone()),
                "this listener has no routes",
                "add `routes = [{ upstream = \"NAME\" }]`",
            );
        }
        let mut routes: Vec<Route> = Vec::with_capacity(written.len());
        for section in written {
            let route = self.route(section, upstreams, used);
            let hidden = written.iter().zip(&routes).any(|(earlier, candidate)| {
                is_sound(earlier) && is_sound(section) && covers(candidate, &route)
            });
            if hidden {
                self.report(
                    Id::UnreachableRoute,
                    Some(section.span.clone()),
                    "this route is never reached: an earlier one matches all that it matches",
                    "the first route that matches wins: put the narrower one first, or remove it",
                );
            }
            routes.push(route);
        }
        self.name_routes(written, &mut routes, upstreams);
        Listener {
            name: Arc::from(layers.text("name").unwrap_or_default()),
            address: layers.address("address").unwrap_or(NOWHERE),
            protocol: self.spoken(section, written, &mut routes, upstreams),
            tls: self.listener_tls(section),
            downstream: self.downstream(&[section]),
            routes,
        }
    }

    fn route(
        &mut self,
        section: &'b Section,
        upstreams: &[(&'b Section, Upstream)],
        used: &mut [bool],
    ) -> Route {
        let layers = Layers::of(section, None);
        let upstream = layers.text("upstream");
        let index = upstream.as_ref().and_then(|name| {
            upstreams
                .iter()
                .position(|(section, _)| section.name == *name)
        });
        if let Some(name) = upstream
            && index.is_none()
        {
            let names = upstreams.iter().map(|(section, _)| section.name.as_str());
            let help = if upstreams.is_empty() {
                "define it in a table `[upstreams.NAME]`".to_owned()
            } else {
                suggest(&name, names)
            };
            let span = layers.span("upstream");
            self.report(Id::UnknownUpstream, span, "no upstream has this name", help);
        }
        if let Some(used) = index.and_then(|index| used.get_mut(index)) {
            *used = true;
        }
        let target = index.and_then(|index| upstreams.get(index));
        let protocol = target.map_or(Protocol::Auto, |(_, upstream)| upstream.protocol);
        let owners: Vec<_> = [section]
            .into_iter()
            .chain(target.map(|(section, _)| *section))
            .collect();
        let bulkhead = target.map(|(_, upstream)| upstream.bulkhead.clone());
        let timeouts = self.timeouts(&owners);
        let (retry, hedge) = self.attempts(&owners);
        self.check_no_budget(section);
        let own_breaker = section.has("timeouts") || section.has("breaker");
        Route {
            name: Arc::from(layers.text("name").unwrap_or_default()),
            host: layers.text("host"),
            path_prefix: layers
                .text("path_prefix")
                .filter(|prefix| !prefix.is_empty()),
            methods: layers.texts("methods"),
            upstream: index.unwrap_or_default(),
            breaker: bulkhead
                .filter(|_| own_breaker)
                .map(|bulkhead| self.breaker(&owners, &timeouts, &bulkhead, protocol)),
            timeouts,
            retry,
            hedge,
            class: target.and_then(|(upstream, _)| self.class(section, upstream)),
            fallback: self.fallback(&owners),
        }
    }

    /// Names routes after their upstreams, where the file does not; reports names given twice.
    fn name_routes(
        &mut self,
        written: &[Section],
        routes: &mut [Route],
        upstreams: &[(&'b Section, Upstream)],
    ) {
        let mut taken = HashSet::new();
        for (section, route) in written.iter().zip(routes.iter()) {
            if section.has("name") && !taken.insert(route.name.to_string()) {
                self.report(
                    Id::DuplicateName,
                    Layers::of(section, None).span("name"),
                    "another route of this listener has this name",
                    "choose another one: metrics could not tell them apart",
                );
            }
        }
        for (section, route) in written.iter().zip(routes) {
            if !section.has("name")
                && let Some((_, upstream)) = upstreams.get(route.upstream)
            {
                route.name = unique(&upstream.name, &mut taken);
            }
        }
    }

    /// Names listeners after their addresses, where the file does not; reports names given twice.
    pub(super) fn name_listeners(
        &mut self,
        written: &[Section],
        listeners: &mut [(Span, Listener)],
    ) {
        let mut taken = HashSet::new();
        for (_, listener) in listeners.iter() {
            if !listener.name.is_empty() && !taken.insert(listener.name.to_string()) {
                let last = written
                    .iter()
                    .map(|section| Layers::of(section, None))
                    .rfind(|layers| layers.text("name").as_deref() == Some(&*listener.name));
                let span = last.and_then(|layers| layers.span("name"));
                self.report(
                    Id::DuplicateName,
                    span,
                    "another listener has this name",
                    "choose another one (`listen` of an upstream makes a listener of the upstream's name)",
                );
            }
        }
        for (_, listener) in listeners {
            if listener.name.is_empty() {
                listener.name = unique(&listener.address.to_string(), &mut taken);
            }
        }
    }

    /// Reports sockets that could not be bound together, and an admin listener open to others.
    pub(super) fn check_addresses(&mut self, listeners: &[(Span, Listener)]) {
        let mut bound: Vec<(Option<Span>, Address)> = Vec::new();
        for (key, table) in [("admin", &raw::ADMIN), ("metrics", &raw::METRICS)] {
            let layers = self.single(key, table);
            let Some(address) = layers.address("listen") else {
                continue;
            };
            if key == "admin"
                && let Some(open) = address.ip().filter(|_| !address.is_local())
            {
                self.report(
                    Id::AdminNotLoopback,
                    layers.span("listen"),
                    "the admin listener must bind a loopback address: whoever reaches it can change things",
                    format!("write `\"127.0.0.1:{}\"` or `\"off\"`", open.port()),
                );
            }
            bound.push((layers.span("listen"), address));
        }
        bound.extend(
            listeners
                .iter()
                .map(|(span, listener)| (Some(span.clone()), listener.address.clone())),
        );
        bound.sort_by_key(|(span, _)| span.as_ref().map_or(0, |span| span.start));
        for (at, (span, address)) in bound.iter().enumerate() {
            let earlier = bound.iter().take(at);
            for (other, _) in earlier.filter(|(_, other)| overlap(other, address)) {
                let whose = match other {
                    Some(_) => "another listener binds this address already",
                    None => "the admin or metrics listener binds this address by default",
                };
                let help = match address {
                    Address::Ip(_) => "choose another port",
                    Address::Unix(_) => "choose another path",
                };
                self.report(Id::DuplicateAddress, span.clone(), whose, help);
            }
        }
    }
}

/// The name, or the name with the first free number.
fn unique(name: &str, taken: &mut HashSet<String>) -> Arc<str> {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}#{number}");
        number += 1;
    }
    Arc::from(candidate)
}

/// Whether two sockets cannot both be bound. Port 0 is another port each time.
fn overlap(a: &Address, b: &Address) -> bool {
    let (Some(a), Some(b)) = (a.ip(), b.ip()) else {
        return a == b;
    };
    let same_family = a.is_ipv4() == b.is_ipv4();
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_family && same_ip
}

/// Whether the conditions of a route are what its author meant.
fn is_sound(section: &Section) -> bool {
    let conditions = ["host", "path_prefix", "methods"];
    !conditions.iter().any(|key| section.is_broken(key))
}

/// Whether every request that `later` matches is matched by `earlier`.
fn covers(earlier: &Route, later: &Route) -> bool {
    let host = match (&earlier.host, &later.host) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => {
            earlier == later
                || earlier
                    .strip_prefix('*')
                    .is_some_and(|suffix| later.ends_with(suffix))
        }
    };
    let path = match (&earlier.path_prefix, &later.path_prefix) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => later
            .strip_prefix(earlier.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    };
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty()
            && later
                .methods
                .iter()
                .all(|method| earlier.methods.contains(method)));
    host && path && methods
}
