//! Another upstream that is asked where one has no answer.

use outrigger::proxy::error::ProxyError;
use serde_json::Value;

use crate::expect::{ATTEMPTS, BREAKER_CALLS, BREAKER_STATE, assert_nothing_held, assert_row};
use crate::support::client::{Client, Response};
use crate::support::daemon::Daemon;
use crate::support::dead::Refusing;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, in_turn, reply, send, then};

const FAILOVERS: &str = "outrigger_failovers_total";

const PATIENT: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";

/// What an answer of the standby says of itself.
const FROM_STANDBY: Option<&str> = Some("outrigger; next-hop=\"standby\"; details=\"failover\"");

/// The upstream `api`, and `standby` that it fails over to, with these further lines.
fn daemon(api: &str, standby: &str, [more, of_standby]: [&str; 2]) -> Daemon {
    Daemon::start(&format!(
        "[upstreams.api]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"{api}\"]\n\
         failover = \"standby\"\n{more}\n\
         [upstreams.standby]\nendpoints = [\"{standby}\"]\n{of_standby}\n"
    ))
}

/// As [`daemon`], with nothing of their own.
fn plain(api: &str, standby: &str) -> Daemon {
    daemon(api, standby, [PATIENT, PATIENT])
}

fn call(daemon: &Daemon, method: &str, body: &[u8]) -> Response {
    let response = daemon.client().call(method, "/", &[], body);
    response.expect("a whole response")
}

#[track_caller]
fn assert_from_standby(response: &Response) {
    assert_eq!(response.field("proxy-status"), FROM_STANDBY, "{response:?}");
}

#[track_caller]
fn assert_failed_over(daemon: &Daemon, count: f64) {
    daemon.await_metric(FAILOVERS, &[("upstream", "api")], count);
    daemon.await_metric(FAILOVERS, &[], count);
}

fn force_open(daemon: &Daemon, upstream: &str) {
    let target = format!("/upstreams/{upstream}/breaker/open?for=60s");
    let mut admin = Client::connect(daemon.address("admin"));
    let response = admin.call("POST", &target, &[("host", "localhost")], b"");
    assert_eq!(response.expect("a whole response").status, 200);
}

#[test]
fn an_open_breaker_sends_every_request_to_the_failover() {
    let upstream = Upstream::answering("api");
    let standby = Upstream::answering("standby");
    let daemon = plain(&upstream.url(), &standby.url());
    let direct = call(&daemon, "GET", b"");
    assert_eq!(
        (direct.text().as_str(), direct.field("proxy-status")),
        ("api", None)
    );
    force_open(&daemon, "api");
    for method in ["GET", "POST", "PUT", "PATCH"] {
        let response = call(&daemon, method, b"a body");
        assert_eq!(response.text(), "standby");
        assert_from_standby(&response);
    }
    assert_failed_over(&daemon, 4.0);
    assert_eq!(upstream.seen().requests.len(), 1);
    for seen in standby.seen().requests {
        assert_eq!(seen.body, b"a body");
        let host = standby.address().to_string();
        assert_eq!(
            seen.head.field("host"),
            Some(host.as_str()),
            "it is asked as itself"
        );
    }
    let line = daemon.await_access("a failover", |line| line["served_by"] == "standby");
    assert_eq!(
        (&line["upstream"], &line["status"]),
        (&"api".into(), &200.into())
    );
    assert_eq!(line["reason"], Value::Null, "{line}");
    let line = daemon.await_access("the first one", |line| line["attempts"] == 1);
    assert_eq!(line["served_by"], Value::Null, "{line}");
    let by_route = [("upstream", "api"), ("code_class", "2xx")];
    daemon.await_metric("outrigger_requests_total", &by_route, 5.0);
    assert_nothing_held(&daemon);
}

#[test]
fn what_was_not_sent_goes_to_the_failover_whatever_the_method() {
    let refusing = Refusing::start();
    let standby = Upstream::answering("standby");
    let daemon = plain(&refusing.url(), &standby.url());
    for method in ["GET", "POST"] {
        let response = call(&daemon, method, b"a body");
        assert_eq!(response.text(), "standby");
        assert_from_standby(&response);
    }
    assert!(
        standby
            .seen()
            .requests
            .iter()
            .all(|seen| seen.body == b"a body")
    );
    assert_failed_over(&daemon, 2.0);
    assert_nothing_held(&daemon);
}

#[test]
fn what_may_have_been_done_goes_to_the_failover_only_if_idempotent() {
    let impatient = "timeouts = { first_byte = \"300ms\", request = \"50s\" }";
    let reset = then(send(""), Step::Reset);
    let garbage = then(send("\u{1}\u{2}SSH-2.0\r\n\r\n"), Step::Hang);
    for (steps, status, timeouts) in [
        (reply(503, "api"), 503, PATIENT),
        (reset, 502, PATIENT),
        (garbage, 502, PATIENT),
        (vec![Step::Hang], 504, impatient),
    ] {
        let upstream = Upstream::start(move |_| steps.clone());
        let standby = Upstream::answering("standby");
        let daemon = daemon(&upstream.url(), &standby.url(), [timeouts, PATIENT]);
        let response = call(&daemon, "PUT", b"a body");
        assert_eq!(response.text(), "standby", "{status}");
        assert_from_standby(&response);
        assert_eq!(call(&daemon, "POST", b"a body").status, status);
        let seen = standby.seen().requests;
        assert_eq!((seen.len(), &*seen[0].body), (1, &b"a body"[..]));
        assert_eq!(upstream.seen().requests.len(), 2);
        assert_failed_over(&daemon, 1.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn a_status_that_is_not_listed_is_an_answer() {
    for status in [500, 404, 429] {
        let upstream = Upstream::start(move |_| reply(status, "api"));
        let standby = Upstream::answering("standby");
        let daemon = plain(&upstream.url(), &standby.url());
        let response = call(&daemon, "GET", b"");
        assert_eq!((response.status, response.text().as_str()), (status, "api"));
        assert_failed_over(&daemon, 0.0);
    }
}

#[test]
fn all_retries_come_first() {
    let upstream = Upstream::start(|_| reply(503, "api"));
    let standby = Upstream::answering("standby");
    let retry = format!(
        "{PATIENT}breaker = {{ mode = \"off\" }}\n\
         retry = {{ mode = \"enforce\", retries = 2, backoff = {{ base = \"1ms\" }} }}"
    );
    let daemon = daemon(&upstream.url(), &standby.url(), [&retry, PATIENT]);
    assert_from_standby(&call(&daemon, "GET", b""));
    assert_eq!(upstream.seen().requests.len(), 3);
    let line = daemon.await_access("the request", |_| true);
    assert_eq!(
        (&line["attempts"], &line["served_by"]),
        (&4.into(), &"standby".into())
    );
    assert_failed_over(&daemon, 1.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_body_that_was_not_kept_goes_nowhere_else() {
    let upstream = Upstream::start(|_| reply(503, "api"));
    let standby = Upstream::answering("standby");
    let small = format!("{PATIENT}retry = {{ max_body_buffer = \"1KiB\" }}");
    let daemon = daemon(&upstream.url(), &standby.url(), [&small, PATIENT]);
    assert_eq!(call(&daemon, "PUT", &[b'x'; 1025]).text(), "api");
    assert_from_standby(&call(&daemon, "PUT", &[b'x'; 1024]));
    assert_eq!(standby.seen().requests[0].length, 1024);
    assert_failed_over(&daemon, 1.0);
}

#[test]
fn a_chain_is_followed_to_its_end() {
    let [first, second] = [Refusing::start(), Refusing::start()];
    let last = Upstream::answering("last");
    let daemon = Daemon::start(&format!(
        "[upstreams.api]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"{}\"]\nfailover = \"b\"\n\
         [upstreams.b]\nendpoints = [\"{}\"]\nfailover = \"c\"\n\
         [upstreams.c]\nendpoints = [\"{}\"]\n",
        first.url(),
        second.url(),
        last.url()
    ));
    let response = call(&daemon, "POST", b"a body");
    assert_eq!(response.text(), "last");
    let status = "outrigger; next-hop=\"c\"; details=\"failover\"";
    assert_eq!(response.head.all("proxy-status"), [status]);
    daemon.await_metric(FAILOVERS, &[("upstream", "api")], 1.0);
    daemon.await_metric(FAILOVERS, &[("upstream", "b")], 1.0);
    let line = daemon.await_access("the request", |_| true);
    assert_eq!(
        (&line["served_by"], &line["attempts"]),
        (&"c".into(), &3.into())
    );
    assert_nothing_held(&daemon);
}

#[test]
fn what_the_failover_answers_is_the_answer_a_failure_too() {
    let upstream = Upstream::start(|_| reply(503, "api"));
    let refusing = Refusing::start();
    let daemon = plain(&upstream.url(), &refusing.url());
    assert_row(&call(&daemon, "GET", b""), ProxyError::ConnectFailed);
    assert_failed_over(&daemon, 1.0);
    assert_eq!(upstream.seen().requests.len(), 1, "there is no way back");
    assert_nothing_held(&daemon);

    let standby = Upstream::start(|_| reply(502, "standby"));
    let daemon = plain(&upstream.url(), &standby.url());
    let response = call(&daemon, "GET", b"");
    assert_eq!(
        (response.status, response.text().as_str()),
        (502, "standby")
    );
    assert_from_standby(&response);
}

#[test]
fn a_static_fallback_stands_behind_the_failover() {
    let [upstream, standby] = [Refusing::start(), Refusing::start()];
    let settings = format!("{PATIENT}fallback = {{ status = 200, body = \"static\" }}");
    let daemon = daemon(&upstream.url(), &standby.url(), [&settings, PATIENT]);
    assert_eq!(call(&daemon, "GET", b"").text(), "static");
    assert_failed_over(&daemon, 1.0);
}

#[test]
fn there_is_no_failover_once_the_time_is_over() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let standby = Upstream::answering("standby");
    let short = "timeouts = { first_byte = \"50s\", request = \"300ms\" }";
    let daemon = daemon(&upstream.url(), &standby.url(), [short, PATIENT]);
    assert_row(&call(&daemon, "GET", b""), ProxyError::Deadline);
    assert_eq!(standby.seen().connections.len(), 0);
    assert_failed_over(&daemon, 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn whoever_exceeds_a_rate_limit_is_told_so() {
    let upstream = Upstream::answering("api");
    let standby = Upstream::answering("standby");
    let limit = format!("{PATIENT}rate_limit = {{ rate = 1, per = \"1h\" }}");
    let daemon = daemon(&upstream.url(), &standby.url(), [&limit, PATIENT]);
    assert_eq!(call(&daemon, "GET", b"").text(), "api");
    let retry_after = std::time::Duration::ZERO;
    assert_row(
        &call(&daemon, "GET", b""),
        ProxyError::RateLimited { retry_after },
    );
    assert_eq!(standby.seen().connections.len(), 0);
    assert_failed_over(&daemon, 0.0);
}

#[test]
fn a_full_bulkhead_overflows_into_the_failover_which_has_its_own() {
    let gate = Gate::new();
    let [upstream, standby] = [Upstream::gated(&gate), Upstream::gated(&gate)];
    let one = format!("{PATIENT}bulkhead = {{ max_requests = 1, max_queued = 0 }}");
    let daemon = daemon(&upstream.url(), &standby.url(), [&one, &one]);
    let mut clients = Vec::new();
    for upstream in [&upstream, &standby] {
        let mut client = daemon.client();
        client.request("POST", "/", &[], b"");
        upstream.wait_in_progress(1);
        clients.push(client);
    }
    let in_flight = "outrigger_bulkhead_in_flight";
    daemon.await_metric(in_flight, &[("upstream", "api")], 1.0);
    daemon.await_metric(in_flight, &[("upstream", "standby")], 1.0);
    assert_row(&call(&daemon, "GET", b""), ProxyError::BulkheadFull);
    gate.open();
    for client in &mut clients {
        let response = client.response("POST").expect("a whole response");
        assert_eq!(response.text(), "through");
    }
    assert_failed_over(&daemon, 2.0);
    daemon.await_metric(in_flight, &[], 0.0);
}

#[test]
fn the_failover_counts_its_attempts_for_itself() {
    let upstream = Upstream::answering("api");
    let standby = Upstream::start(in_turn([reply(200, "fine"), reply(500, "broken")]));
    let breaker = format!("{PATIENT}breaker = {{ consecutive_failures = 2, open_for = \"60s\" }}");
    let daemon = daemon(&upstream.url(), &standby.url(), [PATIENT, &breaker]);
    force_open(&daemon, "api");
    for status in [200, 500, 500] {
        assert_eq!(call(&daemon, "GET", b"").status, status);
    }
    let retry_after = std::time::Duration::ZERO;
    assert_row(
        &call(&daemon, "GET", b""),
        ProxyError::BreakerOpen { retry_after },
    );
    assert_eq!(standby.seen().requests.len(), 3);
    let labels = |verdict| [("upstream", "standby"), ("verdict", verdict)];
    daemon.await_metric(BREAKER_CALLS, &labels("success"), 1.0);
    daemon.await_metric(BREAKER_CALLS, &labels("failure"), 2.0);
    daemon.await_metric(ATTEMPTS, &[("upstream", "standby")], 3.0);
    daemon.await_metric(ATTEMPTS, &[("upstream", "api")], 0.0);
    let open = [("upstream", "standby"), ("state", "open")];
    daemon.await_metric(BREAKER_STATE, &open, 1.0);
}

#[test]
fn a_kept_key_makes_a_post_safe_for_the_failover() {
    let upstream = Upstream::start(|_| reply(503, "api"));
    let standby = Upstream::answering("standby");
    let honours = format!(
        "{PATIENT}retry = {{ honours_idempotency_key = true, mint_idempotency_key = true }}"
    );
    let daemon = daemon(&upstream.url(), &standby.url(), [&honours, &honours]);
    assert_from_standby(&call(&daemon, "POST", b"pay"));
    let key = |upstream: &Upstream| {
        let seen = upstream.seen().requests;
        seen[0].head.field("idempotency-key").map(str::to_owned)
    };
    assert!(key(&upstream).is_some());
    assert_eq!(key(&upstream), key(&standby), "one key for all attempts");
}

#[test]
fn an_answer_that_breaks_off_later_is_not_asked_for_again() {
    let begun = Gate::new();
    let own = begun.clone();
    let upstream = Upstream::start(move |_| {
        let half = send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        then(then(half, Step::Await(own.clone())), Step::Reset)
    });
    let standby = Upstream::answering("standby");
    let daemon = plain(&upstream.url(), &standby.url());
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"").await_bytes(b"half");
    begun.open();
    let broken = client.response("GET").expect_err("half a body");
    assert_eq!(broken.status, Some(200), "{broken:?}");
    assert_failed_over(&daemon, 0.0);
}

#[test]
fn an_answer_of_the_failover_is_streamed_as_any_other() {
    let gate = Gate::new();
    let own = gate.clone();
    let refusing = Refusing::start();
    let standby = Upstream::start(move |_| {
        let begun = send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf ");
        then(
            then(begun, Step::Await(own.clone())),
            Step::Send(b"then".to_vec()),
        )
    });
    let daemon = plain(&refusing.url(), &standby.url());
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"").await_bytes(b"half ");
    let in_flight = "outrigger_bulkhead_in_flight";
    daemon.await_metric(in_flight, &[("upstream", "standby")], 1.0);
    daemon.await_metric(in_flight, &[("upstream", "api")], 0.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "half then");
    daemon.await_metric(in_flight, &[], 0.0);
}

#[test]
fn a_preserved_host_is_that_of_the_caller() {
    let upstream = Upstream::start(|_| reply(503, "no"));
    let standby = Upstream::answering("standby");
    let daemon = daemon(
        &upstream.url(),
        &standby.url(),
        [PATIENT, &format!("host = \"preserve\"\n{PATIENT}")],
    );
    assert_eq!(call(&daemon, "GET", b"").text(), "standby");
    let seen = standby.seen();
    let head = format!("{:?}", seen.requests[0].head);
    assert!(head.contains("api.test"), "{head}");
}

#[test]
fn a_key_honoured_here_is_not_honoured_there() {
    let upstream = Upstream::start(|_| reply(503, "maybe done"));
    let standby = Upstream::answering("standby");
    let daemon = daemon(
        &upstream.url(),
        &standby.url(),
        [
            "retry = { retries = 0, honours_idempotency_key = true, mint_idempotency_key = true }",
            PATIENT,
        ],
    );
    let response = call(&daemon, "POST", b"pay");
    assert_eq!(standby.seen().requests.len(), 0, "{response:?}");
}

#[test]
fn what_was_answered_once_is_not_unsent() {
    let upstream = Upstream::start(|_| reply(503, "maybe done"));
    let dead = Refusing::start();
    let standby = Upstream::answering("standby");
    let daemon = Daemon::start(&format!(
        "[upstreams.api]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"{}\", \"{}\"]\nfailover = \"standby\"\n\
         balance = {{ policy = \"round_robin\" }}\nretry = {{ mode = \"enforce\", retries = 1, non_idempotent = true }}\n{PATIENT}\
         [upstreams.standby]\nendpoints = [\"{}\"]\n",
        upstream.url(),
        dead.url(),
        standby.url()
    ));
    let response = call(&daemon, "POST", b"pay");
    assert_eq!(
        (
            upstream.seen().requests.len(),
            standby.seen().requests.len()
        ),
        (1, 0),
        "{response:?}"
    );
}

#[test]
fn an_answer_stands_where_the_failover_does_not_admit_the_request() {
    let upstream = Upstream::start(|_| reply(503, "its own words"));
    let standby = Upstream::answering("standby");
    let daemon = plain(&upstream.url(), &standby.url());
    force_open(&daemon, "standby");
    let response = call(&daemon, "GET", b"");
    assert_eq!(response.status, 503);
    assert_eq!(response.text(), "its own words");
    assert_eq!(response.field("proxy-status"), None);
    assert_eq!(standby.seen().requests.len(), 0);
    assert_nothing_held(&daemon);
}
