//! Commands, exit codes, signals and the drain.

use std::net::TcpListener;

use crate::expect::{API, IN_FLIGHT};
use crate::support::client::{self, Client};
use crate::support::daemon::{self, Daemon, command, run, section};
use crate::support::dead::Refusing;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream};
use crate::support::wire::Stop;

const NO_TIMERS: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";

/// A valid configuration for a proxy that nobody watches.
fn small() -> String {
    let off = "[metrics]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"off\"\n";
    section(&["http://127.0.0.1:9".to_owned()], off)
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().expect("a path in UTF-8")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_file_passes_the_check() {
    let file = daemon::file(&small());
    let output = run(&["check", path(&file)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_bad_file_fails_the_check_with_every_problem_and_its_place() {
    let bad = small().replace("endpoints", "endpoint") + "[runtime]\nworkers = -1\n";
    let file = daemon::file(&bad);
    let output = run(&["check", path(&file)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = text(&output.stdout) + &text(&output.stderr);
    for part in [
        "endpoint",
        "endpoints",
        "workers",
        &format!("{}:3:1", path(&file)),
    ] {
        assert!(report.contains(part), "no `{part}` in\n{report}");
    }
}

#[test]
fn a_bad_file_is_reported_as_json_where_asked() {
    let file = daemon::file("[runtime]\nworkers = -1\nthreads = 2\n");
    let output = run(&["check", "--format", "json", path(&file)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report.to_string().contains("threads"), "{report}");
}

#[test]
fn a_file_that_is_not_there_fails_the_check() {
    let output = run(&["check", "/nowhere/outrigger.toml"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stdout).contains("/nowhere/outrigger.toml"),
        "{output:?}"
    );
}

#[test]
fn a_bad_configuration_does_not_start() {
    let mut daemon = Daemon::spawn("[upstreams.api]\nlisten = \"nowhere\"\n");
    assert_eq!(daemon.wait().code(), Some(78));
    assert!(daemon.stderr().contains("listen"), "{}", daemon.stderr());
}

#[test]
fn a_port_in_use_does_not_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound socket").to_string();
    for listener in [
        "[upstreams.api]\nlisten = \"127.0.0.1:0\"",
        "[metrics]\nlisten = \"127.0.0.1:0\"",
    ] {
        let config = small().replace(listener, &listener.replace("127.0.0.1:0", &address));
        assert!(config.contains(&address), "{config}");
        let mut daemon = Daemon::spawn(&config);
        assert_eq!(daemon.wait().code(), Some(69), "{config}");
        assert!(daemon.stderr().contains(&address), "{}", daemon.stderr());
    }
}

#[test]
fn wrong_usage_is_told_from_wrong_configuration() {
    for arguments in [&["fly"][..], &["run", "--fast"], &["run"], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
    }
}

#[test]
fn the_version_is_told() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout).trim(),
        concat!("outrigger ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn it_tells_whether_it_lives_and_is_ready() {
    let upstream = Upstream::answering("x");
    let daemon = Daemon::proxying(&[upstream.url()], "");
    let metrics = daemon.address("metrics");
    for target in ["/livez", "/readyz"] {
        assert_eq!(client::get(metrics, target).status, 200, "{target}");
    }
    assert_eq!(client::get(metrics, "/else").status, 404);
    let url = format!("http://{metrics}");
    for arguments in [
        &["healthcheck", "--url", &url][..],
        &["healthcheck", "--ready", "--url", &url],
        &["wait", "--timeout", "50s", "--url", &url],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    }
}

#[test]
fn it_is_asked_at_the_address_of_its_configuration() {
    let refusing = Refusing::start();
    let address = refusing.address().to_string();
    let file = daemon::file(&small().replace(
        "[metrics]\nlisten = \"127.0.0.1:0\"",
        &format!("[metrics]\nlisten = \"{address}\""),
    ));
    let output = run(&["healthcheck", "--config", path(&file)]);
    assert_eq!(output.status.code(), Some(1), "nobody is there: {output:?}");
    assert!(text(&output.stderr).contains(&address), "{output:?}");
}

#[test]
fn nobody_there_is_not_healthy_and_not_waited_for() {
    let refusing = Refusing::start();
    let url = refusing.url();
    let healthy = run(&["healthcheck", "--url", &url]);
    assert_eq!(healthy.status.code(), Some(1), "{healthy:?}");
    let ready = run(&["wait", "--timeout", "300ms", "--url", &url]);
    assert_eq!(ready.status.code(), Some(1), "{ready:?}");
}

#[test]
fn a_command_beside_it_decides_the_exit_code() {
    let file = daemon::file(&(small() + "[runtime]\ndrain_quiet = \"50ms\"\n"));
    for (script, code) in [("exit 3", 3), ("exit 0", 0), ("kill -TERM $$", 143)] {
        let output = run(&["exec", "--config", path(&file), "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{script}: {output:?}");
    }
    let output = run(&["exec", "--config", path(&file), "--", "/nowhere/command"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
}

#[test]
fn a_command_beside_it_gets_the_signal() {
    let file = daemon::file(&(small() + "[runtime]\ndrain_quiet = \"50ms\"\n"));
    let script = "trap 'exit 7' TERM; echo trapped; while :; do sleep 0.05; done";
    let mut child = command()
        .args(["exec", "--config", path(&file), "--", "sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut output = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    assert_eq!(line, "trapped\n");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("a child of ours").code(), Some(7));
}

#[test]
fn sigterm_drains_and_serves_while_it_does() {
    let gate = Gate::new();
    let own = gate.clone();
    let upstream = Upstream::start(move |call| {
        let answer = crate::support::upstream::message(200, "served");
        match call.path() {
            "/held" => vec![Step::Await(own.clone()), Step::Send(answer)],
            _ => vec![Step::Send(answer)],
        }
    });
    let more = format!("{NO_TIMERS}[runtime]\ndrain_quiet = \"300ms\"\ndrain_grace = \"60s\"\n");
    let mut daemon = Daemon::proxying(&[upstream.url()], &more);
    let (api, metrics) = (daemon.api(), daemon.address("metrics"));
    let mut held = daemon.client();
    held.request("GET", "/held", &[], b"");
    upstream.wait_in_progress(1);

    daemon.terminate();
    daemon.await_metric("outrigger_ready", &[], 0.0);
    assert_eq!(client::get(metrics, "/readyz").status, 503);
    assert_eq!(client::get(metrics, "/livez").status, 200);
    assert_eq!(
        client::get(api, "/new").text(),
        "served",
        "the application still needs it"
    );
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);

    gate.open();
    assert_eq!(
        held.response("GET").expect("a whole response").text(),
        "served"
    );
    drop(held);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(std::net::TcpStream::connect(api).is_err());
    upstream.wait_closed();
}

#[test]
fn a_drain_ends_at_once_where_nobody_is_connected() {
    let upstream = Upstream::answering("x");
    let more = "[runtime]\ndrain_quiet = \"1h\"\ndrain_grace = \"1h\"\n";
    let mut daemon = Daemon::proxying(&[upstream.url()], more);
    assert_eq!(client::get(daemon.api(), "/").status, 200);
    daemon.terminate();
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_drain_ends_with_its_grace() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let more = format!("{NO_TIMERS}[runtime]\ndrain_quiet = \"1h\"\ndrain_grace = \"300ms\"\n");
    let mut daemon = Daemon::proxying(&[upstream.url()], &more);
    let mut held = daemon.client();
    held.request("GET", "/", &[], b"");
    upstream.wait_in_progress(1);
    daemon.terminate();
    assert_eq!(daemon.wait().code(), Some(0));
    let end = held
        .response("GET")
        .map(|response| response.status)
        .map_err(|broken| broken.stop);
    assert!(
        matches!(end, Ok(503 | 504) | Err(Stop::Closed | Stop::Reset)),
        "{end:?}"
    );
    upstream.wait_closed();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let more = format!("{NO_TIMERS}[runtime]\ndrain_quiet = \"1h\"\ndrain_grace = \"1h\"\n");
    let mut daemon = Daemon::proxying(&[upstream.url()], &more);
    let mut held = daemon.client();
    held.request("GET", "/", &[], b"");
    upstream.wait_in_progress(1);
    daemon.terminate();
    daemon.await_metric("outrigger_ready", &[], 0.0);
    daemon.terminate();
    assert_eq!(
        daemon.wait().code(),
        Some(143),
        "as a shell reports a process ended by SIGTERM"
    );
    upstream.wait_closed();
}

#[test]
fn an_idle_caller_does_not_hold_the_drain_up() {
    let upstream = Upstream::answering("x");
    let more = "[runtime]\ndrain_quiet = \"100ms\"\ndrain_grace = \"1h\"\n";
    let mut daemon = Daemon::proxying(&[upstream.url()], more);
    let mut idle = daemon.client();
    assert_eq!(idle.get("/").status, 200);
    daemon.terminate();
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(idle.ends());
}

#[test]
fn connections_past_the_limit_of_a_listener_are_closed_at_accept() {
    let upstream = Upstream::answering("x");
    let config = format!(
        r#"
[upstreams.api]
endpoints = ["{}"]
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
downstream = {{ max_connections = 2 }}
routes = [{{ upstream = "api" }}]
"#,
        upstream.url()
    );
    let daemon = Daemon::start(&config);
    let address = daemon.address("edge");
    let mut first = Client::connect(address);
    let mut second = Client::connect(address);
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let mut third = Client::connect(address);
    let refused = third.call("GET", "/", &[], b"").expect_err("no answer");
    assert!(
        matches!(refused.stop, Stop::Closed | Stop::Reset),
        "{refused:?}"
    );
    drop(first);
    let edge = ("listener", "edge");
    daemon.await_metric("outrigger_downstream_connections", &[edge], 1.0);
    assert_eq!(Client::connect(address).get("/").status, 200);
    daemon.await_metric(
        "outrigger_downstream_connections_rejected_total",
        &[edge, ("reason", "max_connections")],
        1.0,
    );
}

#[test]
fn a_request_head_that_never_ends_is_cut() {
    let upstream = Upstream::answering("x");
    let config = format!(
        r#"
[defaults.downstream]
header_timeout = "200ms"
[upstreams.api]
listen = "127.0.0.1:0"
endpoints = ["{}"]
"#,
        upstream.url()
    );
    let daemon = Daemon::start(&config);
    let mut client = daemon.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-half:");
    let end = client.response("GET");
    let end = end
        .map(|response| response.status)
        .map_err(|broken| broken.stop);
    assert!(
        matches!(end, Ok(408) | Err(Stop::Closed | Stop::Reset)),
        "{end:?}"
    );
    daemon.await_metric("outrigger_downstream_header_timeouts_total", &[], 1.0);
    assert_eq!(upstream.seen().requests.len(), 0);
    assert_eq!(daemon.client().get("/").status, 200);
}
