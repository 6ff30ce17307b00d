//! An endpoint that fails among others that do not: left out, for how long, and when not.
//!
//! Where a test counts, endpoints take turns and requests come one after the other, so that it is
//! known who gets how many.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{API, assert_row, await_breaker};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::dead::Refusing;
use crate::support::dns::{Answer, Dns};
use crate::support::upstream::{Call, Step, Upstream, message};

const EJECTIONS: &str = "outrigger_ejections_total";
const ENDPOINT_EJECTED: &str = "outrigger_endpoint_ejected";
const ENDPOINTS_EJECTED: &str = "outrigger_endpoints_ejected";
const WOULD_EJECT: &str = "outrigger_would_eject_total";
const PANICS: &str = "outrigger_ejection_panics_total";
const ENDPOINTS: &str = "outrigger_endpoints";

const IN_TURN: &str =
    "balance = { policy = \"round_robin\" }\nbreaker = { mode = \"off\" }\nejection = ";

const FOR_AN_HOUR: &str = "eject_for = \"1h\", eject_for_max = \"1h\", jitter = \"0s\"";

const OPEN: ProxyError = ProxyError::BreakerOpen {
    retry_after: Duration::ZERO,
};

/// What share of its requests an endpoint fails, in thirds.
#[derive(Clone)]
struct Badness(Arc<AtomicUsize>);

const GOOD: usize = 0;
const BAD: usize = 3;

impl Badness {
    fn new(thirds: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(thirds)))
    }

    fn set(&self, thirds: usize) {
        self.0.store(thirds, Ordering::SeqCst);
    }

    /// Answers 500 in as many of three calls, and 200 in the others, after this delay.
    fn answers(&self, delay: Duration) -> impl Fn(&Call<'_>) -> Vec<Step> + use<> {
        let (Self(thirds), calls) = (self.clone(), AtomicUsize::new(0));
        move |_| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let status = match call % 3 < thirds.load(Ordering::SeqCst) {
                true => 500,
                false => 200,
            };
            let answer = message(status, "x");
            vec![Step::ReadBody, Step::Delay(delay), Step::Send(answer)]
        }
    }

    fn upstream(&self) -> Upstream {
        Upstream::start(self.answers(Duration::ZERO))
    }
}

fn upstream(thirds: usize) -> Upstream {
    Badness::new(thirds).upstream()
}

fn urls(upstreams: &[Upstream]) -> Vec<String> {
    upstreams.iter().map(Upstream::url).collect()
}

fn hits(upstream: &Upstream) -> usize {
    upstream.seen().requests.len()
}

/// How many of so many requests were not answered with 200.
fn failed(client: &mut Client, count: usize) -> usize {
    let failed = |_: &usize| client.get("/").status != 200;
    (0..count).filter(failed).count()
}

#[track_caller]
fn assert_ejected(daemon: &Daemon, address: SocketAddr) {
    let address = address.to_string();
    daemon.await_metric(ENDPOINT_EJECTED, &[API, ("endpoint", &address)], 1.0);
    daemon.await_metric(ENDPOINT_EJECTED, &[API], 1.0);
    daemon.await_metric(ENDPOINTS_EJECTED, &[API], 1.0);
}

/// How long each endpoint was ejected for, in the order of the log.
fn durations(daemon: &Daemon, count: usize) -> Vec<u64> {
    let lines = daemon.await_logged("endpoint ejected", count);
    let lasts = lines.iter().map(|line| line["for_ms"].as_u64());
    lasts.map(|lasts| lasts.expect("a time")).collect()
}

#[test]
fn an_endpoint_that_fails_in_a_row_gets_nothing_more() {
    let bad = upstream(BAD);
    let refusing = Refusing::start();
    for (url, address) in [
        (bad.url(), bad.address()),
        (refusing.url(), refusing.address()),
    ] {
        let good = [upstream(GOOD), upstream(GOOD)];
        let endpoints = [urls(&good), vec![url]].concat();
        let ejection = format!("{IN_TURN}{{ consecutive_failures = 3, {FOR_AN_HOUR} }}");
        let daemon = Daemon::proxying(&endpoints, &ejection);
        let mut client = daemon.client();
        assert_eq!(failed(&mut client, 9), 3);
        assert_ejected(&daemon, address);
        assert_eq!(failed(&mut client, 91), 0);
        assert_eq!(good.iter().map(hits).sum::<usize>(), 97);
        let cause = ("cause", "consecutive_failures");
        daemon.await_metric(EJECTIONS, &[API, cause], 1.0);
        daemon.await_metric(EJECTIONS, &[API], 1.0);
        daemon.await_metric(PANICS, &[API], 0.0);
        assert_eq!(durations(&daemon, 1), [3_600_000]);
        let line = &daemon.await_logged("endpoint ejected", 1)[0];
        assert_eq!(line["endpoint"], address.to_string());
        assert_eq!(line["cause"], "consecutive_failures");
    }
    assert_eq!(hits(&bad), 3);
}

#[test]
fn a_success_ends_the_row() {
    let all = [upstream(GOOD), upstream(2)];
    let ejection = format!("{IN_TURN}{{ consecutive_failures = 3, failure_rate = \"off\" }}");
    let daemon = Daemon::proxying(&urls(&all), &ejection);
    assert_eq!(failed(&mut daemon.client(), 90), 30);
    assert_eq!(hits(&all[1]), 45);
    daemon.await_metric(EJECTIONS, &[API], 0.0);
}

#[test]
fn it_acts_unless_it_is_switched_off() {
    for (ejection, bad, series) in [
        ("{}", 5, 3),
        ("false", 20, 0),
        ("{ mode = \"off\" }", 20, 0),
    ] {
        let all = [upstream(GOOD), upstream(GOOD), upstream(BAD)];
        let daemon = Daemon::proxying(&urls(&all), &format!("{IN_TURN}{ejection}"));
        assert_eq!(failed(&mut daemon.client(), 60), bad, "{ejection}");
        assert_eq!(hits(&all[2]), bad);
        let samples = daemon.scrape();
        let found = samples.iter().filter(|s| s.name == ENDPOINT_EJECTED);
        assert_eq!(found.count(), series, "{ejection}");
    }
}

#[test]
fn observing_nobody_is_left_out() {
    let all = [upstream(GOOD), upstream(GOOD), upstream(BAD)];
    let settings = format!("mode = \"observe\", consecutive_failures = 3, {FOR_AN_HOUR}");
    let daemon = Daemon::proxying(&urls(&all), &format!("{IN_TURN}{{ {settings} }}"));
    assert_eq!(failed(&mut daemon.client(), 60), 20);
    daemon.await_metric(WOULD_EJECT, &[API], 1.0);
    daemon.await_metric(EJECTIONS, &[API], 0.0);
    daemon.await_metric(ENDPOINTS_EJECTED, &[API], 0.0);
    daemon.await_metric(ENDPOINT_EJECTED, &[API], 0.0);
    let would = daemon.await_logged("endpoint would be ejected", 1);
    assert_eq!(would[0]["endpoint"], all[2].address().to_string());
}

#[test]
fn a_single_endpoint_is_never_left_out() {
    let only = upstream(BAD);
    let ejection = format!("{IN_TURN}{{ consecutive_failures = 1, max_ejected = 1.0 }}");
    let daemon = Daemon::proxying(&[only.url()], &ejection);
    assert_eq!(failed(&mut daemon.client(), 20), 20);
    assert_eq!(hits(&only), 20);
    daemon.await_metric(EJECTIONS, &[API], 0.0);
    daemon.await_metric(ENDPOINTS_EJECTED, &[API], 0.0);
}

#[test]
fn no_more_than_their_share_are_left_out() {
    for (max_ejected, ejected) in [(0.0, 1_u32), (0.5, 2), (0.75, 3), (1.0, 3)] {
        let all = [BAD, BAD, BAD, BAD].map(upstream);
        let settings = format!(
            "{IN_TURN}{{ consecutive_failures = 2, max_ejected = {max_ejected:?}, {FOR_AN_HOUR} }}"
        );
        let daemon = Daemon::proxying(&urls(&all), &settings);
        assert_eq!(failed(&mut daemon.client(), 40), 40);
        daemon.await_metric(ENDPOINTS_EJECTED, &[API], f64::from(ejected));
        daemon.await_metric(EJECTIONS, &[API], f64::from(ejected));
        daemon.await_metric(PANICS, &[API], 0.0);
        let left_out = all.iter().filter(|upstream| hits(upstream) == 2);
        assert_eq!(left_out.count(), ejected as usize);
    }
}

#[test]
fn where_all_fail_the_breaker_speaks() {
    let all = [BAD, BAD, BAD].map(upstream);
    let settings = format!(
        "ejection = {{ consecutive_failures = 3, max_ejected = 1.0, {FOR_AN_HOUR} }}\n\
         breaker = {{ min_calls = 20, consecutive_failures = \"off\", slow_call = \"50s\", \
         open_for = \"1h\", open_for_max = \"1h\" }}"
    );
    let daemon = Daemon::proxying(&urls(&all), &settings);
    let mut client = daemon.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "x");
    }
    for _ in 0..30 {
        assert_row(&client.get("/"), OPEN);
    }
    await_breaker(&daemon, "open");
    assert_eq!(all.iter().map(hits).sum::<usize>(), 20);
    daemon.await_metric(ENDPOINTS_EJECTED, &[API], 2.0);
    daemon.await_metric(PANICS, &[API], 0.0);
}

/// Neighbours with this badness each, their addresses, and what says so.
struct Named<const N: usize> {
    upstreams: [Upstream; N],
    dns: Dns,
}

impl<const N: usize> Named<N> {
    fn start(thirds: [usize; N]) -> Self {
        let answers = thirds.map(|thirds| Badness::new(thirds).answers(Duration::ZERO));
        let dns = Dns::start(Answer::Empty);
        let named = Self {
            upstreams: Upstream::neighbours_by(answers),
            dns,
        };
        named.answer(0..N);
        named
    }

    /// Gives the addresses of these from now on, in this order.
    fn answer(&self, those: impl IntoIterator<Item = usize>) {
        let address = |index: usize| match self.upstreams[index].address() {
            SocketAddr::V4(address) => *address.ip(),
            SocketAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let those = those.into_iter().map(address).collect();
        self.dns.answer(Answer::Addresses(those, 0));
    }

    fn daemon(&self, settings: &str) -> Daemon {
        let (server, port) = (self.dns.server(), self.upstreams[0].address().port());
        Daemon::start(&format!(
            "[discovery]\n\
             dns = {{ servers = [\"{server}\"], min_ttl = \"20ms\", max_ttl = \"20ms\" }}\n\
             [upstreams.api]\nlisten = \"127.0.0.1:0\"\ndns = \"search.test:{port}\"\n{settings}"
        ))
    }
}

#[test]
fn new_answers_of_the_name_server_free_nobody() {
    let named = Named::start([GOOD, BAD, GOOD]);
    let settings = format!("{IN_TURN}{{ consecutive_failures = 3, {FOR_AN_HOUR} }}");
    let daemon = named.daemon(&settings);
    let mut client = daemon.client();
    assert_eq!(failed(&mut client, 9), 3);
    let bad = &named.upstreams[1];
    assert_ejected(&daemon, bad.address());
    for refresh in 0..10 {
        named.answer((0..3).map(|index| (index + refresh) % 3));
        named.dns.wait_asked_again(2);
        assert_eq!(failed(&mut client, 12), 0, "refresh {refresh}");
    }
    for those in [vec![0, 2], vec![1, 2, 0], vec![2], vec![0, 1, 2]] {
        let count = those.len();
        named.answer(those);
        daemon.await_metric(ENDPOINTS, &[API], count as f64);
        assert_eq!(failed(&mut client, 12), 0, "{count} addresses");
    }
    assert_ejected(&daemon, bad.address());
    assert_eq!(hits(bad), 3);
    daemon.await_metric(EJECTIONS, &[API], 1.0);
    daemon.await_metric(PANICS, &[API], 0.0);
}

#[test]
fn where_only_those_left_out_remain_they_are_asked_until_the_breaker_opens() {
    let named = Named::start([BAD, BAD, GOOD, GOOD]);
    let settings = format!(
        "balance = {{ policy = \"round_robin\" }}\n\
         ejection = {{ consecutive_failures = 2, {FOR_AN_HOUR} }}\n\
         breaker = {{ min_calls = 1000, consecutive_failures = 6, slow_call = \"50s\", \
         open_for = \"1h\", open_for_max = \"1h\" }}"
    );
    let daemon = named.daemon(&settings);
    let mut client = daemon.client();
    assert_eq!(failed(&mut client, 12), 4);
    daemon.await_metric(ENDPOINTS_EJECTED, &[API], 2.0);
    named.answer([0, 1]);
    daemon.await_metric(ENDPOINTS, &[API], 2.0);
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "x");
    }
    for _ in 0..10 {
        assert_row(&client.get("/"), OPEN);
    }
    daemon.await_metric(PANICS, &[API], 6.0);
    let [first, second, others @ ..] = named.upstreams.each_ref().map(hits);
    assert_eq!((first, second), (5, 5));
    assert_eq!(others.iter().sum::<usize>(), 8);
}

/// Three upstreams with the same endpoints; in two of them there is too little to judge by.
#[test]
fn an_endpoint_that_fails_too_large_a_share_is_left_out() {
    let all = [upstream(GOOD), upstream(1), upstream(2)];
    let share = |more: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\nendpoints = {:?}\n{IN_TURN}{{ \
             consecutive_failures = \"off\", failure_rate = 0.55, interval = \"200ms\", \
             eject_for = \"1ms\", eject_for_max = \"1ms\", jitter = \"0s\", {more} }}\n",
            urls(&all)
        )
    };
    let daemon = Daemon::start(&format!(
        "[upstreams.api]\n{}[upstreams.few]\n{}[upstreams.little]\n{}",
        share("min_volume = 3, min_endpoints = 3"),
        share("min_volume = 3, min_endpoints = 4"),
        share("min_volume = 1000000, min_endpoints = 3"),
    ));
    let names = ["api", "few", "little"];
    let mut clients = names.map(|name| Client::connect(daemon.address(name)));
    let cause = ("cause", "failure_rate");
    while daemon.metric(EJECTIONS, &[API, cause]) < 3.0 {
        for client in &mut clients {
            failed(client, 30);
        }
    }
    let ejected = daemon.await_logged("endpoint ejected", 3);
    for line in ejected {
        assert_eq!(line["upstream"], "api");
        assert_eq!(line["endpoint"], all[2].address().to_string());
        assert_eq!(line["cause"], "failure_rate");
    }
    daemon.await_metric(EJECTIONS, &[("upstream", "few")], 0.0);
    daemon.await_metric(EJECTIONS, &[("upstream", "little")], 0.0);
}

#[test]
fn it_returns_when_its_time_is_up() {
    let badness = Badness::new(BAD);
    let all = [upstream(GOOD), badness.upstream(), upstream(GOOD)];
    let settings = "consecutive_failures = 3, eject_for = \"300ms\", jitter = \"0s\"";
    let daemon = Daemon::proxying(&urls(&all), &format!("{IN_TURN}{{ {settings} }}"));
    let mut client = daemon.client();
    assert_eq!(failed(&mut client, 9), 3);
    badness.set(GOOD);
    while hits(&all[1]) == 3 {
        assert_eq!(failed(&mut client, 1), 0);
    }
    daemon.await_metric(ENDPOINT_EJECTED, &[API], 0.0);
    let returned = daemon.await_logged("endpoint returned", 1);
    assert_eq!(returned[0]["endpoint"], all[1].address().to_string());
    let before = hits(&all[1]);
    assert_eq!(failed(&mut client, 30), 0);
    assert_eq!(hits(&all[1]), before + 10);
    // Its row began at zero: it takes three again.
    badness.set(BAD);
    assert_eq!(failed(&mut client, 6), 2);
    daemon.await_metric(EJECTIONS, &[API], 1.0);
    daemon.await_metric(ENDPOINT_EJECTED, &[API], 0.0);
}

#[test]
fn returned_it_starts_slowly() {
    let badness = Badness::new(BAD);
    let all = [upstream(GOOD), badness.upstream()];
    let settings = "balance = { slow_start = \"1h\" }\nbreaker = { mode = \"off\" }\n\
        ejection = { consecutive_failures = 3, eject_for = \"100ms\", jitter = \"0s\" }";
    let daemon = Daemon::proxying(&urls(&all), settings);
    let mut client = daemon.client();
    while hits(&all[1]) < 3 {
        client.get("/");
    }
    badness.set(GOOD);
    while hits(&all[1]) == 3 {
        client.get("/");
    }
    assert_eq!(failed(&mut client, 220), 0);
    let hits = hits(&all[1]) - 4;
    assert!((1..=50).contains(&hits), "{hits}");
}

#[test]
fn each_time_it_is_left_out_for_longer() {
    let all = [upstream(GOOD), upstream(BAD)];
    let settings = "consecutive_failures = 1, interval = \"1h\", \
        eject_for = \"100ms\", eject_for_max = \"250ms\", jitter = \"0s\"";
    let daemon = Daemon::proxying(&urls(&all), &format!("{IN_TURN}{{ {settings} }}"));
    let mut client = daemon.client();
    while hits(&all[1]) < 4 {
        client.get("/");
    }
    assert_eq!(durations(&daemon, 4)[..4], [100, 200, 250, 250]);
}

/// In service for one answer, it was so for some whole intervals.
#[test]
fn what_was_long_ago_is_forgotten() {
    let badness = Badness::new(BAD);
    let bad = Upstream::start(badness.answers(Duration::from_millis(100)));
    let all = [upstream(GOOD), bad];
    let settings = "consecutive_failures = 1, interval = \"20ms\", failure_rate = \"off\", \
        eject_for = \"100ms\", eject_for_max = \"900ms\", jitter = \"0s\"";
    let daemon = Daemon::proxying(&urls(&all), &format!("{IN_TURN}{{ {settings} }}"));
    let mut client = daemon.client();
    for _ in 0..3 {
        badness.set(BAD);
        while failed(&mut client, 1) == 0 {}
        badness.set(GOOD);
        let before = hits(&all[1]);
        while hits(&all[1]) == before {
            client.get("/");
        }
    }
    assert_eq!(durations(&daemon, 3), [100; 3]);
}

#[test]
fn jitter_lengthens_it() {
    let all = [upstream(GOOD), upstream(BAD)];
    let settings = "consecutive_failures = 1, \
        eject_for = \"1ms\", eject_for_max = \"1ms\", jitter = \"1h\"";
    let daemon = Daemon::proxying(&urls(&all), &format!("{IN_TURN}{{ {settings} }}"));
    assert_eq!(failed(&mut daemon.client(), 4), 1);
    let lasts = durations(&daemon, 1)[0];
    assert!((2..=3_600_001).contains(&lasts), "{lasts}");
}

/// Asks the admin listener to end the ejection of this endpoint.
fn restore(daemon: &Daemon, upstream: &str, endpoint: &str) -> u16 {
    let target = format!("/upstreams/{upstream}/endpoints/{endpoint}/restore?reason=a+test");
    let mut client = Client::connect(daemon.address("admin"));
    let response = client.call("POST", &target, &[("host", "localhost")], b"");
    response.expect("a whole response").status
}

#[test]
fn an_operator_ends_it() {
    let badness = Badness::new(BAD);
    let all = [upstream(GOOD), badness.upstream(), upstream(GOOD)];
    let settings = format!("{IN_TURN}{{ consecutive_failures = 3, {FOR_AN_HOUR} }}");
    let daemon = Daemon::proxying(&urls(&all), &settings);
    let mut client = daemon.client();
    assert_eq!(failed(&mut client, 9), 3);
    let address = all[1].address();
    assert_ejected(&daemon, address);
    let good = all[0].address().to_string();
    for (upstream, endpoint, status) in [
        ("none", good.as_str(), 404),
        ("api", "127.0.0.1:9", 409),
        ("api", "nobody", 400),
        ("api", &good, 409),
    ] {
        assert_eq!(restore(&daemon, upstream, endpoint), status, "{endpoint}");
    }
    assert_ejected(&daemon, address);

    badness.set(GOOD);
    let bad = address.to_string();
    assert_eq!(restore(&daemon, "api", &bad), 200);
    daemon.await_metric(ENDPOINT_EJECTED, &[API], 0.0);
    assert_eq!(failed(&mut client, 30), 0);
    assert_eq!(hits(&all[1]), 13);
    assert_eq!(restore(&daemon, "api", &bad), 409);
    let audit = daemon.await_logged("endpoint operation", 5);
    let done = audit.iter().filter(|line| line["outcome"] == "done");
    let done: Vec<_> = done
        .map(|line| (&line["endpoint"], &line["reason"]))
        .collect();
    assert_eq!(done, [(&bad.into(), &"a test".into())]);
    // Its row began at zero.
    badness.set(BAD);
    assert_eq!(failed(&mut client, 60), 3);
    daemon.await_metric(EJECTIONS, &[API], 2.0);
    daemon.await_metric(PANICS, &[API], 0.0);
}
