//! Callers name the host: absolute-form and CONNECT, what they may name, each target for itself.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};

use outrigger::proxy::error::ProxyError;
use serde_json::Value;

use crate::expect::{IN_FLIGHT, assert_replies, assert_row};
use crate::support::PATIENCE;
use crate::support::client::{Client, Response};
use crate::support::daemon::{Daemon, await_until};
use crate::support::dead::Refusing;
use crate::support::dns::{Answer, Dns};
use crate::support::gate::Gate;
use crate::support::upstream::{Upstream, reply};

const OUT: (&str, &str) = ("upstream", "out");
const TARGETS: &str = "outrigger_forward_targets";

/// Everything may be named, and this host reached.
const OPEN: &str = "allow = [\"*:*\"], allow_addresses = [\"127.0.0.0/8\"]";

/// A forward proxy with these settings, these further lines in its section and after it.
fn proxy(settings: &str, more: &str) -> Daemon {
    Daemon::start(&format!(
        "[upstreams.out]\nlisten = \"127.0.0.1:0\"\nforward = {{ {settings} }}\n{more}\n"
    ))
}

fn client(daemon: &Daemon) -> Client {
    Client::connect(daemon.address("out"))
}

/// A request for an absolute target; `Host` says the same.
fn ask(client: &mut Client, host: &str, path: &str) -> Response {
    let target = format!("http://{host}{path}");
    let response = client.call("GET", &target, &[("host", host)], b"");
    response.expect("a whole response")
}

/// Asks for a tunnel; gives the status.
fn connect(client: &mut Client, target: &str) -> u16 {
    client.request("CONNECT", target, &[("host", target)], b"");
    client.head().word(1).parse().expect("a status")
}

/// Asks for a tunnel that is refused.
fn refused(daemon: &Daemon, target: &str) -> Response {
    let host = [("host", target)];
    let response = client(daemon).call("CONNECT", target, &host, b"");
    response.expect("a whole response")
}

fn status(daemon: &Daemon) -> Value {
    let mut admin = Client::connect(daemon.address("admin"));
    let answer = admin.call("GET", "/status", &[("host", "localhost")], b"");
    serde_json::from_slice(&answer.expect("the status").body).expect("JSON")
}

/// The targets that the status page shows.
fn targets(daemon: &Daemon) -> Vec<Value> {
    let status = status(daemon);
    let targets = status["upstreams"][0]["targets"].as_array();
    targets.expect("a list").clone()
}

#[test]
fn an_absolute_target_is_asked_in_origin_form_under_its_own_name() {
    let upstream = Upstream::answering("fine");
    let daemon = proxy(OPEN, "");
    let host = upstream.address().to_string();
    let target = format!("http://{host}/a?b=c");
    let fields = [
        ("host", host.as_str()),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("proxy-connection", "keep-alive"),
    ];
    let mut client = client(&daemon);
    for _ in 0..2 {
        let answer = client.call("GET", &target, &fields, b"").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    }
    let seen = upstream.seen();
    assert_eq!(seen.connections.len(), 1);
    let head = &seen.requests[0].head;
    assert_eq!(head.word(1), "/a?b=c");
    assert_eq!(head.all("host"), [host.as_str()]);
    assert_eq!(head.field("proxy-authorization"), None);
    assert_eq!(head.field("proxy-connection"), None);
    let line = daemon.await_access("the request", |line| line["status"] == 200);
    assert_eq!(line["host"], host);
    assert_eq!(line["upstream"], "out");
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_each_way_ends_for_itself() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let daemon = proxy(OPEN, "");
    let mut client = client(&daemon);
    assert_eq!(connect(&mut client, &target), 200);
    let (mut far, _) = server.accept().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send("hello, not HTTP\r\n\r\n");
    let mut read = [0; 19];
    far.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"hello, not HTTP\r\n\r\n");
    far.write_all(b"and back").unwrap();
    assert_eq!(client.exactly(8).unwrap(), b"and back");
    daemon.await_metric(IN_FLIGHT, &[OUT], 1.0);

    client.finish();
    assert_eq!(far.read(&mut read).unwrap(), 0);
    far.write_all(b"still").unwrap();
    far.shutdown(Shutdown::Both).unwrap();
    assert_eq!(client.exactly(5).unwrap(), b"still");
    assert!(client.ends());
    daemon.await_metric(IN_FLIGHT, &[OUT], 0.0);
    let line = daemon.await_access("the tunnel", |line| line["method"] == "CONNECT");
    assert_eq!(
        (&line["host"], &line["status"]),
        (&target.into(), &200.into())
    );
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&19.into(), &13.into())
    );
    daemon.await_metric("outrigger_tunnels_total", &[OUT], 1.0);
}

#[test]
fn a_tunnel_is_asked_for_in_old_ways_as_well() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let daemon = proxy(OPEN, "");
    for head in [
        format!("CONNECT {target} HTTP/1.0\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"),
    ] {
        let mut client = client(&daemon);
        assert_eq!(client.send(&head).head().word(1), "200", "{head}");
        let (mut far, _) = server.accept().unwrap();
        far.write_all(b"first").unwrap();
        assert_eq!(client.exactly(5).unwrap(), b"first", "{head}");
    }
}

#[test]
fn only_what_is_allowed_may_be_named() {
    let daemon = proxy("allow = [\"*.allowed.test:8443\", \"10.0.0.0/8\"]", "");
    for target in ["other.test:8443", "a.allowed.test:443", "192.0.2.1:443"] {
        assert_row(&refused(&daemon, target), ProxyError::TargetRefused);
    }
    let answer = ask(&mut client(&daemon), "allowed.test:8443", "/");
    assert_row(&answer, ProxyError::TargetRefused);
    assert_replies(&daemon, ProxyError::TargetRefused, 4.0);
    assert!(targets(&daemon).is_empty());
}

#[test]
fn what_is_near_is_refused_unless_it_is_allowed() {
    let upstream = Upstream::answering("near");
    let near = upstream.address().to_string();
    let port = upstream.address().port();
    let daemon = proxy("allow = [\"*:*\"]", "");
    for target in [
        near.as_str(),
        &format!("localhost:{port}"),
        &format!("[::1]:{port}"),
        &format!("[::ffff:127.0.0.1]:{port}"),
        &format!("0.0.0.0:{port}"),
        "169.254.169.254:80",
        "[fe80::1]:80",
    ] {
        assert_row(&refused(&daemon, target), ProxyError::AddressRefused);
        let answer = ask(&mut client(&daemon), target, "/");
        assert_row(&answer, ProxyError::AddressRefused);
    }
    assert!(upstream.seen().connections.is_empty());
    drop(daemon);

    let daemon = proxy(OPEN, "");
    let mut client = client(&daemon);
    for host in [near.clone(), format!("localhost:{port}")] {
        assert_eq!(ask(&mut client, &host, "/").text(), "near");
    }
    let hosts = upstream.seen().requests;
    let hosts: Vec<_> = hosts.iter().map(|seen| seen.head.field("host")).collect();
    assert_eq!(hosts, [Some(&*near), Some(&*format!("localhost:{port}"))]);
    let metadata = refused(&daemon, "169.254.169.254:80");
    assert_row(&metadata, ProxyError::AddressRefused);
}

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

fn resolving(dns: &Dns, timeout: &str, settings: &str, more: &str) -> Daemon {
    let discovery = format!(
        "[discovery]\ndns = {{ servers = [\"{}\"], min_ttl = \"20ms\", max_ttl = \"20ms\", timeout = \"{timeout}\" }}",
        dns.server()
    );
    proxy(settings, &format!("{more}\n{discovery}"))
}

#[test]
fn a_name_is_judged_by_the_addresses_that_it_has_each_time() {
    let upstream = Upstream::answering("fine");
    let port = upstream.address().port();
    let host = format!("api.test:{port}");
    let dns = Dns::start(Answer::Addresses(vec![METADATA], 0));
    let daemon = resolving(&dns, "50s", OPEN, "");
    let mut client = client(&daemon);
    assert_row(&ask(&mut client, &host, "/"), ProxyError::AddressRefused);
    assert_row(&refused(&daemon, &host), ProxyError::AddressRefused);
    assert_eq!(targets(&daemon)[0]["refused"], "metadata");

    // One of two is enough, and it is the only one that is ever dialled.
    let both = vec![METADATA, Ipv4Addr::LOCALHOST];
    dns.answer(Answer::Addresses(both, 0));
    daemon.await_logged("endpoints changed", 1);
    dns.wait_asked_again(2);
    for _ in 0..4 {
        assert_eq!(ask(&mut client, &host, "/").text(), "fine");
    }
    let shown = targets(&daemon)[0]["endpoints"].clone();
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");

    // A name that turns on its callers loses what it had.
    dns.answer(Answer::Addresses(vec![METADATA], 0));
    daemon.await_logged("endpoints changed", 2);
    upstream.wait_closed();
    dns.wait_asked_again(2);
    assert_row(&ask(&mut client, &host, "/"), ProxyError::AddressRefused);
}

#[test]
fn a_name_without_an_answer_is_waited_for_as_long_as_a_connection() {
    let dns = Dns::start(Answer::Silence);
    let timeouts = "timeouts = { connect = \"30ms\" }\nbreaker = { mode = \"off\" }";
    let daemon = resolving(&dns, "1s", OPEN, timeouts);
    let mut client = client(&daemon);
    assert_row(
        &ask(&mut client, "api.test", "/"),
        ProxyError::ConnectTimeout,
    );
    dns.answer(Answer::NotFound);
    // From the end of the first lookup on; until then each asks for as long as that.
    let mut answer = ask(&mut client, "api.test", "/");
    await_until("the end of a lookup", || {
        answer = ask(&mut client, "api.test", "/");
        answer.status != ProxyError::ConnectTimeout.row().status
    });
    assert_row(&answer, ProxyError::NoEndpoint);
}

#[test]
fn a_breaker_and_a_bulkhead_are_those_of_one_target() {
    let gate = Gate::new();
    let (slow, fine) = (Upstream::gated(&gate), Upstream::answering("fine"));
    let broken = Upstream::start(|_| reply(500, "broken"));
    let more = "bulkhead = { max_requests = 1, max_queued = 0 }\n\
                breaker = { min_calls = 2, consecutive_failures = 2, open_for = \"1h\", open_for_max = \"1h\" }";
    let daemon = proxy(OPEN, more);
    let host = |upstream: &Upstream| upstream.address().to_string();
    let mut client = client(&daemon);
    for _ in 0..2 {
        assert_eq!(ask(&mut client, &host(&broken), "/").status, 500);
    }
    let answer = ask(&mut client, &host(&broken), "/");
    assert!(answer.field("retry-after").is_some(), "{answer:?}");
    // A tunnel to it as well: they share what they know.
    assert_eq!(refused(&daemon, &host(&broken)).status, 503);

    let mut held = Client::connect(daemon.address("out"));
    let target = format!("http://{}/", host(&slow));
    held.request("GET", &target, &[("host", &host(&slow))], b"");
    slow.wait_in_progress(1);
    let full = ask(&mut client, &host(&slow), "/");
    assert_row(&full, ProxyError::BulkheadFull);
    assert_row(&refused(&daemon, &host(&slow)), ProxyError::BulkheadFull);

    for _ in 0..3 {
        assert_eq!(ask(&mut client, &host(&fine), "/").text(), "fine");
    }
    daemon.await_metric(TARGETS, &[OUT, ("state", "open")], 1.0);
    daemon.await_metric(TARGETS, &[OUT], 3.0);
    let logged = daemon.await_logged("breaker opened", 1);
    assert!(logged[0].to_string().contains(&host(&broken)), "{logged:?}");

    let shown = targets(&daemon);
    let of = |upstream: &Upstream| {
        let host = host(upstream);
        let mut shown = shown.iter();
        shown
            .find(|target| target["target"] == *host)
            .expect("it is shown")
    };
    assert_eq!(of(&broken)["breakers"][0]["state"], "open");
    assert_eq!(of(&fine)["breakers"][0]["state"], "closed");
    assert_eq!(of(&slow)["in_flight"], 1);
    assert_eq!(of(&slow)["idle_ms"], Value::Null);
    let named = |upstream: &Upstream| {
        let host = host(upstream);
        let samples = daemon.scrape();
        let has = |value: &str| value.contains(&host);
        samples
            .iter()
            .any(|sample| sample.labels.iter().any(|(_, value)| has(value)))
    };
    assert!(!named(&broken) && !named(&fine), "a target is a label");

    let operate = format!("/upstreams/out@{}/breaker/auto", host(&broken));
    let mut admin = Client::connect(daemon.address("admin"));
    let done = admin.call("POST", &operate, &[("host", "localhost")], b"");
    assert_eq!(done.unwrap().status, 200);
    assert_eq!(ask(&mut client, &host(&broken), "/").status, 500);
    gate.open();
    assert_eq!(held.response("GET").unwrap().text(), "through");
}

#[test]
fn a_tunnel_that_cannot_be_made_is_held_against_its_target() {
    let refusing = Refusing::start();
    let target = refusing.address().to_string();
    let more = "breaker = { min_calls = 2, consecutive_failures = 2, open_for = \"1h\", open_for_max = \"1h\" }";
    let daemon = proxy(OPEN, more);
    for _ in 0..2 {
        let answer = refused(&daemon, &target);
        assert_row(&answer, ProxyError::ConnectFailed);
        assert_eq!(answer.field("connection"), Some("close"));
    }
    assert_eq!(refused(&daemon, &target).status, 503);
    daemon.await_metric(TARGETS, &[OUT, ("state", "open")], 1.0);
}

#[test]
fn a_fallback_never_answers_for_a_tunnel() {
    let refusing = Refusing::start();
    let target = refusing.address().to_string();
    let daemon = proxy(OPEN, "fallback = { status = 200, body = \"{}\" }");
    let fields = [
        ("host", target.as_str()),
        ("content-type", "application/grpc"),
    ];
    let answer = client(&daemon).call("CONNECT", &target, &fields, b"");
    assert_row(&answer.unwrap(), ProxyError::ConnectFailed);
    // Nor does a status of gRPC, where the request is refused before anybody knew what it is.
    let other = [("host", "other"), fields[1]];
    let answer = client(&daemon)
        .call("CONNECT", &target, &other, b"")
        .unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(ask(&mut client(&daemon), &target, "/").status, 200);
}

#[test]
fn targets_are_bounded_and_those_in_use_stay() {
    let gate = Gate::new();
    let upstreams = [Upstream::gated(&gate), Upstream::gated(&gate)];
    let [fine, more] = [Upstream::answering("fine"), Upstream::answering("more")];
    let daemon = proxy(&format!("{OPEN}, max_targets = 2"), "");
    let host = |upstream: &Upstream| upstream.address().to_string();
    let mut client = client(&daemon);
    assert_eq!(ask(&mut client, &host(&fine), "/").text(), "fine");
    let mut held = upstreams.each_ref().map(|upstream| {
        let mut held = Client::connect(daemon.address("out"));
        let target = format!("http://{}/", host(upstream));
        held.request("GET", &target, &[("host", &host(upstream))], b"");
        upstream.wait_in_progress(1);
        held
    });
    // Its place was needed, and its connection with it.
    fine.wait_closed();
    let none = ask(&mut client, &host(&more), "/");
    assert_row(&none, ProxyError::TooManyTargets);
    assert_row(&refused(&daemon, &host(&more)), ProxyError::TooManyTargets);
    let known = ask(&mut client, &host(&fine), "/");
    assert_row(&known, ProxyError::TooManyTargets);
    gate.open();
    for held in &mut held {
        assert_eq!(held.response("GET").unwrap().text(), "through");
    }
    assert_eq!(ask(&mut client, &host(&more), "/").text(), "more");
    daemon.await_metric(TARGETS, &[OUT], 2.0);
}

#[test]
fn what_nobody_asks_for_is_forgotten_but_not_what_is_in_use() {
    let dns = Dns::start(Answer::Addresses(vec![Ipv4Addr::LOCALHOST], 0));
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::answering("fine");
    let settings = format!("{OPEN}, idle_timeout = \"20ms\"");
    let daemon = resolving(&dns, "50s", &settings, "");
    let mut tunnel = client(&daemon);
    let held = format!("held.test:{}", server.local_addr().unwrap().port());
    assert_eq!(connect(&mut tunnel, &held), 200);
    let (far, _) = server.accept().unwrap();
    let host = format!("api.test:{}", upstream.address().port());
    assert_eq!(ask(&mut client(&daemon), &host, "/").text(), "fine");
    upstream.wait_closed();
    daemon.await_metric(TARGETS, &[OUT], 1.0);
    assert_eq!(targets(&daemon)[0]["target"], *held);
    drop((tunnel, far));
    daemon.await_metric(TARGETS, &[OUT], 0.0);
    daemon.await_metric("outrigger_pool_connections", &[OUT], 0.0);
}

#[test]
fn other_forms_say_how_to_ask() {
    let daemon = proxy(OPEN, "");
    for request in [
        "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "GET https://a.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nhost: b.test\r\n\r\n",
        "GET http://0x7f.1/ HTTP/1.1\r\nhost: 0x7f.1\r\n\r\n",
        "CONNECT a.test HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "CONNECT http://a.test:80/ HTTP/1.1\r\nhost: a.test:80\r\n\r\n",
        "CONNECT a.test:80 HTTP/1.1\r\nhost: a.test:80\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        let mut client = client(&daemon);
        let answer = client.send(request).response("GET");
        let answer = answer.expect("a whole response");
        assert_eq!(answer.status, 400, "{request}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{request}");
    }
    assert!(targets(&daemon).is_empty());
}

#[test]
fn elsewhere_connect_is_not_served_and_an_absolute_target_is_a_path() {
    let upstream = Upstream::answering("fine");
    let daemon = Daemon::proxying(&[upstream.url()], "");
    let refused = daemon
        .client()
        .call("CONNECT", "a.test:80", &[("host", "a.test:80")], b"");
    assert_eq!(refused.unwrap().status, 400);
    let mut client = daemon.client();
    let answer = client.call("GET", "http://a.test/x", &[("host", "a.test")], b"");
    assert_eq!(answer.unwrap().text(), "fine");
    assert_eq!(upstream.seen().targets(), ["/x"]);
}

/// A listener that other addresses lead to as well would go round for ever.
#[test]
fn the_way_back_is_refused() {
    let daemon =
        Daemon::start("[upstreams.out]\nlisten = \"0.0.0.0:0\"\nforward = { allow = [\"*:*\"] }\n");
    let port = daemon.address("out").port();
    // Whatever address this host has, by which it would send to one that is far away.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let mine = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr())
        .map_or_else(|_| Ipv4Addr::LOCALHOST.into(), |address| address.ip());
    let target = SocketAddr::new(mine, port).to_string();
    let host = [("host", target.as_str())];
    let out = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answer = Client::connect(out).call("CONNECT", &target, &host, b"");
    assert_row(&answer.unwrap(), ProxyError::AddressRefused);
}

#[test]
fn http2_names_the_target_in_its_authority() {
    let upstream = Upstream::answering("fine");
    let daemon = proxy(OPEN, "");
    let (out, host) = (daemon.address("out"), upstream.address().to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let statuses = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(out).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let asked = async {
            let mut statuses = Vec::new();
            for uri in [format!("http://{host}/x"), format!("https://{host}/x")] {
                let request = http::Request::get(uri).body(()).unwrap();
                let (response, _) = sender.send_request(request, true).unwrap();
                statuses.push(response.await.unwrap().status().as_u16());
            }
            statuses
        };
        tokio::select! {
            statuses = asked => statuses,
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    });
    assert_eq!(statuses, [200, 400]);
    let seen = upstream.seen();
    assert_eq!(seen.targets(), ["/x"]);
    assert_eq!(seen.requests[0].head.all("host"), [host.as_str()]);
}
