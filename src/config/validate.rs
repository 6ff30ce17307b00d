//! From checked sections to the model: inheritance, and what values mean together.
//!
//! Goes on after a problem with what would have been inherited, so that one problem is reported
//! once and hides no other; [`super::inspect_text`] throws the result away then.

mod endpoints;
mod failover;
mod faults;
mod forward;
mod layers;
mod policies;
mod routes;
mod tcp;
mod tls;
mod unused;

use std::num::NonZeroUsize;
use std::sync::Arc;

use layers::Layers;
use unused::Uses;

use super::Named;
use super::diagnostic::{Diagnostic, Id, Span};
use super::model::{
    AccessLog, AccessLogMode, Config, Dns, Listener, Log, LogFormat, Mode, Protocol, Runtime,
    Upstream,
};
use super::raw::{self, Table};
use super::section::{self, Section, Setting};
use super::tree::{Node, Value};
use crate::balance::Policy;

/// Builds the configuration of a file.
pub(super) fn config(root: &Value, named: Named, problems: &mut Vec<Diagnostic>) -> Config {
    let entries = match &root.node {
        Node::Table(entries) => entries.as_slice(),
        _ => &[],
    };
    let file = section::check(entries, &raw::ROOT, root.span.clone(), problems);
    let builtin = Builtin::new(problems);
    let mut builder = Builder {
        file: &file,
        builtin: &builtin,
        named,
        problems,
        uses: Uses::default(),
    };
    builder.config()
}

/// The defaults of each table that has any.
struct Builtin(Vec<(&'static Table, Section)>);

impl Builtin {
    fn new(problems: &mut Vec<Diagnostic>) -> Self {
        let mut tables = Vec::new();
        collect(&raw::ROOT, &mut tables);
        Self(
            tables
                .into_iter()
                .map(|table| (table, section::defaults(table, problems)))
                .collect(),
        )
    }

    fn section(&self, table: &'static Table) -> Option<&Section> {
        let (_, section) = self.0.iter().find(|(key, _)| std::ptr::eq(*key, table))?;
        Some(section)
    }
}

fn collect(table: &'static Table, tables: &mut Vec<&'static Table>) {
    if !tables.iter().any(|seen| std::ptr::eq(*seen, table)) {
        tables.push(table);
        for below in table.keys.iter().filter_map(|key| key.kind.below()) {
            collect(below, tables);
        }
    }
}

struct Builder<'b> {
    file: &'b Section,
    builtin: &'b Builtin,
    named: Named,
    problems: &'b mut Vec<Diagnostic>,
    uses: Uses,
}

impl<'b> Builder<'b> {
    fn config(&mut self) -> Config {
        self.defaults();
        let mut upstreams = self.upstreams();
        self.failover(&mut upstreams);
        let listeners = self.listeners(&upstreams);
        self.report_idle();
        Config {
            runtime: self.runtime(),
            admin: self.single("admin", &raw::ADMIN).address("listen"),
            metrics: self.single("metrics", &raw::METRICS).address("listen"),
            log: self.log(),
            access_log: self.access_log(),
            dns: self.dns(),
            listeners,
            upstreams: upstreams
                .into_iter()
                .map(|(_, upstream)| upstream)
                .collect(),
        }
    }

    fn report(
        &mut self,
        id: Id,
        span: Option<Span>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Diagnostic {
            id,
            span,
            message: message.into(),
            help: Some(help.into()),
        });
    }

    /// A top-level table over its defaults.
    fn single(&self, key: &str, table: &'static Table) -> Layers<'b> {
        Layers::new(&[self.file], key, self.builtin.section(table))
    }

    /// A policy table over the same table of its `owners`, nearest first, and of `[defaults]`.
    fn policy(&self, key: &str, table: &'static Table, owners: &[&'b Section]) -> Layers<'b> {
        let defaults = match self.file.get("defaults").map(|located| &located.setting) {
            Some(Setting::Section(section)) => section.as_ref(),
            _ => None,
        };
        let owners: Vec<_> = owners.iter().copied().chain(defaults).collect();
        Layers::new(&owners, key, self.builtin.section(table))
    }

    /// `[defaults]` must make sense by itself, whoever overrides it.
    fn defaults(&mut self) {
        self.downstream(&[]);
        self.http2(&[]);
        let bulkhead = self.bulkhead(&[]);
        let timeouts = self.timeouts(&[]);
        self.breaker(&[], &timeouts, &bulkhead, Protocol::Auto);
        self.attempts(&[]);
        self.adaptive(&[]);
        self.ejection(&[]);
    }

    fn runtime(&self) -> Runtime {
        let layers = self.single("runtime", &raw::RUNTIME);
        Runtime {
            workers: layers
                .integer("workers")
                .and_then(|workers| NonZeroUsize::new(usize::try_from(workers).ok()?)),
            drain_quiet: layers.time("drain_quiet"),
            drain_grace: layers.time("drain_grace"),
        }
    }

    fn log(&self) -> Log {
        let layers = self.single("log", &raw::LOG);
        Log {
            level: layers.text("level").unwrap_or_default(),
            format: match layers.word("format") {
                "text" => LogFormat::Text,
                _ => LogFormat::Json,
            },
        }
    }

    fn access_log(&self) -> AccessLog {
        let layers = self.single("access_log", &raw::ACCESS_LOG);
        AccessLog {
            mode: match layers.word("mode") {
                "off" => AccessLogMode::Off,
                "errors" => AccessLogMode::Errors,
                "all" => AccessLogMode::All,
                _ => AccessLogMode::Sampled,
            },
            sample_ratio: layers.number("sample_ratio"),
        }
    }

    fn dns(&mut self) -> Dns {
        let discovery = self.single("discovery", &raw::DISCOVERY);
        let layers = discovery.below("dns", self.builtin.section(&raw::DNS));
        let dns = Dns {
            servers: layers
                .list("servers")
                .filter_map(|setting| match setting {
                    Setting::Address(address) => address.as_ref()?.ip(),
                    _ => None,
                })
                .collect(),
            min_ttl: layers.time("min_ttl"),
            max_ttl: layers.time("max_ttl"),
            timeout: layers.time("timeout"),
        };
        if dns.min_ttl > dns.max_ttl {
            self.report(
                Id::ConflictingValues,
                layers.nearest("min_ttl", "max_ttl"),
                "`min_ttl` is longer than `max_ttl`",
                "set both",
            );
        }
        dns
    }

    fn upstreams(&mut self) -> Vec<(&'b Section, Upstream)> {
        let sections = sections(self.file, "upstreams");
        sections
            .iter()
            .map(|section| (section, self.upstream(section)))
            .collect()
    }

    fn upstream(&mut self, section: &'b Section) -> Upstream {
        let layers = Layers::of(section, self.builtin.section(&raw::UPSTREAM));
        let bulkhead = self.bulkhead(&[section]);
        let timeouts = self.timeouts(&[section]);
        let (retry, hedge) = self.attempts(&[section]);
        let mut priority = self.priority(&[section]);
        priority = priority.filter(|priority| priority.mode != Mode::Off);
        let adaptive = self.adaptive(&[section]);
        self.check_limits(section, &bulkhead, adaptive.as_ref(), priority.as_ref());
        let balance = self.balance(&[section]);
        self.check_weights(&layers, balance.policy == Policy::RoundRobin);
        let protocol = tcp::protocol(&layers);
        let endpoints = self.endpoints(section, protocol);
        let is_secure = endpoints.iter().any(|endpoint| endpoint.tls);
        let mut upstream = Upstream {
            name: Arc::from(section.name.as_str()),
            endpoints,
            protocol,
            tls: self.upstream_tls(section, is_secure),
            http2: self.http2(&[section]),
            forwarding: self.forwarding(&[section]),
            proxy_protocol: layers.bool("proxy_protocol"),
            forward: self.forward(section, protocol),
            host: self.host(&layers),
            breaker: self.breaker(&[section], &timeouts, &bulkhead, protocol),
            retry,
            budget: self.budget(&[section]),
            hedge,
            rate_limit: self.rate_limit(&[section]),
            priority,
            adaptive,
            balance,
            ejection: self.ejection(&[section]),
            failover: None,
            faults: self.faults(section),
            fallback: self.fallback(&[section]),
            bulkhead,
            timeouts,
        };
        self.check_protocol(section, &mut upstream);
        upstream
    }

    fn listeners(&mut self, upstreams: &[(&'b Section, Upstream)]) -> Vec<Listener> {
        let written = sections(self.file, "listeners");
        if written.is_empty()
            && !self.file.is_broken("listeners")
            && !upstreams.iter().any(|(section, _)| section.has("listen"))
        {
            self.report(
                Id::NoListener,
                None,
                "nothing listens",
                "give an upstream `listen = \"127.0.0.1:9001\"`, or add `[[listeners]]`",
            );
        }
        let mut used = Vec::with_capacity(upstreams.len());
        let mut listeners = Vec::new();
        for (index, (section, upstream)) in upstreams.iter().enumerate() {
            used.push(section.has("listen"));
            if let Some(located) = section.get("listen") {
                let listener = self.shorthand(section, index, upstream);
                listeners.push((located.span.clone(), listener));
            }
        }
        for index in upstreams
            .iter()
            .filter_map(|(_, upstream)| upstream.failover)
        {
            if let Some(used) = used.get_mut(index) {
                *used = true;
            }
        }
        for section in written {
            let listener = self.listener(section, upstreams, &mut used);
            let span = section
                .get("address")
                .map_or(&section.span, |located| &located.span);
            listeners.push((span.clone(), listener));
        }
        self.report_unused(written, upstreams, &used);
        self.check_addresses(&listeners);
        self.name_listeners(written, &mut listeners);
        listeners.sort_by_key(|(span, _)| span.start);
        listeners
            .into_iter()
            .map(|(_, listener)| listener)
            .collect()
    }

    /// Warns of upstreams that nothing leads to, unless something fails to say where it leads.
    fn report_unused(
        &mut self,
        listeners: &[Section],
        upstreams: &[(&'b Section, Upstream)],
        used: &[bool],
    ) {
        let is_astray = |route: &Section| {
            let target = Layers::of(route, None).text("upstream");
            !upstreams
                .iter()
                .any(|(section, _)| target.as_ref() == Some(&section.name))
        };
        let is_broken = |(section, upstream): &(&Section, Upstream)| {
            section.has("failover") && upstream.failover.is_none()
        };
        let doubtful = self.file.is_broken("listeners")
            || upstreams.iter().any(is_broken)
            || listeners.iter().any(|listener| {
                listener.is_broken("routes") || sections(listener, "routes").iter().any(is_astray)
            });
        if doubtful {
            return;
        }
        for ((section, upstream), _) in upstreams.iter().zip(used).filter(|(_, used)| !**used) {
            self.report(
                Id::UnusedUpstream,
                Some(section.span.clone()),
                format!("nothing leads to the upstream `{}`", upstream.name),
                "give it `listen = \"127.0.0.1:9001\"`, or route to it, or remove it",
            );
        }
    }
}

/// The tables under a key.
fn sections<'s>(owner: &'s Section, key: &str) -> &'s [Section] {
    match owner.get(key).map(|located| &located.setting) {
        Some(Setting::Sections(sections)) => sections,
        _ => &[],
    }
}
