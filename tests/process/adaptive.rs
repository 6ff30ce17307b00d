//! A limit below `max_requests` that follows what the upstream answers, and how fast.
//!
//! Load is that of callers which ask again as soon as they are answered, until the limit is where
//! it has to come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{
    API, BREAKER_CALLS, IN_FLIGHT, assert_nothing_held, assert_replies, assert_row,
};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::metrics;
use crate::support::upstream::{Step, Upstream, message, reply};

const LIMIT: &str = "outrigger_adaptive_limit";
const EFFECTIVE: &str = "outrigger_bulkhead_effective_max_requests";
const BASELINE: &str = "outrigger_adaptive_baseline_seconds";
const LATENCY: &str = "outrigger_adaptive_latency_seconds";
const SAMPLES: &str = "outrigger_adaptive_samples_total";
const DROPS: &str = "outrigger_adaptive_drops_total";
const REJECTED: &str = "outrigger_bulkhead_rejected_total";

/// One upstream behind this limit, with room to wait and no breaker in the way.
fn daemon(upstream: &Upstream, adaptive: &str) -> Daemon {
    let settings = format!(
        "breaker = {{ mode = \"off\" }}\nbulkhead = {{ queue_timeout = \"50s\" }}\n\
         timeouts = {{ first_byte = \"50s\", request = \"50s\" }}\nadaptive = {{ {adaptive} }}"
    );
    Daemon::proxying(&[upstream.url()], &settings)
}

/// Answers with this status after so many milliseconds, both to be changed by the test.
#[derive(Clone)]
struct Mood(Arc<(AtomicU64, AtomicU64)>);

impl Mood {
    fn new(status: u64, millis: u64) -> Self {
        Self(Arc::new((AtomicU64::new(status), AtomicU64::new(millis))))
    }

    fn set(&self, status: u64, millis: u64) {
        self.0.0.store(status, Ordering::SeqCst);
        self.0.1.store(millis, Ordering::SeqCst);
    }

    fn upstream(&self) -> Upstream {
        let Self(mood) = self.clone();
        Upstream::start(move |_| {
            let status = u16::try_from(mood.0.load(Ordering::SeqCst)).expect("a status");
            vec![
                Step::ReadBody,
                Step::Delay(Duration::from_millis(mood.1.load(Ordering::SeqCst))),
                Step::Send(message(status, "x")),
            ]
        })
    }
}

/// Callers that ask again as soon as they are answered, until this is dropped.
struct Load {
    over: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(daemon: &Daemon, callers: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let caller = |_| {
            let (over, mut client) = (Arc::clone(&over), daemon.client());
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) && client.call("GET", "/", &[], b"").is_ok() {}
            })
        };
        let callers = (0..callers).map(caller).collect();
        Self { over, callers }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for caller in self.callers.drain(..) {
            drop(caller.join());
        }
    }
}

/// Waits until there were so many more samples.
fn await_samples(daemon: &Daemon, more: f64) {
    let before = daemon.metric(SAMPLES, &[API]);
    while daemon.metric(SAMPLES, &[API]) < before + more {
        thread::yield_now();
    }
}

const AIMD: &str = "algorithm = \"aimd\", window = \"50ms\", min_samples = 2";

#[test]
fn refusals_of_the_upstream_lower_the_limit_and_answers_under_load_raise_it() {
    let mood = Mood::new(503, 0);
    let upstream = mood.upstream();
    let limits = "mode = \"enforce\", initial = 12, min = 3, max = 12, backoff = 0.5";
    let daemon = daemon(&upstream, &format!("{AIMD}, {limits}"));
    daemon.await_metric(LIMIT, &[API], 12.0);
    daemon.await_metric(EFFECTIVE, &[API], 12.0);
    // One caller is enough to be refused.
    let load = Load::start(&daemon, 1);
    daemon.await_metric(LIMIT, &[API], 3.0);
    drop(load);
    daemon.await_metric(EFFECTIVE, &[API], 3.0);
    daemon.await_metric("outrigger_adaptive_min", &[API], 3.0);
    let answered = upstream.seen().requests.len() as f64;
    daemon.await_metric(SAMPLES, &[API], answered);
    daemon.await_metric(DROPS, &[API], answered);

    // One caller does not need more than it has.
    mood.set(200, 2);
    let load = Load::start(&daemon, 1);
    await_samples(&daemon, 100.0);
    drop(load);
    daemon.await_metric(LIMIT, &[API], 3.0);
    let load = Load::start(&daemon, 12);
    daemon.await_metric(LIMIT, &[API], 12.0);
    daemon.await_metric(EFFECTIVE, &[API], 12.0);
    drop(load);
    daemon.await_metric(DROPS, &[API], answered);
    daemon.await_metric(REJECTED, &[API], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn beyond_the_limit_requests_are_refused_and_nobody_is_blamed() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let settings = "bulkhead = { max_queued = 0 }\n\
        timeouts = { first_byte = \"50s\", request = \"50s\" }\n\
        breaker = { min_calls = 1, consecutive_failures = 1, slow_call = \"50s\" }\n\
        adaptive = { mode = \"enforce\", initial = 2, min = 1, max = 2 }";
    let daemon = Daemon::proxying(&[upstream.url()], settings);
    let mut clients: Vec<_> = (0..2).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(2);
    for _ in 0..3 {
        assert_row(&daemon.client().get("/"), ProxyError::AdaptiveLimit);
    }
    assert_replies(&daemon, ProxyError::AdaptiveLimit, 3.0);
    let reason = ("reason", "adaptive_limit");
    daemon.await_metric(REJECTED, &[API, reason], 3.0);
    daemon.await_metric(REJECTED, &[API], 3.0);
    daemon.await_metric(BREAKER_CALLS, &[API], 0.0);
    daemon.await_metric(IN_FLIGHT, &[API], 2.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(
            client.response("GET").expect("a whole response").status,
            200
        );
    }
    assert_eq!(upstream.seen().requests.len(), 2);
    assert_nothing_held(&daemon);
}

#[test]
fn observing_the_limit_moves_and_binds_nobody() {
    let upstream = Upstream::start(|_| reply(429, "slower"));
    // It observes unless told otherwise.
    let daemon = daemon(&upstream, &format!("{AIMD}, initial = 9, min = 2, max = 9"));
    let load = Load::start(&daemon, 1);
    daemon.await_metric(LIMIT, &[API], 2.0);
    drop(load);
    daemon.await_metric(EFFECTIVE, &[API], 64.0);

    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let lowest = "mode = \"observe\", initial = 1, min = 1, max = 1";
    let daemon = self::daemon(&upstream, lowest);
    let mut clients: Vec<_> = (0..3).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(3);
    gate.open();
    for client in &mut clients {
        assert_eq!(
            client.response("GET").expect("a whole response").status,
            200
        );
    }
    daemon.await_metric(REJECTED, &[API], 0.0);
}

#[test]
fn only_what_tells_of_load_is_a_sample() {
    let upstream = Upstream::start(|call| match call.path() {
        "/hang" => vec![Step::Hang],
        "/reset" => vec![Step::ReadBody, Step::Reset],
        path => {
            let status = path[1..].parse().expect("a status");
            let delay = Step::Delay(Duration::from_millis(2));
            vec![Step::ReadBody, delay, Step::Send(message(status, "x"))]
        }
    });
    let config = format!(
        r#"
[upstreams.api]
endpoints = ["{}"]
breaker = {{ mode = "off" }}
adaptive = {{ algorithm = "gradient2" }}
[[listeners]]
name = "api"
address = "127.0.0.1:0"
routes = [
  {{ path_prefix = "/hang", upstream = "api", timeouts = {{ first_byte = "200ms" }} }},
  {{ upstream = "api" }},
]
"#,
        upstream.url()
    );
    let daemon = Daemon::start(&config);
    let (mut samples, mut drops) = (0.0, 0.0);
    for (target, sample, drop) in [
        ("/200", 1.0, 0.0),
        ("/404", 1.0, 0.0),
        ("/429", 1.0, 1.0),
        ("/500", 0.0, 0.0),
        ("/503", 1.0, 1.0),
        ("/reset", 0.0, 0.0),
        ("/hang", 1.0, 1.0),
    ] {
        daemon.client().get(target);
        (samples, drops) = (samples + sample, drops + drop);
        daemon.await_metric(SAMPLES, &[API], samples);
        daemon.await_metric(DROPS, &[API], drops);
    }
}

#[test]
fn a_latency_above_the_timeout_lowers_the_limit() {
    let upstream = Mood::new(200, 30).upstream();
    let limits = "mode = \"enforce\", initial = 6, min = 2, max = 6, timeout = \"10ms\"";
    let daemon = daemon(&upstream, &format!("{AIMD}, {limits}"));
    let load = Load::start(&daemon, 2);
    daemon.await_metric(LIMIT, &[API], 2.0);
    drop(load);
    daemon.await_metric(EFFECTIVE, &[API], 2.0);
    daemon.await_metric(DROPS, &[API], 0.0);
    // Only gradients have one.
    daemon.await_metric(BASELINE, &[API], 0.0);
    assert!(daemon.metric(LATENCY, &[API]) >= 0.03);
}

/// With the default queue and smoothing, a window would add 0.8.
#[test]
fn a_gradient_adds_the_queue_until_the_limit_is_not_needed() {
    let upstream = Mood::new(200, 2).upstream();
    let gradient = "mode = \"enforce\", algorithm = \"gradient2\", window = \"10ms\",
        min_samples = 20, initial = 4, min = 4, max = 100,
        tolerance = 10.0, queue_size = 8, smoothing = 1.0";
    let daemon = daemon(&upstream, gradient);
    let load = Load::start(&daemon, 8);
    // 4, 12, 20: eight in flight are less than half of it.
    daemon.await_metric(LIMIT, &[API], 20.0);
    await_samples(&daemon, 300.0);
    daemon.await_metric(LIMIT, &[API], 20.0);
    drop(load);
    daemon.await_metric(EFFECTIVE, &[API], 20.0);
}

#[test]
fn a_gradient_falls_while_answers_are_slower_than_usual() {
    let mood = Mood::new(200, 4);
    let upstream = mood.upstream();
    let gradient = "mode = \"enforce\", algorithm = \"gradient2\", window = \"10ms\",
        min_samples = 5, initial = 8, min = 2, max = 8,
        long_window = 10000, tolerance = 3.0, queue_size = 1, smoothing = 1.0";
    let daemon = daemon(&upstream, gradient);
    let load = Load::start(&daemon, 8);
    await_samples(&daemon, 500.0);
    daemon.await_metric(LIMIT, &[API], 8.0);
    let usual = Duration::from_secs_f64(daemon.metric(BASELINE, &[API]));
    mood.set(
        200,
        8 * u64::try_from(usual.as_millis()).expect("a short time"),
    );
    daemon.await_metric(LIMIT, &[API], 2.0);
    let samples = daemon.scrape();
    let [usual, last] = [BASELINE, LATENCY].map(|name| metrics::sum(&samples, name, &[API]));
    assert!(3.0 * usual < last, "{usual} {last}");
    mood.set(200, 4);
    daemon.await_metric(LIMIT, &[API], 8.0);
    drop(load);
    daemon.await_metric(DROPS, &[API], 0.0);
}

/// Averaged over one window, what is usual is what was last: nothing is ever slower than usual.
#[test]
fn the_long_window_says_how_soon_a_latency_is_usual() {
    let mood = Mood::new(200, 4);
    let upstream = mood.upstream();
    let gradient =
        "algorithm = \"gradient2\", window = \"10ms\", min_samples = 10, long_window = 1,
        initial = 8, min = 2, max = 8, tolerance = 3.0, queue_size = 1, smoothing = 1.0";
    let daemon = daemon(&upstream, gradient);
    let load = Load::start(&daemon, 8);
    await_samples(&daemon, 500.0);
    mood.set(200, 60);
    await_samples(&daemon, 100.0);
    let samples = daemon.scrape();
    let [usual, last] = [BASELINE, LATENCY].map(|name| metrics::sum(&samples, name, &[API]));
    assert!(last > 0.05 && (usual - last).abs() < 1e-6, "{usual} {last}");
    daemon.await_metric(LIMIT, &[API], 8.0);
    drop(load);
}

#[test]
fn an_inherited_limit_is_taken_away() {
    let upstream = Upstream::answering("x");
    for (own, series) in [
        ("", 1),
        ("adaptive = false", 0),
        ("adaptive = { mode = \"off\" }", 0),
    ] {
        let defaults = "[defaults.adaptive]\nmode = \"enforce\"\ninitial = 3\nmin = 3";
        let daemon = Daemon::proxying(&[upstream.url()], &format!("{own}\n{defaults}"));
        let samples = daemon.scrape();
        let found = samples.iter().filter(|sample| sample.name == LIMIT);
        assert_eq!(found.count(), series, "{own}");
        let effective = if series == 1 { 3.0 } else { 64.0 };
        daemon.await_metric(EFFECTIVE, &[API], effective);
    }
}

#[test]
fn classes_have_their_shares_of_the_lower_limit() {
    let upstream = Upstream::answering("x");
    let settings = "adaptive = { mode = \"enforce\", initial = 6, min = 1, max = 9 }\n\
        priority = { classes = { live = { share = 0.5 }, rest = {} } }";
    let daemon = Daemon::proxying(&[upstream.url()], settings);
    let live = ("class", "live");
    daemon.await_metric("outrigger_bulkhead_class_reserved", &[API, live], 3.0);
    assert_eq!(Client::connect(daemon.api()).get("/").status, 200);
}
