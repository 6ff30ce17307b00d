//! The proxy under test with everything around it, and what must hold of it.

use std::future::Future;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger::app::build_with;
use outrigger::lifecycle::tasks;
use outrigger::pool::Dial;
use outrigger::proxy::watch::Watch;
use outrigger::proxy::{self, Activity, Listener, Proxy};
use outrigger::resilience::breaker::{State, View};
use outrigger::telemetry::access_log::AccessLog;
use outrigger::telemetry::metrics::Metrics;
use outrigger::upstream::resolve::Resolution;
use outrigger::upstream::view::UpstreamView;
use outrigger::{config, listener, rng, time, upstream};
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::JoinHandle;

use crate::caller::Caller;
use crate::metrics::{self, Sample};
use crate::upstream::{Upstream, ms};

/// What a caller's pipe holds in each direction.
const PIPE: usize = 16 * 1024;

/// The default of `half_open_calls`, which no simulation changes.
const HALF_OPEN_CALLS: u32 = 3;

const BASE: &str = r#"
[admin]
listen = "off"
[metrics]
listen = "off"
[access_log]
mode = "all"
# One attempt, unless a simulation is about more.
[defaults.retry]
mode = "off"
[upstreams.u]
listen = "127.0.0.1:0"
endpoints = ["http://192.0.2.1:80"]
"#;

/// Runs a simulation: a paused clock, and randomness that is a function of `seed`.
pub(crate) fn simulate<T>(seed: u64, simulation: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .expect("a runtime needs no resources");
    rng::seed(seed);
    runtime.block_on(simulation)
}

/// Lets everything run that can, and one millisecond pass.
pub(crate) async fn settle() {
    time::sleep(ms(1)).await;
}

/// Lines of the access log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One worker with one listener and one route to an upstream named `u`, beside which there may be
/// others.
pub(crate) struct World {
    pub(crate) script: Upstream,
    pub(crate) upstream: Arc<upstream::Upstream>,
    upstreams: Vec<Arc<upstream::Upstream>>,
    /// Slots that one request may hold, or none while it waits for a token.
    slots: std::ops::RangeInclusive<usize>,
    pub(crate) activity: Arc<Activity>,
    proxy: Rc<Proxy>,
    listener: Arc<Listener>,
    metrics: Metrics,
    lines: Lines,
}

impl World {
    /// Builds the proxy by `settings`, which are sections of the file.
    pub(crate) fn new(settings: &str, script: &Upstream) -> Self {
        let config = config::parse("simulated.toml", &format!("{BASE}{settings}"));
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let metrics = Metrics::new(1).expect("the families are distinct");
        let dial: Arc<dyn Dial> = Arc::new(script.clone());
        let built = build_with(&config, 1, &metrics, &dial);
        let built = built.expect("there is nothing to load");
        for (upstream, config) in built.upstreams.iter().zip(&config.upstreams) {
            let endpoints = Resolution::begin(upstream, &config.endpoints);
            assert!(endpoints.names().is_empty());
        }
        let hedges = config.upstreams[0].hedge.as_ref();
        let most = 1 + hedges.map_or(0, |hedge| hedge.settings.max_hedges as usize);
        let least = usize::from(config.upstreams[0].rate_limit.is_none());
        let lines = Lines::default();
        let log = AccessLog::new(&config.access_log, lines.clone(), metrics.access_log());
        let activity = Arc::new(Activity::new(time::now()));
        Self {
            script: script.clone(),
            upstream: Arc::clone(&built.upstreams[0]),
            upstreams: built.upstreams,
            slots: least..=most,
            activity: Arc::clone(&activity),
            proxy: Rc::new(Proxy {
                worker: 0,
                access_log: Arc::new(log.expect("a thread can be had")),
                activity,
            }),
            listener: Arc::clone(&built.listeners[0]),
            metrics,
            lines,
        }
    }

    /// A connection: the caller's end, and the future that serves the other one.
    pub(crate) fn pipe(&self) -> (DuplexStream, impl Future<Output = ()> + use<>) {
        let (near, far) = tokio::io::duplex(PIPE);
        let (proxy, listener) = (Rc::clone(&self.proxy), Arc::clone(&self.listener));
        (
            near,
            listener::serve(proxy, listener, far, outrigger::net::Ends::default()),
        )
    }

    /// A caller on a connection of its own.
    pub(crate) fn caller(&self) -> Caller {
        let (near, served) = self.pipe();
        tasks::spawn_local("connection", served);
        Caller::new(near)
    }

    /// Sends a GET from a connection of its own.
    pub(crate) fn get(&self, path: &str) -> JoinHandle<()> {
        let mut caller = self.caller();
        let path = path.to_owned();
        tasks::spawn_local("caller", async move {
            caller.get(&path).await;
        })
    }

    /// What the request path is given by a listener, for calling it without one.
    pub(crate) fn direct(&self) -> Rc<proxy::Caller> {
        let downstream = &self.listener.downstream;
        let (header, idle) = (downstream.header_timeout, downstream.idle_timeout);
        Rc::new(proxy::Caller {
            proxy: Rc::clone(&self.proxy),
            listener: Arc::clone(&self.listener),
            ends: outrigger::net::Ends::default(),
            watch: Rc::new(Watch::new(header, idle, time::now())),
        })
    }

    pub(crate) fn view(&self) -> UpstreamView {
        self.upstream.view(time::now())
    }

    /// Whether there is no upstream beside `u`.
    pub(crate) fn is_alone(&self) -> bool {
        self.upstreams.len() == 1
    }

    fn views(&self) -> impl Iterator<Item = UpstreamView> {
        let now = time::now();
        self.upstreams
            .iter()
            .map(move |upstream| upstream.view(now))
    }

    pub(crate) fn breaker(&self) -> View {
        self.upstream.breaker.view(time::now())
    }

    /// The sum of the samples of a metric that carry these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum = metrics::sum(&self.samples(), &format!("outrigger_{name}"), labels);
        assert!(sum >= 0.0 && sum.fract() == 0.0, "{name} is a count");
        sum.to_string().parse().expect("a count")
    }

    fn samples(&self) -> Vec<Sample> {
        let views: Vec<_> = self.views().collect();
        let text = self.metrics.render(&views, true);
        metrics::parse(&text.expect("the families are distinct"))
    }

    /// Attempts with this verdict; of all verdicts where it is empty.
    pub(crate) fn attempts(&self, verdict: &str) -> u64 {
        self.sum("attempts_total", &labels("verdict", verdict))
    }

    /// Calls of which the breaker learnt this.
    pub(crate) fn calls(&self, verdict: &str) -> u64 {
        self.sum("breaker_calls_total", &labels("verdict", verdict))
    }

    /// What must hold whenever nothing can run, `others` requests being in flight or queued.
    #[track_caller]
    pub(crate) fn check(&self, others: usize) {
        assert_eq!(self.activity.in_flight(), others, "in flight");
        let slots: usize = self.views().map(|view| view.in_flight + view.queued).sum();
        let (least, most) = (self.slots.start() * others, self.slots.end() * others);
        assert!((least..=most).contains(&slots), "{slots} slots of {others}");
        self.check_bounds();
    }

    /// What must hold at every instant.
    #[track_caller]
    pub(crate) fn check_bounds(&self) {
        let mut pipes = 0;
        for view in self.views() {
            let attempts: usize = view.endpoints.iter().map(|e| e.in_flight).sum();
            assert!(attempts <= view.in_flight, "attempts: {view:?}");
            assert!(view.in_flight <= view.max_requests, "{view:?}");
            assert!(view.queued <= view.max_queued, "{view:?}");
            let open = view.connections_active + view.connections_idle;
            assert!(open <= view.max_connections, "{view:?}");
            assert!(view.connections_active <= view.in_flight, "{view:?}");
            pipes += open;
        }
        assert_eq!(pipes, self.script.open(), "pipes");
    }

    /// What must hold when all requests have ended: nothing is held, everything was counted once.
    #[track_caller]
    pub(crate) fn check_nothing_held(&self) {
        self.check(0);
        for view in self.views() {
            assert_eq!(view.connections_active, 0, "{view:?}");
            assert!(view.endpoints.iter().all(|e| e.in_flight == 0), "{view:?}");
            let tokens = view.rate_limit.map_or(0.0, |limit| limit.tokens);
            assert!(tokens >= 0.0, "a token is reserved for nobody: {tokens}");
        }
        let view = self.view();
        assert_eq!(self.script.exchanging(), 0, "an abandoned pipe is open");
        let learnt = ["success", "failure", "ignored", "late"].map(|word| self.calls(word));
        assert_eq!(learnt.iter().sum::<u64>(), self.attempts(""), "{view:?}");
        let breaker = self.breaker();
        if breaker.state == State::HalfOpen {
            let known = breaker.probes_left + breaker.counts.calls;
            assert_eq!(known, HALF_OPEN_CALLS, "probes: {breaker:?}");
        }
        let refused = ["local_replies_total", "aborted_responses_total"];
        let refused: u64 = refused.map(|name| self.sum(name, &[])).iter().sum();
        assert!(refused <= self.sum("requests_total", &[]));
    }

    /// What must hold of the budget of `u` as long as no deposit has expired and no retry was given
    /// up after its wait: deposits of first attempts, costs of the others, and nothing else.
    #[track_caller]
    pub(crate) fn check_budget(&self, reserve: i64, deposit: i64) {
        let of_u = |name| self.sum(name, &labels("upstream", "u"));
        let more = of_u("retries_total") + of_u("hedges_total");
        let first = of_u("attempts_total") - more;
        let [more, first] = [more, first].map(|count| i64::try_from(count).expect("few"));
        let budget = self.view().budget;
        assert_eq!(budget.balance, reserve + deposit * first - 1000 * more);
    }

    /// Ends the simulation: long after, no attempt is still believed to run, every connection is
    /// closed and was counted, and the log has a line for every request.
    pub(crate) async fn end(self) {
        time::sleep(Duration::from_secs(600)).await;
        self.check_nothing_held();
        assert_eq!(self.breaker().counts.overdue, 0);
        for upstream in &self.upstreams {
            upstream.pool.reap(time::now());
        }
        settle().await;
        assert_eq!(self.script.open(), 0);
        let closed = self.sum("pool_connections_closed_total", &[]);
        assert_eq!(self.sum("pool_connections_opened_total", &[]), closed);
        self.proxy.access_log.close();
        let lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = String::from_utf8_lossy(&lines);
        let mut attempts = 0;
        for line in lines.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            attempts += line["attempts"].as_u64().expect("a count");
        }
        assert_eq!(attempts, self.attempts(""));
        let requests = self.sum("requests_total", &[]);
        assert_eq!(u64::try_from(lines.lines().count()).expect("few"), requests);
    }
}

fn labels<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    if value.is_empty() {
        Vec::new()
    } else {
        vec![(name, value)]
    }
}
