//! How long the breaker stays open, and how the half-open state ends.

use crate::expect::{API, BREAKER_STATE, TRANSITIONS, await_breaker};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::upstream::{Step, Upstream, reply};

/// A daemon whose only upstream fails, but for `/hang`, to which it says nothing.
fn failing(breaker: &str) -> (Upstream, Daemon) {
    let upstream = Upstream::start(|call| match call.path() {
        "/hang" => vec![Step::Hang],
        _ => reply(500, "broken"),
    });
    let settings = format!(
        "timeouts = {{ first_byte = \"50s\", request = \"50s\" }}\n\
         breaker = {{ consecutive_failures = 1, half_open_calls = 1, slow_call = \"off\", {breaker} }}"
    );
    let daemon = Daemon::proxying(&[upstream.url()], &settings);
    (upstream, daemon)
}

/// What the breaker said at each opening, until there were `count`.
fn open_times(breaker: &str, count: usize) -> Vec<u64> {
    let (upstream, daemon) = failing(breaker);
    let mut client = daemon.client();
    while upstream.seen().requests.len() < count {
        client.get("/");
    }
    let logged = daemon.await_logged("breaker opened", count);
    let times = logged.iter().map(|line| line["retry_after_ms"].as_u64());
    times
        .take(count)
        .map(|time| time.expect("a time"))
        .collect()
}

#[test]
fn the_open_time_grows_to_its_maximum() {
    let steady = "open_for = \"20ms\", open_jitter = 0";
    for (growth, expected) in [
        (
            "open_multiplier = 3, open_for_max = \"100ms\"",
            [20, 60, 100, 100],
        ),
        (
            "open_multiplier = 1.5, open_for_max = \"1s\"",
            [20, 30, 45, 67],
        ),
        ("open_multiplier = 1", [20, 20, 20, 20]),
    ] {
        assert_eq!(open_times(&format!("{steady}, {growth}"), 4), expected);
    }
}

#[test]
fn the_open_time_is_lengthened_at_random() {
    let jitter = "open_for = \"50ms\", open_multiplier = 1, open_jitter = 1";
    let times = open_times(jitter, 8);
    assert!(
        times.iter().all(|time| (50..=100).contains(time)),
        "{times:?}"
    );
    assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
    // Beyond what the default could give.
    assert!(times.iter().any(|time| *time > 60), "{times:?}");
}

#[test]
fn probes_that_do_not_end_are_not_waited_for() {
    for after in ["open", "closed"] {
        let (upstream, daemon) = failing(&format!(
            "open_for = \"50ms\", open_for_max = \"50ms\", half_open_max_wait = \"200ms\", \
             half_open_on_max_wait = \"{after}\""
        ));
        assert_eq!(daemon.client().get("/").status, 500);
        let hangs = |upstream: &Upstream| upstream.seen().targets().contains(&"/hang");
        let mut probe = daemon.client();
        while !hangs(&upstream) {
            probe = daemon.client();
            probe.request("GET", "/hang", &[], b"");
            while !hangs(&upstream) && !probe.answers_within(std::time::Duration::from_millis(5)) {}
        }
        let ended = [
            API,
            ("from", "half_open"),
            ("to", after),
            ("cause", "max_wait"),
        ];
        daemon.await_metric(TRANSITIONS, &ended, 1.0);
        assert_eq!(upstream.seen().in_progress, 1);
        drop(probe);
    }
}

#[test]
fn the_open_state_ends_by_time_alone_where_asked() {
    let upstream = Upstream::start(|_| reply(500, "broken"));
    let section = |name: &str, auto: bool| {
        format!(
            "[upstreams.{name}]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"{}\"]\nbreaker = {{ \
             consecutive_failures = 1, open_for = \"50ms\", auto_half_open = {auto} }}\n",
            upstream.url()
        )
    };
    let daemon = Daemon::start(&(section("waits", false) + &section("goes", true)));
    for name in ["waits", "goes"] {
        let mut client = Client::connect(daemon.address(name));
        assert_eq!(client.get("/").status, 500);
    }
    let state = |name, state| [("upstream", name), ("state", state)];
    daemon.await_metric(BREAKER_STATE, &state("goes", "half_open"), 1.0);
    daemon.await_metric(BREAKER_STATE, &state("waits", "open"), 1.0);
    assert_eq!(upstream.seen().requests.len(), 2);
}

#[test]
fn so_many_probes_decide_as_are_configured() {
    let (upstream, daemon) = {
        let upstream = Upstream::start(|call| match call.path() {
            "/bad" => reply(500, "broken"),
            _ => reply(200, "fine"),
        });
        let breaker = "breaker = { consecutive_failures = 1, open_for = \"50ms\", \
                       half_open_calls = 4, failure_rate = 1.0, slow_call = \"off\" }";
        let daemon = Daemon::proxying(&[upstream.url()], breaker);
        (upstream, daemon)
    };
    let mut client = daemon.client();
    assert_eq!(client.get("/bad").status, 500);
    while upstream.seen().requests.len() < 4 {
        client.get("/");
    }
    await_breaker(&daemon, "half_open");
    client.get("/");
    await_breaker(&daemon, "closed");
}
