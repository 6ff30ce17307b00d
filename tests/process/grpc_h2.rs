//! gRPC over HTTP/2 on both sides: streams of every kind, and how each may end.

use h2::Reason;
use http::HeaderMap;
use outrigger::proxy::error::ProxyError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::expect::{
    API, ATTEMPTS, IN_FLIGHT, assert_nothing_held, assert_replies, assert_retried, await_breaker,
};
use crate::support::daemon::{Daemon, await_until, section};
use crate::support::dead::Refusing;
use crate::support::grpc::{Caller, Outcome, Served, Server, run};

const OK: &[(&str, &str)] = &[("grpc-status", "0")];
const NO_TIMERS: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";
const NO_BREAKER: &str = "breaker = { mode = \"off\" }\n";
const RETRY: &str =
    "retry = { mode = \"enforce\", non_idempotent = true, backoff = { base = \"1ms\" } }\n";

/// One worker, so that its connections are everybody's.
fn config(upstream: &Server, more: &str) -> String {
    let more = format!("protocol = \"http2\"\n{more}\n[runtime]\nworkers = 1\n");
    section(&[upstream.url()], &more)
}

fn daemon(upstream: &Server, more: &str) -> Daemon {
    Daemon::start(&config(upstream, more))
}

/// A daemon without timers in the way, and a caller in front of it.
fn calm(upstream: &Server) -> (Daemon, Caller) {
    let daemon = daemon(upstream, &format!("{NO_TIMERS}{NO_BREAKER}"));
    let caller = Caller::connect(daemon.api());
    (daemon, caller)
}

/// A server whose calls leave what happened to them here.
fn told<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(Served, UnboundedSender<Reason>) -> F + Send + Sync + 'static,
) -> (Server, UnboundedReceiver<Reason>) {
    let (tell, told) = unbounded_channel();
    let server = Server::start(move |served| serve(served, tell.clone()));
    (server, told)
}

/// That the call got this error's reply: a head that is the end as well, and nothing of a body.
#[track_caller]
fn assert_local(outcome: &Outcome, error: ProxyError) {
    let row = error.row();
    assert!(outcome.is_trailers_only, "{outcome:?}");
    assert_eq!(outcome.status(), u32::from(row.grpc_status), "{outcome:?}");
    assert_eq!(outcome.head["content-type"], "application/grpc");
    assert!(!outcome.head.contains_key("content-length"), "{outcome:?}");
    let details = format!("details=\"{}\"", row.reason.as_str());
    let proxy_status = outcome.field("proxy-status").expect("who it was");
    assert!(proxy_status.contains(&details), "{proxy_status}");
    let message = outcome.field("grpc-message").expect("a message");
    assert!(message.starts_with(row.title), "{message}");
    let legal = |byte: u8| (b' '..=b'~').contains(&byte);
    assert!(message.bytes().all(legal), "{message}");
}

#[test]
fn streams_of_every_kind_pass() {
    let upstream = Server::start(|mut served| async move {
        match served.head.uri.path() {
            "/shop.Cart/Bidi" => served.echo().await,
            "/shop.Cart/Server" => {
                let question = served.messages.next().await;
                let question = question.expect("a whole message").expect("a message");
                let mut sending = served.begin(&[]);
                for part in 0..3 {
                    sending.message(&format!("{question} {part}"));
                }
                sending.trailers(OK);
            }
            _ => {
                let all = served.messages.all().await.expect("a whole stream");
                let mut sending = served.begin(&[]);
                sending.message(&all.join("+"));
                sending.trailers(OK);
            }
        }
    });
    let (daemon, caller) = calm(&upstream);
    run(async {
        let unary = caller.unary("/shop.Cart/Unary", &[]).await;
        let unary = unary.expect("an outcome");
        assert_eq!(
            (unary.messages, unary.trailers.is_some()),
            (vec!["question".to_owned()], true)
        );

        let server = caller.unary("/shop.Cart/Server", &[]).await;
        let server = server.expect("an outcome");
        assert_eq!(server.messages, ["question 0", "question 1", "question 2"]);
        assert_eq!(server.status(), 0);

        let mut client = caller.call("/shop.Cart/Client", &[]).await;
        for part in ["a", "b", "c"] {
            client.sending.message(part);
        }
        client.sending.end();
        let client = client.outcome().await.expect("an outcome");
        assert_eq!(
            (client.status(), client.messages),
            (0, vec!["a+b+c".to_owned()])
        );

        let mut bidi = caller.call("/shop.Cart/Bidi", &[]).await;
        bidi.sending.message("first");
        let (_, mut messages) = bidi.head().await.expect("a head");
        // Each is answered before the next is sent.
        for (said, next) in [("first", "second"), ("second", "third"), ("third", "last")] {
            let heard = messages.next().await.expect("an open stream");
            assert_eq!(heard.as_deref(), Some(said));
            bidi.sending.message(next);
        }
        bidi.sending.end();
        assert_eq!(messages.all().await.expect("a whole stream"), ["last"]);
        let trailers = messages.trailers().await.expect("a whole stream");
        assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
    });
    assert_eq!(upstream.seen().connections, 1);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "success")], 4.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_head_comes_before_the_first_message() {
    let (go, gone) = tokio::sync::watch::channel(false);
    let upstream = Server::start(move |mut served| {
        let mut gone = gone.clone();
        async move {
            let mut sending = served.begin(&[("x-early", "yes")]);
            gone.wait_for(|gone| *gone).await.expect("a test");
            sending.trailers(OK);
        }
    });
    let (daemon, caller) = calm(&upstream);
    run(async {
        let mut call = caller.call("/shop.Cart/Watch", &[]).await;
        let (head, mut messages) = call.head().await.expect("a head");
        assert_eq!(head.headers["x-early"], "yes");
        go.send_replace(true);
        assert_eq!(messages.next().await.expect("a whole stream"), None);
        let trailers = messages.trailers().await.expect("a whole stream");
        assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
        call.sending.end();
    });
    assert_nothing_held(&daemon);
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().expect("text")).collect()
}

#[test]
fn metadata_passes_untouched_both_ways() {
    // Base64 without padding, and a list of two in one field (gRPC over HTTP/2).
    const BINARY: &[(&str, &str)] = &[
        ("trace-bin", "AAEC/w"),
        ("trace-bin", "AAEC/w,AP8="),
        ("x-text", "a, b"),
        ("x-text", "%7f \"c\""),
    ];
    let upstream = Server::start(|mut served| async move {
        let large = "m".repeat(40_000);
        let fields = [BINARY, &[("x-large", large.as_str())]].concat();
        let status = [("grpc-status", "5"), ("grpc-message", "no%20such cart")];
        let details = [("grpc-status-details-bin", "CAUSBG5vbmU")];
        if served.head.uri.path() == "/shop.Cart/Only" {
            served.trailers_only(&[&fields[..], &status, &details].concat());
        } else {
            let mut sending = served.begin(BINARY);
            sending.message("answer");
            sending.trailers(&[&fields[..], &status, &details].concat());
        }
    });
    let (daemon, caller) = calm(&upstream);
    let large = "r".repeat(40_000);
    let fields = [BINARY, &[("x-large", large.as_str())]].concat();
    for path in ["/shop.Cart/Only", "/shop.Cart/Get"] {
        let outcome = run(caller.unary(path, &fields)).expect("an outcome");
        assert_eq!(outcome.status(), 5);
        assert_eq!(outcome.is_trailers_only, path == "/shop.Cart/Only");
        assert_eq!(outcome.field("grpc-message"), Some("no%20such cart"));
        assert_eq!(
            outcome.field("grpc-status-details-bin"),
            Some("CAUSBG5vbmU")
        );
        assert_eq!(outcome.field("x-large").map(str::len), Some(40_000));
        let ends = outcome.trailers.as_ref().unwrap_or(&outcome.head);
        for headers in [&outcome.head, ends, &upstream.seen().calls[0].headers] {
            assert_eq!(values(headers, "trace-bin"), ["AAEC/w", "AAEC/w,AP8="]);
            assert_eq!(values(headers, "x-text"), ["a, b", "%7f \"c\""]);
        }
    }
    let seen = upstream.seen();
    let head = &seen.calls[1].headers;
    assert_eq!(head["x-large"].len(), 40_000);
    assert_eq!(values(head, "te"), ["trailers"]);
    assert_eq!(values(head, "content-type"), ["application/grpc"]);
    for name in ["connection", "transfer-encoding", "content-length", "host"] {
        assert!(!head.contains_key(name), "{name}");
    }
    drop(seen);
    // It was found, and said so.
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "success")], 2.0);
    assert_nothing_held(&daemon);
}

#[test]
fn the_status_is_the_verdict_wherever_it_stands() {
    let upstream = Server::start(|mut served| async move {
        let path = served.head.uri.path().to_owned();
        let status = path.rsplit('/').next().unwrap_or_default();
        let fields: &[_] = match status {
            "" => &[("x-other", "1")],
            status => &[("grpc-status", status)],
        };
        if path.starts_with("/only/") {
            served.trailers_only(fields);
        } else {
            let mut sending = served.begin(&[]);
            sending.message("answer");
            sending.trailers(fields);
        }
    });
    for (path, verdict) in [
        ("/only/0", "success"),
        ("/only/5", "success"),
        ("/only/14", "failure"),
        ("/only/", "failure"),
        ("/after/0", "success"),
        ("/after/5", "success"),
        ("/after/14", "failure"),
        ("/after/", "failure"),
    ] {
        let (daemon, caller) = calm(&upstream);
        run(caller.unary(path, &[])).expect("an outcome");
        daemon.await_metric(ATTEMPTS, &[API, ("verdict", verdict)], 1.0);
        daemon.await_metric(ATTEMPTS, &[API], 1.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn failures_open_the_breaker_and_refusals_of_the_caller_do_not() {
    for (status, state) in [("14", "open"), ("5", "closed")] {
        let upstream = Server::start(move |mut served| async move {
            let mut sending = served.begin(&[]);
            sending.trailers(&[("grpc-status", status)]);
        });
        let breaker = "breaker = { consecutive_failures = 3, open_for = \"60s\" }\n";
        let daemon = daemon(&upstream, breaker);
        let caller = Caller::connect(daemon.api());
        for _ in 0..3 {
            let outcome = run(caller.unary("/a.B/C", &[])).expect("an outcome");
            assert_eq!(outcome.field("grpc-status"), Some(status));
        }
        await_breaker(&daemon, state);
        let last = run(caller.unary("/a.B/C", &[])).expect("an outcome");
        if state == "open" {
            let retry_after = std::time::Duration::ZERO;
            assert_local(&last, ProxyError::BreakerOpen { retry_after });
            assert_eq!(upstream.seen().calls.len(), 3);
        } else {
            assert_eq!(last.field("proxy-status"), None);
        }
        assert_nothing_held(&daemon);
    }
}

#[test]
fn a_deadline_goes_on_shorter_and_ends_a_call() {
    let (upstream, mut told) = told(|mut served, tell| async move {
        if served.head.uri.path() == "/hang" {
            let _ = served.given_up().await.map(|reason| tell.send(reason));
        } else {
            served.echo().await;
        }
    });
    let (daemon, caller) = calm(&upstream);
    run(caller.unary("/echo", &[("grpc-timeout", "9S")])).expect("an outcome");
    {
        let seen = upstream.seen();
        let left = seen.calls[0].headers["grpc-timeout"]
            .to_str()
            .expect("text");
        let micros: u32 = left.trim_end_matches('u').parse().expect("microseconds");
        assert!((1..9_000_000).contains(&micros), "{left}");
    }
    // It is past.
    let late = run(caller.unary("/echo", &[("grpc-timeout", "0m")])).expect("an outcome");
    assert_local(&late, ProxyError::ClientDeadline);
    assert_eq!(upstream.seen().calls.len(), 1);
    // It passes.
    let late = run(caller.unary("/hang", &[("grpc-timeout", "100m")])).expect("an outcome");
    assert_local(&late, ProxyError::ClientDeadline);
    assert_eq!(run(told.recv()), Some(Reason::CANCEL));
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_caller_that_cancels_is_heard_upstream() {
    let (upstream, mut told) = told(|mut served, tell| async move {
        let reason = if served.head.uri.path() == "/before" {
            served.given_up().await
        } else {
            let mut sending = served.begin(&[]);
            sending.message("first");
            sending.given_up().await
        };
        let _ = reason.map(|reason| tell.send(reason));
    });
    let (daemon, caller) = calm(&upstream);
    let calls = || upstream.seen().calls.len();
    for path in ["/before", "/after"] {
        for half_closed in [false, true] {
            let before = calls();
            run(async {
                let mut call = caller.call(path, &[]).await;
                call.sending.message("question");
                if half_closed {
                    call.sending.end();
                }
                let messages = if path == "/after" {
                    let (_, mut messages) = call.head().await.expect("a head");
                    assert!(messages.next().await.expect("a message").is_some());
                    Some(messages)
                } else {
                    None
                };
                await_until("it arrives", || calls() > before);
                call.sending.reset(Reason::CANCEL);
                assert_eq!(
                    told.recv().await,
                    Some(Reason::CANCEL),
                    "{path} {half_closed}"
                );
                drop(messages);
            });
            assert_nothing_held(&daemon);
        }
    }
    assert_eq!(upstream.seen().connections, 1);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 0.0);
}

#[test]
fn a_reset_before_the_head_is_a_reply_and_after_it_a_reset() {
    let reasons = [
        (Reason::NO_ERROR, Reason::INTERNAL_ERROR),
        (Reason::PROTOCOL_ERROR, Reason::INTERNAL_ERROR),
        (Reason::INTERNAL_ERROR, Reason::INTERNAL_ERROR),
        (Reason::CANCEL, Reason::INTERNAL_ERROR),
        (Reason::CONNECT_ERROR, Reason::INTERNAL_ERROR),
        (Reason::ENHANCE_YOUR_CALM, Reason::ENHANCE_YOUR_CALM),
        (Reason::HTTP_1_1_REQUIRED, Reason::INTERNAL_ERROR),
    ];
    for (reason, passed_on) in reasons {
        let upstream = Server::start(move |mut served| async move {
            if served.head.uri.path() == "/before" {
                served.reset(reason);
            } else {
                let mut sending = served.begin(&[]);
                sending.message("first");
                // So that the reset does not overtake it.
                let _ = served.messages.next().await;
                let _ = served.messages.next().await;
                sending.reset(reason);
            }
        });
        let (daemon, caller) = calm(&upstream);
        let before = run(caller.unary("/before", &[])).expect("an outcome");
        assert_local(&before, ProxyError::UpstreamReset);
        daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 1.0);
        run(async {
            let mut call = caller.call("/after", &[]).await;
            call.sending.message("question");
            let (_, mut messages) = call.head().await.expect("a head");
            let first = messages.next().await.expect("a message");
            assert_eq!(first.as_deref(), Some("first"));
            call.sending.message("go on");
            let end = messages.next().await;
            let error = end.expect_err("a reset");
            assert!(error.is_reset(), "{reason:?}: {error}");
            assert_eq!(error.reason(), Some(passed_on), "{reason:?}");
        });
        daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 2.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn a_refused_stream_is_tried_again_and_else_has_a_name() {
    let upstream = Server::start(|mut served| async move {
        match served.nth {
            // All of it was sent, and none of it processed.
            0 | 2 | 3 => {
                let _ = served.messages.all().await;
                served.reset(Reason::REFUSED_STREAM);
            }
            _ => served.echo().await,
        }
    });
    let again = daemon(
        &upstream,
        "retry = { mode = \"enforce\", backoff = { base = \"1ms\" } }\n",
    );
    let outcome = run(Caller::connect(again.api()).unary("/a.B/C", &[])).expect("an outcome");
    assert_eq!(
        (outcome.status(), outcome.messages),
        (0, vec!["question".to_owned()])
    );
    again.await_metric(ATTEMPTS, &[API, ("verdict", "ignored")], 1.0);
    assert_nothing_held(&again);

    let once = daemon(&upstream, "");
    let outcome = run(Caller::connect(once.api()).unary("/a.B/C", &[])).expect("an outcome");
    assert_local(&outcome, ProxyError::UpstreamRefused);
    assert_nothing_held(&once);

    // What is not kept is not sent in part.
    let small = "retry = { mode = \"enforce\", max_body_buffer = \"8B\" }\n";
    let small = daemon(&upstream, small);
    let outcome = run(Caller::connect(small.api()).unary("/a.B/C", &[])).expect("an outcome");
    assert_local(&outcome, ProxyError::UpstreamRefused);
    assert_eq!(upstream.seen().calls.len(), 4);
    assert_nothing_held(&small);
}

#[test]
fn calls_are_tried_again_by_their_status() {
    for (fields, calls) in [
        (&[("grpc-status", "14")][..], 2),
        (&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "5")], 2),
        (
            &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")],
            1,
        ),
        (&[("grpc-status", "13")], 1),
    ] {
        let upstream = Server::start(move |mut served| async move {
            match served.nth {
                0 => served.trailers_only(fields),
                _ => served.echo().await,
            }
        });
        let daemon = daemon(&upstream, &format!("{RETRY}{NO_BREAKER}"));
        let caller = Caller::connect(daemon.api());
        let outcome = run(caller.unary("/a.B/C", &[])).expect("an outcome");
        assert_eq!(upstream.seen().calls.len(), calls, "{fields:?}");
        if calls == 1 {
            assert_eq!(outcome.field("grpc-status"), Some(fields[0].1));
        } else {
            assert_eq!(
                (outcome.status(), outcome.messages),
                (0, vec!["question".to_owned()])
            );
            let before: Vec<_> = upstream
                .seen()
                .calls
                .iter()
                .map(|head| {
                    let before = head.headers.get("grpc-previous-rpc-attempts");
                    before.map(|before| before.to_str().expect("text").to_owned())
                })
                .collect();
            assert_eq!(before, [None, Some("1".to_owned())]);
            assert_retried(&daemon, "grpc", 1.0);
        }
        assert_nothing_held(&daemon);
    }
}

#[test]
fn an_answer_with_messages_is_never_tried_again() {
    let upstream = Server::start(|mut served| async move {
        let mut sending = served.begin(&[]);
        sending.message("first");
        sending.trailers(&[("grpc-status", "14")]);
    });
    let daemon = daemon(&upstream, RETRY);
    let outcome = run(Caller::connect(daemon.api()).unary("/a.B/C", &[])).expect("an outcome");
    assert_eq!(
        (outcome.status(), outcome.messages),
        (14, vec!["first".to_owned()])
    );
    assert_eq!(upstream.seen().calls.len(), 1);
    assert_nothing_held(&daemon);
}

#[test]
fn replies_of_ours_are_statuses_of_grpc() {
    let upstream = Server::start(|mut served| async move {
        if served.head.uri.path() == "/hang" {
            let _ = served.given_up().await;
        } else {
            served.echo().await;
        }
    });
    let zero = std::time::Duration::ZERO;

    let full = daemon(
        &upstream,
        "bulkhead = { max_requests = 1, max_queued = 0 }\n",
    );
    let caller = Caller::connect(full.api());
    run(async {
        let hanging = caller.call("/hang", &[]).await;
        full.await_metric(IN_FLIGHT, &[API], 1.0);
        let refused = caller.unary("/a.B/C", &[]).await.expect("an outcome");
        assert_local(&refused, ProxyError::BulkheadFull);
        drop(hanging);
    });
    assert_nothing_held(&full);

    let limited = daemon(
        &upstream,
        "rate_limit = { rate = 1, per = \"1h\", burst = 1 }\n",
    );
    let caller = Caller::connect(limited.api());
    run(caller.unary("/a.B/C", &[])).expect("an outcome");
    let refused = run(caller.unary("/a.B/C", &[])).expect("an outcome");
    assert_local(&refused, ProxyError::RateLimited { retry_after: zero });
    assert!(refused.field("retry-after").is_some());

    let slow = daemon(&upstream, "timeouts = { first_byte = \"100ms\" }\n");
    let late = run(Caller::connect(slow.api()).unary("/hang", &[])).expect("an outcome");
    assert_local(&late, ProxyError::AttemptTimeout);
    let late = daemon(
        &upstream,
        "timeouts = { first_byte = \"9s\", request = \"100ms\" }\n",
    );
    let late = run(Caller::connect(late.api()).unary("/hang", &[])).expect("an outcome");
    assert_local(&late, ProxyError::Deadline);

    let refusing = Refusing::start();
    let dead = section(&[refusing.url()], "protocol = \"http2\"");
    let dead = Daemon::start(&dead);
    let refused = run(Caller::connect(dead.api()).unary("/a.B/C", &[])).expect("an outcome");
    assert_local(&refused, ProxyError::ConnectFailed);

    let caller = Caller::connect(slow.api());
    let bad = run(caller.unary("/a.B/C", &[("content_length", "1")])).expect("an outcome");
    assert_local(&bad, ProxyError::BadRequest(""));
    // With the rule that was broken, its `§` escaped.
    let message = bad.field("grpc-message").expect("a message");
    assert!(message.contains("RFC 3875 %C2%A74.1.18"), "{message}");

    let routed = format!(
        "{}\n[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n\
         routes = [{{ path_prefix = \"/known\", upstream = \"api\" }}]\n",
        section(&[upstream.url()], "protocol = \"http2\"")
    );
    let routed = Daemon::start(&routed);
    let lost = run(Caller::connect(routed.address("edge")).unary("/a.B/C", &[]));
    assert_local(&lost.expect("an outcome"), ProxyError::NoRoute);
    assert_replies(&routed, ProxyError::NoRoute, 1.0);
}

#[test]
fn an_answer_before_the_end_of_the_callers_stream_is_the_answer() {
    let upstream = Server::start(|mut served| async move {
        let only = served.head.uri.path() == "/only";
        let _ = served.messages.next().await;
        if only {
            served.trailers_only(&[("grpc-status", "9")]);
        } else {
            let mut sending = served.begin(&[]);
            sending.message("enough");
            sending.trailers(&[("grpc-status", "9")]);
        }
    });
    let (daemon, caller) = calm(&upstream);
    for path in ["/only", "/after", "/only", "/after"] {
        run(async {
            let mut call = caller.call(path, &[]).await;
            call.sending.message("more is to come");
            let (head, mut messages) = call.head().await.expect("a head");
            let messages_after = messages.all().await.expect("a whole stream");
            let trailers = messages.trailers().await.expect("a whole stream");
            let trailers = trailers.unwrap_or(head.headers);
            assert_eq!(trailers["grpc-status"], "9", "{path}");
            assert_eq!(messages_after.len(), usize::from(path == "/after"));
        });
        assert_nothing_held(&daemon);
    }
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "success")], 4.0);
    assert_eq!(upstream.seen().connections, 1);
}

#[test]
fn a_stream_that_lives_on_is_a_success() {
    let (go, gone) = tokio::sync::watch::channel(false);
    let upstream = Server::start(move |mut served| {
        let mut gone = gone.clone();
        async move {
            let mut sending = served.begin(&[]);
            sending.message("first");
            gone.wait_for(|gone| *gone).await.expect("a test");
            sending.trailers(&[("grpc-status", "14")]);
        }
    });
    let breaker = "breaker = { settle_after = \"50ms\", consecutive_failures = 1 }\n";
    let daemon = daemon(&upstream, &format!("{NO_TIMERS}{breaker}"));
    let caller = Caller::connect(daemon.api());
    run(async {
        let mut call = caller.call("/a.B/C", &[]).await;
        let (_, mut messages) = call.head().await.expect("a head");
        assert!(messages.next().await.expect("a message").is_some());
        daemon.await_metric(ATTEMPTS, &[API, ("verdict", "success")], 1.0);
        daemon.await_metric(IN_FLIGHT, &[API], 1.0);
        go.send_replace(true);
        assert_eq!(messages.next().await.expect("a whole stream"), None);
        let trailers = messages.trailers().await.expect("a whole stream");
        assert_eq!(trailers.expect("trailers")["grpc-status"], "14");
    });
    daemon.await_metric(ATTEMPTS, &[API], 1.0);
    await_breaker(&daemon, "closed");
    assert_nothing_held(&daemon);
}

#[test]
fn the_drain_waits_for_streams() {
    let upstream = Server::start(Served::echo);
    let more = format!("{NO_TIMERS}{NO_BREAKER}");
    let config = config(&upstream, &more) + "drain_quiet = \"50ms\"\ndrain_grace = \"60s\"\n";
    let mut daemon = Daemon::start(&config);
    let caller = Caller::connect(daemon.api());
    let health = Caller::connect(daemon.address("metrics"));
    run(async {
        let watch = "/grpc.health.v1.Health/Watch";
        let mut watching = health.call(watch, &[]).await;
        watching.sending.message("");
        watching.sending.end();
        let (_, mut states) = watching.head().await.expect("a head");
        assert_eq!(
            states.next().await.expect("a state").as_deref(),
            Some("\u{8}\u{1}")
        );

        let mut call = caller.call("/a.B/C", &[]).await;
        call.sending.message("before");
        let (_, mut messages) = call.head().await.expect("a head");
        assert!(messages.next().await.expect("a message").is_some());
        daemon.terminate();
        // Not serving, and the end.
        assert_eq!(
            states.next().await.expect("a state").as_deref(),
            Some("\u{8}\u{2}")
        );
        assert_eq!(states.next().await.expect("a whole stream"), None);
        let trailers = states.trailers().await.expect("a whole stream");
        assert_eq!(trailers.expect("trailers")["grpc-status"], "14");

        for said in ["still", "there"] {
            call.sending.message(said);
            let heard = messages.next().await.expect("an open stream");
            assert_eq!(heard.as_deref(), Some(said));
        }
        call.sending.end();
        assert_eq!(messages.next().await.expect("a whole stream"), None);
        let trailers = messages.trailers().await.expect("a whole stream");
        assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
    });
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_farewell_amid_streams_lets_them_end_and_new_ones_go_elsewhere() {
    let upstream = Server::start(|served| async move {
        if served.nth == 1 {
            served.farewell();
        }
        served.echo().await;
    });
    let (daemon, caller) = calm(&upstream);
    run(async {
        let mut old = caller.call("/a.B/Old", &[]).await;
        old.sending.message("before");
        let (_, mut messages) = old.head().await.expect("a head");
        assert!(messages.next().await.expect("a message").is_some());
        let told = caller.unary("/a.B/Told", &[]).await.expect("an outcome");
        assert_eq!(told.status(), 0);

        // The farewell is on its way: before long a call goes elsewhere, and none is lost.
        while upstream.seen().connections == 1 {
            let new = caller.unary("/a.B/New", &[]).await.expect("an outcome");
            assert_eq!(new.status(), 0);
        }
        old.sending.message("after");
        let heard = messages.next().await.expect("an open stream");
        assert_eq!(heard.as_deref(), Some("after"));
        old.sending.end();
        assert_eq!(messages.next().await.expect("a whole stream"), None);
        let trailers = messages.trailers().await.expect("a whole stream");
        assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
    });
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn health_is_told_of_each_upstream() {
    let upstream = Server::start(|mut served| async move {
        served.trailers_only(&[("grpc-status", "14")]);
    });
    let daemon = daemon(
        &upstream,
        "breaker = { consecutive_failures = 1, open_for = \"60s\" }\n",
    );
    let health = Caller::connect(daemon.address("metrics"));
    let check = |name: &str| {
        run(async {
            let mut call = health.call("/grpc.health.v1.Health/Check", &[]).await;
            let length = char::from(u8::try_from(name.len()).expect("a short name"));
            call.sending.message(&format!("\n{length}{name}"));
            call.sending.end();
            let outcome = call.outcome().await.expect("an outcome");
            let state = outcome.messages.first();
            (outcome.status(), state.map(|state| state == "\u{8}\u{1}"))
        })
    };
    assert_eq!(check("api"), (0, Some(true)));
    run(Caller::connect(daemon.api()).unary("/a.B/C", &[])).expect("an outcome");
    await_breaker(&daemon, "open");
    assert_eq!(check("api"), (0, Some(false)));
    assert_eq!(check("outrigger"), (0, Some(true)));
    assert_eq!(check("nothing"), (5, None));
}
