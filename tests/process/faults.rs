//! Every way an upstream can misbehave, and what the caller gets instead.

use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{ABORTED, API, CONNECTIONS, assert_nothing_held, assert_replies, assert_row};
use crate::support::client::Response;
use crate::support::daemon::Daemon;
use crate::support::dead::{Deaf, Refusing};
use crate::support::gate::Gate;
use crate::support::stage::Stage;
use crate::support::upstream::{Step, Upstream, message, reply, send, then};
use crate::support::wire::Stop;

/// Short for heads that never come, and the breaker out of the way.
const IMPATIENT: &str = r#"
timeouts = { first_byte = "300ms" }
breaker = { mode = "off" }
"#;

/// The same for bodies.
const IDLE: &str = r#"
timeouts = { stream_idle = "300ms" }
breaker = { mode = "off" }
"#;

/// As [`IMPATIENT`], for faults that show by themselves: no timer may come first.
const PATIENT: &str = r#"
timeouts = { connect = "50s", first_byte = "50s", request = "50s", stream_idle = "50s" }
breaker = { mode = "off" }
"#;

const PAUSE: Duration = Duration::from_millis(50);

/// The caller gets the error's row, the upstream each request once, and nothing is held afterwards.
#[track_caller]
fn check(settings: &str, steps: Vec<Step>, error: ProxyError) {
    let upstream = Upstream::start(move |_| steps.clone());
    let daemon = Daemon::proxying(&[upstream.url()], settings);
    let mut client = daemon.client();
    assert_row(&client.get("/get"), error);
    assert_row(&client.post("/post", b"a body"), error);
    assert_replies(&daemon, error, 2.0);
    // A timer may end a request before the upstream has run at all.
    let seen = upstream.wait_until("each on a connection of its own", |record| {
        record.connections.len() == 2 && record.open() == 0
    });
    assert_eq!(seen.targets(), ["/get", "/post"], "nothing was resent");
    assert_nothing_held(&daemon);
    daemon.await_metric(CONNECTIONS, &[API], 0.0);
}

/// The caller gets the beginning of the response and then an abort, not a complete message.
#[track_caller]
fn check_abort(settings: &str, beginning: &str, last: Step) {
    let begun = Gate::new();
    let steps = then(then(send(beginning), Step::Await(begun.clone())), last);
    let upstream = Upstream::start(move |_| steps.clone());
    let daemon = Daemon::proxying(&[upstream.url()], settings);
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"").await_bytes(b"begin");
    begun.open();
    let broken = client.response("GET").expect_err("an aborted response");
    assert_eq!(broken.status, Some(200), "{broken:?}");
    assert!(broken.body.starts_with(b"begin"), "{broken:?}");
    daemon.await_metric(ABORTED, &[API], 1.0);
    assert_eq!(
        upstream.wait_closed().requests.len(),
        1,
        "nothing was resent"
    );
    assert_nothing_held(&daemon);
    daemon.await_metric(CONNECTIONS, &[API], 0.0);
}

/// Whatever the upstream does, the caller's next request is answered as its own.
#[track_caller]
fn check_recovers(steps: Vec<Step>, verify: impl Fn(&Response)) {
    let upstream = Upstream::start(move |call| match call.path() {
        "/next" => reply(200, "next"),
        _ => steps.clone(),
    });
    let daemon = Daemon::proxying(&[upstream.url()], PATIENT);
    let mut client = daemon.client();
    for _ in 0..3 {
        verify(&client.get("/first"));
        assert_eq!(client.get("/next").text(), "next");
    }
    assert_nothing_held(&daemon);
}

#[test]
fn one_that_refuses_is_a_failed_connect() {
    let upstream = Refusing::start();
    let daemon = Daemon::proxying(&[upstream.url()], PATIENT);
    let mut client = daemon.client();
    assert_row(&client.get("/"), ProxyError::ConnectFailed);
    assert_row(&client.post("/", b"a body"), ProxyError::ConnectFailed);
    assert_replies(&daemon, ProxyError::ConnectFailed, 2.0);
    assert_nothing_held(&daemon);
    daemon.await_metric(CONNECTIONS, &[API], 0.0);
}

#[test]
fn one_that_establishes_no_connection_is_a_connect_timeout() {
    let upstream = Deaf::start();
    let settings = "timeouts = { connect = \"300ms\", first_byte = \"50s\" }";
    let daemon = Daemon::proxying(&[upstream.url()], settings);
    assert_row(&daemon.client().get("/"), ProxyError::ConnectTimeout);
    assert_replies(&daemon, ProxyError::ConnectTimeout, 1.0);
    assert_nothing_held(&daemon);
    daemon.await_metric(CONNECTIONS, &[API], 0.0);
}

#[test]
fn one_that_accepts_and_never_answers_is_cut_at_first_byte() {
    check(IMPATIENT, vec![Step::Hang], ProxyError::AttemptTimeout);
}

#[test]
fn one_that_drips_its_head_is_cut_at_first_byte() {
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-pad: abcdefghijklm\r\n\r\nwhole".to_vec();
    let steps = vec![Step::ReadBody, Step::Drip(head, PAUSE)];
    check(IMPATIENT, steps, ProxyError::AttemptTimeout);
}

#[test]
fn one_that_drips_its_body_is_let_finish() {
    let head = send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
    // As a whole it takes longer than each piece may.
    let drip = then(head, Step::Drip(b"drop after".to_vec(), 4 * PAUSE));
    let upstream = Upstream::start(move |_| drip.clone());
    let timeouts = "timeouts = { stream_idle = \"1500ms\" }";
    let daemon = Daemon::proxying(&[upstream.url()], timeouts);
    assert_eq!(daemon.client().get("/").text(), "drop after");
    assert_nothing_held(&daemon);
}

const COUNTED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nbeginning";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n";
const IN_CHUNK: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n50\r\nbegin";

#[test]
fn one_that_stops_in_its_body_is_cut_at_stream_idle() {
    check_abort(IDLE, COUNTED, Step::Hang);
}

#[test]
fn one_that_stops_between_chunks_is_cut_at_stream_idle() {
    check_abort(IDLE, CHUNKED, Step::Hang);
}

/// Who knows no chunks takes the end of the connection for that of the body.
#[test]
fn one_that_breaks_off_is_an_abort_for_a_caller_of_http_1_0() {
    let stage = Stage::open();
    let daemon = |more| Daemon::proxying(&[stage.url()], more);
    let (patient, impatient) = (daemon(PATIENT), daemon(IDLE));
    for (daemon, is_whole, stalls) in [
        (&patient, true, false),
        (&patient, false, false),
        (&impatient, false, true),
    ] {
        let mut caller = daemon.client();
        caller.send("GET / HTTP/1.0\r\n\r\n");
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        let begin = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n";
        upstream.write(begin).unwrap();
        caller.await_bytes(b"begin");
        if is_whole {
            upstream.write(b"0\r\n\r\n").unwrap();
        }
        let upstream = stalls.then_some(upstream);
        let (_, end) = caller.into_wire().drain();
        assert_eq!(end, if is_whole { Ok(()) } else { Err(Stop::Reset) });
        drop(upstream);
        assert_nothing_held(daemon);
    }
}

#[test]
fn one_that_resets_in_its_body_is_an_abort() {
    check_abort(PATIENT, COUNTED, Step::Reset);
}

#[test]
fn one_that_resets_between_chunks_is_an_abort() {
    check_abort(PATIENT, CHUNKED, Step::Reset);
}

#[test]
fn one_that_closes_short_of_its_content_length_is_an_abort() {
    check_abort(PATIENT, COUNTED, Step::Close);
}

#[test]
fn one_that_closes_between_chunks_is_an_abort() {
    check_abort(PATIENT, CHUNKED, Step::Close);
}

#[test]
fn one_that_closes_in_a_chunk_is_an_abort() {
    check_abort(PATIENT, IN_CHUNK, Step::Close);
}

#[test]
fn one_whose_chunk_size_is_garbage_is_an_abort() {
    check_abort(PATIENT, CHUNKED, Step::Send(b"zz\r\nxx\r\n".to_vec()));
}

#[test]
fn one_that_resets_at_once_is_an_upstream_reset() {
    check(
        PATIENT,
        then(send(""), Step::Reset),
        ProxyError::UpstreamReset,
    );
}

#[test]
fn one_that_closes_at_once_is_an_upstream_reset() {
    check(
        PATIENT,
        then(send(""), Step::Close),
        ProxyError::UpstreamReset,
    );
}

#[test]
fn one_that_resets_in_its_head_is_an_upstream_reset() {
    let steps = then(send("HTTP/1.1 200 OK\r\ncontent-le"), Step::Reset);
    check(PATIENT, steps, ProxyError::UpstreamReset);
}

#[test]
fn one_that_closes_in_its_head_is_an_upstream_reset() {
    let steps = then(send("HTTP/1.1 200 OK\r\ncontent-le"), Step::Close);
    check(PATIENT, steps, ProxyError::UpstreamReset);
}

#[test]
fn one_that_closes_in_its_start_line_is_an_upstream_reset() {
    check(
        PATIENT,
        then(send("HTTP/1.1 2"), Step::Close),
        ProxyError::UpstreamReset,
    );
}

#[test]
fn one_that_sends_garbage_is_a_bad_response() {
    let garbage = send("\u{1}\u{2}SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n");
    check(PATIENT, then(garbage, Step::Hang), ProxyError::BadResponse);
}

#[test]
fn one_whose_status_is_no_number_is_a_bad_response() {
    let garbage = send("HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n");
    check(PATIENT, then(garbage, Step::Hang), ProxyError::BadResponse);
}

#[test]
fn one_whose_content_length_is_no_number_is_a_bad_response() {
    let garbage = send("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n");
    check(PATIENT, then(garbage, Step::Hang), ProxyError::BadResponse);
}

#[test]
fn one_with_two_content_lengths_is_a_bad_response() {
    let garbage = send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef");
    check(PATIENT, then(garbage, Step::Hang), ProxyError::BadResponse);
}

#[test]
fn one_that_switches_protocols_unasked_is_a_bad_response() {
    let switch = send("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    check(PATIENT, then(switch, Step::Hang), ProxyError::BadResponse);
}

#[test]
fn one_with_endless_fields_is_a_bad_response() {
    let field = format!("x-{}: {}\r\n", "a".repeat(10), "b".repeat(100)).into_bytes();
    let steps = then(send("HTTP/1.1 200 OK\r\n"), Step::Endless(field));
    check(PATIENT, steps, ProxyError::BadResponse);
}

#[test]
fn one_with_an_endless_field_is_a_bad_response() {
    let steps = then(
        send("HTTP/1.1 200 OK\r\nx: "),
        Step::Endless(vec![b'a'; 8192]),
    );
    check(PATIENT, steps, ProxyError::BadResponse);
}

#[test]
fn one_with_an_endless_start_line_is_a_bad_response() {
    let steps = then(send("HTTP/1.1 200 "), Step::Endless(vec![b'a'; 8192]));
    check(PATIENT, steps, ProxyError::BadResponse);
}

#[test]
fn one_that_answers_before_it_was_asked_is_not_believed() {
    let unasked = vec![Step::Send(message(200, "unasked"))];
    let upstream = Upstream::start_with(move |_| unasked.clone(), |_| reply(200, "asked"));
    let daemon = Daemon::proxying(&[upstream.url()], PATIENT);
    for _ in 0..10 {
        // Whether the proxy sees the stray answer before it wrote the request is a race of the
        // two; that the answer which follows is taken for that of another request is never right.
        let response = daemon.client().get("/");
        assert!(
            response.status == 502 || response.text() == "unasked",
            "{response:?}"
        );
        // Once idle for a while, the connection is looked at before its reuse.
        Gate::new().pass_within(PAUSE);
    }
    assert_nothing_held(&daemon);
}

#[test]
fn bytes_past_the_content_length_never_reach_a_caller() {
    let spliced = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nshortHTTP/1.1 200 OK\r\n\
                   content-length: 4\r\n\r\nevil";
    check_recovers(send(spliced), |response| {
        assert_eq!(response.text(), "short")
    });
}

#[test]
fn a_body_after_a_204_never_reaches_a_caller() {
    let spliced = "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    check_recovers(send(spliced), |response| {
        assert_eq!((response.status, response.body.len()), (204, 0));
    });
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole() {
    let open_ended = send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    check_recovers(then(open_ended, Step::Close), |response| {
        assert_eq!(response.text(), "until the end");
        assert!(response.head.chunked(), "{response:?}");
    });
}

#[test]
fn interim_responses_are_not_taken_for_the_answer() {
    let early = send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n");
    check_recovers(then(early, Step::Send(message(200, "final"))), |response| {
        assert_eq!((response.status, response.text().as_str()), (200, "final"));
    });
}

#[test]
fn one_that_answers_and_closes_without_saying_so_is_used_anew() {
    check_recovers(then(reply(200, "x"), Step::Close), |response| {
        assert_eq!(response.text(), "x");
    });
}

#[test]
fn one_that_answers_without_reading_the_upload_is_believed() {
    let upstream = Upstream::start(|call| match call.path() {
        "/refused" => vec![Step::Send(message(413, "too much")), Step::Close],
        _ => reply(200, "x"),
    });
    let daemon = Daemon::proxying(&[upstream.url()], PATIENT);
    let mut client = daemon.client();
    // Small enough to be written before the reset that an unread body causes.
    let response = client.call("POST", "/refused", &[], b"body");
    if let Ok(response) = response {
        assert!(matches!(response.status, 413 | 502), "{response:?}");
    }
    assert_eq!(daemon.client().get("/").status, 200);
    assert_nothing_held(&daemon);
}
